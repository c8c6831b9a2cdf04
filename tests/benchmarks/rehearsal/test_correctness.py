"""What is held against what, and that a student that is another one is told."""

import json
import math
from concurrent.futures import Future

import pytest
import torch

from benchmarks.rehearsal import correctness
from benchmarks.rehearsal.correctness import Size, ways

TINY = ["--methods", "kd", "--members", "2", "--batch", "4", "--steps", "2", "--processes", "1"]


@pytest.mark.slow
def test_a_whole_run_shrunk(tmp_path, capsys):
    out = tmp_path / "out"
    assert correctness.main([*TINY, "--no-compile", "--output", str(out)]) == 0
    results = json.loads((out / "correctness.json").read_text())
    told = {(row["way"], row["precision"]): row["distance"] for row in results["rows"]}
    assert {way for way, precision in told if precision == "fp64"} == {
        "loop",
        "vmap",
        "vmap in chunks",
    }
    # in bfloat16 the students are others, and in float64 the same to its rounding
    assert told["vmap", "fp64"] < 1e-12 < 1e-9 < told["vmap", "fp32"] < told["vmap", "bf16"]
    assert "holds" in capsys.readouterr().out


def test_a_gpu_offers_every_way_and_a_cpu_no_graph():
    assert ways("cuda", "kd", compiles=True) == list(correctness.WAYS)
    here = ways("cpu", "kd", compiles=False)
    assert {(way.plan.graph, way.plan.compile) for way in here} == {(0, "none")}
    assert {way.precision for way in here} == {"fp64", "fp32", "bf16"}


def test_beside_kd_a_method_is_compiled_once():
    eager = ways("cuda", "kd", compiles=False)
    assert ways("cuda", "hint", compiles=False) == eager
    (compiled,) = set(ways("cuda", "hint", compiles=True)) - set(eager)
    assert (compiled.plan.compile, compiled.precision) == ("step", "fp32")


def test_a_distance_is_of_the_farthest_member_and_of_how_far_it_moved():
    before = torch.zeros(2, 4, dtype=torch.float64)
    exact = torch.tensor([[2.0, 0, 0, 0], [0, 0, 0, 4.0]]).double()
    after = torch.tensor([[2.0, 0, 0, 0], [0, 3.0, 0, 4.0]]).double()
    assert correctness.distance((before, exact), exact) == 0.0
    assert correctness.distance((before, exact), after) == 0.75
    assert correctness.distance((before, exact), after * math.nan) == math.inf


def test_the_bound_is_the_root_of_the_roundoff_and_one_activation_that_turned():
    size = Size("cpu", members=2, batch=4, steps=2)
    assert correctness.bound(size, "fp64") == 8 * 2.0**-26.5
    assert correctness.bound(size, "fp32") == 8 * 2.0**-12 + 1 / 64  # of 4·16·8·8 numbers


def test_what_is_rounded_takes_one_step():
    size = Size("cpu", members=2, batch=4, steps=16)
    assert correctness.taken(size, "fp64").steps == 16
    assert {correctness.taken(size, name).steps for name in ("fp32", "tf32", "bf16")} == {1}


def test_a_way_that_fails_is_a_row_and_stops_no_other(monkeypatch):
    begun = []

    class Pool:
        def __init__(self, processes, context): ...

        def __enter__(self):
            return self

        def __exit__(self, *error): ...

        def submit(self, function, size, method, way):
            begun.append(way)
            future = Future()
            if way.name == "loop":
                future.set_exception(RuntimeError("CUDA error: illegal\nmemory"))
            else:
                moved = 3.0 if way.precision == "bf16" else 1.0
                future.set_result((torch.zeros(1, 1), torch.full((1, 1), moved)))
            return future

    monkeypatch.setattr(correctness, "ProcessPoolExecutor", Pool)
    size = Size("cuda", members=1, batch=4, steps=2)
    rows = list(correctness.rows(size, ["ce"], compiles=True, processes=1))
    by_way = {(row["way"], row["precision"]): row for row in rows}
    assert by_way["loop", "fp64"]["error"] == "RuntimeError: CUDA error: illegal"
    assert not by_way["loop", "fp64"]["holds"] and by_way["vmap", "fp64"]["holds"]
    # the truths, then what compiles
    assert [way.plan.compile for way in begun[:4]] == ["none", "none", "step", "none"]
    assert by_way["vmap", "bf16"]["distance"] == 2.0 and not by_way["vmap", "bf16"]["holds"]
