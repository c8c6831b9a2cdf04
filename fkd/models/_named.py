"""Networks by name: the field's, torchvision's, timm's, and the user's own."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from fkd import _check
from fkd._imported import imported
from fkd.models._field import WIDTHS
from fkd.models._resnet import ResNet
from fkd.models._tutorial import DeepNN, LightNN
from fkd.models._vgg import VGG
from fkd.models._wrn import WideResNet

MODELS: dict[str, Callable[[int], nn.Module]] = {
    "deepnn": DeepNN,
    "lightnn": LightNN,
    **{f"resnet{depth}": partial(ResNet, depth, WIDTHS) for depth in (8, 14, 20, 32, 44, 56, 110)},
    **{f"resnet{depth}x4": partial(ResNet, depth, (32, 64, 128, 256)) for depth in (8, 32)},
    **{
        f"wrn-{depth}-{width}": partial(WideResNet, depth, width)
        for depth in (16, 40)
        for width in (1, 2)
    },
    "vgg8": partial(VGG, 1),
    "vgg13": partial(VGG, 2),
}
OTHERS = ("torchvision:resnet18", "timm:resnet18", "package.module:function")  # forms of a name
CLASSES = ("num_classes", "classes")  # a function's argument of one of these names is told them


def named(text: str, classes: int) -> Callable[[], nn.Module]:
    """What builds the network of that name, untrained, for so many classes.

    `text` is a name in `MODELS`; `torchvision:` or `timm:` and a name that the library has for a
    classifier; or `package.module:function`, a function or class of the user's own. That one is
    given `classes` as its argument `num_classes` or `classes`, or as its one argument without a
    default, and is called with nothing where it has none of these. What is returned can be pickled.

    Raises ValueError for a name that is not there, a library that is not installed, and a function
    that takes more than the classes; when it is called, for what makes no module.

    >>> import torch
    >>> named("resnet20", 100)()(torch.zeros(1, 3, 32, 32))["logits"].shape
    torch.Size([1, 100])
    >>> type(named("torch.nn:Identity", 10)()).__name__
    'Identity'
    """
    _check.kind("named", str, text=text)
    _check.count("named", classes=classes)
    library, colon, name = text.partition(":")
    if not colon:
        _check.known("named", "model", text, [*MODELS, *OTHERS])
        return partial(MODELS[text], classes)
    if library == "torchvision":
        return _torchvision(name, classes)
    if library == "timm":
        return _timm(name, classes)
    _own_call(text, classes)  # refused here, not when it is called
    return partial(_own, text, classes)


def _torchvision(name: str, classes: int) -> Callable[[], nn.Module]:
    from torchvision import models

    _check.near("named", "torchvision's model", name, models.list_models(module=models))
    return partial(models.get_model, name, weights=None, num_classes=classes)


def _timm(name: str, classes: int) -> Callable[[], nn.Module]:
    try:
        import timm
    except ImportError as error:
        raise ValueError(
            f"named: timm:{name} needs timm, which is not installed; pip install timm"
        ) from error
    _check.near("named", "timm's model", name, timm.list_models())
    return partial(timm.create_model, name, pretrained=False, num_classes=classes)


def _own(text: str, classes: int) -> nn.Module:
    call = _own_call(text, classes)
    try:
        module = call()
    except Exception as error:  # a function of the user's may raise anything
        raise ValueError(
            f"named: {text} raised {type(error).__name__}: {error}; it is given the number of "
            "classes alone, and must return an nn.Module"
        ) from error
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"named: {text} must return an nn.Module, but it returned a {type(module).__name__}"
        )
    return module


def _own_call(text: str, classes: int) -> Callable[[], Any]:
    """The user's function with its arguments."""
    try:
        function = imported(text)
    except ValueError as error:
        raise ValueError(f"named: {error}") from error
    if isinstance(function, nn.Module) or not callable(function):
        raise ValueError(
            f"named: {text} must be a function that makes an nn.Module, but it is a "
            f"{type(function).__name__}"
        )
    parameters = inspect.signature(function).parameters
    starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and parameter.kind not in starred
    ]
    told = next((name for name in CLASSES if name in parameters), needed[0] if needed else None)
    if set(needed) - {told}:
        raise ValueError(
            f"named: {text} wants {', '.join(needed)}, but it is given the number of classes "
            "alone; write a function of that one argument, or of none, that calls it"
        )
    if told is None:
        return function
    if parameters[told].kind is inspect.Parameter.POSITIONAL_ONLY:
        return partial(function, classes)
    return partial(function, **{told: classes})
