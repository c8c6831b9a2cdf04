"""A DeviceMesh that is no grid of members and data is refused; test_rows.py trains over one."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore
from torch.distributed.device_mesh import init_device_mesh

from fkd.distributed import Mesh, mesh_of

pytestmark = pytest.mark.plain


@pytest.fixture(autouse=True)
def _group() -> Iterator[None]:
    """A group of this process alone, which a DeviceMesh asks for."""
    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("names", [("member", "data"), ("member",), ("data",)])
def test_axes_of_these_names_are_a_mesh(names):
    assert mesh_of(init_device_mesh("cpu", (1,) * len(names), mesh_dim_names=names)) == Mesh()


@pytest.mark.parametrize("names", [("data", "member"), ("dp",), ("member", "data", "tensor"), None])
def test_other_axes_are_refused(names):
    given = init_device_mesh("cpu", (1,) * len(names or (1,)), mesh_dim_names=names)
    with pytest.raises(ValueError, match=r"mesh_of: the axes of device_mesh must .*mesh_dim_names"):
        mesh_of(given)


def test_a_part_of_the_ranks_is_refused(monkeypatch):
    given = init_device_mesh("cpu", (1,), mesh_dim_names=("data",))
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match=r"mesh_of: device_mesh must hold all 2 ranks .* \[0\]"):
        mesh_of(given)


def test_what_is_no_device_mesh_is_refused():
    stranger: Any = Mesh()
    with pytest.raises(ValueError, match="mesh_of: device_mesh must be a DeviceMesh"):
        mesh_of(stranger)
