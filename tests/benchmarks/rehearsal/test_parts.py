"""Each call of what is watched is a span, with what others took within it."""

import json
import sys
from types import ModuleType

import pytest
import torch

from benchmarks.rehearsal import parts, summary
from benchmarks.rehearsal.parts import Place, found, watch


class Clock:
    now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Kernel:
    """Tunes itself when it is called."""

    clock: Clock

    def call(self, seconds: float) -> str:
        self.tune(seconds)
        self.clock.now += 1.0
        return "called"

    def tune(self, seconds: float) -> None:
        self.clock.now += seconds
        if seconds > 4.0:
            raise ValueError("too large")


@pytest.fixture
def kernel(monkeypatch) -> Kernel:
    """One in a module, by whose clock the spans are told."""
    module, kernel = ModuleType("made"), Kernel()
    kernel.clock = Clock()
    module.__dict__.update(kernel=kernel, Kernel=Kernel)
    monkeypatch.setitem(sys.modules, "made", module)
    monkeypatch.setattr(parts, "time", kernel.clock)
    return kernel


STEP, TUNED = Place("step", "made", "Kernel.call"), Place("tuned", "made", "kernel.tune")


def test_a_span_tells_what_others_took_within_it(kernel):
    before = Kernel.call
    with watch([STEP, TUNED]) as seen:
        kernel.clock.now += 0.5
        assert kernel.call(2.0) == "called"
        assert kernel.call(0.0) == "called"  # in which nothing is tuned
    assert Kernel.call is before and "tune" not in vars(kernel)
    spans = [{key: span.get(key) for key in ("part", "begin", "seconds", "tuned")} for span in seen]
    assert spans == [
        {"part": "tuned", "begin": 0.5, "seconds": 2.0, "tuned": None},
        {"part": "step", "begin": 0.5, "seconds": 3.0, "tuned": 2.0},
        {"part": "step", "begin": 3.5, "seconds": 1.0, "tuned": None},
    ]


def test_what_fails_is_a_span_too(kernel):
    with watch([TUNED]) as seen, pytest.raises(ValueError, match="too large"):
        kernel.call(5.0)
    assert [(span["part"], span["seconds"]) for span in seen] == [("tuned", 5.0)]


def test_where_it_is_the_compiler_that_counts_other_calls_are_no_spans(kernel, monkeypatch):
    seconds = iter([0.0, 2.0, 2.0, 2.0])  # before and after each of two calls
    monkeypatch.setattr(parts, "compiler", lambda: {"compiler": next(seconds)})
    with watch([STEP._replace(compiles=True)]) as seen:
        kernel.call(3.0)
        kernel.call(3.0)
    assert [(span["seconds"], span["compiler"]) for span in seen] == [(4.0, 2.0)]


def test_the_compiler_is_told_by_its_seconds_and_by_the_graphs_that_it_found(monkeypatch):
    from torch._dynamo import utils

    monkeypatch.setitem(utils.compilation_time_metrics, "_compile.compile_inner", [1.5, 2.0])
    monkeypatch.setitem(utils.counters["inductor"], "fxgraph_cache_hit", 3)
    told = parts.compiler()
    assert (told["compiler"], told["graphs found"]) == (3.5, 3)


@pytest.mark.parametrize("place", parts.PLACES, ids=lambda place: place.part)
def test_every_place_is_there(place):
    assert callable(getattr(*found(place)))


@pytest.mark.parametrize("place", parts.KERNELS, ids=lambda place: place.name)
def test_every_place_of_the_kernels_is_there(place):
    pytest.importorskip("triton", reason="Triton is where a GPU is")
    assert callable(getattr(*found(place)))


@pytest.mark.plain
def test_the_spans_of_a_comparison_lie_beside_its_results(tmp_path, monkeypatch):
    out = tmp_path / "out"

    def compare(words):
        out.mkdir()
        from fkd.train import why_not_vmap

        assert words == ["--output", str(out)]
        with pytest.raises(ValueError, match="distillation"):
            why_not_vmap(None, None, None)  # type: ignore[arg-type]
        return 3

    monkeypatch.setattr(parts.command, "main", compare)
    monkeypatch.setattr(parts, "LEAST", 0.0)
    assert parts.main(["--output", str(out)]) == 3
    (span,) = json.loads((out / "parts.json").read_text())["spans"]
    assert span["part"] == "tried"
    with pytest.raises(ValueError, match="--output: name the folder"):
        parts.main([])


def test_parts_are_told_in_the_summary(tmp_path):
    span = {"part": "warmed up", "begin": 4.2, "seconds": 7.0, "compiler": 4.9, "graphs found": 2}
    (tmp_path / "parts.json").write_text(json.dumps({"spans": [span]}))
    line = "| 4.2 | warmed up | 7.00 | compiler 4.90, graphs found 2 |"
    assert summary.findings(tmp_path)[-1] == line
    step = {
        "ms_a_step": 1.0,
        "kernel_ms_a_step": 0.5,
        "by_kind": {},
        "kernels": [],
        "parts": [span],
    }
    (tmp_path / "kernels.json").write_text(json.dumps({"steps": {"students": step}}))
    assert summary.findings(tmp_path).count(line) == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_kernels_are_watched_too():
    assert set(parts.KERNELS) <= set(parts.places())
