"""Steps one by one, or many in a CUDA graph."""

from collections.abc import Callable
from functools import partial
from typing import Any

from fkd import _check
from fkd.execution._capture import Captured, each


def runner(body: Callable[[Any], Any], state: Any, graph: int) -> Callable[[list[Any]], Any]:
    """What takes steps by their feeds and returns what `body` returned, stacked over them.

    `body(feed)` takes one step and writes `state` in place. Where `graph` is above zero, the steps
    of a call are captured in a CUDA graph: give it as many feeds at once. Raises ValueError for a
    body that is no function and a graph below zero.
    """
    _check.function("runner", body=body)
    _check.count("runner", least=0, graph=graph)
    return Captured(body, state) if graph else partial(each, body)
