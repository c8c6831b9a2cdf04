"""What is found out about a model before any work: its outputs, and whether it is pure."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from fkd import _check
from fkd._draws import refusing
from fkd._random import Key
from fkd.model._model import Model, functional, run_by
from fkd.model._module import built, numbers, plain_tensors, skeletons
from fkd.model._outputs import Tensors
from fkd.model._parallel import refuse_synchronised

FEW = 4  # examples that a model is tried on: enough for BatchNorm
Result = TypeVar("Result")


def outputs_like(model: Model, inputs: Any, *, train: bool) -> Tensors:
    """The outputs for `inputs` on the meta device: names, shapes and dtypes.

    They are found without computing where the module can do so, and else by a forward pass on the
    inputs, or on zeros of their shapes where they are on the meta device themselves.

    Raises ValueError for a model that draws random numbers from elsewhere than its key: from an
    operator that no answer is known for (torch.poisson), from Python's `random` or from
    `numpy.random`; for a forward pass that fails, with the layer; and for what is no model.

    >>> from torch import nn
    >>> model = functional(lambda: nn.Linear(2, 3))
    >>> outputs_like(model, torch.ones(5, 2), train=True)["logits"].shape
    torch.Size([5, 3])
    """
    _check.kind("outputs_like", Model, model=model)
    _check.kind("outputs_like", bool, train=train)
    outputs = lightly(partial(_pass, model, train=train), model.init(0), inputs)
    return tree_map(_on_meta, outputs)


def lightly(run: Callable[..., Result], *trees: Any) -> Result:
    """What `run` makes of trees of tensors on the meta device, where it computes nothing; and where
    it cannot run there, of their numbers, on the CPU, with zeros for what has none.

    Raises ValueError for what is no function.
    """
    _check.function("lightly", run=run)
    try:
        with torch.device("meta"):
            return run(*tree_map(_on_meta, trees))
    except Exception:  # what needs numbers: `.item()`, a branch, a tensor that lies on the CPU
        return run(*tree_map(_real, trees))


def check(model: Model, inputs: Any) -> None:
    """Refuse a model that is no pure function, by forward passes of a few examples.

    Raises ValueError for what is no model, for a module that changes a parameter in its forward
    pass, that keeps something on itself which a later pass reads, that counts in an attribute, or
    whose numbers are random and no state of it, for a parameter with a hook on its gradient, which
    nothing would call, and for SyncBatchNorm, which would meet other ranks in the forward pass.
    Inputs on the meta device hold nothing to try it on, and pass.

    >>> from torch import nn
    >>> check(functional(lambda: nn.Embedding(9, 2, max_norm=1.0)), torch.arange(4))
    Traceback (most recent call last):
        ...
    ValueError: the model changes its parameter 'weight' in place in the forward pass; ...
    """
    _check.kind("check", Model, model=model)
    modules = [built(model.build, seed) for seed in (0, 1)]
    refuse_synchronised(modules[0])
    _check_attributes(*modules)
    _check_hooks(modules[0])
    leaves = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]
    if any(leaf.is_meta for leaf in leaves):
        return
    inputs = _few(inputs)
    params, buffers = model.init(0)
    first = tree_map(torch.clone, params)
    # Skeletons of their own, for a pass may leave something behind.
    pair = skeletons(modules[0])
    used = run_by(pair, modules[0], model.build, model.dtype)
    fresh = functional(model.build, model.dtype)
    _pass(used, (params, buffers), inputs, train=True)
    for name, value in first.items():
        if not torch.equal(params[name], value):
            raise ValueError(
                f"the model changes its parameter {name!r} in place in the forward pass; that of "
                "a step must stay as it is: compute a new tensor from it (as F.normalize or "
                "torch.clamp do), or torch.nn.utils.parametrize it; of Embedding, leave out "
                "max_norm"
            )
    counts = numbers(pair[1])  # of which a cache's are now as they stay
    other = {name: value * 1.25 + 0.25 for name, value in params.items()}
    again = _pass(used, (other, buffers), inputs, train=True)
    for name, number in numbers(pair[1]).items():
        if [counts.get(name)] != [number]:  # in lists, for a NaN is itself there
            raise ValueError(
                f"the model counts in its attribute {name!r}, which is {counts.get(name)} after "
                f"one forward pass and {number} after another: all students and passes would share "
                "one count; keep it in a buffer (register_buffer)"
            )
    alone = _pass(fresh, (other, buffers), inputs, train=True)
    for name, output in alone.items():
        if name not in again or not torch.allclose(again[name], output, equal_nan=True):
            raise ValueError(
                f"the model's output {name!r} depends on an earlier forward pass: it keeps a "
                "cache or a count as an attribute, which would serve one student's values to the "
                "next; compute it anew in each pass, or keep it in a buffer (register_buffer)"
            )


def _check_attributes(module: nn.Module, reseeded: nn.Module) -> None:
    one, other = plain_tensors(module), plain_tensors(reseeded)
    for name, value in one.items():
        if name not in other or not torch.equal(value, other[name]):
            raise ValueError(
                f"the model keeps the tensor {name!r} as a plain attribute, and it is another one "
                "with each seed: all students would share one; register it as a buffer "
                "(register_buffer) or a parameter, and for torch.nn.utils.spectral_norm take "
                "torch.nn.utils.parametrizations.spectral_norm"
            )


def _check_hooks(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            raise ValueError(
                f"the model's parameter {name!r} has a hook on its gradient, which torch.func.grad "
                "never calls: it would be trained as without it; freeze the whole of it with "
                "requires_grad_(False), or change the gradient in forward or by a link of the "
                "optimizer (fkd.optim.masked)"
            )


def _pass(model: Model, state: tuple[Tensors, Tensors], inputs: Any, *, train: bool) -> Tensors:
    leaves = tree_leaves(state)
    zero = torch.zeros((), dtype=torch.int64, device=leaves[0].device if leaves else None)
    with torch.no_grad(), refusing() as places:
        try:
            return model.apply(*state, inputs, train=train, key=Key(zero, zero))[0]
        except ValueError:
            raise
        except Exception as error:
            reason = str(error).strip() or type(error).__name__
            reason += _of_dtypes(reason, inputs, leaves)
            raise ValueError(f"{places} fails in the forward pass: {reason}") from error


def _of_dtypes(reason: str, inputs: Any, leaves: Sequence[Tensor]) -> str:
    """What to do where a layer was given numbers of another dtype than its own, as of NumPy's
    float64 or of raw images; "" where it was not."""
    own = {x.dtype for x in leaves if x.is_floating_point()}
    given = {x.dtype for x in tree_leaves(inputs) if isinstance(x, Tensor)} - own
    others = [str(x) for x in given if x.is_floating_point or x == torch.uint8]
    if "type" not in reason or not own or not others:
        return ""
    return (
        f"; the inputs are {' and '.join(sorted(others))}, and the parameters "
        f"{' and '.join(sorted(map(str, own)))}: give inputs in the parameters' dtype, as "
        f"x.to({min(own, key=str)})"
    )


def _few(inputs: Any) -> Any:
    """The first few examples, on the CPU, where every leaf has an axis of them."""
    leaves = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]
    examples = {len(leaf) if leaf.ndim else 0 for leaf in leaves}
    stop = FEW if len(examples) == 1 else None
    return tree_map(
        lambda leaf: leaf[:stop].cpu() if isinstance(leaf, Tensor) and leaf.ndim else leaf, inputs
    )


def _on_meta(x: Any) -> Any:
    return torch.empty_like(x, device="meta") if isinstance(x, Tensor) else x


def _real(x: Any) -> Any:
    if not isinstance(x, Tensor):
        return x
    return torch.zeros_like(x, device="cpu") if x.is_meta else x.cpu()
