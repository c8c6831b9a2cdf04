"""How often a run makes a method's students, of which teacher, and what they read of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from compare.small_comparisons import ALL, EAGER, Narrow, Wide, small, trained_elsewhere, vectors
from torch import Tensor, nn

from fkd import losses, methods
from fkd.compare import Comparison
from fkd.compare._job import course
from fkd.compare._setup import task
from fkd.distillation._distill import distill_known
from fkd.distributed import Mesh
from fkd.methods import Context, Term
from fkd.train import Students, train


def last_bias(teacher: nn.Module | None) -> Tensor:
    assert isinstance(teacher, Wide)
    return teacher.last.bias.detach().clone()


class Biased(nn.Module):
    """A student whose logits have the teacher's bias, as the teacher is when it is built."""

    def __init__(self, student: nn.Module, teacher: nn.Module):
        super().__init__()
        self.student = student
        self.bias = nn.Buffer(last_bias(teacher))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outputs = self.student(x)
        return outputs | {"logits": outputs["logits"] + self.bias}


def biased(build: Callable[[], nn.Module], context: Context) -> nn.Module:
    return Biased(build(), context.need("teacher"))


class BiasedHead(nn.Module):
    """The same of a term's own."""

    def __init__(self, student: torch.Size, target: torch.Size, *, teacher: nn.Module):
        super().__init__()
        self.bias = nn.Buffer(last_bias(teacher))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


LIKE = Term(losses.squared_error, wrap=biased)
HEADED = Term(losses.squared_error, head=BiasedHead, needs=("teacher",))
METHODS = ALL | {"wrapped": {"like": LIKE}, "headed": {"with head": HEADED}}


@pytest.mark.parametrize("given", [False, True])
def test_students_are_made_once_but_of_a_teacher_that_is_trained_first(given, monkeypatch):
    made: list[Any] = []

    def counted(student: Any, outputs: Any, method: Any, *rest: Any, **options: Any):
        made.append(method)
        return distill_known(student, outputs, method, *rest, **options)

    monkeypatch.setattr(task, "distill_known", counted)
    # The pilot asks for more seeds than there may be, and so for a second round.
    run = Comparison(
        Wide,
        Narrow,
        METHODS,
        vectors(),
        seeds=(3, 5),
        resolution=0.1,
        max_seeds=3,
        epochs=1,
        plan=EAGER,
        teacher_state=trained_elsewhere() if given else None,
    )
    before = last_bias(run._run.context.teacher)
    states = {}
    for _ in run.run():
        states |= {name: one.state for name, one in run._run.students.items()}
    assert not run.results.failed and len(run.results.methods["kd"].seeds) == 3
    times = {name: made.count(method) for name, method in METHODS.items()}
    again = 1 if given else 2
    # By cross-entropy alone the teacher is trained, too.
    assert times == {"ce": again, "kd": 1, "wrapped": again, "headed": again}
    # Of the trained teacher, bit for bit.
    assert run.teacher is not None
    bias = run.teacher.params["last.bias"]
    assert given or not torch.equal(bias, before)
    for held in (
        states["wrapped"].buffers["student"]["bias"],
        states["headed"].buffers["heads"]["with head"]["bias"],
    ):
        assert torch.equal(held, bias.expand_as(held))


def test_students_read_of_the_teacher_what_they_match_and_nothing_that_others_do(monkeypatch):
    read: dict[str, set[str]] = {}

    def noted(students: Any, source: Any, **options: Any):
        read.update({name: set(source.targets) for name in students})
        return train(students, source, **options)

    monkeypatch.setattr(course, "train", noted)
    chosen = ALL | {"hint": methods.hint(layer="hidden", teacher_layer="hidden")}
    state = trained_elsewhere()
    options: dict[str, Any] = {"seeds": (3,), "epochs": 1, "plan": EAGER, "teacher_state": state}
    run = Comparison(Wide, Narrow, chosen, vectors(), **options)
    for _ in run.run():
        pass
    assert not run.results.failed
    assert read == {"ce": {"labels"}, "kd": {"labels", "logits"}, "hint": {"labels", "hidden"}}


@dataclass(frozen=True)
class SameWords(Mesh):
    """A mesh of which every rank says what this one says."""

    def words(self, word: Any) -> list[Any]:
        return [word] * self.ranks


def counted(counts: list[Any], students: Mapping[str, Students], *rest: Any, **options: Any):
    """A training, and how many of its students are this rank's and all ranks'."""
    counts += [(name, len(one.seeds), one.members) for name, one in students.items()]
    return train(students, *rest, **options)


def test_of_students_that_are_dealt_those_of_all_ranks_settle_the_plan(monkeypatch):
    counts: list[Any] = []
    monkeypatch.setattr(course, "train", partial(counted, counts))
    sweep = {"lr": (1e-3, 1e-2)}
    mesh = SameWords(member_ranks=2)
    small(vectors(), epochs=1, sweep=sweep, mesh=mesh, teacher_state=trained_elsewhere())
    assert counts == [("ce", 2, 4), ("kd", 2, 4)]


def test_of_a_batch_that_is_split_students_compute_their_part():
    mesh = SameWords(data_ranks=2)
    options: dict[str, Any] = {"plan": EAGER, "teacher_state": trained_elsewhere()}
    split, whole = (
        Comparison(Wide, Narrow, ALL, vectors(), mesh=m, **options)._run for m in (mesh, Mesh())
    )
    assert whole.candidates_of("kd").distillation.reduce is None
    assert split.candidates_of("kd").distillation.reduce is not None
    assert split.candidates_of("kd") is split.candidates_of("kd")
