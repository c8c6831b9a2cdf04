"""Steps one by one, or many in a CUDA graph."""

from collections.abc import Callable
from functools import partial
from typing import Any

from fkd import _check
from fkd.execution._capture import Captured, each


def runner(
    body: Callable[[Any], Any], state: Any, graph: int, *, fall_back: bool = False
) -> Callable[[list[Any]], Any]:
    """What takes steps by their feeds and returns what `body` returned, stacked over them.

    `body(feed)` takes one step and writes `state` in place. Where `graph` is above zero, the steps
    of a call are captured in a CUDA graph: give it as many feeds at once. Steps that no graph can
    hold, for they wait for the device, raise ValueError when they are taken, or with `fall_back`
    they warn and go on one by one. Raises ValueError for a body that is no function, a
    graph below zero, and a `fall_back` that is no bool.
    """
    _check.function("runner", body=body)
    _check.count("runner", least=0, graph=graph)
    _check.kind("runner", bool, fall_back=fall_back)
    return Captured(body, state, fall_back=fall_back) if graph else partial(each, body)
