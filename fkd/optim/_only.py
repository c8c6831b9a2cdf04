"""An optimizer of some of the parameters, which leaves the others alone."""

from functools import partial
from typing import Any

from torch import Tensor

from fkd import _check
from fkd.optim._chain import Hyper, Optimizer

Path = tuple[str, ...]  # the keys to a leaf, outermost first


def only(optimizer: Optimizer, paths: frozenset[Path]) -> Optimizer:
    """The optimizer for the leaves at `paths` of nested dicts; the others stay as they are.

    They have neither decay nor a part in a norm nor a place in the state, as torch.optim treats a
    parameter whose gradient is None. Raises ValueError for what is no optimizer and no paths.

    >>> import torch
    >>> from fkd.optim import sgd
    >>> params = {"student": {"weight": torch.ones(1), "unused": torch.ones(1)}}
    >>> one = only(sgd(0.5), frozenset({("student", "weight")}))
    >>> hyper = {name: torch.tensor(value) for name, value in one.hyper.items()}
    >>> one.update(params, one.init(params), params, hyper)[0]
    {'student': {'weight': tensor([0.5000]), 'unused': tensor([1.])}}
    """
    _check.kind("only", Optimizer, optimizer=optimizer)
    _check.kind("only", frozenset, paths=paths)
    for path in paths:
        _check.kind("only", tuple, path=path)
    init, update = partial(_init, optimizer, paths), partial(_update, optimizer, paths)
    return optimizer._replace(init=init, update=update, transform=None)


def _init(optimizer: Optimizer, paths: frozenset[Path], params: Any) -> Any:
    return optimizer.init(_part(params, paths))


def _update(
    optimizer: Optimizer,
    paths: frozenset[Path],
    gradient: Any,
    state: Any,
    params: Any,
    hyper: Hyper,
) -> tuple[Any, Any]:
    few, state = optimizer.update(_part(gradient, paths), state, _part(params, paths), hyper)
    return merge(params, few), state


def _part(tree: Any, paths: frozenset[Path], path: Path = ()) -> Any:
    part = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            part[key] = _part(value, paths, (*path, key))
        elif (*path, key) in paths:
            part[key] = value
    return part


def by_path(tree: Any, path: Path = ()) -> dict[Path, Tensor]:
    """The leaves of nested dicts by their paths. Raises ValueError for what is no dict."""
    _check.kind("by_path", dict, tree=tree)
    leaves: dict[Path, Tensor] = {}
    for key, value in tree.items():
        own = (*path, key)
        leaves |= by_path(value, own) if isinstance(value, dict) else {own: value}
    return leaves


def merge(tree: Any, few: Any) -> Any:
    """The nested dicts of `tree` with those leaves in their place that `few` holds.

    Raises ValueError for what is no dict, and where `few` lacks a dict of `tree` or holds a leaf
    that `tree` does not.
    """
    _check.kind("merge", dict, tree=tree, few=few)
    for key in few:
        if key not in tree or isinstance(few[key], dict) != isinstance(tree[key], dict):
            raise ValueError(
                f"merge: few must hold leaves of the tree alone, but {key!r} is none of "
                f"{list(tree)!r:.100}"
            )
    return {
        key: merge(value, few.get(key, {})) if isinstance(value, dict) else few.get(key, value)
        for key, value in tree.items()
    }
