"""The method of singular vectors: its weight and its layers."""

import pytest

from fkd import heads, methods


def test_the_weight_is_mdistillers_and_each_map_has_its_connector():
    method = methods.kdsvd()
    assert (method["kdsvd"].weight, method["ce"].weight) == (1.0, 1.0)
    assert method["kdsvd"].head is heads.Flows
    term = methods.kdsvd(layers=["a", "b"], teacher_layers=("c", "d"))["kdsvd"]
    assert (term.students, term.targets) == (("a", "b"), ("c", "d"))


@pytest.mark.plain
def test_three_layers_are_refused():
    with pytest.raises(ValueError, match="kdsvd: it takes two layers, but they are a, b, c"):
        methods.kdsvd(layers=["a", "b", "c"])
