"""Scores against scikit-learn, SciPy, NumPy and numbers worked by hand."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import accuracy_score
from torch import nn

from fkd import evaluate, methods, optim
from fkd.data import normalize
from fkd.distillation import distill
from fkd.ensemble import ensemble
from fkd.model import Model, functional


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


def test_the_interval_by_hand():
    # deviation of 1..5 is sqrt(2.5); t(0.975, 4) = 2.776 in any table
    found = evaluate.interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776445 * 2.5**0.5 / 5**0.5
    assert found.mean == 3
    assert found.deviation == pytest.approx(2.5**0.5)
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half))


def test_the_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(3.0, 2.0, (1000, 5))
    found = [evaluate.interval(row.tolist(), confidence=0.9) for row in draws]
    covered = sum(f.low <= 3.0 <= f.high for f in found if f.low is not None and f.high is not None)
    assert abs(covered - 900) < 4 * (1000 * 0.9 * 0.1) ** 0.5


def test_the_paired_test_is_scipys():
    a, b = [0.71, 0.69, 0.74, 0.70], [0.70, 0.66, 0.72, 0.70]
    found, expected = evaluate.paired(a, b), stats.ttest_rel(a, b)
    bounds = expected.confidence_interval(0.95)
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))


def test_what_one_seed_cannot_tell_is_none():
    assert evaluate.interval([0.5]) == (0.5, None, None, None)
    assert evaluate.paired([0.5], [0.25]) == (0.25, None, None, None)
    assert evaluate.paired([0.5, 0.5], [0.25, 0.25]) == (0.25, 0.25, 0.25, None)


class Counted(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(48, 3), nn.Dropout(0.5))


def _images(n: int) -> torch.Tensor:
    return torch.randint(256, (n, 3, 4, 4), generator=torch.Generator().manual_seed(0)).byte()


def test_predict_shows_each_image_to_the_model_once_without_gradient_or_dropout():
    model, seen = functional(Counted), []

    def apply(params, buffers, x, *, train):
        seen.append(len(x))
        assert not train
        return model.apply(params, buffers, x, train=train)

    params, buffers = model.init(0)
    params["1.weight"].requires_grad_()
    images = _images(100)
    logits = evaluate.predict(Model(model.init, apply), params, buffers, images, batch_size=30)[
        "logits"
    ]
    assert seen == [30, 30, 30, 10]
    assert not logits.requires_grad
    expected = normalize(images).flatten(1) @ params["1.weight"].T + params["1.bias"]
    torch.testing.assert_close(logits, expected)


def test_members_are_predicted_as_alone():
    model, images = functional(Counted), _images(20)
    example, labels = normalize(images[:2]), {"labels": torch.tensor([0, 1])}
    rule = ensemble(distill(model, methods.supervised(), optim.sgd(), example, labels))
    together = evaluate.predict_members(model, rule.init([4, 5]), images)
    for k, seed in enumerate((4, 5)):
        alone = evaluate.predict(model, *model.init(seed), images)["logits"]
        torch.testing.assert_close(together[k], alone)
