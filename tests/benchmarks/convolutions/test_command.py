"""The race's command line: what is told and written, and what is refused."""

import json

import pytest
import torch
from rich.console import Console

from benchmarks.convolutions import command, race
from benchmarks.convolutions.candidates import Layer
from benchmarks.convolutions.race import Case

TINY = {"first": Layer(3, 4, 6, shared=True), "second": Layer(4, 4, 4, shared=False)}
TINY |= {f"{name} block": layer._replace(block=True) for name, layer in TINY.items()}


def test_the_race_is_told_and_written(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(race, "LAYERS", TINY)
    monkeypatch.setattr(race, "TURN", 0.0)
    monkeypatch.setattr(command, "keep_freed", lambda: None)
    monkeypatch.setattr(command, "precisions", lambda device: ["fp32", "bf16"])
    asked = ["--layers", *TINY, "--members", "1", "8", "--batch", "2", "--rounds", "1"]
    assert command.main([*asked, "--output", str(tmp_path / "new")]) == 0
    written = json.loads((tmp_path / "new/convolutions.json").read_text())
    assert written["setting"]["members"] == [1, 8] and "torch" in written["environment"]
    cases = [(row["layer"], row["members"], row["precision"]) for row in written["rows"]]
    races = {(layer, k, p) for layer in TINY for k in (1, 8) for p in ("fp32", "bf16")}
    assert set(cases) == races
    assert sum(row["winner"] for row in written["rows"]) == len(races)
    assert "written to" in capsys.readouterr().out.lower()


def test_a_note_is_shown_as_it_is():
    row = Case("cpu", "second", 2, "fp32", 2)._asdict() | {
        "candidate": "loop",
        "how": "",
        "winner": False,
    }
    console = Console(width=120, record=True)
    console.print(command.table([row | {"note": "not captured: [red] text"}]))
    assert "not captured: [red] text" in console.export_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--precisions", "tf32"], "tf32 is a GPU's"),
        (["--members", "8", "0"], "members must be above zero"),
        (["--rounds", "0"], "rounds must be above zero"),
        pytest.param(
            ["--device", "cuda"],
            "torch finds no GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
@pytest.mark.plain
def test_what_makes_no_sense_is_refused(arguments, told, capsys, tmp_path):
    assert command.main([*arguments, "--output", str(tmp_path / "new")]) == 2
    assert told in capsys.readouterr().out
    assert not (tmp_path / "new").exists()
