"""Many students as one: a member axis in front of every leaf of the state."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, TypeVar

import torch
from torch.func import vmap
from torch.utils._pytree import tree_map

from fkd import _check
from fkd.distillation import Distillation, State

Order = Literal["shared", "own"]
Tree = TypeVar("Tree")  # any pytree of tensors


def ensemble(distillation: Distillation, *, order: Order = "shared") -> Distillation:
    """The same distillation for many members at once, each with a seed of its own.

    `init(seeds, hyper)` takes a list of seeds, and for each hyperparameter named in `hyper` one
    value a member. With `order="shared"` the members see one batch [batch, ...]; with "own" each
    its own [members, batch, ...]. A member is the same student as when it is trained alone. How
    members lie on the hardware is a matter of `fkd.execution`.

    >>> from fkd import methods, optim
    >>> from fkd.data import Batch
    >>> from fkd.distillation import distill
    >>> from fkd.model import functional
    >>> net = functional(lambda: torch.nn.Linear(4, 3))
    >>> batch = Batch(torch.ones(2, 4), {"labels": torch.tensor([0, 2])})
    >>> run = ensemble(distill(net, methods.ce(), optim.sgd(), batch))
    >>> run.init([0, 1, 2], {"lr": [0.1, 0.2, 0.3]}).params["student"]["weight"].shape
    torch.Size([3, 3, 4])
    """
    _check.known("ensemble", "order", order, ("shared", "own"))
    batch_axis = None if order == "shared" else 0
    return Distillation(
        partial(init, distillation),
        vmap(distillation.loss, in_dims=(0, 0, batch_axis)),
        vmap(distillation.gradient, in_dims=(0, batch_axis)),
        vmap(distillation.update),
    )


def init(
    distillation: Distillation,
    seeds: Sequence[int],
    hyper: Mapping[str, Sequence[float]] | None = None,
) -> State:
    """The members' states, stacked, from their seeds and one value a member of each number."""
    hyper = hyper or {}
    if not seeds:
        raise ValueError("ensemble: no seeds were given; give at least one")
    for name, values in hyper.items():
        if len(values) != len(seeds):
            raise ValueError(
                f"ensemble: hyperparameter {name!r} must have one value a member, "
                f"but there are {len(values)} values and {len(seeds)} seeds"
            )
    members = [
        distillation.init(seed, {name: values[k] for name, values in hyper.items()})
        for k, seed in enumerate(seeds)
    ]
    return stack(members)


def size(state: State) -> int:
    """How many members a stacked state holds."""
    return len(state.step)


def member(tree: Tree, k: int) -> Tree:
    """Member `k` of any stacked tree: a view of each leaf.

    >>> member({"w": torch.tensor([[1, 2], [3, 4]])}, 1)
    {'w': tensor([3, 4])}
    """
    return tree_map(lambda leaf: leaf[k], tree)


def stack(trees: Sequence[Tree]) -> Tree:
    """Trees of one structure as one tree with a new first axis: `member` takes one out again.

    >>> stack([{"w": torch.tensor(1)}, {"w": torch.tensor(2)}])
    {'w': tensor([1, 2])}
    """
    return tree_map(lambda *leaves: torch.stack(leaves), *trees)


def part(tree: Tree, members: slice) -> Tree:
    """Some members of any stacked tree: a view of each leaf.

    >>> part({"w": torch.tensor([1, 2, 3])}, slice(1, 3))
    {'w': tensor([2, 3])}
    """
    return tree_map(lambda leaf: leaf[members], tree)
