"""What an evaluation refuses: outputs that are none of the examples', and numbers that are none."""

import pytest
import torch

from fkd import evaluate
from fkd.data import Resident

FOUR = Resident(torch.zeros(4, 3), {})


@pytest.mark.plain
@pytest.mark.parametrize("output", [torch.zeros(3, 2), torch.zeros(())])
def test_an_output_without_the_examples_is_refused(output):
    with pytest.raises(ValueError, match="must lead with an axis of the 4 examples"):
        evaluate.predict(lambda _: {"logits": output}, FOUR)


@pytest.mark.plain
def test_an_output_that_is_no_tensor_is_refused():
    with pytest.raises(ValueError, match=r"answers: output 'logits' must be a torch\.Tensor"):
        evaluate.predict(lambda _: {"logits": [1.0] * 4}, FOUR)  # type: ignore[arg-type]


def test_no_parts_are_the_outputs_of_no_examples():
    assert evaluate.together([], 0) == {}


@pytest.mark.plain
@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([{"a": torch.zeros(())}], "'a' must lead with an axis of examples, but it is a single"),
        ([{"a": torch.zeros(2, 3)}, {"a": torch.zeros(1, 1)}], "'a' must be of 3 examples alike"),
        ([{"a": torch.zeros(2, 3)}, {"a": torch.zeros(2, 3)}], "'a' must be of 3 examples alike"),
        ([{"a": torch.zeros(2)}, {"b": torch.zeros(1)}], "'a' must be of 3 examples alike"),
        ([{"a": torch.zeros(2), "b": torch.zeros(1)}], "'b' must be of 3 examples alike"),
        ([{"a": torch.zeros(2)}], "there must be 3 examples, but there are 2"),
    ],
)
def test_parts_that_are_not_alike_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        evaluate.together(parts, 3)


@pytest.mark.plain
@pytest.mark.parametrize("bins", [0, -1, 2.5])
def test_a_number_of_bins_that_is_none_is_refused(bins):
    with pytest.raises(ValueError, match="calibration_error: bins must be a whole number"):
        evaluate.calibration_error(torch.zeros(4, 3), torch.zeros(4).long(), bins)
