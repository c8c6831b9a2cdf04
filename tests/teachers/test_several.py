"""Means of teachers against numbers worked by hand and NumPy, and their door."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch import Tensor

from fkd.teachers import Several
from fkd.teachers._several import Mean


class Says:
    """A teacher that says the same whatever it is asked."""

    def __init__(self, **outputs: Tensor):
        self.outputs = outputs

    def __call__(self, inputs: object) -> dict[str, Tensor]:
        return self.outputs


def sure(*shares: float) -> Says:
    """A teacher of these probabilities, by logits that are no log-probabilities."""
    return Says(logits=torch.tensor([shares], dtype=torch.float64).log() + 7)


A, B = sure(0.8, 0.2), sure(0.2, 0.8)
C = sure(0.9, 0.1)


def shares(teacher: Several) -> list[float]:
    return (teacher(None)["logits"][0] / teacher.temperature).softmax(-1).tolist()


def test_the_arithmetic_mean_by_hand():
    assert shares(Several([A, B])) == pytest.approx([0.5, 0.5])
    assert shares(Several([A, B, C])) == pytest.approx([1.9 / 3, 1.1 / 3])
    # at T = 2 each is the root of its odds: 4:1 is 2:1, and 9:1 is 3:1
    assert shares(Several([A, C], temperature=2.0)) == pytest.approx([(2 / 3 + 3 / 4) / 2, 7 / 24])
    # logits, not a shift of them: with one teacher of T = 1 they are its log-probabilities
    assert Several([A])(None)["logits"].exp()[0].tolist() == pytest.approx([0.8, 0.2])


def test_the_geometric_mean_by_hand():
    assert shares(Several([A, B], "geometric")) == pytest.approx([0.5, 0.5])
    # odds 4 and 9, of which the geometric mean is 6
    assert shares(Several([A, C], "geometric")) == pytest.approx([6 / 7, 1 / 7])
    assert shares(Several([A, C], "geometric", 2.0)) == pytest.approx(
        [6**0.5 / (1 + 6**0.5), 1 / (1 + 6**0.5)]
    )


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_means_are_numpys(temperature):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 5, 4)) * 9
    teachers = {str(k): Says(logits=torch.tensor(one)) for k, one in enumerate(logits)}
    each = logits / temperature - logsumexp(logits / temperature, axis=-1, keepdims=True)
    arithmetic = temperature * np.log(np.exp(each).mean(0))
    geometric = each.mean(0) - logsumexp(each.mean(0), axis=-1, keepdims=True)
    means: dict[Mean, np.ndarray] = {"arithmetic": arithmetic, "geometric": temperature * geometric}
    for mean, expected in means.items():
        got = Several(teachers, mean, temperature)(None)
        assert list(got) == ["logits"]
        np.testing.assert_allclose(got["logits"], expected, rtol=1e-12, atol=1e-12)


def test_a_class_that_a_teacher_rules_out_and_half_precision():
    out, other = sure(1.0, 0.0), sure(0.5, 0.5)
    assert shares(Several([out, other])) == pytest.approx([0.75, 0.25])
    assert shares(Several([out, other], "geometric")) == [1.0, 0.0]
    half = Says(logits=torch.tensor([[6e4, -6e4]], dtype=torch.float16))
    assert Several([half, half])(None)["logits"].tolist() == [[0.0, -1.2e5]]


def test_without_a_mean_the_outputs_of_each_go_by_its_name():
    hidden = torch.ones(1, 5)
    teachers = {"big": Says(**A.outputs, hidden=hidden), "small": B}
    both = Several(teachers, None)(None)
    assert list(both) == ["big.logits", "big.hidden", "small.logits"]
    assert both["big.hidden"] is hidden
    assert torch.equal(both["small.logits"], B.outputs["logits"])
    assert list(Several(teachers, None, names=["small.logits"])(None)) == ["small.logits"]
    assert list(Several(teachers, names=["logits"])(None)) == ["logits"]


def test_no_gradient_goes_to_any_teacher():
    logits = torch.zeros(1, 2, requires_grad=True)
    assert not Several([lambda _: {"logits": logits * 2}])(None)["logits"].requires_grad


@pytest.mark.plain
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "there are no teachers"),
        (([A], "mean"), "mean 'mean' is not known; choose from arithmetic, geometric"),
        (([A], "arithmetic", 0.0), "temperature must be above zero"),
        (([A], None), "without a mean, teachers must be a mapping"),
        (({"a": A}, None, 2.0), "temperature is that of a mean, but it is 2.0"),
        (([A], "geometric", 1.0, ["hidden"]), r"only logits are averaged.*\['hidden'\]"),
        (([A], "geometric", 1.0, "logits"), "names must be a sequence"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Several(*arguments)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (Several([A, sure(0.2, 0.3, 0.5)]), r"\(1, 2\) and other_logits is \(1, 3\)"),
        (Several([A, Says(hidden=torch.ones(1))]), "teacher 1: output 'logits' is not known"),
        (Several({"a": A}, None, names=["a.hidden"]), "'a.hidden' is not known; choose from a.log"),
    ],
)
def test_teachers_that_do_not_fit_are_refused(teacher, message):
    with pytest.raises(ValueError, match=message):
        teacher(None)
