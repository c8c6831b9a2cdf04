"""What a command line names: methods and networks, among them those of the user's own."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from fkd import _check
from fkd._imported import imported, name_of
from fkd.compare._setup.task import Build
from fkd.compare.recipes import RECIPES
from fkd.methods import METHODS, Method, Term
from fkd.models import MODELS, features, named

RGB = 3  # channels of the images that networks by name take


def method_name(text: str) -> str:
    """The name in the results of a method on the command line.

    >>> method_name("mypackage.mymodule:my_method")
    'my-method'
    >>> method_name("ce,kd")
    Traceback (most recent call last):
        ...
    ValueError: --methods: a space stands between names, and no comma, but it is 'ce,kd'; ...
    """
    if "," in text:
        raise ValueError(
            f"--methods: a space stands between names, and no comma, but it is {text!r}; give "
            f"--methods {' '.join(text.replace(',', ' ').split())}"
        )
    name = name_of(text)
    if name == text:
        _check.known("--methods", "method", text, [*METHODS, "all", "mypackage.mymodule:function"])
    return name


def method(text: str, recipe: str | None, epochs: int) -> Method:
    """The method of that name, as a recipe has it for a run of so many epochs, or the user's own.

    Raises ValueError for one that cannot be imported, is no function without required arguments, or
    does not return a mapping of Terms.
    """
    function: Callable[[], Any]
    if ":" in text:
        function = _function(text)
    else:
        own = RECIPES[recipe].methods if recipe is not None else {}
        function = partial(own[text], epochs) if text in own else METHODS[text]
    try:
        made = function()
    except Exception as error:  # a function of the user's may raise anything
        raise ValueError(
            f"--methods: {text}() raised {type(error).__name__}: {error}; it must be a function "
            "without required arguments that returns a Method"
        ) from error
    terms = list(made.values()) if isinstance(made, Mapping) else []
    if not terms or not all(isinstance(term, Term) for term in terms):
        raise ValueError(
            f"--methods: {text} must return a Method, a mapping from a term's name to a "
            f"fkd.methods.Term, but it returned {made!r:.200}"
        )
    return dict(made)


def check_network(flag: str, text: str, channels: int = RGB) -> None:
    """Raise where a network has a name that is not known, or takes images of other channels; what
    stands elsewhere is imported later, and may take any.

    >>> check_network("--student-model", "resnet21")
    Traceback (most recent call last):
        ...
    ValueError: --student-model: network 'resnet21' is not known; choose from ...
    """
    if ":" not in text:
        elsewhere = ("torchvision:NAME", "timm:NAME", "mypackage.nets:build")
        _check.known(flag, "network", text, [*MODELS, *elsewhere])
    if channels != RGB and (":" not in text or text.startswith("torchvision:")):
        raise ValueError(
            f"{flag}: {text} takes images of {RGB} channels, but --channels is {channels}; leave "
            "that out, for grey images are repeated in all three, or give a network of your own, "
            "as mypackage.nets:build"
        )


def network(flag: str, text: str, classes: int, layers: Mapping[str, str]) -> Build:
    """The function that builds a network for so many classes, with its layers by name.

    Raises ValueError, which begins with the flag, for a network that is not there.
    """
    try:
        build = partial(_built, flag, named(text, classes))
        return features(build, layers) if layers else build
    except ValueError as error:
        raise ValueError(_by(flag, error)) from error


def _built(flag: str, build: Build) -> nn.Module:
    """The network; raises ValueError, which begins with the flag, where what builds it does."""
    try:
        return build()
    except ValueError as error:
        raise ValueError(_by(flag, error)) from error


def _by(flag: str, error: ValueError) -> str:
    """What is wrong with a network, told by its flag in place of the library's function."""
    text = str(error).removeprefix("named: ")
    return text if text.startswith(flag) else f"{flag}: {text}"


def _function(text: str) -> Callable[..., Any]:
    """The function at `package.module:name`."""
    try:
        function = imported(text)
    except ValueError as error:
        raise ValueError(f"--methods: {error}") from error
    if not callable(function):
        raise ValueError(
            f"--methods: {text} must be a function that returns a Method, but it is a "
            f"{type(function).__name__}"
        )
    return function
