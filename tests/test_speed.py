"""The speed comparison's sides do the same work, and its picture and table hold every side."""

import numpy as np
import pytest
import speed
import torch
from rich.console import Console


@pytest.mark.plain
@pytest.mark.parametrize("side", list(speed.SIDES))
def test_a_side_trains(side, monkeypatch):
    monkeypatch.setattr(speed, "EXAMPLES", 256)
    speed.SIDES[side]("cpu", "fp32", 1)(2)


def test_every_side_is_shown():
    sides = [{"side": "plain", "precision": "fp32", "members": 1, "ms": 10.0, "ratio": 1.0}]
    sides += [
        {"side": "fkd", "precision": p, "members": k, "ms": 4.0 * k, "ratio": 0.4 * k}
        for p in ("fp32", "bf16")
        for k in (1, 2)
    ]
    found = [side | {"peak_mib": 100.0} for side in sides]
    left, right = speed.scaling({"sides": found}).axes
    for line in left.lines[:2]:
        assert np.asarray(line.get_ydata()).tolist() == [4.0, 8.0]
    assert len(right.lines) == 3
    console = Console(width=100, record=True)
    console.print(speed.table(found))
    assert console.export_text().count("fkd") == 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["speed.py", "--device", "cuda"])
    assert speed.main() == 2
    assert "torch finds no GPU" in capsys.readouterr().out
