"""Kernels are compiled for a GPU that need not be here, and tuned once for all processes."""

import gc
import os
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed: its kernels cannot be compiled")

from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from fkd.execution.convolution import _kernels, _launch
from fkd.execution.convolution._kernels import convolve, correlate
from fkd.execution.convolution._launch import Geometry

NUMBER = 77  # of a device that no machine has
pytestmark = [
    pytest.mark.plain,
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="nothing is compiled"),
]


def nothing(*arguments: Any) -> None:
    pass


class Event:
    """All that is timed takes a millisecond."""

    def __init__(self, enable_timing: bool):
        pass

    def record(self) -> None:
        pass

    def elapsed_time(self, end: "Event") -> float:
        return 1.0


NOWHERE = SimpleNamespace(
    get_current_target=lambda: GPUTarget("cuda", 90, 32),
    get_current_device=lambda: NUMBER,
    get_current_stream=lambda device: 0,
    launcher_cls=lambda source, metadata: nothing,
    get_device_interface=lambda: SimpleNamespace(Event=Event, synchronize=nothing),
    get_empty_cache_for_benchmark=nothing,
    clear_cache=nothing,
    utils=SimpleNamespace(
        get_device_properties=lambda device: {"max_shared_mem": 2**18},
        load_binary=lambda *arguments: (object(), object(), 0, 0, 1024),
        unload_module=nothing,
    ),
)


@pytest.fixture
def timed(monkeypatch, tmp_path):
    """The ways of `convolve` that were timed, each with how many were compiled by then; the last is
    the fastest. Its kernels run nowhere."""
    seen = []

    def bench(call, quantiles):
        assert _kernels._timed(call, quantiles=quantiles) == [1.0] * len(quantiles)
        seen.append(len(convolve.fn.device_caches[NUMBER][0]))
        return [1.0 / len(seen)] * len(quantiles)

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(driver, "_active", NOWHERE)
    monkeypatch.setattr(convolve, "configs", convolve.configs[:2])
    monkeypatch.setattr(convolve, "cache", {})
    monkeypatch.setattr(convolve, "do_bench", bench)
    yield seen
    for kernel in (convolve.fn, _launch.lay_weights):
        kernel.device_caches.pop(NUMBER)


def forward() -> None:
    x, weight = torch.zeros(2, 4, 4, 3, dtype=torch.bfloat16), torch.zeros(2, 4, 3, 3, 3).bfloat16()
    _launch.forward(x, weight, None, Geometry.of(x, weight, 1, 0), pool=False)


@pytest.mark.slow
def test_ways_are_compiled_side_by_side_and_what_was_the_fastest_stays_known(timed, tmp_path):
    forward()
    assert timed == [2, 2]
    assert convolve.best_config is not None and convolve.best_config == convolve.configs[1]
    (kept,) = tmp_path.rglob("convolve.autotune.json")
    convolve.cache.clear()  # as in another process
    forward()
    assert len(timed) == 2 and convolve.best_config == convolve.configs[1]
    kept.unlink()
    convolve.cache.clear()
    forward()
    assert len(timed) == 4


def give_way(phase: str, information: dict[str, int]) -> None:
    time.sleep(1e-5)


@pytest.fixture
def shuffled():
    """Threads change places wherever waste is collected, which is often."""
    thresholds = gc.get_threshold()
    gc.callbacks.append(give_way)
    gc.set_threshold(50)
    yield
    gc.callbacks.remove(give_way)
    gc.set_threshold(*thresholds)


def test_kernels_can_be_parsed_in_the_threads_that_compile_them(shuffled):
    with _kernels._threads(4) as threads:
        trees = [threads.submit(convolve.fn.parse) for _ in range(40)]
        assert {tree.result().body[0].name for tree in trees} == {"convolve"}


@pytest.mark.parametrize(("length", "depths"), [(28, [32]), (65, [64]), (145, [64, 256])])
def test_no_way_sees_more_than_there_is(length, depths):
    ways = _kernels._fitting(correlate.configs, {"LENGTH": length})
    assert [way.kwargs["DEPTH"] for way in ways] == depths
    assert _kernels._fitting(convolve.configs, {}) == convolve.configs
