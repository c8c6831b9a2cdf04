"""What torch has made parallel is refused, with the reason and what to use instead."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch._C._distributed_c10d import GradBucket, HashStore
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy, fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

from fkd.model import check, functional
from fkd.teachers import teacher_of_module

pytestmark = pytest.mark.plain
X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", autouse=True)
def _group() -> Iterator[None]:
    """A group of this process alone, for these wrappers ask for one."""
    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def whole_by_fsdp() -> nn.Module:
    return FullyShardedDataParallel(
        plain(), device_id=torch.device("cpu"), sharding_strategy=ShardingStrategy.NO_SHARD
    )


def parts_by_fully_shard() -> nn.Module:
    module = plain()
    fully_shard(module.get_submodule("0"))
    return module


def tensor_parallel() -> nn.Module:
    return parallelize_module(plain(), init_device_mesh("cpu", (1,)), {"2": ColwiseParallel()})


PARALLEL = {
    "DataParallel": (lambda: nn.DataParallel(plain()), "it is a DataParallel", "mesh.split"),
    "DistributedDataParallel": (
        lambda: nn.Sequential(nn.parallel.DistributedDataParallel(plain())),
        "its '0' is a DistributedDataParallel, which averages gradients in hooks of backward",
        "mesh.split",
    ),
    "FullyShardedDataParallel": (whole_by_fsdp, "it is a FullyShardedDataParallel", "sharded"),
    "fully_shard": (parts_by_fully_shard, "its '0' is a FSDPModule", "sharded_teacher"),
    "DTensor": (tensor_parallel, "its '2.weight' is a DTensor", "sharded"),
}


@pytest.mark.parametrize("name", PARALLEL)
def test_it_is_refused_as_a_student_and_as_a_teacher(name):
    build, reason, remedy = PARALLEL[name]
    with pytest.raises(ValueError, match=f"functional: .*{reason}.*{remedy}"):
        functional(build)
    with pytest.raises(ValueError, match=f"teacher_of_module: module .*{reason}.*{remedy}"):
        teacher_of_module(build())


def test_what_is_refused_would_be_silently_wrong():
    """DDP's reduction runs in backward(), and under func.grad not at all: so the refusal says."""
    module = nn.parallel.DistributedDataParallel(nn.Linear(3, 2))
    reduced: list[torch.Tensor] = []
    module.register_comm_hook(reduced, kept)
    params = dict(module.named_parameters())
    torch.func.grad(lambda own: torch.func.functional_call(module, own, X).sum())(params)
    assert not reduced
    module(X).sum().backward()
    assert reduced


def kept(state: list[torch.Tensor], bucket: GradBucket) -> torch.futures.Future[torch.Tensor]:
    """A reduction that is noted."""
    state.append(bucket.buffer())
    done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


def test_a_synchronised_batchnorm_is_refused_in_a_student_alone():
    def build() -> nn.Module:
        return nn.SyncBatchNorm.convert_sync_batchnorm(plain())

    with pytest.raises(ValueError, match=r"its '1' is one.*plain nn\.BatchNorm"):
        check(functional(build), X)
    check(functional(plain), X)
    module = build()
    assert torch.equal(teacher_of_module(module)(X)["logits"], module.eval()(X))
    functional(plain).build().load_state_dict(module.state_dict())  # as the remedy says
