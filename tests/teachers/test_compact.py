"""The top k with a tail against NumPy: exact where it can be, a distribution always."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import vmap

from fkd.teachers import spread, top_k
from fkd.teachers._compact import Expand, Form, compact, forms_of, parts_of


def draw(seed: int, classes: int, scale: float, batch: tuple[int, ...] = (4,)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*batch, classes, dtype=torch.float64, generator=generator)


def test_the_tail_by_hand():
    logits = torch.tensor([[0.5, 0.1, 0.1, 0.3], [0.1, 0.2, 0.3, 0.4]], dtype=torch.float64).log()
    values, indices, tail = top_k(logits + 3, 2)
    assert indices.tolist() == [[0, 3], [3, 2]]
    assert values.exp().tolist() == [pytest.approx([0.5, 0.3]), pytest.approx([0.4, 0.3])]
    assert tail.exp().tolist() == pytest.approx([0.2, 0.3])
    expected = [[0.5, 0.1, 0.1, 0.3], [0.15, 0.15, 0.3, 0.4]]
    np.testing.assert_allclose(spread(values, indices, tail, 4).exp(), expected, rtol=1e-12)


@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.1, 3.0, 60.0]))
def test_a_distribution_with_the_largest_classes_as_they_were(seed, classes, k, scale):
    k = min(k, classes)
    logits = draw(seed, classes, scale)
    log_probabilities = logits.log_softmax(-1)
    back = spread(*top_k(logits, k), classes)
    np.testing.assert_allclose(back.exp().sum(-1), 1, rtol=1e-12)
    largest = np.sort(log_probabilities.numpy(), axis=-1)[:, ::-1][:, :k]
    np.testing.assert_allclose(np.sort(back.numpy(), axis=-1)[:, ::-1][:, :k], largest, rtol=1e-12)
    if k >= classes - 1:
        np.testing.assert_allclose(back, log_probabilities, rtol=1e-12, atol=1e-15)


def test_a_tail_far_below_the_largest_is_not_lost():
    logits = torch.tensor([0.0, -100.0, -101.0, -102.0])  # 1 − p of the largest is 0 in float32
    back = spread(*top_k(logits, 1), 4)
    expected = -100 + np.log(np.exp([0.0, -1.0, -2.0]).mean())
    np.testing.assert_allclose(back[1:], [expected] * 3, rtol=1e-6)


def test_classes_that_are_ruled_out_stay_so():
    inf = float("inf")
    logits = torch.tensor([0.0, 0.0, -inf, -inf])
    assert spread(*top_k(logits, 2), 4).exp().tolist() == pytest.approx([0.5, 0.5, 0, 0])
    assert spread(*top_k(logits, 3), 4).exp().tolist() == pytest.approx([0.5, 0.5, 0, 0])


@pytest.mark.plain
def test_spread_runs_for_members_under_vmap_and_compiled_whole():
    logits = draw(0, 6, 2.0, batch=(3, 5))
    cut = top_k(logits, 2)
    together = spread(*cut, 6)
    assert torch.equal(vmap(partial(spread, classes=6))(*cut), together)
    compiled = torch.compile(spread, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*cut, 6), together)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_the_bits_hold_to_their_rounding(dtype):
    outputs = {"logits": draw(1, 50, 3.0), "hidden": draw(2, 7, 1e-4)}
    held = compact(outputs, 5, dtype)
    assert {held[name].dtype for name in ("hidden", "logits.values", "logits.tail")} == {dtype}
    assert held["logits.indices"].dtype == torch.int16
    back = Expand(forms_of(outputs, 5))(held)
    # half a unit in the last place, and of numbers below 2⁻¹⁴ half of float16's smallest, 2⁻²⁴
    share = torch.finfo(dtype).eps / 2
    exact = {"logits": spread(*top_k(outputs["logits"], 5), 50), "hidden": outputs["hidden"]}
    for name, output in exact.items():
        assert back[name].dtype == torch.float64
        assert ((back[name] - output).abs() <= share * output.abs() + 2**-25).all()
    # and so the whole mass is one to as much of the largest log-probability that counts
    assert ((back["logits"].exp().sum(-1)).log().abs() <= share * exact["logits"].abs().max()).all()


def test_float32_reads_in_float32_and_half_logits_are_cut_in_float32():
    forms = forms_of({"logits": torch.zeros(1, 2).half(), "hidden": torch.zeros(1, 2).half()}, 1)
    assert forms == {"logits": Form(torch.float32, 2), "hidden": Form(torch.float16)}
    assert compact({"logits": torch.zeros(1, 2).half()}, 1, None)["logits.tail"].dtype == (
        torch.float32
    )


def test_many_classes_go_by_wider_numbers():
    assert compact({"logits": torch.zeros(1, 2**15)}, 1, None)["logits.indices"].dtype == (
        torch.int16
    )
    wide = torch.zeros(1, 2**15 + 1)
    wide[0, -1] = 9
    indices = compact({"logits": wide}, 1, None)["logits.indices"]
    assert indices.dtype == torch.int32 and indices.tolist() == [[2**15]]


@pytest.mark.plain
def test_what_does_not_fit_is_refused():
    cut = top_k(torch.zeros(2, 5), 3)
    for k in (0, 6):
        with pytest.raises(ValueError, match=rf"k must be .* in \[1, 5\], but it is {k}"):
            top_k(torch.zeros(2, 5), k)
    with pytest.raises(ValueError, match="logits must be floating-point"):
        top_k(torch.zeros(2, 5).long(), 1)
    with pytest.raises(ValueError, match=r"k must lie in \[1, 2\], but it is 3"):
        spread(*cut, 2)
    with pytest.raises(ValueError, match=r"indices must lie in \[0, 3\], but it is 4"):
        spread(*top_k(torch.tensor([0.0, 1, 2, 3, 4]), 3), 4)
    with pytest.raises(ValueError, match=r"tail is \(1,\) and a_value is \(2,\)"):
        spread(cut.values, cut.indices, cut.tail[:1], 5)
    with pytest.raises(ValueError, match=r"values is \(2, 2\) and indices is \(2, 3\)"):
        spread(cut.values[:, :2], cut.indices, cut.tail, 5)
    with pytest.raises(ValueError, match=r"holds no more than 65504, but output 'a' reaches 70000"):
        compact({"a": torch.tensor([7e4])}, None, torch.float16)
    both = dict(zip(parts_of("logits"), cut, strict=True)) | {"logits": torch.zeros(2, 5)}
    with pytest.raises(ValueError, match="there are two targets 'logits'"):
        Expand({"logits": Form(torch.float32, 5)})(both)
