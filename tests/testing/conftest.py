"""Hypothesis stops at the first example that fails."""

import pytest
from hypothesis import Phase, settings


@pytest.fixture(autouse=True)
def _first_example_that_fails():
    """Hypothesis stops at it, where it would go on to a smaller one, and draws the same always."""
    before = settings.get_current_profile_name()
    settings.register_profile(
        "first", settings(), phases=[Phase.generate], derandomize=True, database=None
    )
    settings.load_profile("first")
    yield
    settings.load_profile(before)
