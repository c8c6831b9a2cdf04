"""Hypothesis for all tests: no deadline, and in CI the same draws every time."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fkd",
    deadline=None,
    max_examples=int(os.environ.get("FKD_EXAMPLES", 20)),
    derandomize="CI" in os.environ,  # a red CI is to mean a change, not a draw
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.register_profile("many", settings.get_profile("fkd"), max_examples=500)
settings.load_profile("fkd")
