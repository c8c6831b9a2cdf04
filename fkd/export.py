"""Out again: a trained student as what PyTorch, safetensors, torch.export and ONNX take."""

import copy
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from fkd import _check, checkpoint
from fkd.model import Tensors, arguments, keywords
from fkd.models import features

Build = Callable[[], nn.Module]


def member_state_dict(
    build: Build, params: Tensors, buffers: Tensors, member: int | None = None
) -> dict[str, Any]:
    """What `build().load_state_dict` takes, strictly: one student's tensors under all their names.

    `params` and `buffers` are a student's, as `fkd.distillation.student_of(state)` has them, and
    `build` is what made it, `model.build`. Of an ensemble's, `member` says whose row is meant. A
    tensor that the module has under two names (tied weights, as GPT-2's embedding and its last
    layer) comes under both, and a buffer that is not persistent is left out. The tensors are copies
    of one student's size; what is tied is one copy.

    Raises ValueError for tensors that are missing, not wanted, or of another shape, for a member
    that is not there, and for a buffer that would be lost: one that is not persistent, and not what
    `build` makes.

    >>> from fkd.model import functional
    >>> model = functional(lambda: nn.Linear(2, 3))
    >>> list(member_state_dict(model.build, *model.init(0)))
    ['weight', 'bias']
    """
    _check_state("member_state_dict", params=params, buffers=buffers)
    if member is not None:
        _check.count("member_state_dict", least=0, member=member)
    module = _module("member_state_dict", build)
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    leaves = dict(params) | dict(buffers)
    if member is not None:
        leaves = {name: _row(name, leaf, member) for name, leaf in leaves.items()}
    wrong = [f"{name} is missing" for name in own if name not in leaves]
    wrong += [f"{name} is not wanted" for name in leaves if name not in own]
    wrong += [
        f"{name} must be {tuple(own[name].shape)}, but is {tuple(leaf.shape)}"
        for name, leaf in leaves.items()
        if name in own and leaf.shape != own[name].shape
    ]
    if wrong:
        raise ValueError(
            f"member_state_dict: these tensors are not one {type(module).__name__}'s; give the "
            "build that made them, and of several members the number of one:\n  "
            + "\n  ".join(wrong)
        )
    state = module.state_dict(keep_vars=True)
    held = {id(value) for value in state.values()}
    for name, tensor in own.items():
        if id(tensor) not in held and not torch.equal(tensor, leaves[name].to(tensor.device)):
            raise ValueError(
                f"member_state_dict: no state_dict holds the buffer {name}, for it is not "
                "persistent, and build() makes another one; leave out persistent=False where it is "
                "registered"
            )
    copies: dict[int, Any] = {
        id(tensor): leaves[name].detach().clone() for name, tensor in own.items()
    }
    # What is neither parameter nor buffer (an extra state) is what `build` makes.
    return {name: copies.get(id(value), value) for name, value in state.items()}


def _check_state(where: str, **states: Tensors) -> None:
    _check.mapping(where, **states)
    for state in states.values():
        for name, leaf in state.items():
            _check.tensor(where, **{name: leaf})


def _module(where: str, build: Build) -> nn.Module:
    _check.function(where, build=build)
    module = build()
    _check.kind(where, nn.Module, **{"what build() returns": module})
    return module


def _row(name: str, leaf: Tensor, member: int) -> Tensor:
    if not (leaf.ndim and 0 <= member < len(leaf)):
        raise ValueError(
            f"member_state_dict: there is no member {member}, for {name} is {tuple(leaf.shape)}; "
            "members are the first axis, counted from 0"
        )
    return leaf[member]


def save_safetensors(path: str | Path, state_dict: Mapping[str, Tensor]) -> None:
    """Write the tensors to a new file, whole or not at all, as `safetensors.torch.load_file` reads
    them: bare numbers, that run nothing when they are loaded.

    Tensors that share their memory, such as tied weights, are each written out.

    Raises ValueError for a file that is there already and for what `fkd.checkpoint.write` does not
    take, such as an extra state that is no tensor.
    """
    _new("save_safetensors", path)
    _check.mapping("save_safetensors", state_dict=state_dict)
    checkpoint.write(path, state_dict)


def exported(
    build: Build, state_dict: Mapping[str, Any], inputs: Any
) -> torch.export.ExportedProgram:
    """The student in evaluation mode as a program that runs without its Python code.

    `inputs` are a batch of two examples or more, as `fkd.model.functional` takes them: a tensor, a
    tuple of arguments, or a dict of them by name. The program takes any number of examples where
    the module allows it. `torch.export.save` writes it.

    Raises ValueError for a single example, of which torch.export makes a constant, for a state that
    is not the module's, and for what torch.export cannot take, in its own words.

    >>> program = exported(lambda: nn.Linear(2, 3), nn.Linear(2, 3).state_dict(), torch.ones(2, 2))
    >>> program.module()(torch.ones(5, 2)).shape
    torch.Size([5, 3])
    """
    tensors = (x for x in tree_leaves(inputs) if isinstance(x, Tensor) and x.ndim)
    if len(next(tensors, ())) == 1:
        raise ValueError(
            "exported: inputs must be a batch of two examples or more, but there is one, and its "
            "program would take no other number; give it twice"
        )
    module, positional, named = _ready("exported", build, state_dict, inputs)
    shapes = tree_map(_examples, named or positional)
    try:
        return torch.export.export(module, positional, named, dynamic_shapes=shapes)
    except Exception as error:  # which fails in as many ways as there are modules
        reason = " ".join(str(error).split())[:500]
        raise ValueError(
            f"exported: torch.export cannot take the {type(module).__name__} with these inputs: "
            f"{reason}"
        ) from error


def _ready(
    where: str, build: Build, state_dict: Mapping[str, Any], inputs: Any
) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
    """The module with its state, and its arguments in order and by name."""
    _check.mapping(where, state_dict=state_dict)
    module = copy.deepcopy(_module(where, build))  # which may give a module that is another's
    with _check.fitting(where, "state_dict must be the module's"):
        module.load_state_dict(state_dict)
    module.eval()
    return module, *arguments(inputs, keywords(module))


def _examples(leaf: Any) -> dict[int, Any] | None:
    """An axis of examples, of any length where the module allows it."""
    return {0: torch.export.Dim.AUTO} if isinstance(leaf, Tensor) and leaf.ndim else None


def save_onnx(path: str | Path, build: Build, state_dict: Mapping[str, Any], inputs: Any) -> None:
    """Write the program that `exported` makes to a new ONNX file, whole or not at all.

    The outputs go by their names, what is nested by its path.

    Raises ValueError where ONNX is not installed and for a file that is there already, and what
    `exported` raises.
    """
    if not all(find_spec(name) for name in ("onnx", "onnxscript")):
        raise ValueError("save_onnx: ONNX is not installed; pip install onnx onnxscript")
    _new("save_onnx", path)
    _module("save_onnx", build)
    build = features(build, {})  # which gives no more than tensors by name
    module, positional, named = _ready("save_onnx", build, state_dict, inputs)
    with torch.no_grad(), _check.fitting("save_onnx", "inputs must be the module's"):
        names = list(module(*positional, **named))
    program = torch.onnx.export(
        exported(build, state_dict, inputs), output_names=names, dynamo=True, verbose=False
    )
    assert program is not None
    with checkpoint.whole(path) as temporary:
        program.save(temporary)


def _new(where: str, path: str | Path) -> None:
    _check.kind(where, (str, Path), path=path)
    if Path(path).exists():
        raise ValueError(f"{where}: there is a file {path} already; name a new one")
