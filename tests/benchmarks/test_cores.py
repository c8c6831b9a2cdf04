"""Processes side by side share the threads of the one that starts them."""

import os

import pytest

from benchmarks._cores import share, shared

NAMES = "OMP_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS"


@pytest.mark.parametrize(("own", "processes", "each"), [("16", 5, "3"), ("2", 4, "1")])
def test_each_has_its_share_and_one_at_least(monkeypatch, own, processes, each):
    monkeypatch.setenv("OMP_NUM_THREADS", own)
    assert share(processes) == dict.fromkeys(NAMES, each)


def test_all_cores_are_shared_where_nothing_is_set(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert share(3) == dict.fromkeys(NAMES, "4")


def test_the_environment_is_as_before_at_the_end(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.delenv("TORCHINDUCTOR_COMPILE_THREADS", raising=False)
    with pytest.raises(KeyError), shared(2):
        assert [os.environ[name] for name in NAMES] == ["4", "4"]
        raise KeyError
    assert os.environ["OMP_NUM_THREADS"] == "8"
    assert "TORCHINDUCTOR_COMPILE_THREADS" not in os.environ
