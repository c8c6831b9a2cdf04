"""Scores against scikit-learn, NumPy and matrix products written out."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, TensorDataset

from fkd import evaluate
from fkd.data import Normalize, Resident, Streamed
from fkd.distillation import State
from fkd.ensemble import stack
from fkd.execution._ensemble_layers import EnsembleLayers
from fkd.model import functional
from fkd.teachers import Several, Teacher, cached

SCORES: list[Callable[..., Tensor]] = [
    evaluate.accuracy,
    evaluate.calibration_error,
    evaluate.cross_entropy,
]
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def _logits(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_accuracy_is_scikit_learns_for_every_member():
    logits, labels = (
        _logits(3, 50, 4),
        torch.randint(4, (50,), generator=torch.Generator().manual_seed(1)),
    )
    expected = [accuracy_score(labels, each.argmax(-1)) for each in logits]
    assert evaluate.accuracy(logits, labels).tolist() == pytest.approx(expected)


def test_agreement_is_the_share_of_equal_answers():
    student, teacher = _logits(2, 50, 4), _logits(50, 4)
    expected = [(each.argmax(-1) == teacher.argmax(-1)).double().mean().item() for each in student]
    assert evaluate.agreement(student, teacher).tolist() == pytest.approx(expected)
    assert evaluate.agreement(teacher, teacher) == 1


def test_calibration_error_is_the_bins_written_out():
    logits, labels = (
        _logits(400, 3),
        torch.randint(3, (400,), generator=torch.Generator().manual_seed(1)),
    )
    shares = logits.softmax(-1).numpy()
    confidence, right = shares.max(1), shares.argmax(1) == labels.numpy()
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert evaluate.calibration_error(logits, labels).item() == pytest.approx(expected, abs=1e-5)
    both = evaluate.calibration_error(torch.stack([logits, logits]), labels)
    assert both.tolist() == pytest.approx([expected] * 2, abs=1e-5)


def test_cross_entropy_is_torchs_for_every_member():
    logits = _logits(3, 50, 4).double()
    labels = torch.randint(4, (50,), generator=torch.Generator().manual_seed(1))
    soft = _logits(50, 4).flip(0).softmax(-1).double()
    for target in (labels, soft):
        expected = torch.stack([F.cross_entropy(x, target) for x in logits])
        torch.testing.assert_close(
            evaluate.cross_entropy(logits, target), expected, rtol=1e-12, atol=1e-12
        )
    impossible = torch.tensor([[0.0, -torch.inf, 0.0]])  # of which the label has no share
    right = evaluate.cross_entropy(impossible, torch.tensor([[0.5, 0.0, 0.5]]))
    assert right.item() == pytest.approx(np.log(2))
    assert evaluate.cross_entropy(impossible, torch.tensor([1])) == torch.inf
    assert evaluate.cross_entropy(impossible.log(), torch.tensor([0])).isnan()


def test_the_loss_of_many_examples_is_that_of_some_at_a_time(monkeypatch):
    logits, labels = _logits(2, 50, 4), torch.arange(50) % 4
    whole = evaluate.cross_entropy(logits, labels, labels > 0)
    for numbers in (1, 56, 399):  # one example at a time, 7, and 49
        monkeypatch.setattr(evaluate, "AT_ONCE", numbers)
        torch.testing.assert_close(evaluate.cross_entropy(logits, labels, labels > 0), whole)


def test_correct_says_where_each_member_is_right():
    logits, labels, mask = _pixels()
    expected = (logits.argmax(-1) == labels) & mask
    assert torch.equal(evaluate.correct(logits, labels, mask), expected)
    soft = _logits(5, 3, 2, 4).flip(0)
    assert torch.equal(evaluate.correct(logits, soft), logits.argmax(-1) == soft.argmax(-1))


def _pixels() -> tuple[Tensor, Tensor, Tensor]:
    """Logits [members, examples, height, width, classes], labels and a mask of pixels."""
    labels = torch.randint(4, (5, 3, 2), generator=torch.Generator().manual_seed(1))
    return _logits(3, 5, 3, 2, 4), labels, _logits(5, 3, 2) > -0.5


def test_scores_of_pixels_are_those_of_the_pixels_kept():
    logits, labels, mask = _pixels()
    teacher = _logits(5, 3, 2, 4).flip(0)
    expected = [accuracy_score(labels[mask], each.argmax(-1)[mask]) for each in logits]
    assert evaluate.accuracy(logits, labels, mask).tolist() == pytest.approx(expected)
    ignored = labels.masked_fill(~mask, -100)
    assert evaluate.accuracy(logits, ignored).tolist() == pytest.approx(expected)
    expected = [accuracy_score(teacher.argmax(-1)[mask], x.argmax(-1)[mask]) for x in logits]
    assert evaluate.agreement(logits, teacher, mask).tolist() == pytest.approx(expected)
    # each member's pixels in a row are examples, which the bins written out above hold
    rows = torch.stack([evaluate.calibration_error(x[mask], labels[mask]) for x in logits])
    torch.testing.assert_close(evaluate.calibration_error(logits, labels, mask=mask), rows)
    torch.testing.assert_close(evaluate.calibration_error(logits, ignored), rows)
    rows = torch.stack([F.cross_entropy(x[mask], labels[mask]) for x in logits])
    torch.testing.assert_close(evaluate.cross_entropy(logits, labels, mask), rows)
    torch.testing.assert_close(evaluate.cross_entropy(logits, ignored), rows)


@pytest.mark.parametrize("score", [evaluate.accuracy, evaluate.calibration_error])
def test_soft_labels_are_scored_by_their_largest(score):
    logits, soft = _logits(3, 50, 4), _logits(50, 4).flip(0).softmax(-1)
    assert torch.equal(score(logits, soft), score(logits, soft.argmax(-1)))


def test_logits_of_nan_are_right_of_nothing():
    # argmax takes NaN for the largest: these rows would be right by it
    logits = torch.tensor([[torch.nan, 1.0], [0.0, torch.nan], [2.0, 0.0], [0.0, 2.0]])
    labels = torch.tensor([0, 1, 0, 0])
    assert logits.argmax(-1).tolist() == [0, 1, 0, 1]
    assert evaluate.accuracy(logits, labels) == 1 / 4
    assert evaluate.agreement(logits, logits) == 2 / 4
    assert evaluate.agreement(logits, logits.nan_to_num(9.0)) == 2 / 4
    assert evaluate.agreement(logits.nan_to_num(9.0), logits) == 2 / 4
    assert evaluate.accuracy(logits.nan_to_num(9.0), logits.softmax(-1)) == 2 / 4
    assert evaluate.calibration_error(logits, labels).isnan()
    kept = torch.tensor([False, False, True, True])
    expected = evaluate.calibration_error(logits[2:], labels[2:])
    assert evaluate.calibration_error(logits, labels, mask=kept) == expected
    both = torch.stack([logits, torch.zeros(4, 2)])
    assert evaluate.calibration_error(both, labels).isnan().tolist() == [True, False]


@pytest.mark.parametrize("classes", [1, 2, 5, 100])
def test_logits_of_nan_are_wrong_however_many_classes_there_are(classes):
    logits, labels = torch.zeros(6, classes), torch.zeros(6, dtype=torch.int64)
    logits[:, 0] = 1.0
    for place in {0, classes - 1}:
        some = logits.clone()
        some[:2, place] = torch.nan
        assert evaluate.accuracy(some, labels) == 4 / 6
        assert evaluate.agreement(some, logits) == 4 / 6
        assert evaluate.agreement(logits, some) == 4 / 6
        assert evaluate.agreement(some, some) == 4 / 6
        assert evaluate.accuracy(torch.full_like(some, torch.nan), labels) == 0


@pytest.mark.plain
@pytest.mark.parametrize("score", SCORES)
def test_a_label_that_is_no_class_is_refused_where_it_counts(score):
    logits, labels = _logits(4, 3), torch.tensor([0, 1, 2, 3])
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\).*be -100, but one is 3"):
        score(logits, labels)
    kept = torch.tensor([True, True, True, False])
    assert score(logits, labels, mask=kept) == score(logits[:3], labels[:3])
    # in 8 bits -100 is 156, which is a class here
    logits, labels = _logits(2, 200), torch.tensor([156, 3])
    assert score(logits, labels.to(torch.uint8)) == score(logits, labels)


def test_scores_are_mapped_over_members():
    logits, labels = _logits(3, 4, 2), torch.tensor([0, 1, 1, 0])
    for score in SCORES:
        mapped = torch.func.vmap(score, in_dims=(0, None))(logits, labels)
        torch.testing.assert_close(mapped, score(logits, labels))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_calibration_is_computed_in_float32(dtype):
    logits, labels = _logits(50, 4).to(dtype), torch.arange(50) % 4
    expected = evaluate.calibration_error(logits.float(), labels)
    assert evaluate.calibration_error(logits, labels) == expected


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_loss_of_half_precision_is_computed_and_added_up_in_float32(dtype):
    logits, labels = _logits(2, 5000, 4).to(dtype), torch.arange(5000) % 4
    expected = evaluate.cross_entropy(logits.float(), labels)
    assert torch.equal(evaluate.cross_entropy(logits, labels), expected)


def test_a_score_of_nothing_is_nan():
    logits, labels = _logits(3, 4, 2), torch.full((4,), -100)
    for score in SCORES:
        assert score(logits, labels).isnan().tolist() == [True] * 3
        assert score(logits[:, :0], labels[:0]).isnan().tolist() == [True] * 3
        assert score(logits[:0], labels).shape == (0,)


@pytest.mark.plain
@pytest.mark.parametrize("score", SCORES)
def test_labels_and_masks_that_do_not_fit_are_refused(score):
    logits, labels, mask = _pixels()
    soft = torch.zeros(5, 3, 2, 3)
    for wrong in (
        labels[:4],
        labels[..., None],
        labels[..., :1],
        labels[0, 0, 0],
        soft,
        soft[0, 0, 0],
    ):
        with pytest.raises(
            ValueError, match=rf"{score.__name__}: of logits .* labels must be whole"
        ):
            score(logits, wrong)
    for wrong in (mask[0], mask.long()):
        with pytest.raises(
            ValueError, match=rf"{score.__name__}: mask must be boolean \(5, 3, 2\)"
        ):
            score(logits, labels, mask=wrong)


class Small(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(48, 3), nn.Dropout(0.5))


class Elsewhere(Resident):
    """A source that does not say it is on a CPU, for which members are computed at once."""

    @property
    def device(self) -> torch.device:
        return torch.device("meta")


def _images(n: int) -> Tensor:
    return torch.randint(256, (n, 3, 4, 4), generator=torch.Generator().manual_seed(0)).byte()


def _source(n: int, kind: type[Resident] = Resident) -> Resident:
    return kind(_images(n), {"labels": torch.zeros(n).long()}, transform=Normalize(MEAN, STD))


def _by_hand(params: dict[str, Tensor], n: int) -> Tensor:
    mean, std = (torch.tensor(numbers).reshape(3, 1, 1) for numbers in (MEAN, STD))
    x = (_images(n) / 255 - mean) / std
    return x.flatten(1) @ params["1.weight"].T + params["1.bias"]


def _state(model, seeds: list[int]) -> State:
    """As much of an ensemble's state as an evaluation reads."""
    params, buffers = stack([model.init(seed) for seed in seeds])
    empty = State(**{name: {} for name in State._fields})  # type: ignore[arg-type]
    step = torch.zeros(len(seeds), dtype=torch.int64)
    return empty._replace(params={"student": params}, buffers={"student": buffers}, step=step)


def test_predict_shows_each_example_to_the_model_once_without_gradient_or_dropout():
    model, seen = functional(Small), []

    def apply(params, buffers, inputs, *, train):
        seen.append(len(inputs))
        assert not train
        return model.apply(params, buffers, inputs, train=train)

    params, buffers = model.init(0)
    params["1.weight"].requires_grad_()
    spy = model._replace(apply=apply)
    outputs = evaluate.predict(Teacher(spy, params, buffers), _source(100), batch_size=30)
    assert seen == [30, 30, 30, 10]
    assert not outputs["logits"].requires_grad
    torch.testing.assert_close(outputs["logits"], _by_hand(params, 100))


def test_a_streamed_source_is_predicted_as_a_resident_one_in_batches_of_its_own_size():
    model, source, seen = functional(Small), _source(10), []
    examples = TensorDataset(source.inputs, source.targets["labels"])
    streamed = Streamed(DataLoader(examples, batch_size=4), transform=source.transform)

    def apply(params, buffers, inputs, *, train):
        seen.append(len(inputs))
        return model.apply(params, buffers, inputs, train=train)

    params, buffers = model.init(0)
    teacher = Teacher(model._replace(apply=apply), params, buffers)
    outputs = evaluate.predict(teacher, streamed)
    assert seen == [4, 4, 2]
    torch.testing.assert_close(outputs["logits"], _by_hand(params, 10))


def test_an_output_that_the_model_has_not_is_refused():
    model = functional(Small)
    with pytest.raises(ValueError, match="output 'hidden' is not known; choose from logits"):
        evaluate.predict(Teacher(model, *model.init(0)), _source(4), names=("hidden",))


@pytest.mark.parametrize("kind", [Resident, Elsewhere])
def test_members_give_the_output_of_a_name(kind):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = Small()

        def forward(self, x):
            logits = self.body(x)
            return {"logits": logits, "double": 2 * logits}

    model = functional(Named)
    state, source = _state(model, [4, 5]), _source(6, kind)
    double = evaluate.predict_members(model, state, source, name="double")
    torch.testing.assert_close(double, 2 * evaluate.predict_members(model, state, source))
    with pytest.raises(ValueError, match="output 'hidden' is not known; choose from logits, doub"):
        evaluate.predict_members(model, state, source, name="hidden")


@pytest.mark.parametrize("kind", [Resident, Elsewhere])
@pytest.mark.parametrize("batch_size", [None, 7])
def test_members_are_predicted_as_alone(kind, batch_size):
    model, seeds = functional(Small), [4, 5]
    source = _source(20, kind)
    together = evaluate.predict_members(model, _state(model, seeds), source, batch_size=batch_size)
    assert together.shape == (2, 20, 3)
    for k, seed in enumerate(seeds):
        torch.testing.assert_close(together[k], _by_hand(model.init(seed)[0], 20))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_members_are_predicted_as_alone():
    class Convolved(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1)
            self.norm = nn.BatchNorm2d(8)
            self.last = nn.Linear(8, 3)

        def forward(self, x):
            maps = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
            return self.last(F.adaptive_avg_pool2d(maps, 1).flatten(1))

    model = functional(Convolved)
    images = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5
    source = Resident(images, {}, batch_size=4)
    state = _state(model, [4, 5])
    expected = evaluate.predict_members(model, state, source)
    moved = tree_map(lambda leaf: leaf.cuda(), state)
    outputs = evaluate.predict_members(model, moved, source.to("cuda"), batch_size=7)
    torch.testing.assert_close(outputs.cpu(), expected, rtol=1e-3, atol=1e-4)  # TF32's share


class Branching(Small):
    def forward(self, input):
        logits = super().forward(input)
        return logits if logits.mean() < 1e9 else -logits


def no_room():
    raise MemoryError  # no RuntimeError, nor is Triton's where a GPU is too small for a kernel


@pytest.mark.parametrize("layers", [EnsembleLayers, no_room])
def test_members_that_vmap_cannot_run_are_predicted_one_by_one(layers, monkeypatch):
    monkeypatch.setattr(evaluate, "EnsembleLayers", layers)
    model, seeds = functional(Branching), [4, 5]
    outputs = evaluate.predict_members(model, _state(model, seeds), _source(20, Elsewhere))
    for k, seed in enumerate(seeds):
        torch.testing.assert_close(outputs[k], _by_hand(model.init(seed)[0], 20))


@pytest.mark.plain
def test_a_module_in_training_is_not_asked():
    source, module = Resident(torch.ones(4, 3), {}, batch_size=2), nn.Linear(3, 2)
    for ask in (evaluate.predict, partial(cached, names=["logits"])):
        with pytest.raises(ValueError, match=r"must be in evaluation mode, .* a Linear in"):
            ask(module.train(), source)
        with pytest.raises(ValueError, match=r"ask must give outputs by name, .*teacher_of_module"):
            ask(module.eval(), source)
    with pytest.raises(ValueError, match="Several: teacher must be in evaluation mode"):
        Several([module.train()])
