"""Many students as one: a member axis in front of every leaf of the state."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import tree_map

from fkd import _check
from fkd.distillation import Distillation, State

Order = Literal["shared", "own"]
Tree = TypeVar("Tree")  # any pytree of tensors


class Seeds(NamedTuple):
    """A member's seed by what comes from it: its `init`ial weights, its own `order` of batches with
    what augments and mixes them, and its `dropout`, which stands for all that a student draws in
    its steps."""

    init: int
    order: int
    dropout: int


Seed = int | Seeds
"""A member's seed: that of all that is random in it, or one of each source."""


def seeds_of(where: str, seed: Seed) -> Seeds:
    """A member's seeds by source: of a whole number that number for each.

    Raises ValueError, which begins with `where`, for one outside [0, 2³²).

    >>> seeds_of("mine", 3)
    Seeds(init=3, order=3, dropout=3)
    """
    if not isinstance(seed, Seeds):
        _check.seed(where, seed=seed)
        return Seeds(seed, seed, seed)
    for source, number in seed._asdict().items():
        _check.seed(where, **{f"seed of {source}": number})
    return seed


def check_order(where: str, order: Order, seeds: Sequence[Seed]) -> None:
    """Raise where a member has a seed of its own order, but all read one."""
    if order == "shared" and any(isinstance(seed, Seeds) for seed in seeds):
        raise ValueError(
            f"{where}: order must be 'own' where members have a seed of it, but it is 'shared', "
            "and all would read one; give order='own', or whole numbers for seeds"
        )


def ensemble(distillation: Distillation, *, order: Order = "shared") -> Distillation:
    """The same distillation for many members at once, each with a seed of its own.

    `init(seeds, hyper)` takes a list of seeds, whole numbers or `Seeds`, and for each
    hyperparameter named in `hyper` one value a member. With `order="shared"` the members see one
    batch [batch, ...]; with "own" each its own [members, batch, ...]. A member is the same student
    as when it is trained alone; where those meet who work on one batch, they meet once for all
    members. How members lie on the hardware is a matter of `fkd.execution`. Raises ValueError for
    what is no distillation; `init` for no seeds, for those outside [0, 2³²), and where a number has
    not one value a member.

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
    _check.kind("ensemble", Distillation, distillation=distillation)
    _check.known("ensemble", "order", order, ("shared", "own"))
    batch_axis = None if order == "shared" else 0
    return Distillation(
        partial(init, distillation),
        vmap(distillation.loss, in_dims=(0, 0, batch_axis)),
        vmap(distillation.gradient, in_dims=(0, batch_axis)),
        vmap(distillation.update),
        distillation.reduce,
    )


def init(
    distillation: Distillation,
    seeds: Sequence[Seed],
    hyper: Mapping[str, Sequence[float]] | None = None,
) -> State:
    """The members' states, stacked, from their seeds and one value a member of each number.

    Raises ValueError as `ensemble` says.
    """
    hyper = {} if hyper is None else hyper
    _check.kind("ensemble", Distillation, distillation=distillation)
    _check.sequence("ensemble", seeds=seeds)
    _check.mapping("ensemble", hyper=hyper)
    if not seeds:
        raise ValueError("ensemble: no seeds were given; give at least one")
    by_source = [seeds_of("ensemble", seed) for seed in seeds]
    for name, values in hyper.items():
        _check.sequence("ensemble", **{f"hyperparameter {name!r}": values})
        if len(values) != len(seeds):
            raise ValueError(
                f"ensemble: hyperparameter {name!r} must have one value a member, "
                f"but there are {len(values)} values and {len(seeds)} seeds"
            )
    members = [
        distillation.init(seed.init, {name: values[k] for name, values in hyper.items()})
        for k, seed in enumerate(by_source)
    ]
    state = stack(members)
    return state._replace(key=state.key.new_tensor([seed.dropout for seed in by_source]))


def size(state: State) -> int:
    """How many members a stacked state holds. Raises ValueError for one student's state."""
    _check.kind("size", State, state=state)
    if state.step.ndim != 1:
        raise ValueError(
            "size: the state must be that of members, with one axis of them, but its step is "
            f"{tuple(state.step.shape)}; ensemble(distillation).init(seeds) makes one"
        )
    return len(state.step)


def member(tree: Tree, k: int) -> Tree:
    """Member `k` of any stacked tree: a view of each leaf.

    Raises ValueError for a leaf that is no tensor, and for a member that is not there.

    >>> member({"w": torch.tensor([[1, 2], [3, 4]])}, 1)
    {'w': tensor([3, 4])}
    """
    _check.count("member", least=0, k=k)
    return tree_map(partial(_row, k), tree)


def _row(k: int, leaf: Tensor) -> Tensor:
    if not isinstance(leaf, Tensor) or not leaf.ndim or k >= len(leaf):
        form = tuple(leaf.shape) if isinstance(leaf, Tensor) else f"a {type(leaf).__name__}"
        raise ValueError(
            f"member: there is no member {k}, for a leaf of the tree is {form}; members are the "
            "first axis of each, counted from 0"
        )
    return leaf[k]


def stack(trees: Sequence[Tree]) -> Tree:
    """Trees of one structure as one tree with a new first axis: `member` takes one out again.

    Raises ValueError for no trees, and for trees of which two differ in structure or in the shape
    of a leaf.

    >>> stack([{"w": torch.tensor(1)}, {"w": torch.tensor(2)}])
    {'w': tensor([1, 2])}
    """
    _check.sequence("stack", trees=trees)
    if not trees:
        raise ValueError("stack: there are no trees; give at least one")
    try:
        return tree_map(_stacked, *trees)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"stack: trees must have one structure, and tensors of one shape: {reason}"
        ) from error


def _stacked(*leaves: Tensor) -> Tensor:
    return torch.stack(leaves)


def part(tree: Tree, members: slice) -> Tree:
    """Some members of any stacked tree: a view of each leaf. Raises ValueError as `member`.

    >>> part({"w": torch.tensor([1, 2, 3])}, slice(1, 3))
    {'w': tensor([2, 3])}
    """
    _check.kind("part", slice, members=members)
    return tree_map(partial(_rows, members), tree)


def _rows(members: slice, leaf: Tensor) -> Tensor:
    if not isinstance(leaf, Tensor) or not leaf.ndim:
        raise ValueError(
            "part: every leaf of the tree must be a tensor with an axis of members, but one is a "
            f"{type(leaf).__name__}"
        )
    return leaf[members]
