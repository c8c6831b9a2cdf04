"""Two networks of one kind that are trained side by side."""

import copy
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, nn

from fkd import _check
from fkd.model import by_name
from fkd.model._module import refuse_computed
from fkd.models._traced import fresh, with_forward

Build = Callable[[], nn.Module]
PEER = "peer_logits"


class Cohort(nn.Module):
    """A student and its peer, which are read the same inputs."""

    def __init__(self, student: nn.Module, peer: nn.Module):
        super().__init__()
        self.student, self.peer = student, peer
        self.training = student.training  # of a pretrained one False, which is trained as a whole


def cohort(build: Build) -> Build:
    """What builds a module that holds two of those that `build` does, `student` and `peer`.

    It takes what the student takes and gives what the student gives, and in training `peer_logits`
    beside it: what the peer makes of the same inputs. The second has the weights that `build()`
    makes when it is called again, and shares no tensor with the first; each has buffers of its own
    (BatchNorm's statistics), and draws random numbers of its own (dropout). The first of them is,
    seed by seed, the module that `build` makes alone. In evaluation the peer lies idle, and the
    outputs are those of the student. The names in the state_dict are those of `build()` behind
    `student.` and behind `peer.`

    Raises ValueError for what is no function; the function that it gives raises it where `build`
    makes no module, and where all trained weights of the two are alike, as of a module that was
    there before; and its module, when it runs in training, where `build`'s gives no `logits`, or
    gives `peer_logits` itself.

    >>> module = cohort(lambda: nn.Linear(2, 3))()
    >>> list(module.state_dict())
    ['student.weight', 'student.bias', 'peer.weight', 'peer.bias']
    >>> {name: tuple(x.shape) for name, x in module(torch.ones(5, 2)).items()}
    {'logits': (5, 3), 'peer_logits': (5, 3)}
    >>> list(module.eval()(torch.ones(5, 2)))
    ['logits']
    """
    _check.function("cohort", build=build)
    return partial(_of_two, build)


def _of_two(build: Build) -> nn.Module:
    student, second = fresh("cohort", build), fresh("cohort", build)
    refuse_computed("cohort: what build() makes", second)
    peer = copy.deepcopy(second)  # of layers that were there before both would hold the same
    pairs = zip(student.parameters(), peer.parameters(), strict=False)
    trained = [pair for pair in pairs if pair[0].requires_grad]
    if trained and all(torch.equal(one, other) for one, other in trained):
        raise ValueError(
            "cohort: build() must make a module with weights of its own each time that it is "
            "called, but it made the same twice, and two that are alike have nothing to teach each "
            "other; let it draw at least a layer's anew, as its reset_parameters() does"
        )

    @wraps(type(student).forward)  # so that inputs go by the names that the student has for them
    def forward(self: Cohort, *arguments: Any, **named: Any) -> dict[str, Tensor]:
        return _outputs(self, arguments, named)

    return with_forward(Cohort(student, peer), forward)


def _outputs(two: Cohort, arguments: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Tensor]:
    outputs = by_name(two.student(*arguments, **named))
    if not two.training:
        return outputs
    if PEER in outputs:
        raise ValueError(
            f"cohort: the module must not give an output {PEER!r} itself, for that is the peer's; "
            "rename it"
        )
    others = by_name(two.peer(*arguments, **named))
    _check.known("cohort", "output", "logits", others)
    return outputs | {PEER: others["logits"]}
