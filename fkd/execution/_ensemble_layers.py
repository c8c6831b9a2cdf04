"""Layers that are faster for an ensemble on a GPU than those that vmap makes of torch's.

`EnsembleLayers` is a mode that answers torch's calls, so that no module is changed. It belongs
around what vmap makes wide. vmap turns a convolution into one with a group a member, which cuDNN
computes from copies of the maps in another layout; Triton's kernel reads them as they are. And it
gives up at cuDNN's BatchNorm where channels lie last (torch 2.11); written out, the compiler joins
it with what comes before and after.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

TRITON = find_spec("triton") is not None
MOST_CHANNELS = 64  # of a convolution in and out, from where on cuDNN's kernels are the faster ones
DEVICE = "cuda"
HALVES = (torch.bfloat16, torch.float16)
DTYPES = (*HALVES, torch.float32)


Size = int | Sequence[int]


class Convolved(NamedTuple):
    """A map, and what it is the convolution of; since then nothing, or ReLU, or the maximum of each
    2x2 was taken of it."""

    map: Tensor
    input: Tensor
    weight: Tensor
    bias: Tensor | None
    padding: int
    since: Callable[..., Any] | None = None


class EnsembleLayers(TorchFunctionMode):
    """Where it is active, convolution, BatchNorm and the average of a whole map are those below.

    Under the compiler a convolution that is followed by ReLU and by the maximum of each 2x2, in
    either order, becomes one kernel with them: where the map between is asked for by nobody, what
    computes it is left out, and else it is computed beside. Without `kernels`, which are compiled
    for each shape, a convolution stays torch's.
    """

    def __init__(self, kernels: bool = True) -> None:
        super().__init__()
        self.kernels = kernels
        # Of the last call alone, for any other may have written into a map that keeps its name.
        self.convolved: Convolved | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        convolved, self.convolved = self.convolved, None
        if func is F.conv2d and self.kernels:
            outputs, self.convolved = conv2d(*args, **(kwargs or {}))
            return outputs
        if func is F.relu:
            outputs, self.convolved = relu(convolved, *args, **(kwargs or {}))
            return outputs
        if func is F.max_pool2d:
            outputs, self.convolved = max_pool2d(convolved, *args, **(kwargs or {}))
            return outputs
        if func is F.batch_norm:
            return batch_norm(*args, **(kwargs or {}))
        if func is F.adaptive_avg_pool2d:
            return adaptive_avg_pool2d(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def relu(
    convolved: Convolved | None, input: Tensor, inplace: bool = False
) -> tuple[Tensor, Convolved | None]:
    """ReLU; of the maximum of what was convolved just before, in one kernel with both. And what of,
    if a maximum may join it."""
    before = _before(convolved, input)
    if before is not None and before.since is F.max_pool2d and not inplace:
        return _block(before), None
    outputs = F.relu(input, inplace)
    return outputs, _followed(before, F.relu, outputs)


def max_pool2d(
    convolved: Convolved | None,
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Any, Convolved | None]:
    """Max pooling; of what was convolved and rectified just before, in one kernel with both. And
    what of, if ReLU may join it."""
    step = kernel_size if stride is None or stride == [] else stride
    halves = _same(kernel_size) == _same(step) == 2 and _same(padding) == 0
    plain = halves and _same(dilation) == 1 and not ceil_mode and not return_indices
    before = _before(convolved, input) if plain else None
    if before is not None and before.since is F.relu:
        return _block(before), None
    rest: Any = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    outputs = F.max_pool2d(input, *rest)
    return outputs, _followed(before, F.max_pool2d, outputs)


def _before(convolved: Convolved | None, input: Tensor) -> Convolved | None:
    """What was convolved, where the input is its map."""
    return convolved if convolved is not None and input is convolved.map else None


def _followed(before: Convolved | None, by: Callable[..., Any], map: Tensor) -> Convolved | None:
    """What was convolved, followed by ReLU or the maximum, where neither was before."""
    if before is None or before.since is not None:
        return None
    return before._replace(map=map, since=by)


def _block(before: Convolved) -> Tensor:
    """Convolution, ReLU and the maximum of each 2x2 in one kernel."""
    from fkd.execution.convolution import member_conv2d_relu_pool

    return member_conv2d_relu_pool(before.input, before.weight, before.bias, padding=before.padding)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> tuple[Tensor, Convolved | None]:
    """Convolution, in Triton where that is the faster one; and what of, if others may join it."""
    step, edge = _same(stride), _same(padding)
    plain = step > 0 and edge >= 0 and _same(dilation) == 1 and groups == 1
    if plain and TRITON and _fits(input, weight, bias, edge):
        from fkd.execution.convolution import member_conv2d  # triton is loaded only for this

        map = member_conv2d(input, weight, bias, stride=step, padding=edge)
        # Without the compiler the map is there already.
        joins = step == 1 and torch.compiler.is_compiling()
        return map, Convolved(map, input, weight, bias, edge) if joins else None
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups), None


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """BatchNorm, in training on a GPU written out: Ioffe and Szegedy (2015), algorithm 1."""
    count = input.numel() // input.shape[1] if input.ndim > 1 and input.numel() else 0
    if not training or input.device.type != DEVICE or count < 2:  # torch says what is wrong
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    axes = [axis for axis in range(input.ndim) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(input.ndim)]
    x = input.float() if input.dtype in HALVES else input
    variance, mean = torch.var_mean(x, axes, correction=0)
    if running_mean is not None and running_var is not None:
        unbiased = variance.detach() * (count / (count - 1))
        running_mean.copy_(running_mean * (1 - momentum) + momentum * mean.detach())
        running_var.copy_(running_var * (1 - momentum) + momentum * unbiased)
    scale = (variance + eps).rsqrt()
    outputs = (x - mean.reshape(shape)) * scale.reshape(shape)
    if weight is not None:
        outputs = outputs * weight.reshape(shape)
    if bias is not None:
        outputs = outputs + bias.reshape(shape)
    return outputs.to(input.dtype)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Average pooling; to one number a map by the mean, for where channels lie last torch has no
    batching rule for it."""
    if output_size in (1, (1, 1), [1, 1]) and input.device.type == DEVICE:
        return input.mean((-2, -1), keepdim=True)
    return F.adaptive_avg_pool2d(input, output_size)


def _fits(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> bool:
    """Whether the kernel takes it, and is made for it: few channels, and kernels no wider than
    high."""
    if x.device.type != DEVICE or x.ndim != 4 or weight.ndim != 4:
        return False
    outputs, inputs, height, width = weight.shape
    one = all(t.dtype == x.dtype for t in (weight, bias) if t is not None)
    small = max(outputs, inputs) <= MOST_CHANNELS and height == width and padding < height
    pixels = len(x) * (x.shape[2] + 2 * padding) * (x.shape[3] + 2 * padding)
    whole = 0 < pixels * max(outputs, inputs) < 2**31  # which the kernel counts in int32
    return one and x.dtype in DTYPES and small and inputs == x.shape[1] and whole


def _same(size: Size | str) -> int:
    """The number where both sides have one and the same, or -1."""
    if isinstance(size, str):
        return -1
    if isinstance(size, int):
        return size
    return size[0] if all(number == size[0] for number in size) else -1
