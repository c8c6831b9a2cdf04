"""A plan: what is asked of the hardware, as data."""

from dataclasses import dataclass, replace
from typing import Literal

import torch

from fkd import _check
from fkd.execution._compile import pays

Layout = Literal["auto", "vmap", "loop"]
Compile = Literal["auto", "step", "none"]
STEPS_PER_GRAPH = 16  # enough that a GPU waits for Python once in milliseconds


@dataclass(frozen=True)
class Plan:
    """How an ensemble is laid on the hardware, which changes no result beyond rounding.

    `layout` is "vmap", one wide computation; "loop", the members one by one, which is faster on a
    CPU, where stacked activations outgrow the caches; or "auto", which chooses by the device, and
    "loop" for what vmap cannot run, and for a member alone that is not compiled, such as a teacher:
    a GPU's kernels for an ensemble are compiled before they run. With `chunk`, "vmap" takes at most
    so many members at once, where memory asks for it. `compile` is "step", the whole step in one
    graph; "none"; or "auto", which compiles where that pays and the compiler can. On a GPU, `graph`
    steps at once are captured in a CUDA graph, or none where it is 0.

    Raises ValueError for a name that is not known, a `chunk` that is no whole number of at least
    one, or a `graph` that is none of at least zero.
    """

    layout: Layout = "auto"
    chunk: int | None = None
    compile: Compile = "auto"
    graph: int = STEPS_PER_GRAPH

    def __post_init__(self) -> None:
        _check.known("Plan", "layout", self.layout, ("auto", "vmap", "loop"))
        _check.known("Plan", "compile", self.compile, ("auto", "step", "none"))
        if self.chunk is not None:
            _check.count("Plan", chunk=self.chunk)
        _check.count("Plan", least=0, graph=self.graph)

    def settle(self, device: torch.device, steps: int, members: int) -> "Plan":
        """The plan with nothing left to choose, for so many steps of an ensemble of so many
        members, counted on all processes that share it.

        Raises ValueError for what is no device or no count.

        >>> Plan().settle(torch.device("cpu"), steps=80, members=8)
        Plan(layout='loop', chunk=None, compile='none', graph=0)
        """
        _check.kind("Plan.settle", torch.device, device=device)
        _check.count("Plan.settle", least=0, steps=steps, members=members)
        layout, compile = self.layout, self.compile
        if compile == "auto":
            compile = "step" if pays(steps, members) else "none"
        if layout == "auto":
            alone = members == 1 and compile == "none"
            layout = "loop" if device.type == "cpu" or alone else "vmap"
        graph = self.graph if device.type == "cuda" else 0
        return replace(self, layout=layout, compile=compile, graph=graph)
