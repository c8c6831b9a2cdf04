"""A run of the coverage benchmark, shrunk, and its figures by hand."""

import json

import pytest

from benchmarks.coverages.command import entry, holds, main, rows
from benchmarks.coverages.simulate import Rate


def test_a_whole_run_shrunk(tmp_path, capsys):
    flags = "--seeds 4 --methods 2 --images 3 --levels 2 --draws 2 --flips 9 --output"
    out = tmp_path / "out"
    assert main([*flags.split(), str(out)]) == 0
    whole = json.loads((out / "coverage.json").read_text())
    # six of many methods, one of two stages, two of images with three shares, two of sources twice
    assert len(whole["rates"]) == 3 * (6 + 1 + 2 * 3 + 2 * 2)
    assert all(rate["draws"] == 2 for rate in whole["rates"])
    assert (out / "table.md").read_text().count("\n") == 2 + 2 + 17
    assert "set of the best" in capsys.readouterr().out


def test_figures():
    rates = [Rate("t", "normal", "a", 8, 100), Rate("t", "lognormal", "a", 16, 100)]
    assert rates[0].error == pytest.approx(0.0217945)  # √(0.05 · 0.95 / 100)
    assert [holds(rate) for rate in rates] == [True, False]  # 0.05 + 3 · 0.0218 = 0.115
    assert entry(rates[0])["share"] == 0.08
    assert rows(rates) == [["t", "a", "8.0", "", "**16.0**"]]


def test_what_makes_no_sense_is_refused(capsys):
    for flags in (["--seeds", "1"], ["--draws", "0"], ["--flips", "0"], ["--seed", "-1"]):
        assert main(flags) == 2
    assert capsys.readouterr().err.count("coverage: --") == 4
