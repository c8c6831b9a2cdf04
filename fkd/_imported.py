"""What a user names as `package.module:name`."""

import importlib
import os
import sys
from typing import Any


def imported(text: str) -> Any:
    """The object at `package.module:name`, from the current folder too.

    Raises ValueError for another form, and where the module cannot be imported or has no such name.

    >>> imported("math:sqrt")(9.0)
    3.0
    """
    path, colon, name = text.partition(":")
    if not (path and colon and name):
        raise ValueError(f"{text!r} names no object; write it as package.module:name")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        return getattr(importlib.import_module(path), name)
    except Exception as error:  # a module of the user's may raise anything
        raise ValueError(
            f"{text} cannot be imported ({type(error).__name__}: {error}); write it as "
            "package.module:name, and start where `import package.module` works"
        ) from error


def name_of(text: str) -> str:
    """A method's name in results: its function's, with hyphens, where it is named by import path.

    >>> name_of("mypackage.mymodule:my_method"), name_of("kd")
    ('my-method', 'kd')
    """
    module, colon, function = text.partition(":")
    own = colon and module and function.isidentifier()
    return function.replace("_", "-") if own else text
