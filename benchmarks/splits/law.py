"""States after a few steps on a mesh of ranks, against those of one process."""

import os
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.utils._pytree import tree_leaves

from fkd import methods, optim
from fkd.data import Batch
from fkd.distillation import Distillation, State, distill
from fkd.distributed import Mesh, started
from fkd.ensemble import ensemble, part
from fkd.execution import Plan, lay
from fkd.methods import METHODS, Context
from fkd.model import functional
from fkd.models import DeepNN, LightNN
from fkd.split import Split

RANKS = 4
MESHES = ((1, 1), (2, 1), (1, 2), (2, 2), (1, 4))  # (member ranks, data ranks)
CLASSES, EXAMPLES, TRAINING = 3, 7, 64  # seven are dealt unevenly over two ranks and over four
SEEDS, STEPS = (3, 11), 3
PLANS = {
    "loop": Plan("loop", compile="none", graph=0),
    "vmap": Plan("vmap", compile="none", graph=0),
    "loop, compiled": Plan("loop", compile="step", graph=0),
    "vmap, compiled": Plan("vmap", compile="step", graph=0),
}


def student() -> nn.Module:
    """The tutorial's student, which has dropout, with BatchNorm behind each convolution."""
    net = LightNN(CLASSES)
    for place in (0, 3):
        net.features[place] = nn.Sequential(net.features[place], nn.BatchNorm2d(16))
    return net.double()


@cache
def teacher() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DeepNN(CLASSES).double().eval()


def batches() -> Iterator[Batch]:
    net, generator = teacher(), torch.Generator().manual_seed(0)
    for step in range(STEPS):
        shape = (EXAMPLES, 3, 32, 32)
        images = torch.randn(shape, generator=generator, dtype=torch.float64)
        labels = torch.arange(EXAMPLES) % CLASSES
        index = (step * EXAMPLES + torch.arange(EXAMPLES)) % TRAINING
        with torch.no_grad():
            yield Batch(images, {"labels": labels, "index": index, **net(images)})


def distillation(name: str, batch: Batch, split: Split | None) -> Distillation:
    """SGD, for Adam turns the rounding of a gradient near zero into a step of full size."""
    method = METHODS[name]()
    with torch.no_grad():
        outputs = student()(batch.inputs)
    context = Context(
        examples=TRAINING,
        steps_per_epoch=1,
        epochs=2,
        teacher=teacher(),
        outputs={name: output.shape[1:] for name, output in outputs.items()},
        targets={name: target.shape[1:] for name, target in batch.targets.items()},
    )
    net = functional(methods.wrapped(student, method, context))
    optimizer = optim.sgd(1e-4, momentum=0.9)
    return distill(net, method, optimizer, batch, context=context, split=split)


def trained(one: Distillation, seeds: Sequence[int], plan: Plan, each: Sequence[Batch]) -> State:
    state = ensemble(one).init(seeds)
    advance = lay(one, plan)
    for batch in each:
        advance(state, batch)
    return state


def mesh_of(rank: int, member_ranks: int, data_ranks: int, groups: dict[int, str]) -> Mesh:
    """One of the small meshes into which all ranks are dealt."""
    return Mesh(rank % (member_ranks * data_ranks), member_ranks, data_ranks, groups[data_ranks])


def difference(state: State, expected: State) -> float:
    """The largest between two states, the optimizer's momentum included, which is a sum of
    gradients; of a leaf with numbers above one it is in parts of the largest. It is 0 only where
    the states are equal bit for bit."""
    pairs = zip(tree_leaves(state), tree_leaves(expected), strict=True)
    each = [(x.double(), y.double()) for x, y in pairs if x.numel()]
    return max(((x - y).abs().max() / y.abs().max().clamp(min=1)).item() for x, y in each)


def errors(
    names: Sequence[str],
    layouts: Sequence[str],
    shapes: Sequence[tuple[int, int]] = MESHES,
    steps: int = STEPS,
) -> list[dict[str, Any]]:
    """On each of two ranks or four: a row for each method, mesh and layout, with how far the states
    of this rank's members are from those of one process."""
    rows = []
    with started() as world:
        # More threads than cores, that wait for each other, take several times longer.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // world.ranks))
        sizes = [size for size in (2, 4) if size <= world.ranks]
        groups = {1: ""} | {size: _groups(world, size) for size in sizes}
        each = list(islice(batches(), steps))
        for name in names:
            # A rule knows its part of a batch, and not which members there are.
            splits = {data: mesh_of(world.rank, 1, data, groups).split for _, data in shapes}
            rules = {
                data: distillation(name, each[0], split)
                for data, split in ({1: None} | splits).items()
            }
            expected = trained(rules[1], SEEDS, PLANS["loop"], each)
            for layout in layouts:
                for shape in shapes:
                    mesh = mesh_of(world.rank, *shape, groups)
                    own = mesh.members(len(SEEDS))
                    # Members alone are dealt bit for bit in the layout that they are alone in.
                    reference = expected
                    if mesh.split is None and layout != "loop":
                        reference = trained(rules[1], SEEDS, PLANS[layout], each)
                    state = trained(rules[mesh.data_ranks], SEEDS[own], PLANS[layout], each)
                    error = difference(state, part(reference, own))
                    row = {"method": name, "layout": layout, "mesh": list(shape), "error": error}
                    rows.append(row)
                    world.words(None)  # so that a rank that is ahead does not run into a timeout
    return rows


def _groups(world: Mesh, size: int) -> str:
    """The name of this rank's process group among those of so many ranks."""
    name = ""
    for first in range(0, world.ranks, size):
        group = dist.new_group(list(range(first, first + size)))
        if isinstance(group, dist.ProcessGroup):
            name = dist.distributed_c10d._get_process_group_name(group)
    return name
