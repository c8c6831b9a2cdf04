"""Laws of a loss's values: what they are, how exact, and how large."""

import torch
from hypothesis import assume
from hypothesis import strategies as st

from fkd.testing._case import Case, Loss, cast, draw, equal, require

HALF = (torch.float16, torch.bfloat16)


def equal_arguments_give_equal_values(loss: Loss, case: Case, data: st.DataObject) -> None:
    """The value is a function of the arguments: it draws no random numbers and keeps no state."""
    loss, arguments = draw(loss, case, data)
    values = []
    with torch.random.fork_rng(devices=[]):
        for seed in range(2):
            torch.manual_seed(seed)
            values.append(loss(*arguments))
    require(torch.equal(*values), f"the value is {values[0]}, and then {values[1]}")


def one_finite_value_each(loss: Loss, case: Case, data: st.DataObject) -> None:
    """There is one finite value an example, or a class, in the student's dtype."""
    loss, arguments = draw(loss, case, data)
    shape = (arguments[0].shape[1 if case.per_class else 0],)
    for dtype in (*HALF, torch.float32, torch.float64):
        value = loss(*cast(arguments, dtype))
        require(value.shape == shape, f"the value must be {shape}, but it is {tuple(value.shape)}")
        require(value.dtype == dtype, f"the value must be {dtype}, but it is {value.dtype}")
        require(value.isfinite().all(), f"in {dtype} the value is {value}")


def lower_precision_stays_near_float64(loss: Loss, case: Case, data: st.DataObject) -> None:
    """In float16, bfloat16 and float32 the value is that of float64, to a few of its last bits."""
    loss, arguments = draw(loss, case, data)
    for dtype in (*HALF, torch.float32):
        rounded = cast(arguments, dtype)  # so that only the loss's own rounding is measured
        exact = loss(*cast(rounded, torch.float64))
        tolerance = 8 * torch.finfo(dtype).eps
        torch.testing.assert_close(loss(*rounded).double(), exact, rtol=tolerance, atol=1e-3)


def bfloat16_rounds_once(loss: Loss, case: Case, data: st.DataObject) -> None:
    """Of bfloat16 the value is computed in float32 or wider, and rounded to bfloat16 once."""
    loss, arguments = draw(loss, case, data)
    rounded = cast(arguments, torch.bfloat16)
    value = loss(*rounded).double()
    single = loss(*cast(rounded, torch.float32)).double()
    exact = loss(*cast(rounded, torch.float64))
    # What float32 makes of it, which may add up in another order there; and of that half of the
    # last place: a number in [2ⁿ⁻¹, 2ⁿ) is rounded to multiples of 2ⁿ⁻¹ eps.
    noise = 64 * torch.finfo(torch.float32).eps * (1 + exact.abs()) + (single - exact).abs()
    quarter = torch.full_like(exact, torch.finfo(torch.bfloat16).eps / 4)
    allowed = noise + torch.ldexp(quarter, torch.frexp(exact.abs() + noise).exponent)
    off = (value - exact).abs()
    require(
        (off <= allowed).all(), f"the value {value} is off {exact} by {off}, and may by {allowed}"
    )


def values_keep_to_their_bounds(loss: Loss, case: Case, data: st.DataObject) -> None:
    """The value lies between the bounds of its row."""
    loss, arguments = draw(loss, case, data)
    value = loss(*arguments)
    if case.low is not None:
        require((value >= case.low - 1e-9).all(), f"below {case.low}: {value}")
    if case.high is not None:
        require((value <= case.high + 1e-9).all(), f"above {case.high}: {value}")


def zero_at_equality(loss: Loss, case: Case, data: st.DataObject) -> None:
    """A divergence is zero with a zero gradient where the target equals the student."""
    loss, arguments = draw(loss, case, data)
    student, *others = equal(case, arguments)
    assume(all(row.abs().amax() > 0 for row in student))  # a row of zeros has no direction
    gradient, value = torch.func.grad_and_value(lambda s: loss(s, *others).sum())(student)
    torch.testing.assert_close(value, torch.zeros_like(value), atol=1e-9, rtol=0)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-6, rtol=0)


def extreme_and_empty_rows_stay_finite(loss: Loss, case: Case, data: st.DataObject) -> None:
    """Numbers times ten thousand in float32 and a student of zeros leave all finite."""
    loss, arguments = draw(loss, case, data)
    large = tuple(x * 10_000 if x.is_floating_point() else x for x in arguments)
    zero = (torch.zeros_like(arguments[0]), *arguments[1:])
    alike = arguments[case.sides].is_floating_point()
    for extremes in (cast(large, torch.float32), zero):
        for student, *others in [extremes, equal(case, extremes)] if alike else [extremes]:
            gradient, value = torch.func.grad_and_value(
                lambda s, others=others: loss(s, *others).sum()
            )(student)
            require(value.isfinite(), f"the sum of the values is {value}")
            require(gradient.isfinite().all(), f"the gradient is {gradient}")
