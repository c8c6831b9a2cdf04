"""Tests on more processes than the two that CI has cores for: they run where FKD_RANKS is set."""

import os

import pytest

MORE_RANKS = pytest.mark.skipif(
    "FKD_RANKS" not in os.environ, reason="more than two processes: FKD_RANKS=4 runs them"
)
