"""Many students as one: a member axis in front of every leaf of the state."""

import random
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import tree_map

from fkd import _check, _layers
from fkd.distillation import Distillation, Gradient, State, in_place
from fkd.model import Tensors

Layout = Literal["auto", "vmap", "loop"]
Order = Literal["shared", "own"]
Tree = TypeVar("Tree")  # any pytree of tensors


def ensemble(
    distillation: Distillation,
    *,
    layout: Layout = "auto",
    chunk: int | None = None,
    order: Order = "shared",
    compile: bool = False,
) -> Distillation:
    """The same distillation for many members at once, each with a seed of its own.

    `init(seeds, hyper)` takes a list of seeds, and for each hyperparameter named in `hyper` one
    value a member. With `order="shared"` the members see one batch [batch, ...]; with "own" each
    its own [members, batch, ...]. A member is the same student as when it is trained alone.

    `layout` says how the members' gradients lie on the hardware, and changes no result beyond
    rounding: "vmap" is one wide computation; "loop" takes them one by one, which is faster on a
    CPU, where stacked activations outgrow the caches; "auto" chooses by the images' device. With
    `chunk`, "vmap" takes at most so many members at once, where memory asks for it. `compile`
    compiles the step and each half of it, with `fullgraph=True` and fixed shapes.

    >>> from fkd import methods, optim
    >>> from fkd.distillation import distill
    >>> from fkd.model import functional
    >>> net = functional(lambda: torch.nn.Linear(4, 3))
    >>> images, targets = torch.ones(2, 4), {"labels": torch.tensor([0, 2])}
    >>> run = ensemble(distill(net, methods.supervised(), optim.sgd(), images, targets))
    >>> run.init([0, 1, 2], {"lr": [0.1, 0.2, 0.3]}).params["student"]["weight"].shape
    torch.Size([3, 3, 4])
    """
    _check.known("ensemble", "layout", layout, ("auto", "vmap", "loop"))
    _check.known("ensemble", "order", order, ("shared", "own"))
    if chunk is not None:
        _check.positive("ensemble", chunk=chunk)
    axis = None if order == "shared" else 0

    def together(state: State, images: Tensor, targets: Mapping[str, Tensor]) -> Gradient:
        return vmap(distillation.gradient, in_dims=(0, axis, axis))(state, images, targets)

    def update(state: State, gradient: Gradient) -> State:
        return vmap(distillation.update)(state, gradient)

    alone, alone_in_place = distillation.gradient, distillation.advance
    together_in_place = in_place(together, update)
    if compile:
        together, alone, update = _compiled(together), _compiled(alone), _compiled(update)
        alone_in_place = _compiled(alone_in_place)
        together_in_place = _compiled(together_in_place)

    def init(seeds: Sequence[int], hyper: Mapping[str, Sequence[float]] | None = None) -> State:
        if not seeds:
            raise ValueError("ensemble: no seeds were given; give at least one")
        for name, values in (hyper or {}).items():
            if len(values) != len(seeds):
                raise ValueError(
                    f"ensemble: hyperparameter {name!r} must have one value a member, "
                    f"but there are {len(values)} values and {len(seeds)} seeds"
                )
        members = [
            distillation.init(seed, {name: values[k] for name, values in (hyper or {}).items()})
            for k, seed in enumerate(seeds)
        ]
        return stack(members)

    def one_by_one(
        run: Callable, state: State, images: Tensor, targets: Mapping[str, Tensor]
    ) -> Any:
        parts = []
        with _layers.alone():
            for k in range(size(state)):
                batch = (images, targets) if order == "shared" else member((images, targets), k)
                parts.append(run(member(state, k), *batch))
        return stack(parts)

    def in_chunks(
        run: Callable, state: State, images: Tensor, targets: Mapping[str, Tensor]
    ) -> Any:
        members = size(state)
        if chunk is None or chunk >= members:
            return run(state, images, targets)
        parts = []
        for start in range(0, members, chunk):
            few = slice(start, start + chunk)
            batch = (images, targets) if order == "shared" else _part((images, targets), few)
            parts.append(run(_part(state, few), *batch))
        return tree_map(lambda *leaves: torch.cat(leaves), *parts)

    def loops(images: Tensor) -> bool:
        return layout == "loop" or (layout == "auto" and images.device.type == "cpu")

    def gradient(state: State, images: Tensor, targets: Mapping[str, Tensor]) -> Gradient:
        if loops(images):
            return one_by_one(alone, state, images, targets)
        return in_chunks(together, state, images, targets)

    def advance(state: State, images: Tensor, targets: Mapping[str, Tensor]) -> Tensors:
        if loops(images):  # the members' views are written, and so their common tensors
            return one_by_one(alone_in_place, state, images, targets)
        return in_chunks(together_in_place, state, images, targets)

    return Distillation(init, gradient, update, advance)


def size(state: State) -> int:
    """How many members a stacked state holds."""
    return len(next(iter(state.hyper.values())))


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


def _part(tree: Tree, members: slice) -> Tree:
    """Some members of any stacked tree: a view of each leaf."""
    return tree_map(lambda leaf: leaf[members], tree)


def why_not_compile(device: torch.device) -> str | None:
    """Why `torch.compile` cannot be used on a device, in a line, or None where it can.

    It is found out by compiling a function that no cache can know; this takes a few seconds.
    """
    number = random.random()
    try:
        torch.compile(lambda x: (x * number).cos(), fullgraph=True)(torch.ones(8, device=device))
    except Exception as error:  # compilers fail in as many ways as there are compilers
        return str(error).strip().split("\n")[0] or type(error).__name__
    return None


def _compiled(function: Callable) -> Callable:
    # The compiler keeps what it compiled with the code object, which all closures that one line
    # made share, and gives up at the eighth: each ensemble gets a code object of its own.
    own = types.FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    return torch.compile(own, fullgraph=True, dynamic=False)
