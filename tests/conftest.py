"""Hypothesis without deadline, in CI with the same draws; what is imported is no garbage."""

import gc
import os
import sys

import pytest
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


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Of what is imported and collected, millions of objects, none is looked at as garbage again,
    which took a tenth of the time of all tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def compiled_as_often_as_asked():
    """All that is compiled and is no function, such as an augmentation, shares a line of torch's,
    of which it compiles eight for a process and then refuses."""
    if compiler := sys.modules.get("torch._dynamo"):
        compiler.config.recompile_limit = 64
