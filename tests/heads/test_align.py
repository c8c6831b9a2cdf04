"""Both sides in one form: which positions meet, what is pooled, and what is refused."""

import pytest
import torch
from torch import Tensor

from fkd.heads import align

FORMS = [align.features, align.positions, align.maps, align.grids]


def _numbered(*shape: int) -> Tensor:
    """Every element is another number, in float64."""
    return torch.arange(2 * torch.Size(shape).numel(), dtype=torch.float64).reshape(2, *shape)


@pytest.mark.parametrize("form", FORMS)
def test_maps_of_one_size_stay_the_same_tensors(form):
    student, teacher = _numbered(3, 4, 5), _numbered(7, 4, 5)
    one, other = form(student, teacher)
    assert one is student and other is teacher


@pytest.mark.parametrize("form", [align.features, align.positions, align.maps])
@pytest.mark.parametrize("larger", ["student", "teacher"])
def test_the_larger_map_is_averaged_over_blocks(form, larger):
    small, large = _numbered(3, 2, 4), _numbered(5, 4, 12)
    expected = large.reshape(2, 5, 2, 2, 4, 3).mean((3, 5))
    if larger == "student":
        pooled, same = form(large, small)
    else:
        same, pooled = form(small, large)
    assert same is small
    torch.testing.assert_close(pooled, expected, rtol=1e-14, atol=0)


def test_each_axis_is_pooled_on_its_larger_side():
    tall, wide = align.maps(_numbered(3, 4, 1), _numbered(3, 2, 3))
    torch.testing.assert_close(tall, _numbered(3, 4, 1).reshape(2, 3, 2, 2, 1).mean(3))
    torch.testing.assert_close(wide, _numbered(3, 2, 3).mean(3, keepdim=True))


def test_grids_keep_their_sizes():
    large = _numbered(5, 4, 4)
    tokens, same = align.grids(_numbered(9, 3), large)
    assert tokens.shape == (2, 3, 3, 3) and same is large


@pytest.mark.parametrize("extra", [0, 1], ids=["plain", "with a class token"])
@pytest.mark.parametrize("form", FORMS)
def test_tokens_are_laid_row_by_row_on_the_map_of_the_other_side(form, extra):
    tokens, beside = _numbered(6 + extra, 4), _numbered(3, 2, 3)
    for student, teacher in (form(tokens, beside), form(beside, tokens)[::-1]):
        assert teacher is beside
        for row in range(2):
            for column in range(3):
                assert torch.equal(student[:, :, row, column], tokens[:, extra + 3 * row + column])


def test_tokens_that_fill_no_map_beside_them_are_a_square():
    tokens = _numbered(17, 3)
    student, teacher = align.maps(tokens, _numbered(5, 2, 2))
    square = tokens[:, 1:].reshape(2, 4, 4, 3)
    expected = square.reshape(2, 2, 2, 2, 2, 3).mean((2, 4)).movedim(3, 1)
    torch.testing.assert_close(student, expected, rtol=1e-14, atol=0)
    assert teacher.shape == (2, 5, 2, 2)


def test_tokens_of_two_numbers_are_pooled_as_squares():
    student, teacher = align.features(_numbered(4, 3), _numbered(17, 3))
    assert student.shape == teacher.shape == (2, 3, 2, 2)
    torch.testing.assert_close(teacher[:, :, 0, 0], _numbered(17, 3)[:, [1, 2, 5, 6]].mean(1))


def test_vectors_and_as_many_tokens_stay_in_features_and_are_columns_in_positions():
    for student, teacher in (
        (_numbered(4), _numbered(6)),
        (_numbered(12, 4), _numbered(12, 6)),
    ):
        assert align.features(student, teacher)[1] is teacher
        one, other = align.positions(student, teacher)
        assert (one.ndim, one.shape[1], other.shape[1], one.shape[3]) == (4, 4, 6, 1)
        assert torch.equal(one.squeeze(-1).mT.reshape(student.shape), student)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("form", "student", "teacher"),
    [
        (align.features, [4], [4, 2, 2]),
        (align.features, [12, 4], [9, 4]),
        (align.positions, [12, 4], [4, 4, 4]),
        (align.maps, [4], [4]),
        (align.maps, [12, 4], [12, 4]),
        (align.maps, [18, 4], [4, 4, 4]),
        (align.grids, [4, 2, 2, 2], [4, 2, 2]),
    ],
)
def test_what_has_no_form_in_common_is_refused_with_what_would_fit(form, student, teacher):
    with pytest.raises(ValueError) as error:
        form(_numbered(*student), _numbered(*teacher))
    assert f"output {tuple(student)} and the target {tuple(teacher)}" in str(error.value)
    assert "what fits are" in str(error.value) and "or a square" in str(error.value)


@pytest.mark.plain
@pytest.mark.parametrize("form", FORMS)
def test_a_compiled_ensemble_sees_the_same_form(form):
    student, teacher = torch.randn(3, 2, 17, 4), torch.randn(2, 5, 6, 6)
    whole = torch.vmap(form, in_dims=(0, None), out_dims=(0, 0))
    compiled = torch.compile(whole, fullgraph=True, backend="aot_eager")(student, teacher)
    for k in range(3):
        for one, other in zip(form(student[k], teacher), compiled, strict=True):
            torch.testing.assert_close(other[k], one)
