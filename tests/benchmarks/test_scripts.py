"""What is run by its path finds the packages that are installed, not its neighbours."""

import importlib
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(
    path
    for path in (*ROOT.glob("benchmarks/*/__main__.py"), *ROOT.glob("benchmarks/*.py"))
    if "sys.path" in path.read_text(encoding="utf-8")
)


def test_there_are_scripts():
    assert ROOT / "benchmarks/losses/__main__.py" in SCRIPTS  # beside a torchdistill.py of ours


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_its_neighbours_hide_nothing(script, monkeypatch):
    folder, before = str(script.parent), [path for path in sys.path if path != str(script.parent)]
    monkeypatch.setattr(sys, "path", [folder, *before])  # as Python begins
    asked = []

    def imported(name):
        asked.append(name)
        return SimpleNamespace(main=lambda: 0)

    monkeypatch.setattr(importlib, "import_module", imported)
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(script), run_name="__main__")
    assert sys.path == [str(ROOT), *before]
    assert [name.split(".")[0] for name in asked] == ["benchmarks"]
