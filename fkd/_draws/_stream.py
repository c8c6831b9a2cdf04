"""The random numbers of one forward pass, one call after the other."""

import math

import torch
from torch import Tensor

from fkd import _random
from fkd._random import Key

Shape = torch.Size | tuple[int, ...]

# Digits of a number below one. Others than these are computed in float32 and rounded.
_DIGITS = {torch.float64: 53, torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}

_BLOCK = 32  # calls


class Stream:
    """Call number 0, 1, 2 ... of a pass has the key fold(fold(seed, call), step).

    `examples` is how many the pass has. A draw whose first axis is a multiple of it has as many
    rows an example, and its positions start at the first example's number in the whole batch; any
    other is one draw for all examples.
    """

    def __init__(self, key: Key | None, examples: int):
        self.key = key
        self.examples = examples
        self.calls = 0
        self.keys: list[Tensor] = []  # of the calls to come, in blocks

    def words(self, shape: Shape, count: int = 1) -> list[Tensor]:
        """The next call's whole numbers in [0, 2³²), `count` unrelated ones a position.

        Raises ValueError if the pass has no key.
        """
        if self.key is None:
            raise ValueError(
                "apply: this forward pass draws random numbers, but it was given no key; pass "
                "key=Key(seed, step), two int64 scalars (the same key gives the same numbers)"
            )
        if self.key.seed.is_meta:  # who asks for shapes alone is spared a hash of nothing
            return [self.key.seed.new_empty(shape) for _ in range(count)]
        # Keys are made for many calls at once, which is the cheapest without a compiler too.
        if self.calls == len(self.keys):
            numbers = self.calls + torch.arange(_BLOCK, device=self.key.seed.device)
            block = _random.fold(_random.fold(self.key.seed, numbers), self.key.step)
            self.keys = self.keys + list(block.unbind())
        call = self.keys[self.calls]
        self.calls += 1
        first = self.key.first
        if len(shape) == 0 or self.examples == 0 or shape[0] % self.examples != 0:
            first = 0
        elif isinstance(first, Tensor) or first != 0:
            first = first * (shape[0] // self.examples)
        keys = [call] + [_random.fold(call, word) for word in range(1, count)]
        return [_random.bits(key, shape, first) for key in keys]

    def bits(self, shape: Shape) -> Tensor:
        """One whole number in [0, 2³²) a position."""
        return self.words(shape)[0]

    def integers(self, shape: Shape, low: int, high: int) -> Tensor:
        """Uniform in [low, high), in int64."""
        span = high - low
        if span <= 0:
            raise ValueError(f"a random whole number from {low} to below {high}: there is none")
        if span <= 2**31:
            return low + (self.bits(shape) * span >> 32)
        upper, lower = self.words(shape, 2)
        return low + ((upper >> 1) << 32 | lower) % span

    def unit(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        """Uniform in [0, 1), with all the digits that `dtype` has below one."""
        digits = _DIGITS.get(dtype, 24)
        if digits <= 32:
            return ((self.bits(shape) >> (32 - digits)).float() / 2**digits).to(dtype)
        upper, lower = self.words(shape, 2)
        return (upper << 21 | lower >> 11).to(dtype) / 2**digits

    def open(self, shape: Shape, dtype: torch.dtype, count: int = 1) -> list[Tensor]:
        """Uniform in (0, 1), without the ends: `count` unrelated ones a position.

        In float32 at least, for a logarithm is to come.
        """
        if dtype != torch.float64:
            words = self.words(shape, count)
            return [((word >> 9).float() + 0.5) / 2**23 for word in words]
        words = self.words(shape, 2 * count)
        pairs = zip(words[::2], words[1::2], strict=True)
        return [((upper << 20 | lower >> 12).to(dtype) + 0.5) / 2**52 for upper, lower in pairs]

    def normal(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        """Standard normal numbers.

        Box and Muller, "A note on the generation of random normal deviates" (1958).
        """
        radius, angle = self.open(shape, dtype, 2)
        return ((-2 * radius.log()).sqrt() * (2 * math.pi * angle).cos()).to(dtype)

    def exponential(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        """Exponential numbers of rate one, never zero."""
        return -self.open(shape, dtype)[0].log()
