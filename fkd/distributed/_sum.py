"""The sum over ranks as an operator of torch's, which has a gradient and knows members.

torch's own functional collectives raise under `torch.func.grad`, and an `autograd.Function` is
not taken by the compiler under vmap. An operator with kernels of its own for autograd and for vmap
runs under grad, vmap and torch.compile(fullgraph=True), in any order.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import _resolve_process_group
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd.function import _SingleLevelFunction

_LIBRARY = torch.library.Library("fkd", "DEF")
_LIBRARY.define("sum_over_ranks(Tensor x, str group) -> Tensor")


def sum_over_ranks(x: Tensor, group: str) -> Tensor:
    """The sum of the tensors of all ranks of a process group, on each; its gradient is the same.

    The group goes by its name, for a graph can hold no more of it.
    """
    return torch.ops.fkd.sum_over_ranks(x, group)


def _sum(x: Tensor, group: str) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=_resolve_process_group(group))  # type: ignore[arg-type]
    return total


def _form(x: Tensor, group: str) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


class _Sum(_SingleLevelFunction):
    # One level: that of the transform which has called the kernel. A plain Function would ask for
    # all transforms at once, which are not there inside a kernel.

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: str) -> Tensor:
        ctx.group = group
        with torch._C._AutoDispatchBelowAutograd():
            return sum_over_ranks(x, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return sum_over_ranks(gradients[0], ctx.group), None


def _differentiable(x: Tensor, group: str) -> Tensor:
    with enable_single_level_autograd_function():
        return _Sum.apply(x, group)  # type: ignore[return-value]


def _of_members(info: Any, axes: tuple[int, None], x: Tensor, group: str) -> tuple[Tensor, int]:
    return sum_over_ranks(x, group), axes[0]  # once for all members


for _device in ("CPU", "CUDA"):
    _LIBRARY.impl("sum_over_ranks", _sum, _device)
_LIBRARY.impl("sum_over_ranks", _form, "Meta")
_LIBRARY.impl("sum_over_ranks", _differentiable, "Autograd")
torch.library.register_vmap("fkd::sum_over_ranks", _of_members, lib=_LIBRARY)
