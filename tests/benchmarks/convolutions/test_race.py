"""The race: nothing ends it, and the winner is the fastest of what ran to the end."""

import pytest
import torch
from untuned import untuned

from benchmarks.convolutions import race
from benchmarks.convolutions.candidates import CANDIDATES, Layer
from benchmarks.convolutions.race import Case, laid

CPU = Case("cpu", "second", 2, "fp32", 2)
TINY = {"first": Layer(3, 4, 6, shared=True), "second": Layer(4, 4, 4, shared=False)}
TINY |= {f"{name} block": layer._replace(block=True) for name, layer in TINY.items()}


def test_laid_is_a_view_with_its_axes_in_the_order_asked_for():
    noise = torch.arange(100.0)
    x = laid(noise, "bhwkc", {"k": 2, "b": 1, "c": 3, "h": 2, "w": 2})
    assert x.shape == (2, 1, 3, 2, 2)
    assert x[1, 0, 2, 1, 0] == 2 * 2 * 3 + 1 * 3 + 2  # h, then k, then c
    assert x.data_ptr() == noise.data_ptr()


def test_a_candidate_that_fails_is_a_row(monkeypatch):
    def full(x, weight, bias):
        raise RuntimeError("no room\nand more")

    calls = []

    def breaks(x, weight, bias):
        calls.append(1)
        if len(calls) > race.WARM_UP + 2:  # after the warm-up, one timed call and one turn
            raise torch.OutOfMemoryError("later")
        return torch.zeros(2, 2, 4, 4, 4) + weight.sum() + x.sum() + bias.sum()

    monkeypatch.setattr(race, "LAYERS", TINY)
    monkeypatch.setattr(race, "TURN", 0.0)
    for name, apply in (("loop", full), ("unfold", breaks)):
        monkeypatch.setitem(CANDIDATES, name, CANDIDATES[name]._replace(apply=apply))
    rows = race.race(CPU, ["loop", "vmap", "unfold"], 2, 8.0, False)
    assert [row["note"] for row in rows] == ["RuntimeError: no room", "", "OutOfMemoryError: later"]
    assert ["ms" in row for row in rows] == [False, True, False]
    assert [row["winner"] for row in rows] == [False, True, False]


def test_what_needs_too_much_memory_is_skipped():
    # At least x and y and their gradients, float32: 2 x 2 x (K=128 x B=128 x 16 x 16 x 16) x 4.
    case = Case("cpu", "second", 128, "fp32", 128)
    assert case.gib(CANDIDATES["vmap"]) >= 2 * 2 * 128 * 128 * 16 * 16 * 16 * 4 / 2**30
    # And of unfold the windows and their gradient, nine times the input each.
    assert case.gib(CANDIDATES["unfold"]) >= 2 * 9 * 128 * 128 * 16 * 16 * 16 * 4 / 2**30
    rows = race.race(case, ["vmap", "unfold"], 2, 0.5, False)
    assert [row["rounds_ms"] for row in rows] == [[], []]
    assert all("more than 0.5" in row["note"] for row in rows)
    assert not any(row["winner"] for row in rows)


def test_the_medians_the_ratios_and_the_winner():
    times = {"vmap": [2.0, 4.0, 6.0], "loop": [1.0, 4.0, 1.5], "unfold": [1.0, 1.0], "wide": []}
    rows = [{"candidate": name, "rounds_ms": rounds} for name, rounds in times.items()]
    vmap, loop, *others = race.judged(rows, 3)
    assert (vmap["ms"], vmap["ratio"], vmap["winner"]) == (4.0, 1.0, False)
    assert (loop["ms"], loop["ratio"], loop["winner"]) == (1.5, 0.5, True)  # of 0.5, 1 and 0.25
    assert not any(row["winner"] or "ms" in row for row in others)


@pytest.mark.plain
@pytest.mark.slow
def test_compiled_candidates_run(monkeypatch):
    monkeypatch.setattr(race, "LAYERS", TINY)
    names = ["grouped nhwc", "packed 4"]
    rows = race.race(Case("cpu", "second", 4, "fp32", 2), names, 1, 8.0, True)
    assert [row["note"] for row in rows] == ["", ""]
    assert all(row["ms"] > 0 for row in rows)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("precision", list(race.PRECISIONS))
def test_every_candidate_is_captured(precision, monkeypatch):
    untuned(monkeypatch)
    monkeypatch.setattr(race, "LAYERS", TINY)
    for layer in TINY:
        case = Case("cuda", layer, 8, precision, 2)
        rows = race.race(case, [*CANDIDATES], 2, 8.0, False)
        assert {row["candidate"]: (row["how"], row["note"]) for row in rows} == {
            name: ("graph", "") for name in CANDIDATES if case.offers(name)
        }
