"""Random numbers as a pure function of (key, position), with no generator behind them.

torch's generators cannot be stacked along a member axis, saved in a checkpoint one member at a
time, or read under `vmap` and `torch.compile` alike; a hash can.
"""

import torch
from torch import Tensor

_LOW_32 = 0xFFFFFFFF


def mix(x: Tensor) -> Tensor:
    """A bijection of whole numbers in [0, 2³²) that scatters them, elementwise, in int64.

    Two rounds of xor-shift and multiply, with the constants that Wellons' "hash-prospector" search
    lists for the least bias (16-21f0aaad-15-d35a2d97-15).

    >>> mix(torch.tensor([0, 1, 2]))
    tensor([        0, 114555507, 229111015])
    """
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & _LOW_32
    # The second constant less 2³²: the product's low 32 bits are the same, and int64 holds it.
    x = ((x ^ (x >> 15)) * (0xD35A2D97 - 2**32)) & _LOW_32
    return x ^ (x >> 15)


def fold(key: Tensor, data: Tensor | int) -> Tensor:
    """A new key made of a key and a whole number: a seed and a layer, say, or a key and a count."""
    data = torch.as_tensor(data, dtype=torch.int64, device=key.device)
    # A constant is added so that zero, which `mix` leaves where it is, is not a weak key.
    return mix((mix((data + 0x9E3779B9) & _LOW_32) + mix((key + 0x85EBCA6B) & _LOW_32)) & _LOW_32)


def bits(key: Tensor, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """Whole numbers uniform in [0, 2³²), one a position, as a pure function of the key."""
    size = 1
    for n in shape:
        size *= n
    position = torch.arange(size, device=key.device).reshape(shape)
    return mix(mix((position + key) & _LOW_32) ^ key)
