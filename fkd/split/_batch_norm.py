"""BatchNorm over the whole batch, of which a part is here.

Ioffe and Szegedy, "Batch Normalization" (2015), algorithm 1, with the moments of the parts joined
as Chan, Golub and LeVeque (1983), section 2, join them.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fkd.split._split import Split


def whole_batch_norm(split: Split | None, examples: int) -> AbstractContextManager[Any]:
    """Where it is entered, BatchNorm is that of a batch of so many examples, of which this part is
    computed. Without a split, torch's own."""
    return nullcontext() if split is None else WholeBatchNorm(split, examples)


class WholeBatchNorm(TorchFunctionMode):
    """Where it is active, BatchNorm in training takes the whole batch's mean and variance.

    It answers torch's call, so that no module is changed: one sum over the parts a layer, of each
    part's mean and squares about it. Nothing else that mixes examples is answered.
    """

    def __init__(self, split: Split, examples: int):
        super().__init__()
        self.split, self.examples = split, examples

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.batch_norm:
            return _batch_norm(self.split, self.examples, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    split: Split,
    examples: int,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    sizes = split.sizes(examples)
    own = sizes[split.part]
    if len(input) % own:
        raise ValueError(
            f"BatchNorm: its input must lead with the examples, {own} of them here or a multiple, "
            f"but it is {tuple(input.shape)}; a batch with such a layer cannot be split"
        )
    axes = [axis for axis in range(input.ndim) if axis != 1]
    each = input.numel() // input.shape[1] // own  # values that an example has in a channel
    total = each * examples
    if total == 1:
        raise ValueError(
            "BatchNorm: a channel must have two values or more in training, but the batch has one"
        )
    shape = [-1 if axis == 1 else 1 for axis in range(input.ndim)]
    mean = input.mean(axes)
    squares = (input - mean.reshape(shape)).square().sum(axes)
    here = torch.stack([mean, squares])[None]
    moments = split.sum(F.pad(here, (0, 0, 0, 0, split.part, split.parts - 1 - split.part)))
    means, squares = moments.unbind(1)  # [parts, channels]
    # Filled in place: a CUDA graph can copy nothing from the CPU.
    counts = torch.cat([mean.new_full((1,), each * size) for size in sizes])
    mean = (counts[:, None] * means).sum(0) / total
    squares = (squares + counts[:, None] * (means - mean).square()).sum(0)
    if running_mean is not None and running_var is not None:
        old = running_mean * (1 - momentum), running_var * (1 - momentum)
        running_mean.copy_(old[0] + momentum * mean.detach())
        running_var.copy_(old[1] + momentum * squares.detach() / (total - 1))
    scale = (squares / total + eps).rsqrt()
    outputs = (input - mean.reshape(shape)) * scale.reshape(shape)
    if weight is not None:
        outputs = outputs * weight.reshape(shape)
    return outputs if bias is None else outputs + bias.reshape(shape)
