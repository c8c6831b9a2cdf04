"""Any `nn.Module` as a pair of pure functions, with its random numbers explicit.

What torch keeps inside a module (parameters, running statistics, the state of its dropout) is an
argument and a result here, so that one model can be many students by `torch.func.vmap`.
"""

import copy
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map

from fkd import _layers, _random

Tensors = dict[str, Tensor]
Inputs = Tensor | tuple[Tensor, ...]  # what a forward takes: one tensor, or several


class Apply(Protocol):
    def __call__(
        self, params: Tensors, buffers: Tensors, x: Inputs, *, train: bool
    ) -> tuple[Tensors, Tensors]: ...


class Model(NamedTuple):
    """A model as two pure functions.

    `init(seed) -> (params, buffers)` makes the tensors that `torch.manual_seed(seed)` and building
    the module would make. `apply(params, buffers, x, train=...) -> (outputs, buffers)` runs it; the
    outputs go by name, and the buffers that come back are new tensors when training. `dtype` is
    what it computes in.
    """

    init: Callable[[int], tuple[Tensors, Tensors]]
    apply: Apply
    dtype: torch.dtype = torch.float32


class Dropout(nn.Module):
    """Dropout whose mask is a hash of (key, count, position); it stands in for `nn.Dropout`.

    `key` and `count` are buffers, so a mask differs between members by their seeds and between
    steps by the count, runs under `vmap` and `torch.compile`, and is in a checkpoint. `channels`
    drops whole channels, as `nn.Dropout2d` does.

    Srivastava et al., "Dropout" (2014), section 4.
    """

    dropout_key: Tensor
    dropout_count: Tensor

    def __init__(self, p: float, *, channels: bool = False):
        super().__init__()
        self.p = p
        self.channels = channels
        self.register_buffer("dropout_key", torch.zeros((), dtype=torch.int64))
        self.register_buffer("dropout_count", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        key = _random.fold(self.dropout_key, self.dropout_count)
        self.dropout_count.add_(1)  # in place, on the copy that `apply` made
        shape = x.shape[:2] + (1,) * (x.ndim - 2) if self.channels else x.shape
        keep = _random.bits(key, shape) >= self.p * 2**32
        return torch.where(keep, x / (1 - self.p) if self.p < 1 else x, 0.0)


def functional(build: Callable[[], nn.Module], dtype: torch.dtype = torch.float32) -> Model:
    """The module that `build()` makes, as a pair of pure functions.

    The module may return a dict of tensors by name, or one tensor, which is taken as `logits`. Its
    own state stays on the meta device, so a parameter that was not passed is a RuntimeError and
    never a hidden input. Dropout is replaced by one with an explicit key. Parameters that do not
    require a gradient are held among the buffers, so that no step moves them.

    With a narrower `dtype`, such as torch.bfloat16, parameters and inputs are cast on the way in
    and outputs back on the way out, so that optimizers and losses stay in float32 (Micikevicius et
    al., "Mixed Precision Training", 2018, section 3.1); buffers and BatchNorm's parameters are left
    as they are. Autocast would not do: under `vmap` it leaves convolutions out.

    Raises ValueError for a random layer that has no explicit form, for a `build` that makes no
    module, and for another dtype.

    >>> model = functional(lambda: nn.Linear(2, 3))
    >>> params, buffers = model.init(0)
    >>> outputs, buffers = model.apply(params, buffers, torch.ones(1, 2), train=True)
    >>> outputs["logits"].shape
    torch.Size([1, 3])
    """
    if dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(
            f"functional: dtype must be torch.float32, bfloat16 or float16, but it is {dtype}"
        )
    narrower = dtype != torch.float32
    skeleton = _build(build, 0).to("meta")
    names = {name for name, _ in skeleton.named_parameters()} - _batchnorm_tensors(skeleton)
    skeletons = {True: skeleton.train(), False: copy.deepcopy(skeleton).eval()}

    def init(seed: int) -> tuple[Tensors, Tensors]:
        module = _build(build, seed)
        params, buffers = {}, dict(module.named_buffers())
        for name, parameter in module.named_parameters():
            (params if parameter.requires_grad else buffers)[name] = parameter.detach()
        return params, buffers

    def apply(
        params: Tensors, buffers: Tensors, x: Inputs, *, train: bool
    ) -> tuple[Tensors, Tensors]:
        if train:  # BatchNorm and dropout write theirs in place, which a pure function must not
            buffers = {name: value.clone() for name, value in buffers.items()}
        tensors = {k: narrow(v) if k in names else v for k, v in (params | buffers).items()}
        outputs = functional_call(skeletons[train], tensors, tree_map(narrow, x), strict=True)
        if isinstance(outputs, Tensor):
            outputs = {"logits": outputs}
        if not isinstance(outputs, Mapping):
            raise ValueError(
                "functional: the module must return a tensor (its logits) or a dict of tensors by "
                f"name, but it returned a {type(outputs).__name__}"
            )
        return {name: widen(output) for name, output in outputs.items()}, buffers

    def narrow(x: Tensor) -> Tensor:
        return x.to(dtype) if x.is_floating_point() and narrower else x

    def widen(x: Tensor) -> Tensor:
        return x.float() if x.dtype == dtype and narrower else x

    return Model(init, apply, dtype)


def outputs_like(model: Model, x: Inputs, *, train: bool) -> Tensors:
    """The outputs for `x` on the meta device: their names, shapes and dtypes, without computing.

    Raises ValueError for a model that draws random numbers from torch's global generator.

    >>> model = functional(lambda: nn.Linear(2, 3))
    >>> outputs_like(model, torch.ones(5, 2), train=True)["logits"].shape
    torch.Size([5, 3])
    """
    members = tree_map(lambda t: t.to("meta").unsqueeze(0), (*model.init(0), torch.empty(())))
    x = tree_map(lambda t: torch.empty_like(t, device="meta"), x)
    try:
        # vmap refuses random operations, which would otherwise read the global generator unseen.
        outputs = vmap(lambda p, b, _: model.apply(p, b, x, train=train)[0])(*members)
    except RuntimeError as error:
        if "randomness" not in str(error):
            raise
        raise ValueError(
            "the model draws random numbers from torch's global generator in its forward pass, so "
            "a run could not be repeated; use nn.Dropout, which is given an explicit key here"
        ) from error
    return {name: output[0] for name, output in outputs.items()}


def state_dict(params: Tensors, buffers: Tensors) -> Tensors:
    """What `build().load_state_dict` takes: both dicts in one, without the keys of dropout.

    >>> model = functional(lambda: nn.Sequential(nn.Linear(2, 2), nn.Dropout()))
    >>> list(state_dict(*model.init(0)))
    ['0.weight', '0.bias']
    """
    ours = ("dropout_key", "dropout_count")
    return {k: v for k, v in (params | buffers).items() if k.rpartition(".")[2] not in ours}


def _build(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Build as after `torch.manual_seed(seed)`, leaving the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        module = build()
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"functional: build() must return an nn.Module, but it returned a "
            f"{type(module).__name__}; give the class or a function, not the module itself"
        )
    return _layers.replace(_with_explicit_dropout(module, seed))


def _batchnorm_tensors(module: nn.Module) -> set[str]:
    """The names of what BatchNorm keeps, which is float32 whatever it normalises."""
    norms = [(n, m) for n, m in module.named_modules() if isinstance(m, _BatchNorm)]
    return {f"{n}.{key}".lstrip(".") for n, m in norms for key in m.state_dict()}


_DROPOUT = {nn.Dropout: False, nn.Dropout1d: True, nn.Dropout2d: True, nn.Dropout3d: True}


def _with_explicit_dropout(module: nn.Module, seed: int) -> nn.Module:
    """Replace every dropout layer by one whose key is made of the seed and the layer's place."""
    modules = module.named_modules(remove_duplicate=False)
    layers = [(n, m) for n, m in modules if isinstance(m, nn.modules.dropout._DropoutNd)]
    for place, (name, layer) in enumerate(layers):
        if type(layer) not in _DROPOUT:
            raise ValueError(
                f"functional: layer {name!r} is a {type(layer).__name__}, which draws from torch's "
                "global generator and has no explicit form here; use nn.Dropout instead"
            )
        explicit = Dropout(layer.p, channels=_DROPOUT[type(layer)])
        explicit.dropout_key = _random.fold(torch.tensor(seed), place)
        if not name:
            return explicit
        module.set_submodule(name, explicit)
    return module
