"""Examples mixed in pairs, with their labels: pure functions (inputs, targets, key).

One number λ is drawn for a batch, as the papers' authors do in their code, and for all members
whose batches are mixed with one key. An example is mixed with its neighbour in the batch, the first
with the second, the third with the fourth: the order of the examples is random, so is then who
meets whom, and a rank that reads an even part of a batch mixes it as the whole is mixed. In an odd
batch the last example stays as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from fkd import _check, _random
from fkd._draws._stream import Stream
from fkd._random import Key
from fkd.data._images import Images, check_images
from fkd.data._source import Mix, apart, check_examples, named_leaves

_MIX = 0x6D697821  # these draws are not to be a student's

# Marsaglia and Tsang accept an attempt with a probability of 0.95 or more.
_ATTEMPTS = 16


@dataclass(frozen=True)
class MixUp:
    """λ x + (1 − λ) x', and so the labels, with λ ~ Beta(α, α) one number a batch.

    `x` are inputs after the transform, any tree of floating-point tensors [batch, ...] or
    [members, batch, ...]; `labels`, whole numbers in [0, classes), become [batch, classes], in
    float32: their mixed probabilities, which sum to 1. The other targets stay as they are. Who is
    mixed with whom is said at the head of `fkd.data._mix`: neighbours, 0 with 1, 2 with 3.

    Raises ValueError for fewer than two classes, α not above zero, labels that are not there or
    do not lie within the classes, and inputs that are not floating-point.

    Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2018), section 2; α = 0.2 is of its
    section 3.1, for ImageNet.

    >>> key = Key(torch.tensor(0), torch.tensor(0))
    >>> targets = {"labels": torch.tensor([0, 1])}
    >>> x, targets = MixUp(classes=2)(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), targets, key)
    >>> torch.allclose(x, targets["labels"])
    True
    """

    classes: int
    alpha: float = 0.2

    def __post_init__(self) -> None:
        _check_mix("MixUp", self.classes, self.alpha)

    def check(self, inputs: Any, targets: Any) -> None:
        """Raise ValueError where the labels of a whole source do not fit."""
        _check_labels("MixUp", self.classes, targets)

    def __call__(
        self, inputs: Any, targets: dict[str, Tensor], key: Key
    ) -> tuple[Any, dict[str, Tensor]]:
        _check_kinds("MixUp", targets, key)
        leaves = tree_leaves(inputs)
        if not leaves:
            raise ValueError("MixUp: inputs hold no tensor; give at least one")
        for leaf in leaves:
            _check.floating("MixUp", inputs=leaf)
            _check.agree("MixUp", "batch", labels=targets["labels"], inputs=leaf)
        share = beta(_draws("MixUp", key), self.alpha)
        axis = targets["labels"].ndim - 1
        mixed = tree_map(partial(_mixed, share=share, axis=axis), inputs)
        return mixed, _with_mixed_labels(targets, self.classes, share)


@dataclass(frozen=True)
class CutMix:
    """A box of the neighbour's image is put in the place of the image's own, one box a batch.

    The box has √(1 − λ) of the image's height and of its width, with λ ~ Beta(α, α), around a
    centre that is uniform over the pixels; what lies beyond the border is cut off. The labels are
    mixed by the share of pixels that each image then has. Inputs are one tensor of images, raw or
    after a transform; labels, neighbours and the other targets are as in `MixUp`.

    Raises ValueError for fewer than two classes, α not above zero, labels that are not there or
    do not lie within the classes, and inputs that are no images.

    Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
    Features" (2019), section 3.1, with α = 1.

    >>> key = Key(torch.tensor(0), torch.tensor(0))
    >>> images = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 1, 8, 8)
    >>> x, targets = CutMix(classes=2)(images, {"labels": torch.tensor([0, 1])}, key)
    >>> torch.allclose(x.mean((1, 2, 3)), targets["labels"][:, 1])
    True
    """

    classes: int
    alpha: float = 1.0

    def __post_init__(self) -> None:
        _check_mix("CutMix", self.classes, self.alpha)

    def check(self, inputs: Any, targets: Any) -> None:
        """Raise ValueError where the inputs or the labels of a whole source do not fit."""
        check_images("CutMix", inputs)
        _check_labels("CutMix", self.classes, targets)

    def __call__(
        self, inputs: Images, targets: dict[str, Tensor], key: Key
    ) -> tuple[Images, dict[str, Tensor]]:
        check_images("CutMix", inputs)
        _check_kinds("CutMix", targets, key)
        _check.agree("CutMix", "batch", labels=targets["labels"], images=inputs)
        draw = _draws("CutMix", key)
        side = (1 - beta(draw, self.alpha)).sqrt()
        height, width = inputs.shape[-2:]
        rows = _covered(draw.integers((), 0, height), side, height)
        columns = _covered(draw.integers((), 0, width), side, width)
        box = rows[:, None] & columns
        mixed = torch.where(box, _neighbours(inputs, -4), inputs)
        share = 1 - box.double().mean()
        return mixed, _with_mixed_labels(targets, self.classes, share)


@dataclass(frozen=True)
class OneOf:
    """One of several mixes for each batch, each as likely as the others.

    All are computed and one is taken. Raises ValueError for none, for what is no mix, and where two
    differ in the form of what they return: one that mixes nothing gives probabilities too.

    >>> mix = OneOf((MixUp(classes=10), CutMix(classes=10)))
    """

    mixes: tuple[Mix, ...]

    def __post_init__(self) -> None:
        _check.sequence("OneOf", mixes=self.mixes)
        for mix in self.mixes:
            _check.function("OneOf", mix=mix)
        if not self.mixes:
            raise ValueError("OneOf: there are no mixes; give at least one")

    def check(self, inputs: Any, targets: Any) -> None:
        """Raise ValueError where the inputs or the labels of a whole source do not fit."""
        for mix in self.mixes:
            check_examples(mix, inputs, targets)

    def __call__(
        self, inputs: Any, targets: dict[str, Tensor], key: Key
    ) -> tuple[Any, dict[str, Tensor]]:
        _check.kind("OneOf", Key, key=key)
        which = _draws("OneOf", key).integers((), 0, len(self.mixes))
        results = self.mixes[0](inputs, targets, apart(key, 0))
        for number, mix in enumerate(self.mixes[1:], start=1):
            other = mix(inputs, targets, apart(key, number))
            _check_alike(number, results, other)
            results = tree_map(partial(torch.where, which == number), other, results)
        return results


def _check_alike(number: int, first: Any, other: Any) -> None:
    """Raise where one mix returns another form than the first: `where` would broadcast it."""
    if _forms(tree_leaves(first)) == _forms(tree_leaves(other)):
        return
    one, two = named_leaves(*first), named_leaves(*other)
    name = next(x for x in {**one, **two} if _form(one.get(x)) != _form(two.get(x)))
    raise ValueError(
        f"OneOf: all mixes must return tensors of the same form, but {name} is "
        f"{_form(one.get(name))} of the first and {_form(two.get(name))} of mix {number}; let each "
        "return the same targets, and labels as probabilities"
    )


def _forms(leaves: list[Tensor]) -> list[tuple[torch.dtype, tuple[int, ...]]]:
    return [(leaf.dtype, tuple(leaf.shape)) for leaf in leaves]


def _form(leaf: Tensor | None) -> str:
    return "none" if leaf is None else f"{leaf.dtype} {tuple(leaf.shape)}"


def beta(draw: Stream, alpha: float) -> Float[Tensor, ""]:
    """A number in [0, 1] that is Beta(α, α), in float64: G / (G + G') of two Gamma(α, 1).

    They are drawn as logarithms, for at a small α both would be rounded to zero.
    """
    return torch.sigmoid(_log_gamma(draw, alpha) - _log_gamma(draw, alpha))


def _log_gamma(draw: Stream, alpha: float) -> Float[Tensor, ""]:
    """The logarithm of a number that is Gamma(α, 1).

    Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables" (2000): section 4's
    algorithm at α + 1, times U^(1/α), which is its note for α < 1 and exact for any. Its attempts
    are made at once and the first is taken that it accepts; none of them is once in 10²⁰ times.
    """
    d = alpha + 2 / 3
    normal = draw.normal((_ATTEMPTS,), torch.float64)
    unit = draw.open((_ATTEMPTS,), torch.float64)[0]
    cube = (1 + normal / (9 * d) ** 0.5) ** 3
    log_cube = cube.clamp(min=1e-300).log()
    accepted = (cube > 0) & (unit.log() < normal**2 / 2 + d * (1 - cube + log_cube))
    first = accepted.int().argmax(0, keepdim=True)
    return log_cube.gather(0, first)[0] + draw.open((), torch.float64)[0].log() / alpha


def _draws(where: str, key: Key) -> Stream:
    """The random numbers of a batch, which are the same in all its parts."""
    if not isinstance(key.first, Tensor) and key.first % 2:
        raise ValueError(
            f"{where}: examples are mixed in pairs, so a part of a batch must begin at an even "
            f"number, but this one begins at {key.first}; give each rank an even part"
        )
    return Stream(Key(_random.fold(key.seed, _MIX), key.step), examples=0)


def _neighbours(x: Tensor, axis: int) -> Tensor:
    """The second, the first, the fourth, the third ...; the last of an odd number stays."""
    number = x.shape[axis]
    order = (torch.arange(number, device=x.device) ^ 1).clamp(max=number - 1)
    return x.index_select(axis, order)


def _mixed(x: Tensor, share: Float[Tensor, ""], axis: int) -> Tensor:
    other = _neighbours(x, axis)
    return other + share.to(x.dtype) * (x - other)


def _with_mixed_labels(
    targets: dict[str, Tensor], classes: int, share: Float[Tensor, ""]
) -> dict[str, Tensor]:
    labels = targets["labels"]
    _check.integral("mix", labels=labels)
    certain = labels.unsqueeze(-1) == torch.arange(classes, device=labels.device)
    return {**targets, "labels": _mixed(certain.float(), share, labels.ndim - 1)}


def _covered(centre: Int[Tensor, ""], share: Float[Tensor, ""], side: int) -> Tensor:
    """Which lines of a side belong to the box around a centre that is `share` of it long."""
    half = (share * side).long() // 2
    line = torch.arange(side, device=centre.device)
    return (line >= centre - half) & (line < centre + half)


def _check_mix(where: str, classes: int, alpha: float) -> None:
    _check.count(where, least=2, classes=classes)
    _check.plain(where, alpha=alpha)
    _check.positive(where, alpha=alpha)


def _check_kinds(where: str, targets: Any, key: Key) -> None:
    _check.kind(where, Key, key=key)
    _check.mapping(where, targets=targets)
    _labels(where, targets)


def _labels(where: str, targets: Mapping[str, Tensor]) -> Tensor:
    labels = targets.get("labels")
    if labels is None:
        raise ValueError(f"{where}: there must be a target 'labels', for it is mixed with the rest")
    _check.integral(where, labels=labels)
    return labels


def _check_labels(where: str, classes: int, targets: Any) -> None:
    labels = _labels(where, targets)
    if labels.is_meta or labels.numel() == 0:
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"{where}: labels must lie in [0, {classes}), as classes says, but they reach from "
            f"{low} to {high}"
        )
