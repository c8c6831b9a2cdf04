"""Steps of training in one CUDA graph, so that a GPU need not wait for Python between kernels."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from fkd.ensemble import stack

Replay = Callable[[], None]


def record(function: Callable[[], Any]) -> tuple[Any, Replay]:
    """What `function()` returns, and `replay()`, which computes it anew into the same tensors."""
    side = torch.cuda.Stream()  # a graph must not see the default stream
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        function()  # compilers compile and libraries choose their kernels before the capture
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = function()
    return outputs, graph.replay


def stacked(body: Callable[[Tensor], Any], rows: Tensor) -> Any:
    """What `body` returns for each row, stacked leaf by leaf."""
    return stack([body(row) for row in rows])


class Captured:
    """Steps of training by their rows of an order, captured once for each number of rows.

    `body(row)` takes a step: it reads the batch at `row`, which lies in a buffer that each call
    fills anew, and writes `state` in place. The state is as before after a capture.
    """

    def __init__(
        self,
        body: Callable[[Tensor], Any],
        state: Any,
        record: Callable[[Callable[[], Any]], tuple[Any, Replay]] = record,
    ):
        self.body, self.state, self.record = body, state, record
        self.graphs: dict[int, tuple[Tensor, Any, Replay]] = {}

    def __call__(self, rows: Tensor) -> Any:
        """What `body` returned, stacked over the rows."""
        if len(rows) not in self.graphs:
            self.graphs[len(rows)] = self._capture(rows)
        buffer, outputs, replay = self.graphs[len(rows)]
        buffer.copy_(rows)
        replay()
        return tree_map(torch.clone, outputs)  # the next replay writes over them

    def _capture(self, rows: Tensor) -> tuple[Tensor, Any, Replay]:
        before, buffer = tree_map(torch.clone, self.state), rows.clone()
        outputs, replay = self.record(lambda: stacked(self.body, buffer))
        for leaf, old in zip(tree_leaves(self.state), tree_leaves(before), strict=True):
            leaf.copy_(old)
        return buffer, outputs, replay
