"""Triton's kernels as they are before any is tuned."""

from importlib.util import find_spec

import pytest


def untuned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernels take the first of their ways, for on a GPU each costs a compilation."""
    if find_spec("triton"):
        from fkd.execution.convolution._kernels import convolve, correlate

        for kernel in (convolve, correlate):
            monkeypatch.setattr(kernel, "configs", kernel.configs[:1])
