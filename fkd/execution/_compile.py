"""torch.compile: whether it pays, whether it works here, and one cache for each function."""

import types
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from fkd import _check

# A graph of one student's step takes as long to compile as about 3,000 eager steps of a student
# save when they are compiled: 8.5 s against 2.9 ms a step on two cores with AVX-512, 24 s against
# 6 ms with AVX2 alone (LightNN, kd). Both sides follow the processor, so the count decides.
PAYS_FROM = 4000


def pays(steps: int, members: int) -> bool:
    """Whether a step that is taken so often, by each of so many members, is worth compiling.

    Raises ValueError for what is no count.

    >>> pays(80, 8), pays(3910, 4)
    (False, True)
    """
    _check.count("pays", least=0, steps=steps, members=members)
    return steps * members >= PAYS_FROM


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function under torch.compile, in one graph and for fixed shapes.

    The compiler keeps what it compiled with the code object, which all functions that one line
    made share, and gives up at the eighth. So each gets a code object of its own here. Of what it
    would look at anew before each call, it looks at the tensors alone: all else is data that
    nobody changes, and the looking took a tenth of a millisecond. Raises ValueError for what is no
    function.
    """
    _check.function("compiled", function=function)

    def call(*inputs: Any) -> Any:
        return function(*inputs)

    own = types.FunctionType(
        call.__code__.replace(), call.__globals__, call.__name__, None, call.__closure__
    )
    options: dict[str, Any] = {
        "guard_filter_fn": torch.compiler.keep_tensor_guards_unsafe,
        # To free memory early, torch 2.11 wrote new weights over the old ones before their last
        # reader: gradients of a network with BatchNorm were wrong.
        "reorder_for_peak_memory": False,
    }
    return torch.compile(own, fullgraph=True, dynamic=False, options=options)


class Compiled:
    """A pure function under torch.compile, which tells in a line what the compiler cannot take.

    The compiler runs it to see what it does, on tensors without contents; or reads its Python,
    which takes several times longer, where that cannot be: where it reads a tensor beside its
    inputs. Then `eager`, which computes the same, takes its place from that call on, with a
    warning; where there is none, the call raises ValueError. The compiler fails before anything
    has run.
    """

    def __init__(self, function: Callable[..., Any], eager: Callable[..., Any] | None = None):
        self.function, self.eager = function, eager
        self.is_read = not _can_be_run()
        self.run = compiled(function) if self.is_read else _compiled_by_running(function)

    @property
    def gave_way(self) -> bool:
        """Whether `eager` has taken its place."""
        return self.run is self.eager

    def __call__(self, *inputs: Any) -> Any:
        while True:
            try:
                return self.run(*inputs)
            except Exception as error:
                if self.gave_way or not _is_of_compiler(error):
                    raise
                self._give_way(error)

    def _give_way(self, error: Exception) -> None:
        """Let the next way be taken; raises where there is none."""
        if not self.is_read:
            self.run, self.is_read = compiled(self.function), True
            return
        reason = _line(error)
        if self.eager is None:
            raise ValueError(
                f"lay: the step cannot be compiled: {reason}; use Plan(compile='none'), or "
                "'auto', which goes on without the compiler"
            ) from error
        warnings.warn(
            f"the step cannot be compiled and goes on without: {reason}; "
            "Plan(compile='none') does not try",
            stacklevel=3,
        )
        self.run = self.eager


def _can_be_run() -> bool:
    """Whether this torch has what `_run_by_compiler` takes, which is torch's own: 2.11 to 2.14."""
    import torch._dynamo  # slow to import, and torch.compile does it too
    from torch._subclasses import fake_tensor

    return (
        hasattr(torch._dynamo, "nonstrict_trace")
        and hasattr(torch.compiler, "_is_compiling_flag")
        and hasattr(fake_tensor.fake_tensor_tls, "allow_non_fake_inputs_override")
    )


def _compiled_by_running(function: Callable[..., Any]) -> Callable[..., Any]:
    from torch._dynamo import nonstrict_trace

    return compiled(nonstrict_trace(partial(_run_by_compiler, function)))


def _run_by_compiler(function: Callable[..., Any], *inputs: Any) -> Any:
    """The function, which is told that a compiler runs it, as torch from 2.14 on does by itself.

    A tensor beside its inputs would become a constant, and is an error instead.
    """
    from torch._subclasses.fake_tensor import fake_tensor_tls

    before = torch.compiler._is_compiling_flag, fake_tensor_tls.allow_non_fake_inputs_override
    torch.compiler._is_compiling_flag = True
    fake_tensor_tls.allow_non_fake_inputs_override = False
    try:
        return function(*inputs)
    finally:
        torch.compiler._is_compiling_flag = before[0]
        fake_tensor_tls.allow_non_fake_inputs_override = before[1]


def _is_of_compiler(error: Exception) -> bool:
    from torch._dynamo.exc import TorchDynamoException  # slow to import, and here it is loaded

    return isinstance(error, TorchDynamoException)


def _line(error: Exception) -> str:
    """The error in a line; of the compiler's own, which begin by a title, what it is about too."""
    title, *rest = str(error).strip().split("\n")
    about = [line.split(":", 1)[1].strip() for line in rest if "debug context:" in line]
    return ": ".join([title or type(error).__name__, *filter(None, about)])


def why_not_compile(device: torch.device) -> str | None:
    """Why `torch.compile` cannot be used on a device, in a line, or None where it can.

    It is found out by compiling a small function, which takes a few seconds, or a moment where the
    compiler finds it among what it has kept here. Raises ValueError for what is no torch.device.
    """
    _check.kind("why_not_compile", torch.device, device=device)
    try:
        torch.compile(lambda x: (x * 0.4375).cos(), fullgraph=True)(torch.ones(8, device=device))
    except Exception as error:  # compilers fail in as many ways as there are compilers
        return _line(error)
    return None
