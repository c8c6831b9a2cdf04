"""What the field's networks share: a convolution, how they start, and their outputs' names."""

from collections.abc import Sequence

from torch import Tensor, nn

from fkd import _check

WIDTHS = (16, 16, 32, 64)  # channels of the stem and of the three stages


def convolution(inputs: int, outputs: int, side: int = 3, stride: int = 1) -> nn.Conv2d:
    """Without bias, for a BatchNorm follows or stands before it."""
    return nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=False)


def check_widths(where: str, widths: tuple[int, int, int, int]) -> None:
    """Raise where widths are not the channels of a stem and three stages."""
    _check.sequence(where, widths=widths)
    if len(widths) != 4:
        raise ValueError(
            f"{where}: widths must be those of the stem and of three stages, but they are {widths}"
        )
    for width in widths:
        _check.count(where, width=width)


def start(module: nn.Module) -> None:
    """Convolutions at a deviation of √(2 / (side² · outputs)), with biases of zero.

    He et al., "Delving Deep into Rectifiers" (2015), section 2.2, by the number of outputs.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def by_name(
    logits: Tensor, hidden: Tensor, maps: Sequence[Tensor], preacts: Sequence[Tensor], last: Tensor
) -> dict[str, Tensor]:
    """`f0` and on, `preact1` and on, and under the names that methods look for by default: `last`,
    the map that is pooled, as `feature_map`, the one before its ReLU, and the first stage's."""
    return {
        "logits": logits,
        "hidden": hidden,
        **{f"f{number}": map for number, map in enumerate(maps)},
        **{f"preact{number}": map for number, map in enumerate(preacts, start=1)},
        "feature_map": last,
        "pre_activation": preacts[-1],
        "early_map": maps[1],
    }
