"""What is kept of students: whether they are finite after the last update, their answers, loss."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from compare.ranks import on_ranks
from compare.small_comparisons import ALL, EAGER, Narrow, small, trained_elsewhere, vectors
from torch import Tensor, nn

from fkd import checkpoint, methods, optim
from fkd.compare import Results, compare
from fkd.compare._accord import Accord
from fkd.compare._job.record import Record
from fkd.data import Data, Resident
from fkd.distributed import Mesh
from fkd.execution import Plan
from fkd.model import functional


def at_the_last_step(factor: float, step: Tensor) -> Tensor:
    """A schedule that spoils the last of eight updates, after which no loss is taken."""
    return torch.where(step == 7, factor, 1.0)


def spoiled(factor: float, **options) -> Results:
    schedules = {"lr": partial(at_the_last_step, factor)}
    return small(vectors(), schedules=schedules, teacher_state=trained_elsewhere(), **options)


# Adam's step is about as long as the learning rate: 0.01 times 1e37 leaves finite parameters whose
# products are not.
@pytest.mark.parametrize(
    ("factor", "what"), [(math.inf, "parameter first.weight"), (1e37, "logits")]
)
def test_a_student_that_its_last_update_broke_is_no_result(factor, what):
    results = spoiled(factor)
    assert not results.methods and not results.complete
    for failure in results.failed.values():
        assert failure.kind == "diverged"
        assert failure.reason == (
            f"member 0 (seed 3): {what} not finite after the last update; "
            "a lower learning rate may help"
        )


def test_a_setting_that_the_last_update_broke_is_never_chosen():
    swept = {"lr": (1e-2, 1e2)}
    results = spoiled(1e36, sweep=swept, methods={"ce": ALL["ce"]})  # 1e34 and 1e38
    reason = results.failed["ce"].reason
    assert reason.startswith("each of 2 settings has a seed that diverged, the first member 0 (se")
    results = spoiled(1e18, sweep=swept, methods={"ce": ALL["ce"]})  # 1e16 squared is finite
    choice = results.methods["ce"].sweep
    assert choice and choice.chosen == 0 and choice.settings[1].validation_accuracy == [None, None]


def test_a_teacher_that_the_last_update_broke_ends_the_comparison():
    schedules = {"lr": partial(at_the_last_step, math.inf)}
    with pytest.raises(FloatingPointError, match=r"teacher: member 0 \(seed 42\): parameter first"):
        small(vectors(), schedules=schedules)


def test_a_student_that_overflows_on_the_test_split_alone_is_no_result():
    data = vectors()
    inputs, labels = data.test.inputs.clone(), data.test.targets["labels"]
    inputs[4] = math.inf
    data = Data(data.name, data.classes, data.train, Resident(inputs, {"labels": labels}))
    chosen = {"ce": methods.ce()}
    results = small(
        data,
        sweep={"lr": (0.1, 0.2)},
        methods=chosen,
        optimizer=optim.sgd(0.1),
        teacher_state=trained_elsewhere(),
    )
    failure = results.failed["ce"]
    assert failure.kind == "diverged"
    assert "logits not finite after the last update" in failure.reason


def test_the_answers_and_the_loss_after_the_last_epoch_are_those_of_the_students(tmp_path):
    results = small(data := vectors(), folder=tmp_path)
    inputs, labels = data.test.inputs, data.test.targets["labels"]
    for name, method in results.methods.items():
        path, module = tmp_path / f"students-{name}.safetensors", Narrow().eval()
        like = {key: leaf[None] for key, leaf in module.state_dict().items()}
        logits = []
        for k in range(2):
            state = checkpoint.load_members(path, like, [k])
            module.load_state_dict({key: leaf[0] for key, leaf in state.items()})
            logits.append(module(inputs)["logits"].detach())
        right = [(x.argmax(1) == labels).tolist() for x in logits]
        assert method.answers is not None and method.answers.tolist() == right
        losses = [nn.functional.cross_entropy(x, labels).item() for x in logits]
        assert method.last("test_loss") == pytest.approx(losses, rel=1e-5)


def test_plans_of_all_ranks_are_those_of_a_record_each_once():
    loop = Plan("loop", compile="none", graph=0)
    ways = [replace(loop, compile="step"), loop]

    def told(mesh: Mesh) -> list[Plan]:
        record = Record(functional(Narrow), [3, 5], [{}])
        for plan in (ways[mesh.rank], loop, loop):  # on the second it was never compiled
            record.take_plan(plan)
        record.share_plans("ce", Accord(mesh))
        return record.plans

    assert on_ranks(told, 2) == [ways, ways]


def test_of_labels_at_many_places_no_answers_are_kept():
    class Places(Narrow):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": super().forward(x)["logits"].unflatten(1, (1, 2))}

    data, splits = vectors(), []
    for split in (data.train, data.test):
        labels = split.targets["labels"][:, None]
        splits.append(Resident(split.inputs, {"labels": labels}, batch_size=10))
    dense = Data(data.name, data.classes, *splits)
    chosen = {"ce": ALL["ce"]}
    one = compare(Places, Places, chosen, dense, seeds=[3], epochs=1, plan=EAGER).methods["ce"]
    assert one.answers is None and np.isfinite(one.last("test_loss")).all()
