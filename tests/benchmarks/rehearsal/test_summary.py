"""A summary tells what the stages wrote, and what of it is not whole."""

import json
import math

from benchmarks.rehearsal import summary
from benchmarks.rehearsal.stage import Outcome


def test_each_stage_is_told_with_how_it_ended(tmp_path):
    (tmp_path / "suite").mkdir()
    tests = {"passed": 5, "failed": {"test_a.py::test_b": "long\nE  it broke"}, "skipped": {}}
    (tmp_path / "suite" / "tests.json").write_text(json.dumps(tests))
    outcomes = [Outcome("suite", "failed", 12.0, 90.0, "a | b"), Outcome("jax", "left out")]
    summary.write(tmp_path, outcomes, minutes=5.0, rehearsed=False)
    told = (tmp_path / "summary.md").read_text()
    assert "| suite | failed | 12 | 90 | a / b |" in told
    assert "5 passed, 1 failed, 0 skipped.\n\n- test_a.py::test_b: E  it broke" in told
    assert "Rehearsed" not in told
    whole = json.loads((tmp_path / "summary.json").read_text())
    assert whole["environment"]["torch"] and whole["minutes"] == 5.0
    assert [stage["ended"] for stage in whole["stages"]] == ["failed", "left out"]


def test_a_file_that_is_not_whole_is_told(tmp_path):
    (tmp_path / "memory.json").write_text('{"rows": [{"precis')
    (line,) = summary.findings(tmp_path)
    assert line.startswith("memory.json is not whole: JSONDecodeError")
    (tmp_path / "memory.json").write_text("{}")
    assert summary.findings(tmp_path) == ["memory.json is not whole: KeyError: 'rows'"]


def test_a_side_is_told_beside_the_plain_loop_and_the_floor(tmp_path):
    row = {
        "side": "fkd",
        "precision": "bf16",
        "members": 8,
        "ms": 0.0123,
        "ratios": [0.05],
        "peak_mib": 100.0,
        "first_step_s": 9.0,
        "share_of_floor": {"unfused": 0.5, "fused": 0.25},
    }
    results = {"steps": [row, row | {"ratios": []}], "left_out": {"jax": "it is not here"}}
    (tmp_path / "speed.json").write_text(json.dumps(results))
    lines = summary.findings(tmp_path)
    assert lines[2] == "| fkd | bf16 | 8 | 0.0123 | 0.050 | 50 | 25 | 100 | 9.0 |"
    assert lines[3] == "| fkd | bf16 | 8 | 0.0123 |  | 50 | 25 | 100 | 9.0 |"
    assert lines[-1] == "- left out: jax: it is not here"


def test_of_a_race_the_winners_are_told_and_every_note(tmp_path):
    case = {"layer": "first", "members": 8, "precision": "bf16", "how": "graph"}
    rows = [
        case | {"candidate": "vmap", "note": "", "winner": False, "ms": 2.0, "ratio": 1.0},
        case | {"candidate": "triton", "note": "", "winner": True, "ms": 1.0, "ratio": 0.5},
        case | {"candidate": "loop", "note": "skipped: too large", "winner": False},
    ]
    (tmp_path / "convolutions.json").write_text(json.dumps({"rows": rows}))
    lines = summary.findings(tmp_path)
    assert lines[2] == "| first | 8 | bf16 | triton | graph | 1.0000 | 0.50 |"
    assert lines[-1] == "- first, 8, bf16, loop: skipped: too large"


def test_a_bound_that_does_not_hold_is_told(tmp_path):
    row = {"method": "kd", "way": "vmap", "precision": "fp64", "distance": math.inf, "bound": 1e-8}
    rows = [row | {"holds": False}, {**row, "holds": False, "error": "RuntimeError: no"}]
    (tmp_path / "correctness.json").write_text(json.dumps({"rows": rows}))
    assert summary.findings(tmp_path)[2:] == [
        "| kd | vmap | fp64 | inf | 1.0e-08 | too far |",
        "| kd | vmap | fp64 | inf | 1.0e-08 | RuntimeError: no |",
    ]
