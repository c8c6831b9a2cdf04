"""The compiler is tried, and its failure told in a line."""

import pytest
import torch

from fkd.execution import why_not_compile


@pytest.mark.plain
def test_the_compiler_is_tried_and_its_failure_told(monkeypatch):
    assert why_not_compile(torch.device("cpu")) is None

    def broken(*_, **__):
        raise RuntimeError("no C++ compiler\nand much more")

    monkeypatch.setattr(torch, "compile", broken)
    assert why_not_compile(torch.device("cpu")) == "no C++ compiler"
