"""The convolution and its gradients as operators of torch's, which know gradients and members.

An operator with kernels of its own for autograd and for vmap runs under grad, vmap and
torch.compile(fullgraph=True), in any order. An `autograd.Function` the compiler does not take under
vmap, and an operator by `torch.library.custom_op` no transform of torch.func.

Channels lie last, and all is contiguous: x [(members) batch height width inputs], weight [(members)
outputs inputs kernel kernel], bias [(members) outputs]. x has members only where weight has them.
`place` is that of the maxima, with `pool`, and empty without.
"""

from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd.function import _SingleLevelFunction

from fkd.execution.convolution import _launch
from fkd.execution.convolution._launch import Geometry

_LIBRARY = torch.library.Library("fkd", "FRAGMENT")
_LIBRARY.define(
    "convolve(Tensor x, Tensor weight, Tensor? bias, int stride, int padding, bool pool)"
    " -> (Tensor, Tensor)"
)
_KNOWN = (
    "(Tensor gradient, Tensor place, Tensor x, Tensor weight, int stride, int padding, bool pool)"
)
_LIBRARY.define(f"convolve_input_gradient{_KNOWN} -> Tensor")
_LIBRARY.define(f"convolve_weight_gradient{_KNOWN} -> (Tensor, Tensor)")


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, pool: bool
) -> tuple[Tensor, Tensor]:
    """The maps and, where they are pooled, the places of the maxima."""
    return torch.ops.fkd.convolve(x, weight, bias, stride, padding, pool)


# On a device.


def _convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, pool: bool
) -> tuple[Tensor, Tensor]:
    if weight.ndim == 4:  # an ensemble of one
        y, place = _convolve(x[None], weight[None], _added(bias), stride, padding, pool)
        return y[0], place[0] if pool else place
    geometry = Geometry.of(x, weight, stride, padding)
    own = None if bias is None else bias.contiguous()
    with torch.cuda.device_of(x):
        return _launch.forward(x.contiguous(), weight.contiguous(), own, geometry, pool)


def _input_gradient(
    gradient: Tensor,
    place: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    pool: bool,
) -> Tensor:
    """The input's gradient; of a batch that members share a part a member, in the dtype of sums."""
    if weight.ndim == 4:
        one = gradient[None], place[None], x[None], weight[None]
        return _input_gradient(*one, stride, padding, pool)[0]
    geometry = Geometry.of(x, weight, stride, padding)
    known = gradient.contiguous(), place.contiguous(), weight.contiguous(), geometry, pool
    with torch.cuda.device_of(x):
        return _launch.input_gradient(*known)


def _weight_gradient(
    gradient: Tensor,
    place: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    pool: bool,
) -> tuple[Tensor, Tensor]:
    """The gradients of weight and bias."""
    if weight.ndim == 4:
        one = gradient[None], place[None], x[None], weight[None]
        of_weight, of_bias = _weight_gradient(*one, stride, padding, pool)
        return of_weight[0], of_bias[0]
    geometry = Geometry.of(x, weight, stride, padding)
    known = x.contiguous(), gradient.contiguous(), place.contiguous(), geometry, pool
    with torch.cuda.device_of(x):
        return _launch.weight_gradient(*known)


def _added(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias[None]


# By shapes alone.


def _form(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, pool: bool
) -> tuple[Tensor, Tensor]:
    one = weight.ndim == 4
    geometry = Geometry.of(x[None] if one else x, weight[None] if one else weight, stride, padding)
    shape = geometry.target(pool)[one:]
    return x.new_empty(shape), x.new_empty(shape if pool else 0, dtype=torch.uint8)


def _input_gradient_form(
    gradient: Tensor,
    place: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    pool: bool,
) -> Tensor:
    shared = x.ndim < weight.ndim
    dtype = _launch.sum_dtype(x.dtype) if shared else x.dtype
    return x.new_empty((*weight.shape[:-4], *x.shape[-4:]), dtype=dtype)


def _weight_gradient_form(
    gradient: Tensor,
    place: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    pool: bool,
) -> tuple[Tensor, Tensor]:
    return weight.new_empty(weight.shape), weight.new_empty(weight.shape[:-3])


# With a gradient.


class _Convolve(_SingleLevelFunction):
    # One level: that of the transform which has called the kernel. A plain Function would ask for
    # all transforms at once, which are not there inside a kernel.

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
        padding: int,
        pool: bool,
    ) -> tuple[Tensor, Tensor]:
        with torch._C._AutoDispatchBelowAutograd():
            y, place = convolve(x, weight, bias, stride, padding, pool)
        ctx.mark_non_differentiable(place)
        ctx.save_for_backward(x, weight, place)
        ctx.sizes = stride, padding, pool
        return y, place

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, place = ctx.saved_tensors
        known = gradients[0].contiguous(), place, x, weight, *ctx.sizes
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = torch.ops.fkd.convolve_input_gradient(*known)
            if x.ndim < weight.ndim:  # one batch for all members
                of_x = of_x.sum(0).to(x.dtype)
        if any(ctx.needs_input_grad[1:3]):
            of_weight, of_bias = torch.ops.fkd.convolve_weight_gradient(*known)
        return of_x, of_weight, of_bias if ctx.needs_input_grad[2] else None, None, None, None


def _differentiable(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, pool: bool
) -> tuple[Tensor, Tensor]:
    with enable_single_level_autograd_function():
        return _Convolve.apply(x, weight, bias, stride, padding, pool)  # type: ignore[return-value]


# Of members.


def _vmap_convolve(
    info: Any,
    axes: tuple[int | None, ...],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    pool: bool,
) -> tuple[tuple[Tensor, Tensor], tuple[int, int | None]]:
    weight = _of_each(weight, axes[1], info.batch_size)
    bias = None if bias is None else _of_each(bias, axes[2], info.batch_size)
    y, place = convolve(_in_front(x, axes[0]), weight, bias, stride, padding, pool)
    return (y, place), (0, 0 if pool else None)


def _vmap_input_gradient(
    info: Any,
    axes: tuple[int | None, ...],
    gradient: Tensor,
    place: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    pool: bool,
) -> tuple[Tensor, int]:
    known = _known(info.batch_size, axes, gradient, place, x, weight)
    return torch.ops.fkd.convolve_input_gradient(*known, stride, padding, pool).to(x.dtype), 0


def _vmap_weight_gradient(
    info: Any,
    axes: tuple[int | None, ...],
    gradient: Tensor,
    place: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    pool: bool,
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    known = _known(info.batch_size, axes, gradient, place, x, weight)
    return torch.ops.fkd.convolve_weight_gradient(*known, stride, padding, pool), (0, 0)


def _known(
    members: int,
    axes: tuple[int | None, ...],
    gradient: Tensor,
    place: Tensor,
    x: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        _of_each(gradient, axes[0], members),
        _of_each(place, axes[1], members) if place.numel() else place,
        _in_front(x, axes[2]),
        _of_each(weight, axes[3], members),
    )


def _in_front(x: Tensor, axis: int | None) -> Tensor:
    """The members in front, where x has them."""
    return (x if axis is None else x.movedim(axis, 0)).contiguous()


def _of_each(x: Tensor, axis: int | None, members: int) -> Tensor:
    return (x.expand(members, *x.shape) if axis is None else x.movedim(axis, 0)).contiguous()


for _name, _kernel, _shape in (
    ("convolve", _convolve, _form),
    ("convolve_input_gradient", _input_gradient, _input_gradient_form),
    ("convolve_weight_gradient", _weight_gradient, _weight_gradient_form),
):
    for _device in ("CPU", "CUDA"):
        _LIBRARY.impl(_name, _kernel, _device)
    _LIBRARY.impl(_name, _shape, "Meta")
_LIBRARY.impl("convolve", _differentiable, "Autograd")
torch.library.register_vmap("fkd::convolve", _vmap_convolve, lib=_LIBRARY)
torch.library.register_vmap("fkd::convolve_input_gradient", _vmap_input_gradient, lib=_LIBRARY)
torch.library.register_vmap("fkd::convolve_weight_gradient", _vmap_weight_gradient, lib=_LIBRARY)
