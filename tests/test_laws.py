"""The public losses hold to the laws of `fkd.testing`, by one table of their rows.

To add a loss, add its row to CASES in `tests/losses/test_<family>.py`: the laws that the row claims
apply by themselves, and a test fails while the row is missing. `python tests/test_laws.py` prints
the table.
"""

import os
from functools import partial

import pytest
import torch
from hypothesis import settings
from losses import (
    test_contrastive,
    test_correlation,
    test_decoupled,
    test_divergence,
    test_feature,
    test_map,
    test_pooled,
    test_relation,
    test_response,
    test_singular,
    test_transformed,
    test_transport,
)

from fkd import losses
from fkd.testing import Case, check, claims

FAMILIES = (
    test_response.CASES,
    test_divergence.CASES,
    test_transformed.CASES,
    test_decoupled.CASES,
    test_transport.CASES,
    test_correlation.CASES,
    test_feature.CASES,
    test_map.CASES,
    test_pooled.CASES,
    test_singular.CASES,
    test_relation.CASES,
    test_contrastive.CASES,
)
CASES: dict[str, Case] = {name: case for family in FAMILIES for name, case in family.items()}
COLUMNS = (
    "divergence",
    "shift",
    "scale",
    "rotation",
    "symmetric",
    "power",
    "smooth",
    "whole",
    "ordered",
    "relation",
    "per_class",
    "leading",
    "mask",
)
PLAIN = {  # they ask for our own errors, compile, or ask the same as another
    "shapes_that_differ_are_refused",
    "whole_numbers_are_refused_as_student",
    "a_batch_of_one_is_refused",
    "compiled_in_one_graph_equals_eager",
    "the_gradient_is_that_of_the_value",
    # Their values are other values, of the shapes and types of `one_finite_value_each`.
    "equal_arguments_give_equal_values",
    "logits_and_temperature_scale_together",
    "lower_precision_stays_near_float64",
    "bfloat16_rounds_once",
    "hyperparameters_have_a_gradient",
    "values_keep_to_their_bounds",
    "zero_at_equality",
    "extreme_and_empty_rows_stay_finite",
    "a_permuted_batch_permutes_the_values",
    "a_shift_of_the_logits_changes_nothing",
    "a_scale_of_the_features_changes_nothing",
    "a_rotation_of_the_embeddings_changes_nothing",
    "student_and_target_may_change_places",
}
# What the compiler makes of a graph takes it seconds and is torch's own. So one loss of each family
# is compiled to the end, and of the others what fkd answers for: the trace, its gradient in ATen.
# FKD_COMPILE=all compiles all of them to the end. Ten iterations of Sinkhorn's are one long graph,
# and four singular value decompositions with all around them another: they take 40 seconds.
TO_THE_END = {
    "jensen_shannon",
    "alpha_beta_divergence",
    "norm_kd",
    "nkd",
    "class_correlation",
    "factor_transfer",
    "attention_transfer",
    "class_attention_transfer",
    "pkt",
    "info_nce",
}
# At every number of a draw derivatives are taken by differences, by hundreds of calls. A quarter of
# the draws are hundreds of derivatives still. Nor does rounding to bfloat16 need many: each row is
# a number that is rounded by itself.
DEAR = {
    "the_gradient_is_that_of_the_value",
    "hyperparameters_have_a_gradient",
    "bfloat16_rounds_once",
}
# The typed pass checks a shape that a strategy takes at one element, which `random` chooses.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


@pytest.fixture
def _draws(law):
    """As many as the profile says, and of a dear law a quarter."""
    before = settings.get_current_profile_name()
    most = settings().max_examples
    settings.register_profile("dear", settings(), max_examples=max(1, most // 4))
    settings.load_profile("dear" if law in DEAR else before)
    yield
    settings.load_profile(before)


def test_every_public_loss_has_a_row():
    assert sorted(CASES) == sorted(losses.__all__)


def test_of_each_family_one_loss_is_compiled_to_the_end():
    dear = test_transport.CASES, test_singular.CASES
    families = [family for family in FAMILIES if family not in dear]
    assert CASES.keys() >= TO_THE_END and all(family.keys() & TO_THE_END for family in families)


@pytest.mark.usefixtures("_draws")
@pytest.mark.parametrize(
    ("name", "law"),
    [
        pytest.param(name, law, id=f"{name}-{law}", marks=pytest.mark.plain if law in PLAIN else ())
        for name, case in CASES.items()
        for law in claims(case)
    ],
)
def test_a_loss_keeps_the_law(name, law, monkeypatch):
    if name not in TO_THE_END and os.environ.get("FKD_COMPILE") != "all":
        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    check(getattr(losses, name), CASES[name], law)


def table() -> str:
    """The table of laws by losses."""
    rows = [f"{'loss':32}{'range':>14}  " + "  ".join(COLUMNS)]
    for name in sorted(CASES):
        case = CASES[name]
        bounds = f"[{case.low}, {case.high}]"
        values = {key: getattr(case, key) for key in COLUMNS}
        told = {k: "" if v is None or v is False else f"{int(v)}" for k, v in values.items()}
        marks = (mark.rjust(len(key)) for key, mark in told.items())
        rows.append(f"{name:32}{bounds:>14}  " + "  ".join(marks))
    return "\n".join(rows)


def test_those_losses_are_by_example_that_do_not_need_the_whole_batch():
    assert {
        getattr(losses, name) for name, case in CASES.items() if not case.whole
    } == losses.BY_EXAMPLE


def test_the_table_of_laws_lists_every_loss():
    printed = table()
    assert all(f"\n{name} " in printed for name in losses.__all__)


if __name__ == "__main__":
    print(table())
