"""torch's random numbers (rand, randn, bernoulli_ ...), as torch has them, from a hash."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fkd._draws._dropout import write
from fkd._draws._stream import Shape, Stream

# Where it is said that a signature takes `options`, these are a generator, which is not asked, and
# what says where a tensor lies: numbers lie where the key does, unless a device is named.


def rand(
    stream: Stream,
    *size: Any,
    dtype: torch.dtype | None = None,
    device: Any = None,
    **options: Any,
) -> Tensor:
    numbers = stream.unit(_shape(size, options), dtype or torch.get_default_dtype())
    return _on(device, numbers)


def randn(
    stream: Stream,
    *size: Any,
    dtype: torch.dtype | None = None,
    device: Any = None,
    **options: Any,
) -> Tensor:
    numbers = stream.normal(_shape(size, options), dtype or torch.get_default_dtype())
    return _on(device, numbers)


def randint(
    stream: Stream,
    *args: Any,
    low: int = 0,
    high: int | None = None,
    dtype: torch.dtype | None = None,
    device: Any = None,
    **options: Any,
) -> Tensor:
    if "size" not in options:
        options["size"], args = args[-1], args[:-1]
    low, high = _range(args, low, high)
    numbers = stream.integers(_shape((), options), low, high)
    return _on(device, numbers.to(dtype or torch.int64))


def randperm(
    stream: Stream,
    n: int,
    *,
    dtype: torch.dtype | None = None,
    device: Any = None,
    **options: Any,
) -> Tensor:
    order = stream.bits(_shape((n,), options)).argsort(stable=True)
    return _on(device, order.to(dtype or torch.int64))


def rand_like(
    stream: Stream,
    input: Tensor,
    *,
    dtype: torch.dtype | None = None,
    device: Any = None,
    **options: Any,
) -> Tensor:
    return rand(stream, input.shape, dtype=dtype or input.dtype, device=device, **options)


def randn_like(
    stream: Stream,
    input: Tensor,
    *,
    dtype: torch.dtype | None = None,
    device: Any = None,
    **options: Any,
) -> Tensor:
    return randn(stream, input.shape, dtype=dtype or input.dtype, device=device, **options)


def randint_like(
    stream: Stream,
    input: Tensor,
    *args: Any,
    low: int = 0,
    high: int | None = None,
    dtype: torch.dtype | None = None,
    device: Any = None,
    **options: Any,
) -> Tensor:
    low, high = _range(args, low, high)
    numbers = stream.integers(_shape(input.shape, options), low, high)
    return _on(device, numbers.to(dtype or input.dtype))


def normal(
    stream: Stream,
    mean: Tensor | float = 0.0,
    std: Tensor | float = 1.0,
    size: Sequence[int] | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: Any = None,
    **options: Any,
) -> Tensor:
    moments = [moment for moment in (mean, std) if isinstance(moment, Tensor)]
    if moments:
        size = torch.broadcast_shapes(*[moment.shape for moment in moments])
        dtype = moments[0].dtype
    numbers = stream.normal(_shape((size,), options), dtype or torch.get_default_dtype())
    return _on(device, mean + std * numbers)


def bernoulli(
    stream: Stream, input: Tensor, p: float | None = None, *, generator: Any = None, out: Any = None
) -> Tensor:
    """One with the probability that `input` holds, or with probability `p`."""
    _shape((), {"out": out})
    return _ones(stream, input.shape, input if p is None else p).to(input.dtype)


def bernoulli_(
    stream: Stream, input: Tensor, p: Tensor | float = 0.5, *, generator: Any = None
) -> Tensor:
    return write(input, _ones(stream, input.shape, p).to(input.dtype))


def uniform_(stream: Stream, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    low = args[0] if args else kwargs.get("from", 0.0)
    high = args[1] if len(args) > 1 else kwargs.get("to", 1.0)
    return write(input, low + (high - low) * stream.unit(input.shape, input.dtype))


def normal_(
    stream: Stream, input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None
) -> Tensor:
    return write(input, mean + std * stream.normal(input.shape, input.dtype))


def log_normal_(
    stream: Stream, input: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Any = None
) -> Tensor:
    return write(input, (mean + std * stream.normal(input.shape, input.dtype)).exp())


def exponential_(
    stream: Stream, input: Tensor, lambd: float = 1.0, *, generator: Any = None
) -> Tensor:
    return write(input, stream.exponential(input.shape, input.dtype) / lambd)


def geometric_(stream: Stream, input: Tensor, p: float, *, generator: Any = None) -> Tensor:
    if p == 1:
        return write(input, torch.ones_like(input))
    numbers = stream.exponential(input.shape, input.dtype) / -math.log1p(-p)
    return write(input, numbers.ceil())


def cauchy_(
    stream: Stream, input: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Any = None
) -> Tensor:
    (numbers,) = stream.open(input.shape, input.dtype)
    return write(input, median + sigma * (math.pi * (numbers - 0.5)).tan())


def random_(stream: Stream, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Whole numbers in [from, to), or in [0, to), or up to the largest that the dtype counts."""
    low, high = kwargs.get("from", 0), kwargs.get("to")
    low, high = _range(args, low, high) if args or high is not None else (0, _largest(input.dtype))
    return write(input, stream.integers(input.shape, low, high).to(input.dtype))


def multinomial(
    stream: Stream,
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Any = None,
    out: Any = None,
) -> Tensor:
    """Classes drawn by their weights `input` [..., classes]: the first of exponential clocks.

    With replacement a class runs a new clock for each sample.
    """
    _shape((), {"out": out})
    if not replacement:
        clocks = stream.exponential(input.shape, input.dtype)
        return (input / clocks).topk(num_samples).indices
    shape = (*input.shape[:-1], num_samples, input.shape[-1])
    return (input.unsqueeze(-2) / stream.exponential(shape, input.dtype)).argmax(-1)


def gumbel_softmax(
    stream: Stream,
    logits: Tensor,
    tau: float = 1,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
) -> Tensor:
    """Jang et al., "Categorical reparameterization with Gumbel-softmax" (2017), section 2."""
    noise = -stream.exponential(logits.shape, logits.dtype).log().to(logits.dtype)
    soft = ((logits + noise) / tau).softmax(dim)
    if not hard:
        return soft
    place = soft.argmax(dim, keepdim=True)
    classes = torch.arange(logits.shape[dim], device=logits.device)
    classes = classes.reshape([-1 if d == dim % logits.ndim else 1 for d in range(logits.ndim)])
    return (classes == place).to(soft.dtype) - soft.detach() + soft


def _ones(stream: Stream, shape: Shape, p: Tensor | float) -> Tensor:
    """True with probability p, or p's own where it holds one a position."""
    if not isinstance(p, Tensor):
        return stream.bits(shape) < math.ceil(p * 2**32)
    wide = p.dtype if p.dtype == torch.float64 else torch.float32
    return stream.unit(shape, wide) < p


def _shape(size: Any, options: dict[str, Any]) -> tuple[int, ...]:
    """The sizes of `rand(2, 3)`, `rand((2, 3))` and `rand(size=(2, 3))` alike."""
    if options.get("out") is not None:
        raise ValueError("a random call with out= is not known here; leave out= away")
    size = tuple(options.get("size", size))
    if len(size) == 1 and isinstance(size[0], Sequence):
        return tuple(size[0])
    return size


def _range(args: Sequence[int], low: int, high: int | None) -> tuple[int, int]:
    """`randint(high)`, `randint(low, high)` and both by name."""
    if len(args) == 2:
        return args[0], args[1]
    if len(args) == 1 and high is None:
        return 0, args[0]
    if len(args) == 1:
        low = args[0]
    if high is None:
        raise ValueError("a random whole number: high is to be given")
    return low, high


def _largest(dtype: torch.dtype) -> int:
    """One more than the largest that `random_()` draws."""
    if dtype == torch.bool:
        return 2
    if dtype.is_floating_point:
        return round(2 / torch.finfo(dtype).eps) + 1
    return min(torch.iinfo(dtype).max + 1, 2**63 - 1)  # which int64 can hold


def _on(device: Any, numbers: Tensor) -> Tensor:
    """On the device that is named; numbers of the meta device, which have none, stay there."""
    return numbers if device is None or numbers.is_meta else numbers.to(device)
