"""What goes into a module and what comes out of it, by name."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from fkd import _check

Tensors = dict[str, Tensor]


def keywords(module: nn.Module) -> frozenset[str]:
    """The names under which `forward` takes arguments. Raises ValueError for what is no module."""
    _check.kind("keywords", nn.Module, module=module)
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(module.forward).parameters.values()
    return frozenset(parameter.name for parameter in parameters if parameter.kind in kinds)


def arguments(inputs: Any, keywords: frozenset[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional arguments and those by name.

    A tuple holds several arguments, and a dict whose names are all in `keywords` is passed by name;
    anything else is one argument.

    >>> arguments({"input_ids": 1}, frozenset({"input_ids", "attention_mask"}))
    ((), {'input_ids': 1})
    >>> arguments({"pixels": 1}, frozenset({"batch"}))
    (({'pixels': 1},), {})

    Raises ValueError for keywords that are no set.
    """
    _check.kind("arguments", (set, frozenset), keywords=keywords)
    if isinstance(inputs, Mapping) and inputs and keywords.issuperset(inputs):
        return (), dict(inputs)
    return (inputs if isinstance(inputs, tuple) else (inputs,)), {}


def by_name(outputs: Any) -> Tensors:
    """The tensors of what a module returned, each by its path.

    One tensor is `logits`. In a mapping or a sequence a tensor goes by its keys and places, joined
    by dots; what is no tensor (None, a loss's name, a cache) is left out.

    >>> import torch
    >>> list(by_name({"logits": torch.ones(1), "hidden_states": (torch.ones(1), torch.ones(1))}))
    ['logits', 'hidden_states.0', 'hidden_states.1']

    Raises ValueError where there is no tensor at all, and where two go by one name.
    """
    if isinstance(outputs, Tensor):
        return {"logits": outputs}
    pairs = _leaves("", outputs)
    leaves = dict(pairs)
    if not leaves:
        raise ValueError(
            "functional: the module must return a tensor (its logits) or tensors by name in a "
            f"dict, but it returned a {type(outputs).__name__} without any"
        )
    if len(leaves) < len(pairs):
        names = sorted({name for name, _ in pairs if [n for n, _ in pairs].count(name) > 1})
        raise ValueError(
            f"functional: two outputs of the module go by the name {names[0]!r}; rename a key that "
            "holds a dot"
        )
    return leaves


def _leaves(path: str, value: Any) -> list[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        return [(path, value)]
    if isinstance(value, Mapping):
        items = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, tuple) and (fields := getattr(value, "_fields", None)):
        items = list(zip(fields, value, strict=True))
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        items = [(str(place), part) for place, part in enumerate(value)]
    else:
        return []
    return [leaf for key, part in items for leaf in _leaves(f"{path}.{key}".lstrip("."), part)]
