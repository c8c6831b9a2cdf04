"""One student too large for a device: its state in shards, one a rank, which is ZeRO's saving.

At rest a rank holds its shard of every parameter, of every buffer and of the optimizer's state. In
a step the parameters are whole for as long as the gradient is computed, each rank computes it from
its own part of the batch, and the sum over ranks leaves each its own shard, on which the optimizer
runs. Shards are DTensors, which know the shape of the whole: a transform that looks at a leaf, or
at all of them (a norm, a mask by axes), sees what it would see in one process.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._C._distributed_c10d import _resolve_process_group
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.utils._pytree import (
    tree_flatten,
    tree_leaves,
    tree_map,
    tree_structure,
    tree_unflatten,
)

from fkd import _check, checkpoint
from fkd.checkpoint._read import opened
from fkd.checkpoint._tree import flat, misfit, refuse
from fkd.data import Batch
from fkd.distillation import Distillation, Gradient, Loss, State
from fkd.distillation._split import reduce_over
from fkd.distributed._mesh import Mesh
from fkd.split import Split

Tree = TypeVar("Tree")  # any pytree of tensors


def sharded(distillation: Distillation, mesh: Mesh) -> Distillation:
    """The same distillation with its state in shards over the mesh's data ranks.

    `distillation` is one student's, made with `split=mesh.split`. A step is the same as ever, and
    so is the student, but for rounding. Every rank calls every function, in the same order.

    A leaf is cut along its longest axis as torch.chunk cuts, so that a rank holds about 1/ranks of
    the bytes of parameters, buffers and optimizer; what is too small for that, a number or a bias
    of fewer elements than ranks, is held by all. What is not saved:
    parameters, buffers and gradient are whole on each rank inside a step, and parameters and
    buffers for a moment in `init`, which builds the student by its seed. The optimizer's state is
    never whole.

    On a mesh of one data rank it is the distillation itself. Raises ValueError for what is no
    distillation or no mesh, and for a distillation that is not split over the mesh's data ranks;
    its functions for a state that is not in shards, and for one of many members, which are dealt
    over ranks and not cut.

    Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models"
    (2020), section 5: stage 2, with the parameters of stage 3 between steps.

    >>> from fkd import methods, optim
    >>> from fkd.distillation import distill, step
    >>> from fkd.model import functional
    >>> net = functional(lambda: torch.nn.Linear(4, 3))
    >>> batch = Batch(torch.ones(2, 4), {"labels": torch.tensor([0, 2])})
    >>> mesh = Mesh()  # of started(data_ranks=...), under torchrun
    >>> run = sharded(distill(net, methods.ce(), optim.sgd(0.1), batch, split=mesh.split), mesh)
    >>> state, metrics = step(run, run.init(0), batch)
    >>> whole_state(state).params["student"]["weight"].shape
    torch.Size([3, 4])
    """
    _check.kind("sharded", Distillation, distillation=distillation)
    _check.kind("sharded", Mesh, mesh=mesh)
    if mesh.split is None:
        return distillation
    split = _split_of(distillation)
    if split is None or (split.part, split.parts) != (mesh.data_rank, mesh.data_ranks):
        raise ValueError(
            "sharded: the distillation must be split over the mesh's data ranks, and meet the "
            "others by nothing else; make it with distill(..., split=mesh.split)"
        )
    return Distillation(
        partial(_init, distillation, mesh),
        partial(_loss, distillation),
        partial(_gradient, distillation),
        partial(_update, distillation),
        partial(_reduce, distillation, mesh),
    )


def sharded_state(state: State, mesh: Mesh) -> State:
    """A plain state, which every rank has, in shards: each rank keeps its own alone.

    So a student goes on that was trained on one device. On a mesh of one data rank it is the state
    itself. Raises ValueError for what is no state or no mesh, and for the state of many members.
    """
    _check.kind("sharded_state", State, state=state)
    _check.kind("sharded_state", Mesh, mesh=mesh)
    _check_one("sharded_state", state)
    if mesh.split is None:
        return state
    params, buffers, optimizer = _cut(mesh, (state.params, state.buffers, state.optimizer))
    return state._replace(params=params, buffers=buffers, optimizer=optimizer)


def whole_state(state: State) -> State:
    """A state in shards as a plain one, on the CPU of every rank; every rank calls it.

    Leaves are gathered one by one, so that no device holds more than one of them. Raises ValueError
    for what is no state.
    """
    _check.kind("whole_state", State, state=state)
    return tree_map(_on_cpu, state)


def save_sharded(path: str | Path, state: State, mesh: Mesh, about: Mapping[str, Any] = {}) -> None:
    """Write a state in shards to `path`, in the file that `fkd.checkpoint.save` makes of it whole.

    Every rank calls it. Leaves are gathered one by one; the first of the mesh's data ranks alone
    keeps them, on its CPU, and writes. So the file is read by one process and by any number of
    ranks. Where it cannot be written, that rank raises what `fkd.checkpoint.save` raises, and the
    others OSError.
    """
    _check.kind("save_sharded", State, state=state)
    _check.kind("save_sharded", Mesh, mesh=mesh)
    leaves, structure = tree_flatten(state)
    kept = [x if mesh.data_rank == 0 else None for x in map(_on_cpu, leaves)]
    failed = torch.zeros(1)
    try:
        if mesh.data_rank == 0:
            checkpoint.save(path, tree_unflatten(kept, structure), about)
    except BaseException:
        failed += 1
        raise
    finally:
        if mesh.split is not None:
            failed = mesh.split.sum(failed)
    if failed:
        raise OSError(f"save_sharded: the first rank could not write {path}; see its own error")


def load_sharded(path: str | Path, like: State) -> State:
    """The state in a file, in shards as those of `like`, which `init` made.

    Each rank reads the file leaf by leaf, and keeps its shard alone. The file is one of
    `save_sharded`, or of `fkd.checkpoint.save`, whose `load` says what is taken. Raises ValueError
    that names every leaf that is missing, not wanted, or of another shape or dtype.
    """
    _check.kind("load_sharded", State, like=like)
    tensors, expected = opened(path), flat(like)
    wrong = [f"{name} is missing" for name in expected if name not in tensors]
    wrong += [f"{name} is not wanted" for name in tensors if name not in expected]
    refuse(f"checkpoint {path}", wrong)
    leaves = []
    for name, leaf in expected.items():
        x = tensors[name]
        if line := misfit(name, x, leaf):
            wrong.append(line)
        else:
            leaves.append(_placed(x, leaf))
    refuse(f"checkpoint {path}", wrong)
    return tree_unflatten(leaves, tree_structure(like))


def _split_of(distillation: Distillation) -> Split | None:
    """The split that a distillation was made with; None where it has another `reduce` or none."""
    reduce = distillation.reduce
    if isinstance(reduce, partial) and reduce.func is reduce_over:
        return reduce.args[0]
    return None


def _init(
    distillation: Distillation, mesh: Mesh, seed: int, hyper: Mapping[str, float] | None = None
) -> State:
    return tree_map(_settled, distillation.init(seed, hyper, place=partial(_cut, mesh)))


def _loss(distillation: Distillation, params: Any, state: State, batch: Batch) -> Loss:
    return distillation.loss(_whole(params), _without_shards("loss", state), batch)


def _gradient(distillation: Distillation, state: State, batch: Batch) -> Gradient:
    return distillation.gradient(_without_shards("gradient", state), batch)


def _reduce(distillation: Distillation, mesh: Mesh, gradient: Gradient) -> Gradient:
    """Each rank's shard of the sum over ranks; the buffers are alike on all."""
    assert distillation.reduce is not None
    rest = distillation.reduce(gradient._replace(params={}))
    shards = tree_map(lambda share: _held(share, mesh, Partial()), gradient.params)
    return Gradient(shards, _cut(mesh, rest.buffers), rest.metrics)


def _update(distillation: Distillation, state: State, gradient: Gradient) -> State:
    _check_shards("update", state)
    return tree_map(_settled, distillation.update(state, gradient))


def _without_shards(where: str, state: State) -> State:
    """The state that a gradient is computed from: whole, and without the optimizer's."""
    _check_shards(where, state)
    params, buffers = _whole((state.params, state.buffers))
    return state._replace(params=params, buffers=buffers, optimizer=())


def _check_shards(where: str, state: State) -> None:
    """Raise for a state that is not one student's, or not in shards."""
    _check.kind(where, State, state=state)
    _check_one(where, state)
    for leaf in tree_leaves((state.params, state.buffers)):
        if not isinstance(leaf, DTensor):
            raise ValueError(
                f"{where}: the state must be in shards, but a leaf of {tuple(leaf.shape)} is a "
                f"{type(leaf).__name__}; make it with the sharded distillation's init, or with "
                "sharded_state. A sharded student is trained alone, by step: members of an "
                "ensemble are dealt over ranks and not cut"
            )


def _check_one(where: str, state: State) -> None:
    if state.step.ndim:
        raise ValueError(
            f"{where}: the state must be one student's, but it is that of {len(state.step)} "
            "members, which are dealt over ranks and not cut; let each rank have its own "
            "(Mesh.members)"
        )


def _cut(mesh: Mesh, tree: Tree) -> Tree:
    """A tree that all ranks have, of which each keeps its shards."""
    return tree_map(lambda leaf: _held(leaf, mesh, Replicate()), tree)


def _held(leaf: Tensor, mesh: Mesh, before: Replicate | Partial) -> Tensor:
    """A leaf as it is held at rest, of one that all ranks have, or that is the sum of theirs."""
    group: Any = _resolve_process_group(mesh.data_group)  # type: ignore[arg-type]
    ranks = DeviceMesh.from_group(group, leaf.device.type)
    whole = DTensor.from_local(leaf.detach(), ranks, [before], run_check=False)
    return whole.redistribute(placements=[_placement(leaf, mesh.data_ranks)])


def _placement(leaf: Tensor, ranks: int) -> Shard | Replicate:
    """Cut along the longest axis of which each rank has a part; held by all where there is none.

    A shard without elements would do for what is here, but not for a transform that takes the
    largest element: it would raise on one rank, and the others would wait.
    """
    for axis in sorted(range(leaf.ndim), key=leaf.shape.__getitem__, reverse=True):
        rows = -(-leaf.shape[axis] // ranks)  # of every rank but the last ones
        if rows * (ranks - 1) < leaf.shape[axis]:
            return Shard(axis)
    return Replicate()


def _settled(leaf: Tensor) -> Tensor:
    """A leaf after an update, held as it was before: a transform may leave sums undone."""
    if not isinstance(leaf, DTensor):
        return leaf
    return leaf.redistribute(placements=[_placement(leaf, leaf.device_mesh.size())])


def _whole(tree: Tree) -> Tree:
    """The tree with its leaves whole; the gradient that comes back is this rank's share."""
    return tree_map(_gathered, tree)


def _gathered(leaf: Tensor) -> Tensor:
    return leaf.full_tensor(grad_placements=[Partial()]) if isinstance(leaf, DTensor) else leaf


def _on_cpu(leaf: Tensor) -> Tensor:
    return _gathered(leaf).detach().cpu()


def _placed(x: Tensor, like: Tensor) -> Tensor:
    """A whole leaf on the device and with the dtype of another, in shards where that one is."""
    x = x.to(like.device, like.dtype)
    if not isinstance(like, DTensor):
        return x
    whole = DTensor.from_local(x, like.device_mesh, [Replicate()], run_check=False)
    return whole.redistribute(placements=like.placements)
