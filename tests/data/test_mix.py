"""Mixed examples by hand, λ against SciPy's Beta, in parts, members, mapped and compiled."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.func import vmap

from fkd._draws._stream import Stream
from fkd._random import Key
from fkd.data import CutMix, MixUp, OneOf
from fkd.data._mix import _log_gamma, beta

ALL = (MixUp(4), CutMix(4), OneOf((MixUp(4), CutMix(4))))
every = pytest.mark.parametrize("mix", ALL, ids=lambda mix: type(mix).__name__)
IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 0, 2])


def key(step: int = 1, first: Any = 0, seed: int = 0) -> Key:
    return Key(torch.tensor(seed), torch.tensor(step), first)


def targets(labels: Tensor = LABELS) -> dict[str, Tensor]:
    return {"labels": labels, "index": torch.zeros_like(labels)}


def _draw(step: Tensor, alpha: float) -> Tensor:
    return beta(Stream(Key(torch.tensor(9), step), 0), alpha)


def _below_a_half(share: np.ndarray, alpha: float) -> np.ndarray:
    return 2 * stats.beta(alpha, alpha).cdf(share)


def test_what_is_not_said_is_as_the_papers_have_it():
    assert (MixUp(4), CutMix(4)) == (MixUp(4, alpha=0.2), CutMix(4, alpha=1.0))


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 2.5, 40.0])
def test_the_share_is_distributed_as_beta(alpha):
    shares = vmap(partial(_draw, alpha=alpha))(torch.arange(20_000))
    assert shares.dtype == torch.float64
    assert shares.min() >= 0
    assert shares.max() <= 1
    # it is symmetric, and above 1/2 there are no float64 left for what lies close to 1
    low = shares[shares < 0.5].numpy()
    assert stats.binomtest(len(low), 20_000).pvalue > 1e-3
    assert stats.kstest(low, _below_a_half, (alpha,)).pvalue > 1e-3


def _by_the_paper(
    normal: np.ndarray, unit: np.ndarray, last: float, alpha: float
) -> tuple[float, int]:
    """Section 4's algorithm at α + 1, and the note for α < 1; and how many attempts it rejects."""
    d = alpha + 1 - 1 / 3
    for number, (x, u) in enumerate(zip(normal, unit, strict=True)):
        v = (1 + x / np.sqrt(9 * d)) ** 3
        if v > 0 and np.log(u) < x**2 / 2 + d - d * v + d * np.log(v):
            return np.log(d * v) + np.log(last) / alpha, number
    raise AssertionError


@pytest.mark.parametrize("alpha", [0.05, 1.0])
def test_a_gamma_number_is_the_first_attempt_that_the_paper_accepts(alpha):
    """One attempt in twenty or in fifty is rejected, too few for a test of the distribution."""
    rejected = 0
    for step in range(150):
        draws = Stream(Key(torch.tensor(4), torch.tensor(step)), 0)
        normal = draws.normal((16,), torch.float64).numpy()
        unit = draws.open((16,), torch.float64)[0].numpy()
        last = float(draws.open((), torch.float64)[0])
        expected, number = _by_the_paper(normal, unit, last, alpha)
        ours = _log_gamma(Stream(Key(torch.tensor(4), torch.tensor(step)), 0), alpha)
        # ours leaves out log d, which a difference of two does not hold
        assert float(ours) + np.log(alpha + 2 / 3) == pytest.approx(expected, rel=1e-12)
        rejected += number
    assert rejected > 0


def test_mixup_is_the_weighted_mean_of_neighbours_and_of_their_labels():
    x = {"a": torch.tensor([[0.0], [1.0], [4.0], [8.0], [5.0]]), "b": [torch.arange(5.0)]}
    mixed, labels = MixUp(classes=3)(x, {"labels": torch.tensor([2, 0, 1, 1, 2])}, key())
    share = 1 - float(mixed["a"][0])  # of the first, whose values are 0 and 1
    assert 0 < share < 1
    other = 1 - share
    expected = [[other], [share], [4 * share + 8 * other], [8 * share + 4 * other], [5.0]]
    torch.testing.assert_close(mixed["a"], torch.tensor(expected))
    pairs = [other, share, 2 * share + 3 * other, 3 * share + 2 * other, 4.0]
    torch.testing.assert_close(mixed["b"][0], torch.tensor(pairs))
    soft = [[other, 0, share], [share, 0, other], [0, 1, 0], [0, 1, 0], [0, 0, 1]]
    torch.testing.assert_close(labels["labels"], torch.tensor(soft))


def test_cutmix_puts_in_a_box_of_the_neighbour_and_mixes_labels_by_its_share():
    x = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 2, 6, 9)
    sizes = set()
    for step in range(60):
        mixed, labels = CutMix(classes=4)(x, {"labels": torch.arange(4)}, key(step))
        box = mixed[0, 0] == 1
        rows, columns = box.any(1), box.any(0)
        assert torch.equal(box, rows[:, None] & columns)
        for side in (rows, columns):
            assert side.int().diff().abs().sum() <= 2  # one stretch of lines
        for number, other in enumerate([1, 0, 3, 2]):
            expected = torch.where(box, float(other), float(number)).expand(2, 6, 9)
            assert torch.equal(mixed[number], expected)
            share = box.float().mean()
            torch.testing.assert_close(labels["labels"][number, other], share)
            torch.testing.assert_close(labels["labels"][number, number], 1 - share)
        sizes.add(int(box.sum()))
    assert len(sizes) > 10


def _of_each_step(mix: Any, x: Tensor, steps: int) -> Tensor:
    """The same two examples, mixed in each of many steps."""

    def images(step: Tensor) -> Tensor:
        return mix(x, {"labels": torch.arange(2)}, Key(torch.tensor(0), step))[0]

    return vmap(images)(torch.arange(steps))


def test_the_box_of_cutmix_is_the_authors():
    """√(1 − λ) of each side, halved and put on both sides of a centre uniform over the pixels."""
    x = torch.arange(2.0).reshape(2, 1, 1, 1).expand(2, 1, 40, 40)
    rows = (_of_each_step(CutMix(classes=2, alpha=1e5), x, 2000)[:, 0, 0] == 1).any(2).int()
    tops, lengths = rows.argmax(1).tolist(), rows.sum(1).tolist()
    # λ is 1/2 within 0.005, so the side is 40/√2 = 28.3 and half of it 14; one end is cut off where
    # the centre is less than 14 from the border
    half = 14
    by_centre = [(max(c - half, 0), min(c + half, 40) - max(c - half, 0)) for c in range(40)]
    places = sorted(set(by_centre))
    counts = [0] * len(places)
    for place in zip(tops, lengths, strict=True):
        counts[places.index(place)] += 1
    expected = [by_centre.count(place) * 2000 / 40 for place in places]
    assert stats.chisquare(counts, expected).pvalue > 1e-3


@every
def test_labels_sum_to_one_and_all_else_stays(mix):
    for step in range(10):
        mixed, after = mix(IMAGES, targets(), key(step))
        assert (mixed.shape, mixed.dtype) == (IMAGES.shape, IMAGES.dtype)
        assert after["labels"].shape == (6, 4)
        assert after["labels"].min() >= 0
        torch.testing.assert_close(after["labels"].sum(1), torch.ones(6))
        assert torch.equal(after["index"], targets()["index"])


@every
@pytest.mark.parametrize("first", [0, 2, torch.tensor(4)])
def test_an_even_part_of_a_batch_is_mixed_as_the_whole(mix, first):
    for step in range(4):
        mixed, after = mix(IMAGES, targets(), key(step))
        part, labels = mix(IMAGES[first:], targets(LABELS[first:]), key(step, first))
        assert torch.equal(part, mixed[first:])
        assert torch.equal(labels["labels"], after["labels"][first:])


@every
def test_members_are_mixed_as_they_are_alone(mix):
    orders = torch.tensor([[3, 1, 2, 0, 5, 4], [1, 0, 5, 4, 3, 2]])
    both = mix(IMAGES[orders], targets(LABELS[orders]), key())
    mapped = vmap(mix, in_dims=(0, 0, None))(IMAGES[orders], targets(LABELS[orders]), key())
    for member, order in enumerate(orders):
        mixed, after = mix(IMAGES[order], targets(LABELS[order]), key())
        for images, labels in (both, mapped):
            assert torch.equal(images[member], mixed)
            assert torch.equal(labels["labels"][member], after["labels"])


@pytest.mark.plain
def test_it_is_compiled_whole():
    mix = OneOf((MixUp(4), CutMix(4)))
    compiled = torch.compile(mix, fullgraph=True, backend="eager")
    for step in (0, 1):
        images, labels = compiled(IMAGES, targets(), key(step))
        mixed, after = mix(IMAGES, targets(), key(step))
        assert torch.equal(images, mixed)
        assert torch.equal(labels["labels"], after["labels"])


def test_one_of_several_is_taken_for_each_batch_and_each_as_often():
    x = torch.arange(2.0).reshape(2, 1, 1, 1).expand(2, 1, 8, 8)
    mixed = _of_each_step(OneOf((MixUp(2, alpha=5.0), CutMix(2))), x, 1000)
    boxes = ((mixed == 0) | (mixed == 1)).flatten(1).all(1).sum()
    assert stats.binomtest(int(boxes), 1000).pvalue > 1e-3


def _filled(value: float, inputs: Tensor, targets: dict[str, Tensor], key: Key) -> Any:
    return torch.full_like(inputs, value), targets


def test_of_three_each_is_taken_as_often():
    mix = OneOf(tuple(partial(_filled, value) for value in (0.0, 1.0, 2.0)))
    counts = _of_each_step(mix, torch.zeros(2, 1), 1500)[:, 0, 0].long().bincount(minlength=3)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def _whole(inputs: Tensor, targets: dict[str, Tensor], key: Key) -> Any:
    return inputs, targets


def _whole_and_more(inputs: Tensor, targets: dict[str, Tensor], key: Key) -> Any:
    return inputs, targets | {"more": inputs}


@pytest.mark.plain
@pytest.mark.parametrize(
    ("mixes", "message"),
    [
        ((MixUp(6), _whole), r"'labels'\] is torch.float32 \(6, 6\) of the first and torch.int64 "),
        (
            (_whole, _whole_and_more),
            r"'more'\] is none of the first and torch.float32 .* of mix 1; ",
        ),
    ],
)
def test_mixes_of_which_one_returns_another_form_are_refused(mixes, message):
    # as many examples as classes: torch.where would broadcast labels to probabilities
    with pytest.raises(ValueError, match=message):
        OneOf(mixes)(IMAGES, targets(), key())


def test_raw_images_can_be_cut_but_not_averaged():
    raw = (IMAGES * 255).byte()
    assert CutMix(4)(raw, targets(), key())[0].dtype == torch.uint8
    with pytest.raises(ValueError, match="MixUp: inputs must be floating-point"):
        MixUp(4)(raw, targets(), key())


@every
def test_a_part_that_would_break_a_pair_is_refused(mix):
    with pytest.raises(ValueError, match="must begin at an even number, but this one begins at 3"):
        mix(IMAGES[3:], targets(LABELS[3:]), key(first=3))


@every
def test_labels_that_do_not_fit_are_refused(mix):
    mix.check(IMAGES, targets())
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 4\).* from 0 to 4"):
        mix.check(IMAGES, targets(LABELS + (LABELS == 3)))
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 4\).* from -1 to 2"):
        mix.check(IMAGES, targets(LABELS - 1))
    with pytest.raises(ValueError, match="there must be a target 'labels'"):
        mix.check(IMAGES, {})
    soft = {"labels": torch.full((6, 4), 0.25)}
    with pytest.raises(ValueError, match=r"labels must hold whole numbers"):
        mix.check(IMAGES, soft)
    with pytest.raises(ValueError, match=r"labels must hold whole numbers"):
        mix(IMAGES, soft, key())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MixUp(1), r"MixUp: classes must be a whole number of at least 2, but it is 1"),
        (lambda: CutMix(2, alpha=0.0), "CutMix: alpha must be above zero"),
        (lambda: OneOf(()), "there are no mixes; give at least one"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
