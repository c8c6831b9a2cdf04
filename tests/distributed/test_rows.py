"""Rows of the README's table of PyTorch's overview, each on two processes, in one launch."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from stored_group import StoredGroup
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.utils._pytree import tree_leaves, tree_map

from benchmarks._launched import launched
from fkd import methods, optim
from fkd.data import Batch
from fkd.distillation import State, distill, step
from fkd.distributed import Mesh, mesh_of, started
from fkd.model import functional
from fkd.split import Split

pytestmark = pytest.mark.plain
RANKS, STEPS = 2, 3
EXACT = 1e-12  # of float64 after three steps
BF16 = 2.0**-8  # from one number to the next


def build() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)
    )


def batch_of(examples: int, dtype: torch.dtype = torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(examples)
    inputs = torch.randn(examples, 6, generator=generator).to(dtype)
    logits = torch.randn(examples, 3, generator=generator).to(dtype)
    return Batch(inputs, {"labels": torch.arange(examples) % 3, "logits": logits})


def trained(split: Split | None, examples: int) -> State:
    """A student of kd after a few steps in float64."""
    run = distill(
        functional(build),
        methods.kd(),
        optim.sgd(0.1, momentum=0.9),  # Adam would make steps of noise where a gradient is zero
        batch_of(examples, torch.float32),
        split=split,
    )
    state = tree_map(_double, run.init(0))
    for _ in range(STEPS):
        state, _ = step(run, state, batch_of(examples))
    return state


def _double(leaf: Tensor) -> Tensor:
    return leaf.double() if leaf.is_floating_point() else leaf


def apart(one: Any, other: Any) -> float:
    """The largest difference between two trees of tensors."""
    pairs = zip(tree_leaves(one), tree_leaves(other), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)


# What each rank does. Each check gives a number: how far it is from one process.


def checks_of_stored() -> dict[str, Any]:
    """In processes of their own, for the addresses of a group stay in the store when it has ended,
    and who starts the next may read them before they are written anew."""
    dist.Backend.register_backend("stored", StoredGroup.made, devices=["cpu"])
    with started(data_ranks=RANKS, backend="stored", timeout=60) as mesh:
        return {"registered": registered(mesh)}


def checks() -> dict[str, Any]:
    """Every other check by name."""
    found: dict[str, Any] = {}
    with started(data_ranks=RANKS, backend="gloo", timeout=60) as mesh:
        found["uneven"] = max(apart(trained(mesh.split, n), trained(None, n)) for n in (2, 5, 9))
        found["device mesh"] = of_device_mesh(mesh)
        found["bf16"] = narrow(mesh)
        found["tensor parallel"] = asked()
    return found


def registered(mesh: Mesh) -> dict[str, Any]:
    first = mesh.of_first({"rank": torch.tensor(mesh.rank)})
    return {
        "backend": dist.get_backend(),
        "apart": apart(trained(mesh.split, 7), trained(None, 7)),
        "gathered": mesh.gather([mesh.rank, "member"]),
        "words": mesh.words({"rank": mesh.rank}),
        "first": int(first["rank"]),
    }


def of_device_mesh(mesh: Mesh) -> dict[str, Any]:
    given = init_device_mesh("cpu", (1, RANKS), mesh_dim_names=("member", "data"))
    dealt = init_device_mesh("cpu", (RANKS,), mesh_dim_names=("member",))
    own = mesh_of(given)
    return {
        "apart": apart(trained(own.split, 5), trained(mesh.split, 5)),
        "same place": (own.rank, own.member_ranks, own.data_ranks)
        == (mesh.rank, mesh.member_ranks, mesh.data_ranks),
        "members": [mesh_of(dealt).members(3).start, mesh_of(dealt).members(3).stop],
    }


def narrow(mesh: Mesh) -> float:
    """A bfloat16 student's gradient over two ranks, relative to one process's, by its norm."""
    batch = batch_of(16, torch.float32)
    gradients = []
    for split in (mesh.split, None):
        model = functional(build, torch.bfloat16)
        run = distill(model, methods.kd(), optim.sgd(0.1), batch, split=split)
        gradient = run.gradient(run.init(0), batch)
        if run.reduce is not None:
            gradient = run.reduce(gradient)
        gradients.append(torch.cat([leaf.flatten() for leaf in tree_leaves(gradient.params)]))
    together, alone = gradients
    return float((together - alone).norm() / alone.norm())


def asked() -> float:
    """A teacher whose layers are parted over ranks by torch, asked by a function."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    inputs = batch_of(5, torch.float32).inputs
    with torch.no_grad():
        alone = plain(inputs)
        device_mesh = init_device_mesh("cpu", (RANKS,))
        plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
        return apart(parallelize_module(plain, device_mesh, plan)(inputs), alone)


# What is asked of it.


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    both = zip(launched(checks_of_stored, RANKS), launched(checks, RANKS), strict=True)
    return [stored | others for stored, others in both]


def test_uneven_parts_are_exact_without_join(found):
    assert all(rank["uneven"] <= EXACT for rank in found)


def test_a_device_mesh_is_a_mesh(found):
    for rank in found:
        assert rank["device mesh"]["apart"] <= EXACT and rank["device mesh"]["same place"]
    assert [rank["device mesh"]["members"] for rank in found] == [[0, 2], [2, 3]]


def test_bfloat16_over_two_ranks_is_that_of_one(found):
    """Each of the two layers rounds its gradient once more, by half a step on each rank."""
    assert all(rank["bf16"] <= 2 * BF16 for rank in found)


def test_a_backend_registered_by_name_carries_all(found):
    for number, rank in enumerate(found):
        registered = rank["registered"]
        assert registered["backend"] == "stored" and registered["apart"] <= EXACT
        assert registered["gathered"] == [0, "member"]
        assert registered["words"] == [{"rank": 0}, {"rank": 1}]
        assert registered["first"] == 0, number


def test_a_tensor_parallel_teacher_is_asked_by_a_function(found):
    assert all(rank["tensor parallel"] <= 1e-6 for rank in found)
