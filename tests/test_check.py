"""When an error may depend on a tensor's values, and what is shown of a value in an error."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from fkd import _check


def _seen(x: Tensor) -> Tensor:
    """One where the values of `x` may be read, and zero elsewhere."""
    return x * 0 + float(_check.readable(x))


def test_a_plain_tensor_and_a_parameter_are_read():
    assert _check.readable(torch.ones(2))
    assert _check.readable(torch.nn.Parameter(torch.ones(2)))
    assert _check.extremes(torch.tensor([3, 1, 2])) == (1, 3)
    assert _check.extremes(torch.ones(2, requires_grad=True)) == (1, 1)


def test_what_has_no_values_here_is_not_read():
    assert not _check.readable(torch.ones(2, device="meta"))
    with FakeTensorMode():
        assert not _check.readable(torch.ones(2))
    with FlopCounterMode(display=False):
        assert not _check.readable(torch.ones(2))
    assert _check.extremes(torch.ones(0)) is None
    assert _check.extremes(torch.ones(2, device="meta")) is None


@pytest.mark.plain
def test_what_a_transform_wraps_is_not_read_and_what_it_shares_is():
    assert not torch.vmap(_seen)(torch.ones(3, 2)).any()
    assert not torch.func.grad(lambda x: x.sum() * float(_check.readable(x)))(torch.ones(2)).any()
    shared = torch.vmap(lambda x, y: x * 0 + float(_check.readable(y)), (0, None))
    assert shared(torch.ones(3, 2), torch.ones(2)).all()


@pytest.mark.plain
def test_the_extremes_of_what_a_transform_wraps_are_those_of_all_members():
    def total(x: Tensor) -> Tensor:
        assert _check.extremes(x) == (0, 5)
        return x.sum()

    torch.vmap(torch.func.grad(total))(torch.arange(6.0).reshape(3, 2))


@pytest.mark.plain
def test_nothing_is_read_in_a_compiled_graph():
    torch._dynamo.reset()
    compiled = torch.compile(_seen, fullgraph=True, backend="eager")
    assert not compiled(torch.ones(2)).any()
    assert _seen(torch.ones(2)).all()


class Unshown:
    """Its representation raises."""

    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.plain
@pytest.mark.parametrize("value", [10**5000, Unshown()], ids=["large", "odd"])
def test_what_cannot_be_shown_is_refused_by_its_type(value):
    with pytest.raises(ValueError, match=f"x: y .* but it is a {type(value).__name__}"):
        _check.positive("x", y=value)


def test_a_number_beside_tensors_lies_with_them_or_on_the_cpu():
    x, number = torch.ones(2, device="meta"), torch.tensor(1.0)
    _check.beside("f", x, here=number, there=number.to("meta"), plain=1.0)
    with pytest.raises(ValueError, match=r"f: y must lie on cpu, .* but it is on meta"):
        _check.beside("f", number, y=number.to("meta"))


@pytest.mark.parametrize("value", [1e20, 1e-20, torch.tensor(1e20)])
def test_a_temperature_has_a_square(value):
    with pytest.raises(ValueError, match="f: T must"):
        _check.temperature("f", T=value)
    _check.positive("f", T=value)


@pytest.mark.parametrize("value", [-1.0, 0.0, float("nan"), float("inf")])
def test_a_leaf_of_the_state_is_held_to_its_range_as_a_number_is(value):
    for given in (value, torch.tensor(value)):
        with pytest.raises(ValueError, match="f: x must be above zero and finite, but it is"):
            _check.positive("f", x=given)


STEP = 2.0**-20


@pytest.mark.plain
@pytest.mark.parametrize(
    ("check", "taken", "refused"),
    [
        (partial(_check.between, "f", -1, 2), (-1.0, 2.0), (-1 - STEP, 2 + STEP)),
        (partial(_check.share, "f"), (0.0, 1 - STEP), (-STEP, 1.0)),
        (partial(_check.not_negative, "f"), (0.0, 3e38), (-STEP, float("inf"))),
    ],
)
@pytest.mark.parametrize("form", [float, torch.tensor])
def test_a_range_holds_its_ends(check, taken, refused, form):
    for number in taken:
        check(x=form(number))
    for number in refused:
        with pytest.raises(ValueError, match="f: x must "):
            check(x=form(number))
