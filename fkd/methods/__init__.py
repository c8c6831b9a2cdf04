"""Methods as data: what a student must match, under what loss, how heavily.

A method maps a term's name to a `Term`; `|` joins two methods. A term's numbers become leaves of
the state under its name: `kd.weight`, `kd.temperature`. Each function here makes the method of one
paper; its default weights are the published ones unless it says otherwise, and `ce` is the weight
of the labels beside it. `layer` names an output of the student, and `teacher_layer` the teacher's,
its namesake by default; where their shapes differ, `Term.align` and the term's head join them, or
the error says what would fit. `METHODS` lists them by name, as the families export them.
"""

from collections.abc import Callable
from types import ModuleType

from fkd.methods import (
    _contrastive,
    _correlation,
    _decoupled,
    _divergence,
    _feature,
    _map,
    _online,
    _pooled,
    _relation,
    _response,
    _singular,
    _transformed,
    _transport,
)
from fkd.methods._contrastive import *  # noqa: F403
from fkd.methods._correlation import *  # noqa: F403
from fkd.methods._decoupled import *  # noqa: F403
from fkd.methods._divergence import *  # noqa: F403
from fkd.methods._feature import *  # noqa: F403
from fkd.methods._fit import fit
from fkd.methods._map import *  # noqa: F403
from fkd.methods._online import *  # noqa: F403
from fkd.methods._pooled import *  # noqa: F403
from fkd.methods._relation import *  # noqa: F403
from fkd.methods._response import *  # noqa: F403
from fkd.methods._singular import *  # noqa: F403
from fkd.methods._term import Context, Method, Term, wrapped
from fkd.methods._transformed import *  # noqa: F403
from fkd.methods._transport import *  # noqa: F403

FAMILIES = (
    _response,
    _divergence,
    _transformed,
    _decoupled,
    _transport,
    _correlation,
    _feature,
    _map,
    _pooled,
    _singular,
    _relation,
    _contrastive,
    _online,
)


def _exported(family: ModuleType) -> dict[str, Callable[..., Method]]:
    """A family's methods by name: `reverse_kd` is reverse-kd."""
    return {name.replace("_", "-"): getattr(family, name) for name in family.__all__}


METHODS: dict[str, Callable[..., Method]] = {}
for _family in FAMILIES:
    METHODS |= _exported(_family)

__all__ = ["METHODS", "Context", "Method", "Term", "fit", "wrapped"]
__all__ += [name for family in FAMILIES for name in family.__all__]
