"""Every way to convolve an ensemble gives a loop's numbers, and nothing ends the race."""

import json

import convolutions
import pytest
import torch
import torch.nn.functional as F
from convolutions import CANDIDATES, LAYERS, Case, Layer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fkd.models import LightNN

CPU = "cpu", "second", 2, "fp32", 2
GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
TINY = {"first": Layer(3, 4, 6, shared=True), "second": Layer(4, 4, 4, shared=False)}


def offered(members, shared):
    case = Case(DEVICE, "first" if shared else "second", members, "fp32", 2)
    return [name for name in CANDIDATES if case.offers(name)]


def looped(x, weight, bias):
    """The definition: each member's convolution by itself."""
    xs = x if x.ndim == 5 else [x] * len(weight)
    maps = [F.conv2d(xs[k], weight[k], bias[k], padding=1) for k in range(len(weight))]
    return torch.stack(maps)


def gradients(apply, leaves, weights):
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    y = apply(*leaves)
    return y, *torch.autograd.grad((weights * y).sum(), leaves)


@pytest.mark.parametrize("shared", [True, False])
@given(
    members=st.sampled_from([1, 2, 4, 8]),
    sizes=st.tuples(*[st.integers(1, 4)] * 3, *[st.integers(1, 6)] * 2),
    seed=st.integers(0, 9),
)
def test_every_candidate_equals_the_loop(shared, members, sizes, seed):
    batch, inputs, outputs, height, width = sizes
    generator = torch.Generator().manual_seed(seed)
    x = [batch, inputs, height, width] if shared else [members, batch, inputs, height, width]
    leaves = x, [members, outputs, inputs, 3, 3], [members, outputs]
    shapes = *leaves, [members, batch, outputs, height, width]
    made = [torch.randn(s, generator=generator, dtype=torch.float64).to(DEVICE) for s in shapes]
    expected = gradients(looped, made[:3], made[3])
    for name in offered(members, shared):
        found = gradients(CANDIDATES[name].apply, made[:3], made[3])
        for value, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(value, wanted, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shared", [True, False])
def test_a_candidate_leaves_its_output_in_the_layout_that_it_takes(shared, dtype):
    sizes = {} if shared else {"k": 8}
    sizes |= {"b": 2, "c": 3, "h": 4, "w": 5}
    noise = torch.randn(8 * 2 * 3 * 4 * 5, dtype=dtype, device=DEVICE)
    weight = torch.randn(8, 6, 3, 3, 3, dtype=dtype, device=DEVICE)
    bias = torch.randn(8, 6, dtype=dtype, device=DEVICE)
    for name in offered(8, shared):
        layout = CANDIDATES[name].layout
        y = CANDIDATES[name].apply(convolutions.laid(noise, layout, sizes), weight, bias)
        assert y.shape == (8, 2, 6, 4, 5)
        in_memory = y.permute(["kbchw".index(axis) for axis in layout])
        assert in_memory.is_contiguous(), name


def test_laid_is_a_view_with_its_axes_in_the_order_asked_for():
    noise = torch.arange(100.0)
    x = convolutions.laid(noise, "bhwkc", {"k": 2, "b": 1, "c": 3, "h": 2, "w": 2})
    assert x.shape == (2, 1, 3, 2, 2)
    assert x[1, 0, 2, 1, 0] == 2 * 2 * 3 + 1 * 3 + 2  # h, then k, then c
    assert x.data_ptr() == noise.data_ptr()


def test_what_is_offered():
    assert {"packed 4", "packed 4 nhwc"} <= set(offered(12, False))
    assert not any(name.startswith("packed 8") for name in offered(12, False))
    assert "shared wide" in offered(2, True) and "shared wide" not in offered(2, False)
    assert "streams" not in [name for name in CANDIDATES if Case(*CPU).offers(name)]


def test_the_layers_are_the_students():
    found, image = [], torch.zeros(1, 3, 32, 32)
    for module in LightNN().features:
        if isinstance(module, torch.nn.Conv2d):
            found.append((module.in_channels, module.out_channels, image.shape[-1]))
        image = module(image)
    assert [tuple(layer[:3]) for layer in LAYERS.values()] == found


def test_a_candidate_that_fails_is_a_row(monkeypatch):
    def full(x, weight, bias):
        raise RuntimeError("no room\nand more")

    calls = []

    def breaks(x, weight, bias):
        calls.append(1)
        if len(calls) > convolutions.WARM_UP + 2:  # after the warm-up, one timed call and one turn
            raise torch.OutOfMemoryError("later")
        return looped(x, weight, bias)

    monkeypatch.setattr(convolutions, "LAYERS", TINY)
    monkeypatch.setattr(convolutions, "TURN", 0.0)
    for name, apply in (("loop", full), ("unfold", breaks)):
        monkeypatch.setitem(CANDIDATES, name, CANDIDATES[name]._replace(apply=apply))
    rows = convolutions.race(Case(*CPU), ["loop", "vmap", "unfold"], 2, 8.0, False)
    assert [row["note"] for row in rows] == ["RuntimeError: no room", "", "OutOfMemoryError: later"]
    assert ["ms" in row for row in rows] == [False, True, False]
    assert [row["winner"] for row in rows] == [False, True, False]


def test_what_needs_too_much_memory_is_skipped():
    # At least x and y and their gradients, float32: 2 x 2 x (K=128 x B=128 x 16 x 16 x 16) x 4.
    case = Case("cpu", "second", 128, "fp32", 128)
    assert case.gib(CANDIDATES["vmap"]) >= 2 * 2 * 128 * 128 * 16 * 16 * 16 * 4 / 2**30
    # And of unfold the windows and their gradient, nine times the input each.
    assert case.gib(CANDIDATES["unfold"]) >= 2 * 9 * 128 * 128 * 16 * 16 * 16 * 4 / 2**30
    rows = convolutions.race(case, ["vmap", "unfold"], 2, 0.5, False)
    assert [row["rounds_ms"] for row in rows] == [[], []]
    assert all("above --memory 0.5" in row["note"] for row in rows)
    assert not any(row["winner"] for row in rows)


def test_the_medians_the_ratios_and_the_winner():
    times = {"vmap": [2.0, 4.0, 6.0], "loop": [1.0, 4.0, 1.5], "unfold": [1.0, 1.0], "wide": []}
    rows = [{"candidate": name, "rounds_ms": taken} for name, taken in times.items()]
    vmap, loop, *others = convolutions.judged(rows, 3)
    assert (vmap["ms"], vmap["ratio"], vmap["winner"]) == (4.0, 1.0, False)
    assert (loop["ms"], loop["ratio"], loop["winner"]) == (1.5, 0.5, True)  # of 0.5, 1 and 0.25
    assert not any(row["winner"] or "ms" in row for row in others)


@pytest.mark.plain
def test_compiled_candidates_run(monkeypatch):
    monkeypatch.setattr(convolutions, "LAYERS", TINY)
    names = ["grouped nhwc", "packed 4"]
    rows = convolutions.race(Case("cpu", "second", 4, "fp32", 2), names, 1, 8.0, True)
    assert [row["note"] for row in rows] == ["", ""]
    assert all(row["ms"] > 0 for row in rows)


@pytest.mark.skipif(not GPU, reason="there is no GPU")
@pytest.mark.parametrize("precision", list(convolutions.PRECISIONS))
def test_every_candidate_is_captured(precision, monkeypatch):
    monkeypatch.setattr(convolutions, "LAYERS", TINY)
    for layer in TINY:
        rows = convolutions.race(Case("cuda", layer, 8, precision, 2), [*CANDIDATES], 2, 8.0, False)
        assert {row["candidate"]: (row["how"], row["note"]) for row in rows} == {
            name: ("graph", "") for name in offered(8, TINY[layer].shared)
        }


def test_the_race_is_told_and_written(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(convolutions, "LAYERS", TINY)
    monkeypatch.setattr(convolutions, "TURN", 0.0)
    monkeypatch.setattr(convolutions._memory, "keep_freed", lambda: None)
    asked = ["--members", "1", "8", "--batch", "2", "--rounds", "1"]
    assert convolutions.main([*asked, "--output", str(tmp_path / "found")]) == 0
    written = json.loads((tmp_path / "found/convolutions.json").read_text())
    assert written["setting"]["members"] == [1, 8] and "torch" in written["environment"]
    case = [(row["layer"], row["members"], row["precision"]) for row in written["rows"]]
    races = {(layer, k, p) for layer in TINY for k in (1, 8) for p in ("fp32", "bf16")}
    assert set(case) == races
    assert sum(row["winner"] for row in written["rows"]) == len(races)
    assert "written to" in capsys.readouterr().out.lower()


def test_a_note_is_shown_as_it_is():
    row = Case(*CPU)._asdict() | {"candidate": "loop", "how": "", "winner": False}
    console = Console(width=120, record=True)
    console.print(convolutions.table([row | {"note": "not captured: [red] text"}]))
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
            marks=pytest.mark.skipif(GPU, reason="there is a GPU"),
        ),
    ],
)
@pytest.mark.plain
def test_what_makes_no_sense_is_refused(arguments, told, capsys, tmp_path):
    assert convolutions.main([*arguments, "--output", str(tmp_path / "new")]) == 2
    assert told in capsys.readouterr().out
    assert not (tmp_path / "new").exists()
