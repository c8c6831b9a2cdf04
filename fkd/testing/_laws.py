"""The table of laws, and how a loss is held to them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException

from fkd import _check
from fkd.testing import _invariance, _positions, _refusals, _transforms, _values
from fkd.testing._case import Case, Loss, check_case


def _always(case: Case) -> bool:
    return True


class Law(NamedTuple):
    """A property of losses.

    `holds(loss, case, data)` raises AssertionError unless it does, for what it draws from `data`.
    `applies`: whether a loss with such a row claims it.
    `once`: it is held to one draw, for it takes long and its draws are alike.
    """

    holds: Callable[[Loss, Case, st.DataObject], None]
    applies: Callable[[Case], bool] = _always
    once: bool = False


LAWS: dict[str, Law] = {
    law.holds.__name__: law
    for law in (
        # First, for a loss that breaks one of these breaks others that say less about why.
        Law(_transforms.inputs_are_untouched),
        Law(_values.equal_arguments_give_equal_values),
        Law(_values.one_finite_value_each),
        Law(_values.lower_precision_stays_near_float64),
        Law(_values.bfloat16_rounds_once),
        Law(
            _values.values_keep_to_their_bounds,
            lambda case: case.low is not None or case.high is not None,
        ),
        Law(_values.zero_at_equality, lambda case: case.divergence),
        Law(_values.extreme_and_empty_rows_stay_finite),
        Law(_invariance.a_permuted_batch_permutes_the_values, lambda case: not case.ordered),
        Law(_invariance.a_split_batch_splits_the_values, lambda case: not case.whole),
        Law(_invariance.a_shift_of_the_logits_changes_nothing, lambda case: case.shift),
        Law(
            _invariance.logits_and_temperature_scale_together,
            lambda case: case.power is not None,
        ),
        Law(_invariance.a_scale_of_the_features_changes_nothing, lambda case: case.scale),
        Law(_invariance.a_rotation_of_the_embeddings_changes_nothing, lambda case: case.rotation),
        Law(_invariance.student_and_target_may_change_places, lambda case: case.symmetric),
        Law(_positions.leading_axes_give_a_value_each, lambda case: case.leading),
        Law(_positions.masked_positions_count_as_nothing, lambda case: case.mask),
        Law(_transforms.the_gradient_is_that_of_the_value, lambda case: case.smooth > 0),
        Law(_transforms.vmap_equals_a_loop),
        Law(_transforms.hyperparameters_may_be_leaves, lambda case: bool(case.hyper)),
        Law(_transforms.hyperparameters_have_a_gradient, lambda case: bool(case.hyper)),
        Law(_transforms.autocast_runs),
        Law(_transforms.compiled_in_one_graph_equals_eager, once=True),
        Law(_refusals.shapes_that_differ_are_refused, lambda case: case.refuses),
        Law(_refusals.whole_numbers_are_refused_as_student, lambda case: case.refuses),
        Law(_refusals.a_batch_of_one_is_refused, lambda case: case.refuses and case.relation),
        Law(
            _refusals.temperatures_not_above_zero_are_refused,
            lambda case: case.refuses and "temperature" in case.hyper,
            once=True,
        ),
    )
}


def claims(case: Case) -> list[str]:
    """The names of the laws that a loss with such a row claims.

    >>> from fkd.testing import strategies
    >>> one, two = Case(strategies.logit_pairs()), Case(strategies.logit_pairs(), divergence=True)
    >>> set(claims(two)) - set(claims(one))
    {'zero_at_equality'}
    """
    _check.instance("claims", Case, "a Case", case=case)
    check_case(case)
    if (case.relation or case.ordered or case.per_class) and not case.whole:
        raise ValueError(
            "Case: a relation, a loss of an order and a loss per class need the whole batch, but "
            "whole is False; give whole=True"
        )
    return [name for name, law in LAWS.items() if law.applies(case)]


def check(loss: Loss, case: Case, *names: str) -> None:
    """Hold the loss to the laws of those names, or without any to all that its row claims.

    Raises AssertionError with the names of the law and the loss where it breaks one. How many
    examples are drawn, and whether they are the same every time, is for the profile of Hypothesis
    to say: `hypothesis.settings.load_profile`.

    >>> from fkd.testing import strategies
    >>> def distance(student, teacher):
    ...     return (student.double() - teacher.double()).square().mean(-1).to(student.dtype)
    >>> check(distance, Case(strategies.logit_pairs()), "vmap_equals_a_loop")
    """
    _check.function("check", loss=loss)
    claimed = claims(case)
    for name in names:
        _check.known("check", "law", name, LAWS)
    for name in names or claimed:
        _hold(loss, case, name)


def _hold(loss: Loss, case: Case, name: str) -> None:
    law, called = LAWS[name], getattr(loss, "__name__", repr(loss))

    def holds(data: st.DataObject) -> None:
        law.holds(loss, case, data)

    holds.__name__ = holds.__qualname__ = f"{name}_of_{called}"  # by which Hypothesis stores draws
    profile = settings(
        deadline=None,  # the first call of a loss takes long
        max_examples=1 if law.once else settings().max_examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    try:
        profile(given(data=st.data())(holds))()
    except HypothesisException:
        raise
    except Exception as error:
        about = (law.holds.__doc__ or "").splitlines()[0]
        raise AssertionError(f"{called} breaks the law {name}: {about}\n{error}") from error


def laws(loss: Loss, case: Case) -> Callable[..., Any]:
    """A test of pytest's that holds the loss to each law that its row claims, by the law's name.

    >>> from fkd.testing import strategies
    >>> def distance(student, teacher):
    ...     return (student.double() - teacher.double()).square().mean(-1).to(student.dtype)
    >>> case = Case(strategies.logit_pairs(), divergence=True, refuses=False)
    >>> test_distance = laws(distance, case)
    """

    _check.function("laws", loss=loss)

    @pytest.mark.parametrize("law", claims(case))
    def test(law: str) -> None:
        check(loss, case, law)

    return test
