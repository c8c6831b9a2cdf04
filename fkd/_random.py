"""Random numbers as a pure function of (key, position), with no generator behind them.

torch's generators cannot be stacked along a member axis, saved in a checkpoint one member at a
time, or read under `vmap` and `torch.compile` alike; a hash can.
"""

from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

_LOW_32 = 0xFFFFFFFF

Whole = TypeVar("Whole", Tensor, int)


class Key(NamedTuple):
    """Where a student's random numbers come from: a pytree, so each member has its own.

    `seed` is the student's own and `step` counts its steps, both int64 []. `first` is the number,
    in the whole batch, of the first example that is computed here: with it the parts of a batch
    draw what the whole would, on however many ranks.
    """

    seed: Tensor
    step: Tensor
    first: Tensor | int = 0


def mix(x: Whole) -> Whole:
    """A bijection of whole numbers in [0, 2³²) that scatters them, elementwise, in int64.

    Two rounds of xor-shift and multiply, with the constants that Wellons' "hash-prospector" search
    lists for the least bias (16-21f0aaad-15-d35a2d97-15).

    >>> mix(torch.tensor([0, 1, 2])), mix(2)
    (tensor([        0, 114555507, 229111015]), 229111015)
    """
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & _LOW_32
    # The second constant less 2³²: the product's low 32 bits are the same, and int64 holds it.
    x = ((x ^ (x >> 15)) * (0xD35A2D97 - 2**32)) & _LOW_32
    return x ^ (x >> 15)


def once(x: Tensor) -> Tensor:
    """The same numbers, which the compiler makes once however often they are read.

    It would write out anew what is read twice, as xor-shift reads its argument: 2¹² times over for
    four `mix` in a row, 6 s of compilation for each layer of dropout. What `as_strided` views it
    makes once, and leaves out of memory all the same where one loop makes it and reads it.
    """
    return x.as_strided(x.shape, x.stride())


def fold(key: Tensor, data: Tensor | int) -> Tensor:
    """A new key made of a key and a whole number: a seed and a layer, say, or a key and a count."""
    # A constant is added so that zero, which `mix` leaves where it is, is not a weak key. Each is
    # less 2³², as above: on a GPU the compiler adds it to a position in int32, which must hold it.
    # A number of Python's is mixed by Python, which spares a GPU a third of the calls.
    numbers: Any = data
    one = mix((numbers + (0x9E3779B9 - 2**32)) & _LOW_32)
    other = mix((key + (0x85EBCA6B - 2**32)) & _LOW_32)
    return once(mix(once((one + other) & _LOW_32)))


def bits(key: Tensor, shape: torch.Size | tuple[int, ...], first: Tensor | int = 0) -> Tensor:
    """Whole numbers uniform in [0, 2³²), one a position, as a pure function of the key.

    They are rows `first` to `first + shape[0]` of those of a longer first axis.

    >>> key = torch.tensor(7)
    >>> torch.equal(bits(key, (5, 3))[2:], bits(key, (3, 3), first=2))
    True
    """
    size = 1
    for n in shape:
        size *= n
    position = torch.arange(size, device=key.device).reshape(shape)
    if isinstance(first, Tensor) or first != 0:
        row = 1
        for n in shape[1:]:
            row *= n
        position = position + first * row
    return mix(once(mix((position + key) & _LOW_32) ^ key))
