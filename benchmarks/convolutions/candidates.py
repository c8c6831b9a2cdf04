"""The ways to convolve an ensemble."""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

STREAMS = 16


class Layer(NamedTuple):
    inputs: int
    outputs: int
    size: int  # height and width
    shared: bool  # one input for all members: the first layer, whose input needs no gradient
    block: bool = False  # with the ReLU and the 2x2 maximum that follow


# The student's; those of a CIFAR ResNet by its channels; and the teacher's widest.
LAYERS = {"first": Layer(3, 16, 32, shared=True), "second": Layer(16, 16, 16, shared=False)}
LAYERS |= {f"{name} block": layer._replace(block=True) for name, layer in LAYERS.items()}
LAYERS |= {
    "resnet 16": Layer(16, 16, 32, shared=False),
    "resnet 32": Layer(32, 32, 16, shared=False),
    "resnet 64": Layer(64, 64, 8, shared=False),
    "teacher": Layer(128, 64, 32, shared=False),
}

# Every candidate: x [K, B, in, H, W] or shared [B, in, H, W], weight [K, out, in, 3, 3] and bias
# [K, out] give [K, B, out, H, W].
_conv = partial(F.conv2d, padding=1)


def vmapped(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.func.vmap(_conv, (0 if x.ndim == 5 else None, 0, 0))(x, weight, bias)


def grouped(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A group a member."""
    members = len(weight)
    side_by_side = _side_by_side(x, members)
    return _apart(_conv(side_by_side, weight.flatten(0, 1), bias.flatten(), groups=members), weight)


def packed(x: Tensor, weight: Tensor, bias: Tensor, *, size: int) -> Tensor:
    """A group for `size` members, whose weights are the blocks on the diagonal of a dense one."""
    groups = len(weight) // size
    diagonal = torch.eye(size, dtype=weight.dtype, device=weight.device)
    blocks = weight.unflatten(0, (groups, size)).unsqueeze(3)  # [groups, size, out, 1, in, 3, 3]
    dense = (blocks * diagonal[:, None, :, None, None, None]).flatten(0, 2).flatten(1, 2)
    side_by_side = _side_by_side(x, len(weight))
    return _apart(_conv(side_by_side, dense, bias.flatten(), groups=groups), weight)


def wide(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One convolution of the shared input to the channels of all members."""
    return _apart(_conv(x, weight.flatten(0, 1), bias.flatten()), weight)


def looped(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return _stack([_conv(*member) for member in _members(x, weight, bias)])


def streamed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The loop, with its members dealt to streams that fork from the current one and join it."""
    here, streams = torch.cuda.current_stream(), _streams()
    maps: list[Tensor] = []
    for stream in streams:
        stream.wait_stream(here)
    for k, member in enumerate(_members(x, weight, bias)):
        with torch.cuda.stream(streams[k % len(streams)]):
            maps.append(_conv(*member))
    for stream in streams:
        here.wait_stream(stream)
    return _stack(maps)


def unfolded(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Every window a row, and a matrix product a member."""
    batches = x if x.ndim == 5 else x[None]
    windows = F.pad(batches, (1, 1, 1, 1)).unfold(3, 3, 1).unfold(4, 3, 1)  # [.., H, W, 3, 3]
    rows = windows.permute(0, 1, 3, 4, 2, 5, 6).flatten(4).flatten(1, 3)  # [.., B H W, in 9]
    rows = rows.expand(len(weight), -1, -1)
    y = torch.baddbmm(bias[:, None], rows, weight.flatten(2).mT)
    return y.unflatten(1, (x.shape[-4], *x.shape[-2:])).movedim(-1, 2)


def triton(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One kernel of fkd's own; its import fails where Triton is not."""
    from fkd.execution.convolution import ensemble_conv2d

    return ensemble_conv2d(x, weight, bias, padding=1)


def triton_block(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The whole block as one kernel of fkd's own."""
    from fkd.execution.convolution import ensemble_conv2d_relu_pool

    return ensemble_conv2d_relu_pool(x, weight, bias, padding=1)


def relu_pool(y: Tensor, layout: str) -> Tensor:
    """What follows a convolution in a block, on maps that lie as `layout` says."""
    if layout.startswith("k"):
        return F.max_pool2d(y.relu().flatten(0, 1), 2).unflatten(0, y.shape[:2])
    pooled = F.max_pool2d(_side_by_side(y.relu(), len(y)), 2)
    return pooled.unflatten(1, (len(y), -1)).movedim(1, 0)


def _side_by_side(x: Tensor, members: int) -> Tensor:
    """[B, K in, H, W], in the memory format of x."""
    return torch.cat([x] * members, 1) if x.ndim == 4 else x.movedim(0, 1).flatten(1, 2)


def _apart(y: Tensor, weight: Tensor) -> Tensor:
    return y.unflatten(1, weight.shape[:2]).movedim(1, 0)


def _members(x: Tensor, weight: Tensor, bias: Tensor) -> zip:
    batches = x.unbind() if x.ndim == 5 else [x] * len(weight)
    return zip(batches, weight.unbind(), bias.unbind(), strict=True)


def _stack(maps: list[Tensor]) -> Tensor:
    """`torch.stack`, which by itself would turn channels_last maps to NCHW."""
    if maps[0].is_contiguous(memory_format=torch.channels_last):
        return torch.stack([y.movedim(1, -1) for y in maps]).movedim(-1, 2)
    return torch.stack(maps)


@cache
def _streams() -> list[torch.cuda.Stream]:
    return [torch.cuda.Stream() for _ in range(STREAMS)]


class Candidate(NamedTuple):
    apply: Callable[[Tensor, Tensor, Tensor], Tensor]
    layout: str  # the axes in memory, from the slowest: k member, b batch, c channel, h and w
    copies: int = 1  # what it makes of its input, in multiples of the members' inputs
    multiple: int = 1  # what the number of members must divide by
    shared: bool = False  # for a shared input alone
    cuda: bool = False  # on a GPU alone
    whole: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None  # a block as one

    def block(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The convolution, its ReLU and the maximum of each 2x2."""
        if self.whole:
            return self.whole(x, weight, bias)
        return relu_pool(self.apply(x, weight, bias), self.layout)


CANDIDATES = {
    "vmap": Candidate(vmapped, "bkchw"),
    "grouped nhwc": Candidate(grouped, "bhwkc"),
    "loop": Candidate(looped, "kbchw"),
    "loop nhwc": Candidate(looped, "kbhwc"),
    "streams": Candidate(streamed, "kbchw", cuda=True),
    "streams nhwc": Candidate(streamed, "kbhwc", cuda=True),
    "packed 4": Candidate(partial(packed, size=4), "bkchw", multiple=4),
    "packed 4 nhwc": Candidate(partial(packed, size=4), "bhwkc", multiple=4),
    "packed 8": Candidate(partial(packed, size=8), "bkchw", multiple=8),
    "packed 8 nhwc": Candidate(partial(packed, size=8), "bhwkc", multiple=8),
    "shared wide": Candidate(wide, "bkchw", shared=True),
    "shared wide nhwc": Candidate(wide, "bhwkc", shared=True),
    "triton": Candidate(triton, "kbhwc", cuda=True, whole=triton_block),
    "unfold": Candidate(unfolded, "kbhwc", copies=24),  # rows, their gradient, and that one's parts
}
