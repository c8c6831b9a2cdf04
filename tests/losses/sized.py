"""Arguments of a public loss at a size of one's choice, normally distributed in float32."""

import inspect

import torch
from torch import Tensor

from fkd import losses


def arguments(
    name: str, batch: int, width: int, size: tuple[int, ...] = (), negatives: int = 16
) -> dict[str, Tensor]:
    """The loss's tensors by name, [batch, width, *size]; as many classes or channels as `width`."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for parameter in inspect.signature(getattr(losses, name)).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            continue
        if parameter.name == "labels":
            tensors["labels"] = torch.randint(width, (batch,), generator=generator)
        elif parameter.name == "cost":
            places = torch.rand(width, generator=generator)
            tensors["cost"] = (places[:, None] - places).abs()
        elif parameter.name in ("variance", "margin"):
            number = torch.rand(width, generator=generator)
            tensors[parameter.name] = number + 0.5 if parameter.name == "variance" else -number
        elif parameter.name.endswith("_negatives"):
            rows = torch.randn(batch, negatives, width, generator=generator)
            tensors[parameter.name] = torch.nn.functional.normalize(rows, dim=-1)
        else:
            tensors[parameter.name] = torch.randn(batch, width, *size, generator=generator)
    return tensors


def size_of(name: str) -> tuple[int, ...]:
    """The positions that a loss's tensors have, for `arguments`: none but for feature maps."""
    maps = ("._map", "._pooled", "._singular")
    return (8, 8) if getattr(losses, name).__module__.endswith(maps) else ()
