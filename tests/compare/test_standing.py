"""Where training stands: what is taken of it, through a file and back, is all of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
import torch
from compare.small_comparisons import EAGER, Narrow, vectors
from torch.utils._pytree import tree_leaves, tree_structure

from fkd import checkpoint, methods, optim
from fkd.compare._record import Record
from fkd.compare._standing import MEASURED, Saved, Standing
from fkd.data import Resident
from fkd.distillation import distill
from fkd.methods import Context
from fkd.model import functional
from fkd.train import At, Students, train

CPU = torch.device("cpu")
SEEDS = (3, 5, 8)


@dataclass
class Trained:
    """Two ensembles in training, and where they stand."""

    students: dict[str, Students]
    records: dict[str, Record]
    source: Resident
    training: Iterator[At]
    at: At

    def saved(self, folder: Path) -> Saved:
        """Where they stand, through a file."""
        checkpoint.write(folder / "file", *Standing(self.at, self.records).taken())
        return Saved(folder / "file")


@pytest.fixture
def trained() -> Trained:
    """After five steps of four an epoch. One method has a head with a memory."""
    data = vectors().train
    hidden = torch.randn(data.examples, 16, generator=torch.Generator().manual_seed(0))
    targets = {"labels": data.targets["labels"], "hidden": hidden}
    source = Resident(data.inputs, targets, batch_size=10)
    batch = source.read(torch.arange(10))
    context = Context(
        examples=source.examples,
        outputs={"logits": torch.Size([2]), "hidden": torch.Size([8])},
        targets={name: target.shape[1:] for name, target in batch.targets.items()},
    )
    optimizer = optim.averaged(optim.adam(0.01))
    students, records = {}, {}
    for name, method in {"ce": methods.ce(), "crd": methods.crd(negatives=4)}.items():
        model = functional(methods.wrapped(Narrow, method, context))
        one = distill(model, method, optimizer, batch, context=context)
        students[name], records[name] = Students(one, SEEDS), Record(model, SEEDS, [{}])
        records[name].curves = {"test_accuracy": [[0.5, float("nan"), float("inf")]]}
        records[name].seconds["steps"] = 1.25
        records[name].diverged = [-1, 4, -1]
        records[name].broken = ["", "the parameters are", ""]
    training = train(students, source, epochs=3, plan=EAGER)
    return Trained(students, records, source, training, list(islice(training, 5))[-1])


def assert_same(one, other) -> None:
    """Equal bit for bit, with the same keys, and numbers by their value."""
    assert tree_structure(one) == tree_structure(other)
    for a, b in zip(tree_leaves(one), tree_leaves(other), strict=True):
        assert torch.equal(a, b) and a.dtype == b.dtype


def tensors_of(at: At):
    return at.states, at.sums, at.diverged


def test_what_is_taken_comes_back_from_a_file(trained, tmp_path):
    saved, at = trained.saved(tmp_path), trained.at
    assert saved.names == ["ce", "crd"]
    assert str(saved) == "ce, crd at epoch 2, step 1 of 4"
    again = {name: Record(one.model, SEEDS, [{}]) for name, one in trained.records.items()}
    back = saved.restored(trained.students, again, CPU)
    assert (back.epoch, back.step, back.steps) == (at.epoch, at.step, at.steps) == (1, 1, 4)
    assert_same(tensors_of(back), tensors_of(at))
    assert "crd.0002.state.buffers.heads.crd.student_bank" in saved.tensors
    for name, record in again.items():
        assert record.state is back.states[name]
        for field in MEASURED:  # by repr, for a NaN is not equal to itself
            assert repr(getattr(record, field)) == repr(getattr(trained.records[name], field))


def test_a_copy_is_not_written_over_by_what_follows(trained):
    record = trained.records["ce"]
    tensors, about = Standing(trained.at, trained.records).taken()
    before = {name: x.clone() for name, x in tensors.items()}
    next(trained.training)
    record.curves["test_accuracy"].append([0.0])
    record.diverged[0] = 9
    assert all(torch.equal(x, before[name]) for name, x in tensors.items())
    assert len(about["records"]["ce"]["curves"]["test_accuracy"]) == 1
    assert about["records"]["ce"]["diverged"] == [-1, 4, -1] and about["step"] == 1


def test_a_training_goes_on_from_it_as_if_it_had_not_stopped(trained, tmp_path):
    start = trained.saved(tmp_path).restored(trained.students, trained.records, CPU)
    again = train(trained.students, trained.source, epochs=3, plan=EAGER, start=start)
    count = 0
    for expected, given in zip(trained.training, again, strict=True):
        assert (expected.epoch, expected.step) == (given.epoch, given.step)
        assert_same(tensors_of(expected), tensors_of(given))
        count += 1
    assert count == 7  # of twelve, after five


def test_another_ensemble_is_refused(trained, tmp_path):
    saved = trained.saved(tmp_path)
    fewer = {name: Students(one.distillation, (3, 5)) for name, one in trained.students.items()}
    with pytest.raises(ValueError, match="member 2 is not wanted"):
        saved.restored(fewer, trained.records, CPU)
