"""The speed comparison's parts, their scaling, and what is written and shown."""

import json
from typing import Any

import numpy as np
import pytest
import rivals
import speed
import speed_figures
import timed
import torch
import whole
from rich.console import Console
from sides import Side

RATES = {"bytes_a_second": 1e12, "flops_a_second": {"fp32": 1e12, "bf16": 2e12}}


def timing(ms: float, first: float = 0.0, rounds: int = 3) -> timed.Timing:
    return timed.Timing(first, 1, [ms] * rounds, 100.0)


def in_turn(group, make, peak, *, rounds, afresh=False):
    """In place of `timed.alternate`: 16 ms a step of the tutorial, 2 a member of others."""
    found = {
        side: timing(16.0 if side.loop == "tutorial" else 2.0 * side.members, 7.0, rounds)
        for side in group
        if side.loop != "jax"
    }
    return found, {side: "jax is not here" for side in group if side.loop == "jax"}


class Here:
    """In place of `timed.Process`: it asks nobody."""

    def __init__(self, side, cache): ...

    def ask(self, function, given):
        return RATES if given == "cpu" else 50.0

    def close(self): ...


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(timed, "alternate", in_turn)
    monkeypatch.setattr(timed, "Process", Here)


def run(folder, *given: str) -> dict[str, Any]:
    assert speed.main(["--output", str(folder), *given]) == 0
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
    # fkd four times, the plain loop in each of four groups, and in two with its memory kept
    assert len(names) == len(set(names)) + 3 + 3 + 1
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


@pytest.mark.parametrize("part", speed.PARTS)
def test_a_part_stands_alone(fake, part, tmp_path):
    results = run(tmp_path / "one", "--parts", part)
    assert [name for name in speed.PARTS if name in results] == [part]
    assert (tmp_path / "one" / "scaling.png").exists() == (part == "steps")


def test_a_side_that_fails_ends_the_run(fake, tmp_path, capsys, monkeypatch):
    def failing(*given, **options):
        raise timed.SideFailed("fkd: ValueError: no")

    monkeypatch.setattr(timed, "alternate", failing)
    assert speed.main(["--output", str(tmp_path / "none")]) == 2
    assert "speed: fkd: ValueError: no" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["--members", "1", "0"], "--members: count must be above zero and finite, but it is 0"),
        (["--members", "2", "2"], "--members: each is to be named once"),
        (["--jax-members", "-1"], "--jax-members: count must be above zero"),
        (["--rounds", "0"], "--rounds: rounds must be above zero"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(given, text, tmp_path, capsys):
    assert speed.main([*given, "--output", str(tmp_path / "none")]) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(capsys):
    assert speed.main(["--device", "cuda"]) == 2
    assert "torch finds no GPU" in capsys.readouterr().err


def test_every_group_of_steps_is_led_by_the_plain_loop():
    groups = list(speed.step_groups("cpu", [1, 8], [2]))
    assert all(group[0] == Side("tutorial") for group in groups)
    counts = [(s.precision, s.members) for group in groups for s in group if s.loop == "fkd"]
    assert counts == [(p, k) for p in ("fp32", "bf16") for k in (1, 8)]
    # a process forked by a DataLoader and JAX never meet: a side is one or the other
    assert all(s.resident for group in groups for s in group if s.loop == "jax")


def test_the_whole_table_is_scaled_from_its_parts():
    found = {}
    for group in whole.sides("cpu"):
        for side in group:
            if side.loop == "fkd's teacher":
                found[side] = timing(512.0)  # a millisecond an image
            elif side.loop == "fkd":
                found[side] = timing(8.0, first=10.0)  # of 4 members
            else:
                found[side] = timing(250.0 if side.resident else 500.0, first=10.0)
    totals = whole.totals(found)
    assert totals["setting"]["steps"] == 3910  # 10 epochs of 391
    rows = totals["rows"]
    slow, resident = "tutorial as it stands", "tutorial, live teacher"
    assert list(rows) == [slow, resident, "fkd, fp32", "fkd, bf16"]
    for name, seconds in ((slow, 7820), (resident, 3910)):
        assert rows[name]["seconds"] == dict.fromkeys(rivals.METHODS, seconds)  # 4 students each
        assert rows[name]["total"] == 4 * seconds
    ours = rows["fkd, fp32"]
    each = 10 + 0.008 * 3910  # the first step as it is, and 4 students at once
    assert ours["seconds"] == pytest.approx(dict.fromkeys(rivals.METHODS, each))
    assert ours["teacher"] == pytest.approx(50)  # 50,000 images, once for all methods
    assert ours["total"] == pytest.approx(50 + 4 * each)
    faster = ours["times_as_fast"][resident]
    assert faster["kd"] == pytest.approx(3910 / each)
    assert faster["total"] == pytest.approx(4 * 3910 / (50 + 4 * each))


def test_a_row_of_steps_holds_its_share_of_the_floor(fake, tmp_path):
    given = ["--parts", "steps", "floor", "--members", "4", "--jax-members", "1"]
    console = Console(width=80, record=True)
    console.print(speed_figures.steps_table(run(tmp_path / "steps", *given)))
    cells = [line.split() for line in console.export_text().splitlines()]
    # 2 ms of 16; of them 0.883 are arithmetic at 1 TFLOP/s, 0.441 at 2
    assert ["fkd", "fp32", "4", "2.00", "0.12", "0.12", "100", "44", "44"] in cells
    assert ["fkd", "bf16", "4", "2.00", "0.12", "0.12", "100", "22", "22"] in cells


def test_the_whole_table_shows_how_many_times_as_fast(fake, tmp_path):
    results = run(tmp_path / "table", "--parts", "table")
    console = Console(width=80, record=True)
    console.print(speed_figures.whole_table(results))
    lines = [line.rsplit(maxsplit=6) for line in console.export_text().splitlines()[1:]]
    heading, slow, resident, *ours = [[cell.strip() for cell in line] for line in lines]
    assert heading == ["seconds", *rivals.METHODS, "teacher", "total"]
    # 16 ms x 3910 x 4 students; a first step of 7 s and 8 ms x 3910 for 4 at once
    assert slow[-2:] == resident[-2:] == ["250.2", "1001.0"]
    expected = [
        ["fkd, fp32", *["38.3"] * 4, "0.2", "153.3"],  # 2 ms for 512 images of the teacher
        ["first steps, not scaled", *["7.0"] * 4],
        ["x tutorial as it stands", *["6.5"] * 5],
        ["x tutorial, live teacher", *["6.5"] * 5],
    ]
    assert [" ".join(line) for line in ours[:4]] == [" ".join(line) for line in expected]
    assert [line[0].partition(",")[0] for line in ours].count("fkd") == 2


def test_the_picture_holds_every_side():
    rows = [("tutorial", "fp32", 1, 10.0)]
    rows += [("fkd", p, k, 4.0 * k) for p in ("fp32", "bf16") for k in (1, 2)]
    rows.append(("jax", "fp32", 2, 5.0))
    steps = [
        {"loop": loop, "precision": p, "members": k, "ms": ms, "peak_mib": 100.0, "kept": False}
        for loop, p, k, ms in rows
    ]
    results: dict[str, Any] = {"steps": steps, "setting": {"device": "cpu"}, "imports_mib": 50.0}
    results["floor"] = speed.floor_of(RATES)
    left, right = speed_figures.scaling(results).axes
    values = [np.asarray(line.get_ydata()).tolist() for line in left.lines]
    floors = [results["floor"]["ms"][p]["fused"] for p in ("fp32", "bf16")]
    assert values == [[4.0, 8.0], [floors[0]] * 2, [4.0, 8.0], [floors[1]] * 2, [10.0] * 2]
    values = [np.asarray(line.get_ydata()).tolist() for line in right.lines]
    assert values == [[100.0] * 2] * 3 + [[50.0] * 2]
    for axes in (left, right):
        assert axes.get_ylim()[0] == 0
        assert axes.get_xscale() == "log"
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]
