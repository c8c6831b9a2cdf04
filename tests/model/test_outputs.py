"""Outputs go by name, however they are nested."""

from collections import OrderedDict, namedtuple

import pytest
import torch

from fkd.model._outputs import by_name

Pair = namedtuple("Pair", ["logits", "aux"])
ONE, TWO, THREE = (torch.full((2,), float(k)) for k in (1, 2, 3))


@pytest.mark.parametrize(
    "outputs, names",
    [
        (ONE, {"logits": ONE}),
        ({"logits": ONE, "map": TWO}, {"logits": ONE, "map": TWO}),
        ((ONE, (TWO, THREE)), {"0": ONE, "1.0": TWO, "1.1": THREE}),
        (Pair(ONE, TWO), {"logits": ONE, "aux": TWO}),
        (OrderedDict(loss=None, hidden=(ONE, {"a": TWO})), {"hidden.0": ONE, "hidden.1.a": TWO}),
        ({"logits": ONE, "cache": object(), "name": "net", "count": 3}, {"logits": ONE}),
    ],
)
def test_each_tensor_goes_by_its_path(outputs, names):
    assert by_name(outputs) == names


@pytest.mark.parametrize("outputs", [None, {}, (), {"loss": None}, "logits", 3.0])
def test_no_tensor_at_all_is_refused(outputs):
    with pytest.raises(ValueError, match=r"must return a tensor .* but it returned a"):
        by_name(outputs)


def test_two_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"two outputs of the module go by the name 'a\.0'"):
        by_name({"a": [ONE], "a.0": TWO})
