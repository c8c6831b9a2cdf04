"""A module made from a seed, and copies of it without numbers of their own."""

import copy
import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves

from fkd import _check
from fkd.model._parallel import refuse_parallel


def built(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """The module that `build()` makes after `torch.manual_seed(seed)` and its kin.

    Raises ValueError for a module in place of a function, for what is no function or wants
    arguments, for what makes no module, for one that torch has made parallel, for a lazy module
    that has not run, and for one that keeps what is computed from its parameters.
    """
    if isinstance(build, nn.Module):
        raise ValueError(
            f"functional: build must be a function that makes a module, but it is a "
            f"{type(build).__name__} itself; give its class, or `lambda: module`, which copies it"
        )
    _check.function("functional", build=build)
    wanted = _wanted(build)
    if wanted:
        raise ValueError(
            f"functional: build must be a function of no arguments, but it wants "
            f"{', '.join(wanted)}; give `lambda: {getattr(build, '__name__', 'build')}(...)`"
        )
    with seeded(seed):
        module = build()
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"functional: build() must return an nn.Module, but it returned a "
            f"{type(module).__name__}; give the class or a function, not the module itself"
        )
    refuse_parallel("functional: what build() makes", module)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor):
            raise ValueError(
                f"functional: {name} is lazy, of no shape yet; let build() run the module once on "
                "an example before it returns it"
            )
    refuse_computed("functional: what build() makes", module)
    return module


def refuse_computed(where: str, module: nn.Module) -> None:
    """Raise where the module keeps a tensor that is computed from its parameters, which no copy of
    it would compute again. `where` begins the error."""
    for name, tensor in plain_tensors(module).items():
        if tensor.grad_fn is not None:
            raise ValueError(
                f"{where} must keep no tensor that is computed from its parameters, but {name!r} "
                "is one; for torch.nn.utils.weight_norm take torch.nn.utils.parametrizations."
                "weight_norm, for torch.nn.utils.prune a parametrization that multiplies by the "
                "mask (of a teacher, prune.remove), and compute anything else in forward; what a "
                "pass has left behind goes with another under torch.no_grad()"
            )


def _wanted(build: Callable[..., Any]) -> list[str]:
    """The arguments without a default."""
    try:
        parameters = inspect.signature(build).parameters.values()
    except (TypeError, ValueError):  # of what is not written in Python
        return []
    starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in starred]


def skeletons(module: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The module for evaluation and for training, with its state on the meta device.

    Parts that are in evaluation mode stay in it, but for a module that is in it as a whole; and so
    do parts that a `train` of the module's own puts into it.
    """
    evaluating, training = _skeleton(module), _skeleton(module)
    asleep = [part for part in training.modules() if not part.training] if module.training else []
    evaluating.eval()  # of which a class may have its own, that returns nothing
    training.train()
    for part in asleep:
        part.training = False
    return evaluating, training


def _skeleton(module: nn.Module) -> nn.Module:
    copies: dict[int, Any] = {}
    for tensor in module.buffers():
        copies[id(tensor)] = torch.empty_like(tensor, device="meta")
    for tensor in module.parameters():
        empty = torch.empty_like(tensor.detach(), device="meta")
        copies[id(tensor)] = nn.Parameter(empty, tensor.requires_grad)
    return copy.deepcopy(module, copies)


def computed_with(module: nn.Module) -> set[str]:
    """The names of all parameters but BatchNorm's, which are float32 whatever it normalises."""
    norms = [(n, m) for n, m in module.named_modules() if isinstance(m, _BatchNorm)]
    own = {f"{n}.{key}".lstrip(".") for n, m in norms for key in m.state_dict()}
    return {name for name, _ in module.named_parameters()} - own


def numbers(module: nn.Module) -> dict[str, int | float]:
    """The numbers that the module's parts keep as attributes, by name."""
    return {
        f"{name}.{attribute}".lstrip("."): value
        for name, part in module.named_modules()
        for attribute, value in vars(part).items()
        if isinstance(value, int | float) and attribute != "training"
    }


def plain_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The tensors that the module keeps as attributes, neither parameters nor buffers, by name."""
    state = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    plain = {}
    for name, part in module.named_modules():
        for attribute, value in vars(part).items():
            if attribute.startswith("_") and attribute in vars(nn.Module()):
                continue  # torch's own dicts of parameters, buffers, modules and hooks
            for leaf in tree_leaves(value):
                if isinstance(leaf, Tensor) and id(leaf) not in state:
                    plain[f"{name}.{attribute}".lstrip(".")] = leaf
    return plain


def check_ask(where: str, /, **asks: Any) -> None:
    """Raise where a named value is no function, or is a module in training mode."""
    _check.function(where, **asks)
    for name, ask in asks.items():
        if isinstance(ask, nn.Module) and ask.training:
            raise ValueError(
                f"{where}: {name} must be in evaluation mode, but it is a {type(ask).__name__} in "
                "training mode, which drops units and moves its statistics when it is asked; call "
                "its eval(), or give fkd.teachers.teacher_of_module(module)"
            )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """As after `torch.manual_seed(seed)` and its kin, leaving all generators as they were."""
    python, numpy = random.getstate(), np.random.get_state(legacy=False)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
