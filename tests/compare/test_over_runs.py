"""What several runs measured together: which methods, and what is not whole."""

import numpy as np
import pytest
from compare.comparison_records import method, record
from scipy import stats

from fkd.compare import _over_runs
from fkd.compare._over_runs import OverRuns, of_sources
from fkd.compare.failure import Failure


class Plain(OverRuns):
    """A record of runs and seeds, and of nothing else."""

    @property
    def sources(self) -> list[str]:
        return ["run", "seed"]


def runs():
    """Two runs of four methods: one method failed in the first, one has not ended in the second."""
    rows = {"ce": method([0.5, 0.6]), "kd": method([0.6, 0.8]), "hint": method([0.1, 0.2])}
    first, second = record(rows), record({"ce": method([0.6, 0.8]), "kd": method([0.5, 0.6])})
    first.failed = {"dkd": Failure("diverged", "it went")}
    for one in (first, second):
        one.config["methods"] = ["ce", "kd", "hint", "dkd"]
    return [first, second]


def test_the_methods_that_all_have_ended_are_there():
    one = Plain(**_over_runs.measured(runs()))
    assert list(one.accuracy) == one.finite == ["ce", "kd"] and one.compared == ["kd"]
    np.testing.assert_array_equal(one.accuracy["kd"], [[0.6, 0.8], [0.5, 0.6]])
    np.testing.assert_allclose(one.difference("kd"), [[0.1, 0.2], [-0.1, -0.2]])
    assert list(one.components) == ["ce", "kd", "kd − ce"]
    assert one.seconds == 18.0  # 9 each


def test_what_is_missing_has_failed_or_is_waiting():
    one = Plain(**_over_runs.measured(runs()))
    assert list(one.failed) == ["dkd"] and one.waiting == ["hint"] and not one.whole
    assert one.lacking == ["hint is not trained yet", "dkd failed"]
    ended = runs()
    ended[1].methods["hint"] = ended[0].methods["hint"]
    ended[0].failed = {}
    for run in ended:
        del run.config["methods"][-1]
    one = Plain(**_over_runs.measured(ended))
    assert one.whole and one.waiting == []


def test_what_is_not_finite_is_no_difference():
    made = runs()
    made[0].methods["kd"].curves["test_accuracy"][-1][0] = float("inf")
    one = Plain(**_over_runs.measured(made))
    assert one.finite == ["ce"] and one.compared == []


def test_one_source_alone_has_its_variance_and_the_chi_square_interval():
    values = np.array([0.2, 0.5, 0.4, 0.9])
    (part,) = of_sources(values, ["order"]).values()
    spread = stats.chi2(3)
    assert part.variance == pytest.approx(np.var(values, ddof=1))
    # The interval's ends are the variances of which so small, or so large, a one is as rare.
    assert spread.sf(3 * part.variance / part.low) == pytest.approx(0.025)
    assert spread.cdf(3 * part.variance / part.high) == pytest.approx(0.025)
