"""What an error of shapes says: the layers by name, and what would fit in their place."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fkd import losses, methods
from fkd.methods import Context, Term, fit


def _like(**shapes: list[int]) -> dict[str, torch.Tensor]:
    return {name: torch.empty(6, *shape, device="meta") for name, shape in shapes.items()}


OUTPUTS = _like(logits=[3], hidden=[8], map=[4, 6, 6], late=[4, 3, 3])
TARGETS = _like(logits=[3], hidden=[9], map=[7, 6, 6], other=[8])


def _message(term: Term) -> str:
    with pytest.raises(ValueError) as error:
        fit(term, OUTPUTS, TARGETS, Context(), torch.float32)
    return str(error.value)


def test_a_term_that_fits_has_its_head_and_a_value_an_example():
    term = methods.hint(layer="late", teacher_layer="map")["hint"]
    head, values = fit(term, OUTPUTS, TARGETS, Context(), torch.float32)
    assert head is not None and sorted(head.init(0)[0]) == ["bias", "weight"]
    assert values.shape == (6,) and values.device.type == "meta"


@pytest.mark.plain
def test_a_width_that_differs_is_told_with_the_layers_that_have_it():
    message = _message(methods.cosine()["cosine"])
    assert "student is (6, 8) and teacher is (6, 9)" in message
    assert message.endswith(
        "; it joins student 'hidden' (8,) with target 'hidden' (9,); what fits: "
        "student 'hidden' with target 'other', student 'logits' with target 'logits'"
    )


@pytest.mark.plain
def test_no_more_than_four_pairs_are_listed():
    maps = _like(**{f"map{number}": [4, 2, 2] for number in range(9)})
    term = methods.at(layer="hidden", teacher_layer="map0")["at"]
    with pytest.raises(ValueError) as error:
        fit(term, OUTPUTS | maps, maps, Context(), torch.float32)
    listed = [f"student {name!r} with target 'map0'" for name in ("map", "late", "map0", "map1")]
    assert str(error.value).endswith(f"; what fits: {', '.join(listed)}")


@pytest.mark.plain
def test_several_layers_are_named_pair_by_pair():
    term = methods.fsp(layers=("map", "hidden"), teacher_layers=("map", "other"))["fsp"]
    message = _message(term)
    assert "; it joins student 'map' (4, 6, 6) with target 'map' (7, 6, 6) and student " in message
    assert message.endswith(
        "; what fits: student 'late' with target 'map', student 'map' with target 'map'"
    )


@pytest.mark.plain
def test_a_bad_number_is_told_without_a_word_of_layers():
    term = Term(losses.kl_divergence, hyper={"temperature": -1.0})
    assert _message(term).endswith("temperature must be above zero and finite, but it is -1.0")


@pytest.mark.plain
def test_a_head_may_raise_anything_where_others_are_tried():
    def head(student: torch.Size, target: torch.Size) -> nn.Module:
        if len(target) != 1:
            raise KeyError("a head of one's own")
        return nn.Linear(student[0], 9)

    term = Term(losses.squared_error, "hidden", "other", head=head)
    assert _message(term).endswith("; what fits: student 'hidden' with target 'hidden'")


def _branches(student: Tensor, teacher: Tensor) -> Tensor:
    return student[:, 0] if (student > teacher).any() else teacher[:, 0]


def _nothing(student: Tensor, teacher: Tensor) -> Any:
    return None


def _number(student: Tensor, teacher: Tensor) -> Any:
    return 0.5


def _mistyped(student: Tensor, teacher: Tensor, **numbers: Any) -> Tensor:
    return losses.kl_divergence(student, teacher, **numbers)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("term", "message"),
    [
        (Term(_nothing), "what the loss returns must be a torch.Tensor"),
        (Term(_number), "what the loss returns must be a torch.Tensor"),
        (Term(_branches), "with shapes alone, .* let torch.where take the place of `if`"),
        (Term(_mistyped, hyper={"heat": 2.0}), "TypeError: .*'heat'; .* and the keywords heat$"),
        (Term(lambda student: student), "with student 'logits', target 'logits' and no keyword$"),
    ],
)
def test_a_loss_of_ones_own_may_raise_anything(term, message):
    assert re.search(message, _message(term))


@pytest.mark.plain
def test_what_is_changed_in_place_is_refused_for_others_read_it():
    student = Term(lambda student, teacher: student.sub_(teacher).square().sum(-1))
    assert _message(student).startswith("it changes student 'logits' in place")
    teacher = Term(lambda student, teacher: teacher.mul_(0).sum(-1) + student.sum(-1))
    assert _message(teacher).startswith("it changes target 'logits' in place")
    fit(Term(lambda s, t: s.clone().sub_(t).sum(-1)), OUTPUTS, TARGETS, Context(), torch.float32)


def _squares(student: Tensor, target: Tensor) -> Tensor:
    return (student - target) ** 2


@pytest.mark.plain
@pytest.mark.parametrize(("width", "values"), [(1, []), (6, [])])
def test_a_target_that_is_broadcast_over_the_batch_is_refused(width, values):
    # [6, 1] − [6] is [6, 6]; and so is [6, 6] − [6], of a batch of six alone
    with pytest.raises(ValueError, match=r"\(7, 7\), as where \[batch, 1\]|RuntimeError"):
        fit(
            Term(_squares, target="values"),
            _like(logits=[width]),
            _like(values=values),
            Context(),
            torch.float32,
        )


@pytest.mark.parametrize("shape", [[], [6], [1], [6, 6]])
def test_as_many_places_as_examples_are_no_broadcast(shape):
    term = Term(_squares, target="values")
    _, values = fit(term, _like(logits=shape), _like(values=shape), Context(), torch.float32)
    assert values.shape == (6,)


@pytest.mark.plain
def test_the_numbers_of_examples_are_not_told_as_labels_that_fit():
    number = torch.empty(6, dtype=torch.int64, device="meta")
    targets = {"labels": number[:, None], "index": number}
    with pytest.raises(ValueError, match=r"give labels\.squeeze\(-1\)") as error:
        fit(methods.ce()["ce"], _like(logits=[3]), targets, Context(), torch.float32)
    assert "'index'" not in str(error.value)


WEIGHTS = torch.tensor([1.0, 5.0, 0.2])


def _weighted(student: Tensor, labels: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(student, labels, WEIGHTS, reduction="none")


@pytest.mark.plain
def test_weights_of_classes_that_lie_elsewhere_are_told_how_to_follow():
    targets = {"labels": torch.empty(6, dtype=torch.int64, device="meta")}
    term = Term(_weighted, target="labels")
    with pytest.raises(ValueError, match=r"weights of classes, follow by \.to\(student\.device\)"):
        fit(term, _like(logits=[3]), targets, Context(), torch.float32)
