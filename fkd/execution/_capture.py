"""Steps of training in one CUDA graph, so that a GPU need not wait for Python between kernels."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

from fkd.ensemble import stack

Function = Callable[[], Any]
Replay = Callable[[], None]
Record = Callable[[Function, Function], tuple[Any, Replay]]


class CannotCapture(Exception):
    """A step does what no CUDA graph can hold, such as waiting for the device."""


class Recorder:
    """A `Record`: what `function()` returns, and `replay()`, which computes it anew into the same
    tensors. Before it runs `first()`, as much of it as does all that is done for the first time.

    What is recorded by one of these has its memory in common, so that many take no more than the
    largest: two may not run at once, and what one computed is there until another runs.
    """

    def __init__(self) -> None:
        self.pool: Any = None

    def __call__(self, first: Function, function: Function) -> tuple[Any, Replay]:
        warm_up(first)
        outputs, graph = capture(function, self.pool)
        self.pool = graph.pool()
        return outputs, graph.replay


def warm_up(first: Function) -> None:
    """Let compilers compile and libraries choose their kernels, for in a capture they cannot."""
    side = torch.cuda.Stream()  # a graph must not see the default stream
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        first()
    torch.cuda.current_stream().wait_stream(side)


def capture(function: Function, pool: Any) -> tuple[Any, torch.cuda.CUDAGraph]:
    """What `function()` returns, and the graph of what it does, with its memory from a pool, or one
    of its own where that is None.

    Raises CannotCapture for what waits for the device, as a decomposition by singular values does.
    """
    graph = torch.cuda.CUDAGraph()
    try:
        # Other threads may do what a capture must not: a loader's pins memory for the next batches.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            outputs = function()
    except RuntimeError as error:
        if "captur" not in str(error):
            raise
        raise CannotCapture(str(error).strip().split("\n")[0]) from error
    return outputs, graph


def each(body: Callable[[Any], Any], feeds: list[Any]) -> Any:
    """What `body` returns for each feed, stacked leaf by leaf."""
    return stack([body(feed) for feed in feeds])


class Captured:
    """Steps of training by their feeds, captured once for each number of feeds.

    `body(feed)` takes a step: it reads its batch by a feed, a tree of tensors that lie in buffers
    which each call fills anew, and writes `state` in place. The state is as before after a capture,
    also after one that failed. Steps that no graph can hold raise ValueError, or with `fall_back`
    they go on one by one, with a warning, and `gave_way` is True.
    """

    def __init__(
        self,
        body: Callable[[Any], Any],
        state: Any,
        record: Record | None = None,
        fall_back: bool = False,
    ):
        self.body, self.state, self.record = body, state, record or Recorder()
        self.fall_back = fall_back
        self.graphs: dict[int, tuple[list[Any], Any, Replay]] = {}
        self.gave_way = False

    def __call__(self, feeds: list[Any]) -> Any:
        """What `body` returned, stacked over the feeds."""
        if not self.gave_way and len(feeds) not in self.graphs:
            try:
                self.graphs[len(feeds)] = self._capture(feeds)
            except CannotCapture as reason:
                self._give_way(reason)
        if self.gave_way:
            return each(self.body, feeds)
        buffers, outputs, replay = self.graphs[len(feeds)]
        _copy(buffers, feeds)
        replay()
        return tree_map(torch.clone, outputs)  # the next replay writes over them

    def _give_way(self, reason: CannotCapture) -> None:
        if not self.fall_back:
            raise ValueError(
                "runner: no CUDA graph can hold the steps, for they wait for the device: "
                f"{reason}; use Plan(graph=0)"
            ) from reason
        warnings.warn(
            "no CUDA graph can hold the steps, for they wait for the device, and they go on one by "
            f"one: {reason}; Plan(graph=0) does not try",
            stacklevel=3,
        )
        self.gave_way = True

    def _capture(self, feeds: list[Any]) -> tuple[list[Any], Any, Replay]:
        before, buffers = tree_map(torch.clone, self.state), tree_map(torch.clone, feeds)
        # All steps are alike; two, for what one returns is stacked by other kernels.
        first = partial(each, self.body, buffers[:2])
        try:
            outputs, replay = self.record(first, partial(each, self.body, buffers))
        finally:
            _copy(self.state, before)
        return buffers, outputs, replay


def _copy(into: Any, tree: Any) -> None:
    for old, new in zip(tree_leaves(into), tree_leaves(tree), strict=True):
        old.copy_(new)
