"""Processes that begin anew where something is measured are forked here: imports take seconds."""

import multiprocessing

import pytest

from benchmarks._forked import forked

CONTEXT = multiprocessing.get_context


@pytest.fixture(autouse=True)
def forked_processes(monkeypatch):
    def context(method: str | None = None):
        return forked() if method == "spawn" else CONTEXT(method)

    monkeypatch.setattr(multiprocessing, "get_context", context)
