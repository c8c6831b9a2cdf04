"""All parts of a batch in one process, each in a thread: what a law or a check needs."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from fkd import _check
from fkd.split._split import Split

Result = TypeVar("Result")
PATIENCE = 60.0  # seconds that a part waits for the others


class _Meeting:
    """Where threads leave a tensor each and take the sum."""

    def __init__(self, parts: int):
        self.left = [torch.empty(0)] * parts
        self.barrier = threading.Barrier(parts)

    def sum(self, part: int, x: Tensor) -> Tensor:
        self.left[part] = x
        self.barrier.wait(PATIENCE)
        # In one order, so that all have the same bits.
        total = sum(self.left[1:], start=self.left[0])
        self.barrier.wait(PATIENCE)
        return total


class _Sum(torch.autograd.Function):
    """Under `torch.func.grad`; not under vmap, whose members would have to meet as well."""

    @staticmethod
    def forward(x: Tensor, sum: Callable[[Tensor], Tensor]) -> Tensor:
        return sum(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.sum = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(gradients[0], ctx.sum), None  # type: ignore[return-value]


def together(parts: int, run: Callable[[Split], Result]) -> list[Result]:
    """What `run(split)` returns for each part of a batch, with the parts in threads.

    Without vmap and compiler. What one part raises is raised, and the others end. Raises ValueError
    for what is no count and no function.

    >>> together(3, lambda split: split.sum(torch.tensor(split.part)).item())
    [3, 3, 3]
    """
    _check.count("together", parts=parts)
    _check.function("together", run=run)
    meeting = _Meeting(parts)
    splits = [
        Split(part, parts, partial(_sum, partial(meeting.sum, part))) for part in range(parts)
    ]
    with ThreadPoolExecutor(parts) as pool:
        futures = [pool.submit(_run, meeting, run, split) for split in splits]
    errors = [error for future in futures if (error := future.exception()) is not None]
    # The first cause, and not those who waited for it in vain.
    for error in sorted(errors, key=lambda e: isinstance(e, threading.BrokenBarrierError)):
        raise error
    return [future.result() for future in futures]


def _sum(sum: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return _Sum.apply(x, sum)  # type: ignore[return-value]


def _run(meeting: _Meeting, run: Callable[[Split], Result], split: Split) -> Result:
    try:
        return run(split)
    except BaseException:
        meeting.barrier.abort()
        raise
