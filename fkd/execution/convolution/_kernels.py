"""Triton kernels of a convolution of an ensemble, as products of matrices.

A row of the first factor is what one output pixel sees, and it is read from the map, never laid
out; a column of the second is one output channel. Maps are [members, batch, height, width,
channels] in memory, weights [members, out, in, kernel, kernel], as a layer holds them. A group is
the members that read one batch: each by itself, or all, whose channels lie side by side as columns.

What is tuned, a program's part of the result and its warps, changes the order of no sum, so that a
result is the same bit for bit whichever was the fastest. There are no atomic additions.
"""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import triton
import triton.language as tl
from triton import Config, knobs
from triton.testing import do_bench

INTERPRETED: bool = knobs.runtime.interpret  # on a CPU, to be tested
_jit: Any = triton.jit  # by its own type it would take no number where it asks for a constant
# Milliseconds, a fifth of Triton's own: a kernel takes a tenth of one.
_timed = partial(do_bench, warmup=5, rep=20)


def _fastest_of(key: list[str], *configs: Config) -> Callable[[Any], Any]:
    """The fastest, found at the first call of each shape and kept on disk, where Triton keeps what
    it compiles; the interpreter takes the first."""
    return partial(_tuned, list(configs[:1] if INTERPRETED else configs), key)


def _tuned(configs: list[Config], key: list[str], kernel: Any) -> Any:
    prune = {"early_config_prune": partial(_compiled, kernel)}
    return triton.autotune(configs, key, prune, do_bench=_timed, cache_results=True)(kernel)


def _compiled(
    kernel: Any, configs: list[Config], sizes: dict[str, Any], **more: Any
) -> list[Config]:
    """Those that fit, compiled side by side: one after the other they would be as they are timed.

    What cannot be compiled says so when it is timed.
    """
    call = sizes | more
    fitting = _fitting(configs, call)
    with (
        _threads(len(fitting)) as threads,
        triton.AsyncCompileMode(threads, ignore_errors=True),
    ):
        for config in fitting:
            kernel.run(**call | config.all_kwargs() | {"warmup": True})
    return fitting


def _threads(number: int) -> ThreadPoolExecutor:
    """One alone before Python 3.11.8: two that parse at once may raise a SystemError there
    (CPython's issue 106905), and Triton parses a kernel where it compiles it."""
    return ThreadPoolExecutor(number if sys.version_info >= (3, 11, 8) else 1)


def _fitting(configs: list[Config], sizes: dict[str, Any]) -> list[Config]:
    """Of depths those from 64, which a group of warps multiplies at once, to all that there is."""
    if "LENGTH" not in sizes:
        return configs
    whole = max(32, triton.next_power_of_2(sizes["LENGTH"]))
    return [config for config in configs if min(64, whole) <= config.kwargs["DEPTH"] <= whole]


@_jit
def _read(
    source,
    place,
    image,
    up,
    across,
    channel,
    wanted,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    SPREAD: tl.constexpr,
    POOLED: tl.constexpr,
):
    """A map's numbers at pixels, zero outside.

    The map is one of SPREAD times its height and width: with zeros between its pixels, or, where
    it is POOLED, with each number at the place in its window that the maximum came from.
    """
    wanted = wanted & (up >= 0) & (up < HEIGHT * SPREAD) & (across >= 0) & (across < WIDTH * SPREAD)
    if SPREAD > 1 and not POOLED:
        wanted = wanted & (up % SPREAD == 0) & (across % SPREAD == 0)
    pixel = (image * HEIGHT + up // SPREAD) * WIDTH + across // SPREAD
    at = pixel * CHANNELS + channel
    numbers = tl.load(source + at, mask=wanted, other=0.0)
    if POOLED:
        here = tl.load(place + at, mask=wanted, other=0) == up % 2 * 2 + across % 2
        numbers = tl.where(here, numbers, tl.zeros_like(numbers))
    return numbers


@_jit
def lay_weights(
    weight,
    laid,
    numbers,  # of `laid`
    columns,  # output channels of a group
    CHANNELS: tl.constexpr,  # of the source, and of the target
    TARGET_CHANNELS: tl.constexpr,
    KERNEL: tl.constexpr,
    SEEN: tl.constexpr,
    WINDOW: tl.constexpr,
    BACKWARD: tl.constexpr,  # turned round, from their out to their in
    NUMBERS: tl.constexpr,
):
    """The second factor of a group: `laid` [groups, SEEN * SEEN * CHANNELS, WINDOW * columns].

    Each pixel of a window has its kernel somewhere in a field of SEEN * SEEN, and zeros elsewhere.
    """
    at = tl.program_id(0) * NUMBERS + tl.arange(0, NUMBERS)
    offset = at // columns % WINDOW
    depth = at // columns // WINDOW % (SEEN * SEEN * CHANNELS)
    group = at // columns // WINDOW // (SEEN * SEEN * CHANNELS)
    column = group * columns + at % columns
    seen, channel = depth // CHANNELS, depth % CHANNELS
    down, right = seen // SEEN - offset // 2, seen % SEEN - offset % 2
    wanted = (down >= 0) & (down < KERNEL) & (right >= 0) & (right < KERNEL) & (at < numbers)
    tap = down * KERNEL + right
    if BACKWARD:
        member, inner = column // TARGET_CHANNELS, column % TARGET_CHANNELS
        lies = (member * CHANNELS + channel) * TARGET_CHANNELS + inner
        tap = KERNEL * KERNEL - 1 - tap
    else:
        lies = column * CHANNELS + channel
    value = tl.load(weight + lies * KERNEL * KERNEL + tap, mask=wanted, other=0.0)
    tl.store(laid + at, value, mask=at < numbers)


@_fastest_of(
    ["CHANNELS", "COLUMNS", "HEIGHT", "WIDTH", "SEEN", "WINDOW", "POOLED", "PRECISION", "many"],
    Config({"ROWS": 128}, num_warps=4, num_stages=1),
    Config({"ROWS": 256}, num_warps=8, num_stages=1),
    Config({"ROWS": 64}, num_warps=4, num_stages=1),
    Config({"ROWS": 128}, num_warps=4, num_stages=2),
)
@_jit
def convolve(
    source,
    place,  # of the maxima in `source`, where it is POOLED
    laid,  # weights, by `lay_weights`
    bias,
    target,
    target_place,
    rows,  # output pixels of a member
    columns,  # output channels of a group
    source_size,  # numbers of a group's source
    many,  # whether there are: the fastest way for few rows need not be so for many
    CHANNELS: tl.constexpr,  # of a member's source, and of its target
    TARGET_CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,  # of the source
    WIDTH: tl.constexpr,
    TARGET_HEIGHT: tl.constexpr,
    TARGET_WIDTH: tl.constexpr,
    SEEN: tl.constexpr,  # height and width of what a row sees
    STEP: tl.constexpr,
    PADDING: tl.constexpr,
    SPREAD: tl.constexpr,  # as in `_read`
    POOLED: tl.constexpr,
    BIAS: tl.constexpr,
    WINDOW: tl.constexpr,  # pixels in one of the target's: 1, or 4 for ReLU and maximum
    SUM: tl.constexpr,  # the dtype of sums, and of factors
    FACTOR: tl.constexpr,
    PRECISION: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    ROWS: tl.constexpr,
):
    """The target's pixels [rows, columns] of a group.

    A row sees what all pixels of its window see, and has a column for each of them.
    """
    WHOLE: tl.constexpr = SEEN * SEEN * CHANNELS
    group = tl.program_id(2)
    source += group.to(tl.int64) * source_size
    place += group.to(tl.int64) * source_size
    laid += group * WHOLE * WINDOW * columns
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    image = row // (TARGET_HEIGHT * TARGET_WIDTH)
    top = row // TARGET_WIDTH % TARGET_HEIGHT * STEP - PADDING
    left = row % TARGET_WIDTH * STEP - PADDING
    each = tl.arange(0, WINDOW * COLUMNS)
    in_group = tl.program_id(1) * COLUMNS + each % COLUMNS
    lies = each // COLUMNS * columns + in_group
    total = tl.full((ROWS, WINDOW * COLUMNS), 0, SUM)
    for start in range(0, WHOLE, DEPTH):
        depth = start + tl.arange(0, DEPTH)
        seen, channel = depth // CHANNELS, depth % CHANNELS
        first = _read(
            source,
            place,
            image[:, None],
            top[:, None] + (seen // SEEN)[None, :],
            left[:, None] + (seen % SEEN)[None, :],
            channel[None, :],
            (row < rows)[:, None] & (depth < WHOLE)[None, :],
            CHANNELS,
            HEIGHT,
            WIDTH,
            SPREAD,
            POOLED,
        )
        second = tl.load(
            laid + depth[:, None] * WINDOW * columns + lies[None, :],
            mask=(depth < WHOLE)[:, None] & (in_group < columns)[None, :],
            other=0.0,
        )
        total = tl.dot(
            first.to(FACTOR), second.to(FACTOR), total, input_precision=PRECISION, out_dtype=SUM
        )
    if BIAS:
        added = tl.load(bias + group * columns + in_group, mask=in_group < columns, other=0.0)
        total += added.to(SUM)[None, :]
    in_group = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    column = group * columns + in_group
    member = (column // TARGET_CHANNELS).to(tl.int64)
    at = member[None, :] * rows * TARGET_CHANNELS + (column % TARGET_CHANNELS)[None, :]
    at += row[:, None] * TARGET_CHANNELS
    known = (row < rows)[:, None] & (in_group < columns)[None, :]
    if WINDOW > 1:
        window = tl.permute(tl.reshape(total, (ROWS, 2, 2, COLUMNS)), (0, 3, 1, 2))
        evens, odds = tl.split(window)
        upper_left, lower_left = tl.split(evens)
        upper_right, lower_right = tl.split(odds)
        largest, where = upper_left, tl.full((ROWS, COLUMNS), 0, tl.uint8)
        largest, where = _larger(largest, where, upper_right, 1)
        largest, where = _larger(largest, where, lower_left, 2)
        largest, where = _larger(largest, where, lower_right, 3)
        dead = largest <= 0  # a nan is not, and is told
        where = tl.where(dead, 4, where).to(tl.uint8)
        tl.store(target_place + at, where, mask=known)
        total = tl.where(dead, 0.0, largest)
    tl.store(target + at, total.to(target.dtype.element_ty), mask=known)


@_jit
def _larger(largest, where, numbers, place: tl.constexpr):
    """The largest so far and its place, the first of equals; a nan is the largest of all."""
    larger = (numbers > largest) | (numbers != numbers)
    return tl.where(larger, numbers, largest), tl.where(larger, place, where).to(tl.uint8)


@_fastest_of(
    ["CHANNELS", "COLUMNS", "HEIGHT", "WIDTH", "KERNEL", "POOLED", "PRECISION", "many"],
    Config({"DEPTH": 32}, num_warps=4, num_stages=2),
    Config({"DEPTH": 64}, num_warps=4, num_stages=2),
    Config({"DEPTH": 256}, num_warps=8, num_stages=1),
)
@_jit
def correlate(
    source,
    gradient,
    place,  # of the maxima that `gradient` is of, where it is POOLED
    partial,
    rows,  # output pixels of a member, before pooling
    rows_a_split,
    columns,
    source_size,
    many,
    gradient_size,  # numbers of a member's gradient
    CHANNELS: tl.constexpr,
    TARGET_CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    TARGET_HEIGHT: tl.constexpr,  # before pooling
    TARGET_WIDTH: tl.constexpr,
    GRADIENT_HEIGHT: tl.constexpr,
    GRADIENT_WIDTH: tl.constexpr,
    KERNEL: tl.constexpr,
    STEP: tl.constexpr,
    PADDING: tl.constexpr,
    POOLED: tl.constexpr,
    SUM: tl.constexpr,
    FACTOR: tl.constexpr,
    PRECISION: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    LENGTH: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """The gradient of weights and bias from one split of the rows.

    `partial` is [splits, columns, LENGTH]: in * kernel * kernel, as the weights lie, and one more,
    for the bias is the weight of what is always one.
    """
    LAST: tl.constexpr = LENGTH - 1
    BLOCKS: tl.constexpr = (LENGTH + DEPTH - 1) // DEPTH
    group, split = tl.program_id(2), tl.program_id(0)
    depth = tl.program_id(1) % BLOCKS * DEPTH + tl.arange(0, DEPTH)
    seen, channel = depth // CHANNELS, depth % CHANNELS
    down, right = seen // KERNEL, seen % KERNEL
    in_group = tl.program_id(1) // BLOCKS * COLUMNS + tl.arange(0, COLUMNS)
    column = group * columns + in_group
    member = (column // TARGET_CHANNELS).to(tl.int64)
    target_channel = member * gradient_size + column % TARGET_CHANNELS
    source += group.to(tl.int64) * source_size
    total = tl.full((DEPTH, COLUMNS), 0, SUM)
    end = tl.minimum(rows, (split + 1) * rows_a_split)
    for start in range(split * rows_a_split, end, ROWS):
        row = start + tl.arange(0, ROWS)
        image = row // (TARGET_HEIGHT * TARGET_WIDTH)
        up, across = row // TARGET_WIDTH % TARGET_HEIGHT, row % TARGET_WIDTH
        first = _read(
            source,
            source,
            image[:, None],
            up[:, None] * STEP - PADDING + down[None, :],
            across[:, None] * STEP - PADDING + right[None, :],
            channel[None, :],
            (row < end)[:, None] & (depth < LAST)[None, :],
            CHANNELS,
            HEIGHT,
            WIDTH,
            1,
            False,
        )
        first = tl.where(depth[None, :] == LAST, 1.0, first.to(FACTOR)).to(FACTOR)
        second = _read(
            gradient,
            place,
            image[:, None],
            up[:, None],
            across[:, None],
            target_channel[None, :],
            (row < end)[:, None] & (in_group < columns)[None, :],
            TARGET_CHANNELS,
            GRADIENT_HEIGHT,
            GRADIENT_WIDTH,
            2 if POOLED else 1,
            POOLED,
        )
        total = tl.dot(
            tl.trans(first), second.to(FACTOR), total, input_precision=PRECISION, out_dtype=SUM
        )
    every = tl.num_programs(2) * columns
    within = tl.where(depth == LAST, LAST, channel * KERNEL * KERNEL + seen)
    at = (split * every + column)[None, :] * LENGTH + within[:, None]
    known = (depth < LENGTH)[:, None] & (in_group < columns)[None, :]
    tl.store(partial + at, total, mask=known)


@_jit
def add_splits(
    partial,
    weight_gradient,
    bias_gradient,
    splits,
    numbers,  # of one split
    SUM: tl.constexpr,
    LENGTH: tl.constexpr,  # of the last axis
    SPLITS: tl.constexpr,
    NUMBERS: tl.constexpr,
):
    """The sum over the splits, always in one order, in the dtype of the gradients."""
    at = tl.program_id(0) * NUMBERS + tl.arange(0, NUMBERS)
    total = tl.full((NUMBERS,), 0, SUM)
    for start in range(0, splits, SPLITS):
        split = start + tl.arange(0, SPLITS)
        known = (split < splits)[:, None] & (at < numbers)[None, :]
        part = tl.load(partial + split[:, None] * numbers + at[None, :], mask=known, other=0.0)
        total += tl.sum(part, 0)
    column, within = at // LENGTH, at % LENGTH
    weights = (at < numbers) & (within < LENGTH - 1)
    to = weight_gradient + column * (LENGTH - 1) + within
    tl.store(to, total.to(weight_gradient.dtype.element_ty), mask=weights)
    biases = (at < numbers) & (within == LENGTH - 1)
    tl.store(bias_gradient + column, total.to(bias_gradient.dtype.element_ty), mask=biases)
