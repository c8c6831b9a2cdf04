"""What an optimizer is, and how one is made of others: `chain` and `masked`."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import (
    GetAttrKey,
    MappingKey,
    SequenceKey,
    tree_flatten_with_path,
    tree_leaves,
    tree_map,
    tree_unflatten,
)

from fkd import _check

Hyper = Mapping[str, Tensor]


class Transform(NamedTuple):
    """One link of a chain: it turns updates, which start as the gradient, into other updates.

    `hyper` gives the numbers that become leaves of a student's state, with their defaults;
    `init(params) -> state`; `update(updates, state, params, hyper) -> (updates, state)`. At the
    chain's end the updates are subtracted from the parameters.
    """

    hyper: dict[str, float]
    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any, Hyper], tuple[Any, Any]]


class Optimizer(NamedTuple):
    """An optimizer as data: its numbers, `init(params) -> state`, and `update`.

    `hyper` is that of `Transform`; `update(gradient, state, params, hyper) -> (params, state)`,
    where `params` is any pytree of tensors. `transform` is the chain without its last subtraction,
    for `chain` and `masked` to build on; an optimizer written by hand has none. `shares` names the
    numbers that must stay below one.
    """

    hyper: dict[str, float]
    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any, Hyper], tuple[Any, Any]]
    transform: Transform | None = None
    shares: tuple[str, ...] = ()


Link = Transform | Optimizer
Where = Callable[[str, Tensor], bool]  # of a leaf's name and the leaf


def chain(*links: Link, name: str | None = None) -> Optimizer:
    """The optimizer that runs its links in turn and subtracts the last one's updates.

    A link is a transform or a whole optimizer, which stands for its own chain. The state is the
    tuple of the links' states. With a `name`, the numbers are listed under it, as `heads.lr`, so
    that two optimizers fit into one chain:

    >>> from fkd.optim import adam, adamw, clip_by_norm, sgd
    >>> clipped = chain(clip_by_norm(1.0), adamw(1e-3))
    >>> list(clipped.hyper)
    ['max_norm', 'lr', 'weight_decay']
    >>> both = chain(
    ...     masked(sgd(0.1), lambda name, _: name.startswith("student.")),
    ...     masked(chain(adam(1e-3), name="heads"), lambda name, _: name.startswith("heads.")),
    ... )
    >>> list(both.hyper)
    ['lr', 'weight_decay', 'heads.lr', 'heads.weight_decay']

    Raises ValueError for no link at all, what is no link, two links with a number of one name, or
    an optimizer written by hand.
    """
    if name is not None:
        _check.kind("chain", str, name=name)
    if not links:
        raise ValueError("chain: a link is missing; give at least one, as scale_by_learning_rate()")
    transforms = tuple(_transform("chain", link) for link in links)
    hyper: dict[str, float] = {}
    for transform in transforms:
        for number in transform.hyper:
            if number in hyper:
                raise ValueError(
                    f"chain: two links have a number {number!r}; give one of them a name of its "
                    f"own with name=, as in scale_by_learning_rate(0.1, name='heads.lr') or "
                    f"chain(adamw(), name='heads')"
                )
        hyper |= transform.hyper
    update = partial(_in_turn, transforms)
    if name is not None:
        update = partial(_named, name, tuple(hyper), update)
        hyper = {f"{name}.{number}": value for number, value in hyper.items()}
    transform = Transform(hyper, partial(_init_all, transforms), update)
    return Optimizer(hyper, transform.init, partial(_descend, update), transform)


def _transform(where: str, link: Link) -> Transform:
    if isinstance(link, Transform):
        return link
    if not isinstance(link, Optimizer):
        raise ValueError(
            f"{where}: a link must be a Transform or an Optimizer, but it is {link!r:.100}; "
            "call the function that makes one, as in adam()"
        )
    if link.transform is None:
        raise ValueError(
            f"{where}: this optimizer has no transform, so nothing can be built on it; "
            "write it as a Transform and make it an optimizer with chain(transform), and "
            "let averaged() stand outermost"
        )
    return link.transform._replace(hyper=link.hyper)


def _init_all(transforms: tuple[Transform, ...], params: Any) -> tuple[Any, ...]:
    return tuple(transform.init(params) for transform in transforms)


def _in_turn(
    transforms: tuple[Transform, ...],
    updates: Any,
    state: tuple[Any, ...],
    params: Any,
    hyper: Hyper,
) -> tuple[Any, tuple[Any, ...]]:
    if len(state) != len(transforms):
        raise ValueError(
            f"chain: the state must hold one of each of {len(transforms)} links, as init makes it, "
            f"but it holds {len(state)}, of another optimizer"
        )
    states = []
    for transform, own in zip(transforms, state, strict=True):
        updates, own = transform.update(updates, own, params, hyper)
        states.append(own)
    return updates, tuple(states)


def _named(
    name: str,
    numbers: tuple[str, ...],
    update: Callable[..., tuple[Any, Any]],
    updates: Any,
    state: Any,
    params: Any,
    hyper: Hyper,
) -> tuple[Any, Any]:
    own = {number: hyper[f"{name}.{number}"] for number in numbers}
    return update(updates, state, params, own)


def _descend(
    update: Callable[..., tuple[Any, Any]], gradient: Any, state: Any, params: Any, hyper: Hyper
) -> tuple[Any, Any]:
    updates, state = update(gradient, state, params, hyper)
    return tree_map(torch.sub, params, updates), state


class MaskedState(NamedTuple):
    """The names of the leaves that `masked` chose, as keys of empty tuples, for a state holds
    nothing but tensors; and the state of its link, which sees those leaves alone, by name."""

    names: dict[str, tuple[()]]
    inner: Any


def masked(link: Link, where: Where) -> Transform:
    """A link for those leaves alone that `where(name, leaf)` accepts; the others pass as they come.

    A name is the path to a leaf, as `student.fc.weight` or `heads.hint.0.bias`. `where` is asked
    by `init`, of the leaves of one student. So biases go without decay, and SGD moves them all:

    >>> from fkd.optim import add_decay, scale_by_learning_rate
    >>> no_bias = chain(
    ...     masked(add_decay(1e-4), lambda name, _: not name.endswith("bias")),
    ...     scale_by_learning_rate(0.1),
    ... )
    >>> params = {"weight": torch.ones(1), "bias": torch.ones(1)}
    >>> list(no_bias.init(params)[0].names)
    ['weight']

    What passes a masked optimizer is the bare gradient: see that another link scales it. Raises
    ValueError for an optimizer written by hand, for what is no link, and for a `where` that is no
    function.
    """
    transform = _transform("masked", link)
    _check.function("masked", where=where)
    init = partial(_masked_init, transform, where)
    return Transform(transform.hyper, init, partial(_masked_update, transform))


def is_matrix(name: str, leaf: Tensor) -> bool:
    """A mask of what is commonly decayed: all but biases and the numbers of norms.

    A leaf counts that has two axes or more and is called no `bias`, whatever its layer is. So
    BatchNorm's, GroupNorm's and LayerNorm's numbers are left out (but of a LayerNorm over several
    axes), and with them all other vectors and scalars; embeddings count.

    >>> from fkd.optim import adamw
    >>> no_norms = adamw(1e-3, weight_decay=0.05, decayed=is_matrix)
    >>> params = {"norm.weight": torch.ones(2), "fc.weight": torch.ones(3, 2)}
    >>> list(no_norms.init(params)[1].names)
    ['fc.weight']
    """
    _check.kind("is_matrix", str, name=name)
    _check.tensor("is_matrix", leaf=leaf)
    return leaf.ndim > 1 and "bias" not in name.rpartition(".")[2]


def _masked_init(transform: Transform, where: Where, params: Any) -> MaskedState:
    leaves = by_name(params)
    if len(leaves) < len(tree_leaves(params)):
        raise ValueError("masked: two parameters have one name; rename a key that holds a dot")
    own = {name: leaf for name, leaf in leaves.items() if where(name, leaf)}
    return MaskedState({name: () for name in own}, transform.init(own) if own else ())


def _masked_update(
    transform: Transform, updates: Any, state: MaskedState, params: Any, hyper: Hyper
) -> tuple[Any, MaskedState]:
    if not state.names:
        return updates, state
    pairs, structure = tree_flatten_with_path(updates)
    leaves, every = by_name(updates), by_name(params)
    chosen = {name: leaves[name] for name in state.names}
    own = {name: every[name] for name in state.names}
    chosen, inner = transform.update(chosen, state.inner, own, hyper)
    merged = [chosen.get(_name(path), leaf) for path, leaf in pairs]
    return tree_unflatten(merged, structure), MaskedState(state.names, inner)


def by_name(tree: Any) -> dict[str, Tensor]:
    return {_name(path): leaf for path, leaf in tree_flatten_with_path(tree)[0]}


def _name(path: tuple[Any, ...]) -> str:
    parts = {MappingKey: "key", GetAttrKey: "name", SequenceKey: "idx"}
    return ".".join(str(getattr(part, parts[type(part)])) for part in path)
