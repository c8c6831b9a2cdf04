"""The type checker of the typed pass: beartype, where an int will do for a float (PEP 484)."""

import random
from collections.abc import Callable
from functools import wraps
from typing import Any

from beartype import BeartypeConf, beartype

typed = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its types checked, which leaves Python's `random` as it was.

    beartype draws from it which item of a container to look at, and a model that draws from it is
    refused.
    """
    checked = typed(function)

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        state = random.getstate()
        try:
            return checked(*arguments, **options)
        finally:
            random.setstate(state)

    return call
