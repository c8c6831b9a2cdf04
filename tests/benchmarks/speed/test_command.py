"""The speed comparison's command line: its parts, what is written and shown, what is refused."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.speed import command, comparison, timed

ROOT = Path(__file__).parents[3]
RATES = {"bytes_a_second": 1e12, "flops_a_second": {"fp32": 1e12, "bf16": 2e12}}


def in_turn(group, make, peak, *, rounds, seconds, afresh=False):
    """In place of `timed.alternate`: 16 ms a step of the tutorial, 2 a member of others."""
    timings = {}
    for side in group:
        if side.loop != "jax":
            ms = 16.0 if side.loop == "tutorial" else 2.0 * side.members
            timings[side] = timed.Timing(7.0, 1, [ms] * rounds, 100.0)
    absent = timed.Unavailable("jax is not here")
    return timings, {side: absent for side in group if side.loop == "jax"}


class Here:
    """In place of `timed.Process`: it asks nobody."""

    def __init__(self, side, cache): ...

    def ask(self, function, argument):
        return RATES if argument == "cpu" else 50.0

    def close(self): ...


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(timed, "alternate", in_turn)
    monkeypatch.setattr(timed, "Process", Here)
    monkeypatch.setattr(command, "precisions", lambda device: ["fp32", "bf16"])


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    assert command.main(["--output", str(folder), *arguments]) == 0
    return json.loads((folder / "speed.json").read_text())


def test_a_run_writes_and_shows_every_part(fake, tmp_path, capsys):
    results = run(tmp_path / "all", "--members", "1", "4", "--jax-members", "2", "--rounds", "2")
    plain, *others = results["steps"]
    assert (plain["side"], plain["ms"], plain["ratios"]) == ("tutorial", 16.0, [1.0, 1.0])
    ours = [(r["precision"], r["members"], r["ms"]) for r in others if r["loop"] == "fkd"]
    assert ours == [(p, k, 2.0) for p in ("fp32", "bf16") for k in (1, 4)]
    assert all(r["ratios"] == [2 / 16, 2 / 16] for r in others if r["loop"] == "fkd")
    assert all(r["ratios"] == [2 / 16] for r in others if r["loop"] == "torchdistill")
    names = [row["side"] for row in results["steps"]]
    # fkd and the fused four times each, the plain loop in five groups, in two with memory kept
    assert len(names) == len(set(names)) + 3 + 3 + 4 + 1
    assert {"tutorial, live teacher", "torchdistill as it stands"} < set(names)
    assert list(results["left_out"].values()) == ["jax is not here"] * 2
    # 0.883 GFLOP at 1 TFLOP/s
    share = next(r for r in others if r["loop"] == "fkd")["share_of_floor"]["fused"]
    assert share == pytest.approx(0.883 / 2, rel=1e-3)
    assert results["imports_mib"] == 50
    assert results["environment"]["torch"] == torch.__version__.partition("+")[0]
    assert (tmp_path / "all" / "scaling.png").stat().st_size > 0
    shown = capsys.readouterr().out
    assert "Left out: jax, kd, fp32, members: 2: jax is not here" in shown
    for text in ("a step of a member, kd", "4 seeds, 10 epochs over 50000 images", "GFLOP/s"):
        assert text in shown


def test_groups_and_precisions_are_chosen(fake, tmp_path):
    flags = ["--parts", "steps", "--groups", "hfta", "--precisions", "bf16", "--members", "2"]
    results = run(tmp_path / "few", *flags)
    assert [row["loop"] for row in results["steps"]] == ["tutorial", "hfta"]
    assert results["steps"][1]["precision"] == "bf16"
    assert not (tmp_path / "few" / "scaling.png").exists()  # it would show fkd's ensembles
    flags = ["--parts", "steps", "--groups", "fkd", "--members", "2", "--no-compile"]
    results = run(tmp_path / "eager", *flags)
    assert {row["side"] for row in results["steps"] if row["loop"] == "fkd"} == {"fkd, eager"}


@pytest.mark.parametrize("part", comparison.PARTS)
def test_a_part_stands_alone(fake, part, tmp_path):
    results = run(tmp_path / "one", "--parts", part)
    assert [name for name in comparison.PARTS if name in results] == [part]
    assert (tmp_path / "one" / "scaling.png").exists() == (part == "steps")


def test_bfloat16_is_left_out_where_it_is_slow(fake, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "precisions", lambda device: ["fp32"])
    results = run(tmp_path / "slow", "--members", "1", "--parts", "steps", "table")
    assert results["setting"]["precisions"] == ["fp32"]
    assert {row["precision"] for row in results["steps"]} == {"fp32"}
    assert not any("bf16" in name for name in results["table"]["rows"])
    assert "bf16 is left out" in capsys.readouterr().out


@pytest.mark.parametrize(("part", "others"), [("steps", True), ("table", False)])
def test_a_side_that_fails_is_told(fake, part, others, tmp_path, capsys, monkeypatch):
    def failing(group, make, peak, **options):
        timings, left_out = in_turn(group, make, peak, **options)
        bad = next((side for side in group if side.loop == "fkd"), group[0])
        del timings[bad]
        return timings, left_out | {bad: timed.SideFailed("fkd: ValueError: no")}

    monkeypatch.setattr(timed, "alternate", failing)
    flags = ["--parts", part, "--groups", "fkd", "--members", "1", "2"]
    assert command.main(["--output", str(tmp_path / "out"), *flags]) == 2
    assert "speed: fkd: ValueError: no" in capsys.readouterr().err
    # the steps of the others stand, where a sum without a part would be no sum
    assert (tmp_path / "out" / "speed.json").exists() == others


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--members", "1", "0"], "--members: count must be above zero and finite, but it is 0"),
        (["--members", "2", "2"], "--members: each is to be named once"),
        (["--jax-members", "-1"], "--jax-members: count must be above zero"),
        (["--precisions", "tf32"], "--precisions: tf32 is a GPU's, but the device is cpu"),
        (["--seconds", "0"], "--seconds: seconds must be above zero"),
        (["--rounds", "0"], "--rounds: rounds must be above zero"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(arguments, text, tmp_path, capsys):
    assert command.main([*arguments, "--output", str(tmp_path / "none")]) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert command.main(["--output", str(tmp_path / "file" / "inside")]) == 2
    assert "cannot be made" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(capsys):
    assert command.main(["--device", "cuda"]) == 2
    assert "torch finds no GPU" in capsys.readouterr().err


CALLED = sorted(path.parent.name for path in ROOT.glob("benchmarks/*/__main__.py"))


@pytest.mark.slow
def test_a_part_is_called_as_a_folder(tmp_path):
    folder = [sys.executable, str(ROOT / "benchmarks" / "speed"), "--help"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    told = subprocess.run(folder, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "usage: benchmarks/speed" in told.stdout


@pytest.mark.parametrize("part", CALLED)
def test_every_part_is_called_in_the_same_words(part):
    here, there = (ROOT / "benchmarks" / name / "__main__.py" for name in (part, "speed"))
    assert here.read_text().replace(part, "speed") == there.read_text()


@pytest.mark.parametrize("part", CALLED)
def test_a_part_is_called_as_a_module(part, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [part, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(f"benchmarks.{part}", run_name="__main__")
    assert end.value.code == 0 and f"usage: benchmarks/{part}" in capsys.readouterr().out
