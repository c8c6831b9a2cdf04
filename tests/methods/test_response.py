"""Methods of the answers: the tutorial's weights and temperature."""

import pytest

from fkd import methods


def test_the_tutorials_weights_are_the_defaults():
    weights = {name: term.weight for name, term in methods.kd().items()}
    assert weights == {"kd": 0.25, "ce": 0.75}
    assert methods.kd()["kd"].hyper == {"temperature": 2.0}
    assert methods.ce()["ce"].weight == 1.0


@pytest.mark.parametrize("temperature", [0.0, -2.0, float("nan")])
def test_bad_temperatures_are_refused(temperature):
    with pytest.raises(ValueError, match="kd: temperature must be above zero"):
        methods.kd(temperature=temperature)


def test_matching_functions_asks_for_no_labels():
    (term,) = methods.funmatch().values()
    assert term.targets == ("logits",) and term.weight == 1.0
    with pytest.raises(ValueError, match="funmatch: temperature must be above zero"):
        methods.funmatch(temperature=0.0)
