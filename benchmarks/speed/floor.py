"""The least time that a student's step can take here: what it must do, and how fast the machine is.

Arithmetic is counted from the layers' shapes, a multiplication and an addition as two: a forward
pass, the gradient of the weights, and that of the inputs but for the first layer's. Biases,
activations, pooling, the loss and the optimizer are left out, a few in a hundred together.

Memory traffic is counted as if a kernel read each of its tensors once and wrote each once, and the
caches kept nothing between kernels. The batch is read as bytes and written once, normalised. A
layer with weights reads its input and writes its output; its weights' gradient reads input and
output's gradient; its input's gradient reads the latter and writes one as large as the input. So
that is two or three times input and output together. Pooling takes part twice, forward and back;
fused, it is part of the layer before, and the map between the two is never in memory. Activation,
dropout and the places of maxima count for nothing. Parameters are float32 at any precision and
moved ten times: read forward and back, their gradient written, and by Adam the gradient, both
moments and they themselves read and all but the gradient written.

For LightNN at batch 128 that is 0.883 GFLOP, and 73.8 MB in float32 (fused 30.3) or 42.4 MB in
bfloat16 (fused 20.7).
"""

import copy
import math
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import nn

from fkd.execution import PRECISIONS, multiply_in, precisions

PER_PARAMETER = 10  # times that each is moved
REPEATS = 7


class Layer(NamedTuple):
    """Numbers that a layer takes and gives for an image, and its multiplications; 0 for pooling."""

    inputs: int
    outputs: int
    multiplications: int


class Work(NamedTuple):
    """What a step does: floating-point operations, and bytes moved with and without fusion."""

    flops: int
    unfused: int
    fused: int


class Sizes(NamedTuple):
    """What a machine's rates are measured on."""

    numbers: int  # of a float32 tensor that is far larger than the caches
    matrix: int  # the side of a square matrix
    images: int  # in a convolution's batch
    channels: int = 256
    side: int = 32


SIZES = {"cpu": Sizes(2**26, 2048, 16), "cuda": Sizes(2**28, 8192, 256)}


def layers(model: nn.Module, image: tuple[int, int, int]) -> list[Layer]:
    """A model's layers in the order of its forward pass, for one image."""
    sizes = []

    def note(module: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        # each number of the output is one row of the weights times a part of the input
        weight = getattr(module, "weight", None)
        each = 0 if weight is None else weight[0].numel()
        sizes.append(Layer(inputs[0].numel(), output.numel(), output.numel() * each))

    model = copy.deepcopy(model).to("meta")
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.MaxPool2d):
            module.register_forward_hook(note)
    model(torch.empty(1, *image, device="meta"))
    return sizes


def work(
    model: nn.Module, batch: int, precision: str, image: tuple[int, int, int] = (3, 32, 32)
) -> Work:
    """A training step of a model whose convolutions may end in pooling, with Adam."""
    apart = layers(model, image)
    together = [
        layer._replace(outputs=after.outputs) if not after.multiplications else layer
        for layer, after in pairwise([*apart, Layer(0, 0, 1)])
        if layer.multiplications
    ]
    parameters = sum(p.numel() for p in model.parameters())
    pixels, width = math.prod(image), PRECISIONS[precision].itemsize

    def traffic(steps: list[Layer]) -> int:
        numbers = sum(_passes(steps, [x.inputs + x.outputs for x in steps]))
        return batch * (pixels + width * (pixels + numbers)) + 4 * PER_PARAMETER * parameters

    multiplications = sum(_passes(apart, [x.multiplications for x in apart]))
    return Work(2 * batch * multiplications, traffic(apart), traffic(together))


def _passes(steps: list[Layer], each: list[int]) -> list[int]:
    """What each layer does in all: forward, back to its weights, and, but for the first, back."""
    times = [2, *(3 if layer.multiplications else 2 for layer in steps[1:])]
    return [n * value for n, value in zip(times, each, strict=True)]


def machine(device: str) -> dict[str, Any]:
    """Bytes and, by precision, floating-point operations a second that the device reaches.

    The best of copy and triad over tensors far larger than the caches, and of a large product of
    matrices and a wide convolution with channels last.
    """
    sizes = SIZES[device]
    a, b, c = (torch.ones(sizes.numbers, device=device) for _ in range(3))
    copy_rate = 2 * a.nbytes / fastest(lambda: a.copy_(b), device)
    triad = 3 * a.nbytes / fastest(lambda: torch.add(b, c, alpha=2.0, out=a), device)
    del a, b, c
    rates: dict[str, Any] = {
        "bytes_a_second": max(copy_rate, triad),
        "copy": copy_rate,
        "triad": triad,
        "flops_a_second": {},
        "matmul": {},
        "convolution": {},
    }
    n, images, channels, side = sizes.matrix, sizes.images, sizes.channels, sizes.side
    for precision in precisions(device):
        multiply_in(precision)
        dtype = PRECISIONS[precision]
        x = torch.randn(n, n, device=device, dtype=dtype)
        product = 2 * n**3 / fastest(lambda x=x: x @ x, device)
        shape = images, channels, side, side
        maps = torch.randn(shape, device=device, dtype=dtype)
        maps = maps.to(memory_format=torch.channels_last)
        layer = nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)
        layer = layer.to(memory_format=torch.channels_last)
        flops = 2 * 9 * channels**2 * images * side**2
        convolution = flops / fastest(lambda layer=layer, maps=maps: layer(maps), device)
        rates["matmul"][precision], rates["convolution"][precision] = product, convolution
        rates["flops_a_second"][precision] = max(product, convolution)
    return rates


@torch.inference_mode()
def fastest(run: Callable[[], Any], device: str) -> float:
    """The least seconds of a few runs, after one that is not timed."""
    seconds = []
    for _ in range(1 + REPEATS):
        begin = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return min(seconds[1:])


def milliseconds(work: Work, precision: str, machine: dict[str, Any]) -> dict[str, float]:
    """The floor of a step, unfused and fused: max(bytes / bandwidth, operations / rate)."""
    arithmetic = work.flops / machine["flops_a_second"][precision]
    return {
        name: 1e3 * max(moved / machine["bytes_a_second"], arithmetic)
        for name, moved in (("unfused", work.unfused), ("fused", work.fused))
    }
