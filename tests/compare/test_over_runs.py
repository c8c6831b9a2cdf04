"""What several runs measured together: which methods, and what is not whole."""

import numpy as np
from compare.comparison_records import method, record

from fkd.compare import _over_runs
from fkd.compare._over_runs import OverRuns
from fkd.compare.failure import Failure


def runs():
    """Two runs of four methods: one method failed in the first, one has not ended in the second."""
    rows = {"ce": method([0.5, 0.6]), "kd": method([0.6, 0.8]), "hint": method([0.1, 0.2])}
    first, second = record(rows), record({"ce": method([0.6, 0.8]), "kd": method([0.5, 0.6])})
    first.failed = {"dkd": Failure("diverged", "it went")}
    for one in (first, second):
        one.config["methods"] = ["ce", "kd", "hint", "dkd"]
    return [first, second]


def test_the_methods_that_all_have_ended_are_there():
    one = OverRuns(**_over_runs.measured(runs()))
    assert list(one.accuracy) == one.finite == ["ce", "kd"] and one.compared == ["kd"]
    np.testing.assert_array_equal(one.accuracy["kd"], [[0.6, 0.8], [0.5, 0.6]])
    np.testing.assert_allclose(one.difference("kd"), [[0.1, 0.2], [-0.1, -0.2]])
    assert one.seconds == 18.0  # 9 each


def test_what_is_missing_has_failed_or_is_waiting():
    one = OverRuns(**_over_runs.measured(runs()))
    assert list(one.failed) == ["dkd"] and one.waiting == ["hint"] and not one.whole
    ended = runs()
    ended[1].methods["hint"] = ended[0].methods["hint"]
    ended[0].failed = {}
    for run in ended:
        del run.config["methods"][-1]
    one = OverRuns(**_over_runs.measured(ended))
    assert one.whole and one.waiting == []


def test_what_is_not_finite_is_no_difference():
    made = runs()
    made[0].methods["kd"].curves["test_accuracy"][-1][0] = float("inf")
    one = OverRuns(**_over_runs.measured(made))
    assert one.finite == ["ce"] and one.compared == []
