"""What a comparison must know of its sources and networks before it starts."""

import copy
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fkd import _check
from fkd._random import Key
from fkd.checkpoint._tree import refuse_prefix
from fkd.compare._setup.task import Build
from fkd.data import Batch, Source
from fkd.model import Model, Tensors
from fkd.teachers import Teacher


def example_batch(source: Source) -> Batch:
    """A batch as a step reads it, augmented where the source is.

    Raises ValueError for a batch size that the source cannot fill, and for one without labels.
    """
    _check.count("batch_size", batch_size=source.batch_size)
    if source.batch_size > source.examples:
        raise ValueError(
            f"batch_size: {source.batch_size} is more than the examples to train on, which are "
            f"{source.examples}; give as many or fewer"
        )
    number = torch.zeros((), dtype=torch.int64, device=source.device)
    batch = source.read(next(source.feeds(0, 0)), Key(number, number))
    if "labels" not in batch.targets:
        raise ValueError(
            "data: a batch must have a target 'labels', each example's class, but its targets are: "
            f"{', '.join(sorted(batch.targets)) or 'none'}"
        )
    return batch


def module_of(build: Build, state: Mapping[str, Tensor] | None = None) -> nn.Module:
    """The network as a module on the CPU, with these parameters and buffers.

    The caller's random numbers are left as they are. Raises ValueError where they do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        module = copy.deepcopy(build())  # which may give a module that is another's
    if state is not None:
        refuse_prefix("teacher_state", state, module.state_dict())
        try:
            module.load_state_dict({name: value.cpu() for name, value in state.items()})
        except RuntimeError as error:
            raise ValueError(f"teacher_state: {error}") from error
        for name, value in module.state_dict().items():
            if not value.isfinite().all():
                raise ValueError(
                    f"teacher_state: {name} must be finite, but it holds infinite numbers or NaN; "
                    "give the state of a training that did not diverge"
                )
    return module.eval()


def teacher_of(model: Model, state: Mapping[str, Tensor], device: torch.device) -> Teacher:
    """The teacher of this model and state_dict, on a device."""
    params, buffers = model.init(0)
    # A buffer that is not persistent is in no state_dict.
    return Teacher(
        model,
        {name: state[name].to(device, value.dtype) for name, value in params.items()},
        {name: state.get(name, value).to(device, value.dtype) for name, value in buffers.items()},
    )


def parameters(model: Model) -> int:
    """How many parameters a model has."""
    return sum(value.numel() for value in model.init(0)[0].values())


def shapes(outputs: Tensors) -> dict[str, tuple[int, ...]]:
    """The outputs' shapes by name."""
    return {name: tuple(output.shape) for name, output in outputs.items()}


def gibibytes(outputs: Tensors, examples: int) -> float:
    """The memory that outputs like these take for so many examples."""
    of_one = sum(math.prod(o.shape[1:]) * o.itemsize for o in outputs.values())
    return of_one * examples / 2**30
