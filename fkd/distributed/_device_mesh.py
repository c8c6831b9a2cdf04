"""A mesh from one of torch's that is there already."""

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from fkd import _check
from fkd.distributed._mesh import Mesh

AXES = ("member", "data")


def mesh_of(device_mesh: DeviceMesh) -> Mesh:
    """The ranks of a DeviceMesh with axes named "member" and "data", in this order, or one of them.

    Its process groups are taken as they are, whatever backend carries them. Raises ValueError for
    what is no DeviceMesh, for other axes, and where it does not hold all ranks in their order.
    """
    _check.kind("mesh_of", DeviceMesh, device_mesh=device_mesh)
    names = device_mesh.mesh_dim_names or ()
    if names not in (AXES, AXES[:1], AXES[1:]):
        raise ValueError(
            f"mesh_of: the axes of device_mesh must be named {AXES}, or be one of these, but they "
            f"are {names or 'without names'}; give init_device_mesh(..., mesh_dim_names={AXES})"
        )
    ranks = device_mesh.mesh.flatten()
    if not torch.equal(ranks, torch.arange(dist.get_world_size())):
        raise ValueError(
            f"mesh_of: device_mesh must hold all {dist.get_world_size()} ranks in their order, but "
            f"it holds {ranks.tolist()}; a part of a larger mesh is not dealt to"
        )
    sizes = dict(zip(names, device_mesh.mesh.shape, strict=True))
    group = device_mesh.get_group("data").group_name if sizes.get("data", 1) > 1 else ""
    return Mesh(dist.get_rank(), sizes.get("member", 1), sizes.get("data", 1), group)
