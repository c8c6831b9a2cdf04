"""The kernels' sizes and grids, over tensors as they lie in memory: channels last, contiguous."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from triton import cdiv, next_power_of_2
from triton import language as tl

from fkd.execution.convolution._kernels import (
    INTERPRETED,
    add_splits,
    convolve,
    correlate,
    lay_weights,
)

DTYPES = {
    torch.bfloat16: tl.bfloat16,
    torch.float16: tl.float16,
    torch.float32: tl.float32,
}
if INTERPRETED:
    DTYPES[torch.float64] = tl.float64  # Triton's compiler aborts on it
PROGRAMS = 528  # that the splits of a sum are to give, four for each of an H100's multiprocessors
LEAST_ROWS = 256  # of a split


class Geometry(NamedTuple):
    """The sizes of a convolution of an ensemble."""

    members: int
    shared: bool  # one batch for all members
    batch: int
    inputs: int
    outputs: int
    height: int  # of the input
    width: int
    kernel: int
    stride: int
    padding: int

    @classmethod
    def of(cls, x: Tensor, weight: Tensor, stride: int, padding: int) -> "Geometry":
        """Of x [(members) batch height width in], weight [members out in kernel kernel]."""
        members, outputs, inputs, kernel, _ = weight.shape
        batch, height, width = x.shape[-4:-1]
        shared = x.ndim == 4
        sizes = members, shared, batch, inputs, outputs, height, width, kernel, stride, padding
        return cls(*sizes)

    def map_size(self) -> tuple[int, int]:
        """Height and width of the output, before pooling."""
        lost = self.kernel - 2 * self.padding - self.stride
        return (self.height - lost) // self.stride, (self.width - lost) // self.stride

    def target(self, pool: bool) -> tuple[int, ...]:
        """The output's shape [members batch height width out]."""
        height, width = (size // 2 for size in self.map_size()) if pool else self.map_size()
        return self.members, self.batch, height, width, self.outputs


def _arithmetic(dtype: torch.dtype) -> dict[str, Any]:
    """Sums in float32 at least. Factors of float32 are TF32 where torch lets cuDNN round to it, and
    else three products of TF32, 22 bits of the 24."""
    factor, total = DTYPES[dtype], DTYPES[sum_dtype(dtype)]
    if INTERPRETED and dtype == torch.bfloat16:
        factor = tl.float32  # which the interpreter multiplies alone
    precision = "ieee"
    if dtype == torch.float32:
        precision = "tf32" if torch.backends.cudnn.allow_tf32 else "tf32x3"
    return {"SUM": total, "FACTOR": factor, "PRECISION": precision}


def sum_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _many(rows: int) -> int:
    """2, or 3 from a thousand programs on: Triton compiles nothing anew for either."""
    return 2 + (rows >= 2**17)


def _block(size: int, most: int) -> int:
    return max(16, min(most, next_power_of_2(size)))


def _laid(weight: Tensor, geometry: Geometry, pool: bool, backward: bool) -> Tensor:
    """The weights as the second factors of the groups; four times with `pool`, for each offset."""
    g = geometry
    seen, window = (g.kernel + 1, 4) if pool else (g.kernel, 1)
    channels, targets = (g.outputs, g.inputs) if backward else (g.inputs, g.outputs)
    laid = weight.new_empty(seen**2 * channels * window * targets * g.members)
    lay_weights[(cdiv(laid.numel(), 1024),)](
        weight,
        laid,
        laid.numel(),
        targets * (g.members if g.shared and not backward else 1),
        CHANNELS=channels,
        TARGET_CHANNELS=targets,
        KERNEL=g.kernel,
        SEEN=seen,
        WINDOW=window,
        BACKWARD=backward,
        NUMBERS=1024,
    )
    return laid


def forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, pool: bool
) -> tuple[Tensor, Tensor]:
    """The maps, and where they are pooled the places of the maxima, 0 to 3, or 4 where all are cut.

    With `pool`: ReLU and the maximum of each 2x2.
    """
    g = geometry
    shape = g.target(pool)
    target = x.new_empty(shape)
    place = torch.empty(shape if pool else 0, dtype=torch.uint8, device=x.device)
    rows, columns = g.batch * shape[2] * shape[3], g.outputs * (g.members if g.shared else 1)
    seen = g.kernel + pool
    block = _block(columns, 32 if pool else 64)
    convolve[_tiles(rows, cdiv(columns, block), 1 if g.shared else g.members)](
        x,
        x,
        _laid(weight, g, pool, backward=False),
        weight if bias is None else bias,
        target,
        place if pool else target,
        rows,
        columns,
        x[0].numel() if not g.shared else x.numel(),
        _many(g.members * rows),
        CHANNELS=g.inputs,
        TARGET_CHANNELS=g.outputs,
        HEIGHT=g.height,
        WIDTH=g.width,
        TARGET_HEIGHT=shape[2],
        TARGET_WIDTH=shape[3],
        SEEN=seen,
        STEP=2 if pool else g.stride,
        PADDING=g.padding,
        SPREAD=1,
        POOLED=False,
        BIAS=bias is not None,
        WINDOW=4 if pool else 1,
        COLUMNS=block,
        DEPTH=_block(seen**2 * g.inputs, 64),
        **_arithmetic(x.dtype),
    )
    return target, place


def input_gradient(
    gradient: Tensor, place: Tensor, weight: Tensor, geometry: Geometry, pool: bool
) -> Tensor:
    """The input's gradient a member: a convolution of the output's, spread, by weights turned.

    Of a shared input it is to be added up over the members, and is in the dtype of sums.
    """
    g = geometry
    shape = g.members, g.batch, g.height, g.width, g.inputs
    dtype = sum_dtype(gradient.dtype) if g.shared else gradient.dtype
    target = gradient.new_empty(shape, dtype=dtype)
    rows, block = g.batch * g.height * g.width, _block(g.inputs, 64)
    convolve[_tiles(rows, cdiv(g.inputs, block), g.members)](
        gradient,
        place if pool else gradient,
        _laid(weight, g, False, backward=True),
        weight,
        target,
        target,
        rows,
        g.inputs,
        gradient[0].numel(),
        _many(g.members * rows),
        CHANNELS=g.outputs,
        TARGET_CHANNELS=g.inputs,
        HEIGHT=gradient.shape[2],
        WIDTH=gradient.shape[3],
        TARGET_HEIGHT=g.height,
        TARGET_WIDTH=g.width,
        SEEN=g.kernel,
        STEP=1,
        PADDING=g.kernel - 1 - g.padding,
        SPREAD=2 if pool else g.stride,
        POOLED=pool,
        BIAS=False,
        WINDOW=1,
        COLUMNS=block,
        DEPTH=_block(g.kernel**2 * g.outputs, 64),
        **_arithmetic(gradient.dtype),
    )
    return target


def weight_gradient(
    x: Tensor, gradient: Tensor, place: Tensor, geometry: Geometry, pool: bool
) -> tuple[Tensor, Tensor]:
    """The gradients of weights and biases: rows in splits, which are then added in order."""
    g = geometry
    arithmetic = _arithmetic(x.dtype)
    height, width = g.map_size()
    rows, columns = g.batch * height * width, g.outputs * (g.members if g.shared else 1)
    length = g.kernel**2 * g.inputs + 1
    block, step = _block(columns, 64), 64
    groups, blocks = 1 if g.shared else g.members, cdiv(columns, block)
    splits = max(1, min(cdiv(rows, LEAST_ROWS), PROGRAMS // (groups * blocks)))
    rows_a_split = cdiv(cdiv(rows, splits), step) * step
    splits = cdiv(rows, rows_a_split)
    numbers = g.members * g.outputs * length
    partial = x.new_empty(splits, numbers, dtype=sum_dtype(x.dtype))
    correlate[lambda tuned: (splits, cdiv(length, tuned["DEPTH"]) * blocks, groups)](
        x,
        gradient,
        place if pool else gradient,
        partial,
        rows,
        rows_a_split,
        columns,
        x[0].numel() if not g.shared else x.numel(),
        _many(g.members * rows),
        gradient[0].numel(),
        CHANNELS=g.inputs,
        TARGET_CHANNELS=g.outputs,
        HEIGHT=g.height,
        WIDTH=g.width,
        TARGET_HEIGHT=height,
        TARGET_WIDTH=width,
        GRADIENT_HEIGHT=gradient.shape[2],
        GRADIENT_WIDTH=gradient.shape[3],
        KERNEL=g.kernel,
        STEP=g.stride,
        PADDING=g.padding,
        POOLED=pool,
        COLUMNS=block,
        ROWS=step,
        LENGTH=length,
        **arithmetic,
    )
    weights = x.new_empty(g.members, g.outputs, g.inputs, g.kernel, g.kernel)
    biases = x.new_empty(g.members, g.outputs)
    add_splits[(cdiv(numbers, 256),)](
        partial,
        weights,
        biases,
        splits,
        numbers,
        SUM=arithmetic["SUM"],
        LENGTH=length,
        SPLITS=8,
        NUMBERS=256,
    )
    return weights, biases


def _tiles(rows: int, blocks: int, groups: int) -> Callable[[dict[str, Any]], tuple[int, int, int]]:
    return lambda tuned: (cdiv(rows, tuned["ROWS"]), blocks, groups)
