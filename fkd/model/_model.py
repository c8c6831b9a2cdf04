"""Any `nn.Module` as a pair of pure functions, with its random numbers explicit.

What torch keeps inside a module (parameters, running statistics) or beside it (the state of its
generators) is an argument and a result here, so that one model can be many students by
`torch.func.vmap`.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from fkd import _check
from fkd._draws import Draws
from fkd._random import Key
from fkd.model._module import built, computed_with, skeletons
from fkd.model._outputs import Tensors, arguments, by_name, keywords


class Apply(Protocol):
    def __call__(
        self,
        params: Tensors,
        buffers: Tensors,
        inputs: Any,
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Tensors, Tensors]: ...


class Model(NamedTuple):
    """A model as two pure functions.

    `init(seed) -> (params, buffers)` makes the tensors that `torch.manual_seed(seed)` and building
    the module would make. `apply(params, buffers, inputs, train=..., key=...) -> (outputs,
    buffers)` runs it: `inputs` is any pytree of tensors (a tuple holds several arguments) whose
    first tensor has the examples as its first axis, the outputs go by name, and the buffers that
    come back are new tensors. Random numbers come from the key alone, which may be left away where
    none are drawn. `build` makes the module, and `dtype` is what it computes in.
    """

    build: Callable[[], nn.Module]
    init: Callable[[int], tuple[Tensors, Tensors]]
    apply: Apply
    dtype: torch.dtype = torch.float32


def functional(build: Callable[[], nn.Module], dtype: torch.dtype = torch.float32) -> Model:
    """The module that `build()` makes, as a pair of pure functions.

    The module may return a dict of tensors by name, or one tensor, which is taken as `logits`; what
    is nested goes by its path, as `hidden_states.3`, and what is no tensor is left out. A tuple of
    inputs holds several arguments, and a dict whose names are all arguments of `forward` is passed
    by keyword. Parts of the module that `build`, or a `train` of the module's own, puts into
    evaluation mode (a frozen BatchNorm) stay in it; a module that is in it as a whole, as a
    pretrained one comes, is trained as a whole. Its own state stays on the meta device, so a
    parameter that was not passed is a RuntimeError and never a hidden input. Nothing of the module
    is changed or replaced: a module that `build` does not make anew is copied. Parameters that do
    not require a gradient are held among the buffers, so that no step moves them.

    A model runs in one thread at a time, for torch puts the tensors into the module while it runs:
    each thread needs one of its own.

    Every random call in the forward pass (dropout, also in attention, stochastic depth, torch.rand)
    is answered by a hash of the key, the call's number in the pass, and the position; see
    `outputs_like` for what is refused.

    With a narrower `dtype`, such as torch.bfloat16, parameters and inputs are cast on the way in
    and outputs back on the way out, so that optimizers and losses stay in float32 (Micikevicius et
    al., "Mixed Precision Training", 2018, section 3.1); buffers and BatchNorm's parameters are left
    as they are. Autocast would not do: under `vmap` it leaves convolutions out.

    Raises ValueError for a `build` that makes no module, or one that torch has made parallel
    (DataParallel, DistributedDataParallel, fully_shard and their kin), a lazy module that has not
    run, one that keeps what is computed from its parameters (torch.nn.utils.weight_norm), and for
    another dtype; `apply` raises it for a module that returns no tensor, and for a
    random call without a key.

    >>> model = functional(lambda: nn.Sequential(nn.Linear(2, 3), nn.Dropout()))
    >>> params, buffers = model.init(0)
    >>> key = Key(seed=torch.tensor(0), step=torch.tensor(0))
    >>> outputs, buffers = model.apply(params, buffers, torch.ones(1, 2), train=True, key=key)
    >>> outputs["logits"].shape
    torch.Size([1, 3])
    """
    _check.kind("functional", torch.dtype, dtype=dtype)
    if dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(
            f"functional: dtype must be torch.float32, bfloat16 or float16, but it is {dtype}"
        )
    module = built(build, 0)
    return run_by(skeletons(module), module, build, dtype)


def run_by(
    skeletons: tuple[nn.Module, nn.Module],
    module: nn.Module,
    build: Callable[[], nn.Module],
    dtype: torch.dtype,
) -> Model:
    """The model that is run by these skeletons of `module`, which `build()` made."""
    narrow = None if dtype == torch.float32 else dtype
    apply = partial(_apply, skeletons, keywords(module), computed_with(module), narrow)
    return Model(build, partial(_init, build), apply, dtype)


def state_dict(params: Tensors, buffers: Tensors) -> Tensors:
    """What `build().load_state_dict` takes: both dicts in one.

    Raises ValueError for what is no dict.

    >>> model = functional(lambda: nn.Linear(2, 2))
    >>> list(state_dict(*model.init(0)))
    ['weight', 'bias']
    """
    _check.mapping("state_dict", params=params, buffers=buffers)
    return params | buffers


def _init(build: Callable[[], nn.Module], seed: int) -> tuple[Tensors, Tensors]:
    _check.seed("init", seed=seed)
    module = built(build, seed)
    params: Tensors = {}
    # Copies, for a module that was there before keeps its own.
    buffers = {name: buffer.detach().clone() for name, buffer in module.named_buffers()}
    for name, parameter in module.named_parameters():
        (params if parameter.requires_grad else buffers)[name] = parameter.detach().clone()
    return params, buffers


def _apply(
    skeletons: tuple[nn.Module, nn.Module],
    keywords: frozenset[str],
    computed_with: set[str],
    narrow: torch.dtype | None,
    params: Tensors,
    buffers: Tensors,
    inputs: Any,
    *,
    train: bool,
    key: Key | None = None,
) -> tuple[Tensors, Tensors]:
    """`skeletons` is the module for evaluation and for training, `keywords` the names of its
    arguments, `computed_with` the names of what is cast to `narrow`."""
    # A module writes its buffers in place, and its inputs, which a pure function must not.
    tensors = params | {name: buffer.clone() for name, buffer in buffers.items()}
    inputs = tree_map(_copy, inputs)
    if narrow is not None:
        cast = {name: _cast(tensors[name], narrow) for name in tensors if name in computed_with}
        tensors, inputs = tensors | cast, tree_map(partial(_cast, dtype=narrow), inputs)
    examples = next((len(x) for x in tree_leaves(inputs) if isinstance(x, Tensor) and x.ndim), 0)
    dtypes = nullcontext() if narrow is None else _BatchNormInFloat32()
    with dtypes, Draws(key, examples):
        positional, named = arguments(inputs, keywords)
        # No index, for torch 2.11 cannot compile one by a bool.
        skeleton = skeletons[1] if train else skeletons[0]
        outputs = functional_call(skeleton, tensors, positional, named, strict=True)
    # functional_call has put into `tensors` what the module has put in a buffer's place. A frozen
    # parameter that was cast is what it was before, with all its digits.
    kept = computed_with if narrow is not None else set()
    after = {k: v if k in kept else tensors[k] for k, v in buffers.items()}
    leaves = by_name(outputs)
    if narrow is None:
        return leaves, after
    return {k: v.float() if v.dtype == narrow else v for k, v in leaves.items()}, after


class _BatchNormInFloat32(TorchFunctionMode):
    """BatchNorm computes in its own numbers' float32; its outputs are its inputs' dtype again.

    torch does so by itself but under `vmap`, where it takes no two dtypes.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is not F.batch_norm:
            return func(*args, **(kwargs or {}))
        return func(args[0].float(), *args[1:], **(kwargs or {})).to(args[0].dtype)


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype) if x.is_floating_point() else x


def _copy(x: Any) -> Any:
    return x.clone() if isinstance(x, Tensor) else x
