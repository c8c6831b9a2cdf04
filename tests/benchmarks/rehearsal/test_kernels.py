"""Kernels are summed by name and by kind."""

import json
from dataclasses import replace

import pytest

from benchmarks.rehearsal import kernels, summary
from benchmarks.rehearsal.kernels import Kernel


def test_shares_are_of_the_time_of_all_and_figures_of_a_step():
    found = [Kernel("cudnn_wgrad_nhwc", 4, 60.0), Kernel("triton_poi_fused_relu_0", 2, 40.0)]
    rows = kernels.shares(found, steps=2)
    assert [(row["calls_a_step"], row["us_a_step"], row["share"]) for row in rows] == [
        (2.0, 30.0, 0.6),
        (1.0, 20.0, 0.4),
    ]
    assert kernels.by_kind(rows) == {"convolution": 0.6, "fused by the compiler": 0.4}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sm90_xmma_fprop_implicit_gemm_bf16", "convolution"),
        ("triton_red_fused_convolution_backward_3", "fused by the compiler"),
        ("nvjet_hsh_128x64", "matrix product"),
        ("void cudnn::nchwToNhwcKernel", "layout"),
        ("Memcpy DtoD (Device -> Device)", "copy"),
        ("void at::native::max_pool_backward_nchw", "pooling"),
        ("void at::native::vectorized_elementwise_kernel", "other"),
    ],
)
def test_a_kernels_kind_is_by_its_name(name, kind):
    assert kernels.kind(name) == kind


def test_fkds_own_kernels_are_convolutions():
    pytest.importorskip("triton", reason="Triton is where a GPU is")
    from fkd.execution.convolution import _kernels

    for name in kernels.OWN:
        assert hasattr(_kernels, name)
        assert kernels.kind(name) == "convolution"


def test_a_step_of_each_kind_is_profiled():
    every = kernels.steps_of(32, "bf16", "kd", "cuda", compiles=True)
    eager, wide, shared, own, moved, compiled = every.values()
    assert (eager.network, eager.method, eager.members) == ("deepnn", "ce", 1)
    assert compiled == replace(eager, compile="step") and eager.compile == "none"
    assert wide == replace(eager, layout="vmap")
    assert own == replace(shared, order="own") and moved == replace(own, augment=True)
    assert (shared.network, shared.method, shared.members) == ("lightnn", "kd", 32)
    assert {(side.precision, side.device) for side in every.values()} == {("bf16", "cuda")}
    without = kernels.steps_of(32, "bf16", "kd", "cuda", compiles=False)
    students = [replace(side, compile="none") for side in (shared, own, moved)]
    assert list(without.values()) == [eager, wide, *students]


@pytest.mark.slow
def test_a_run_on_a_cpu_tells_operators(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(kernels.sides, "BATCH", 8)
    flags = ["--members", "1", "--precision", "fp32", "--steps", "1", "--no-compile"]
    assert kernels.main([*flags, "--output", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "kernels.json").read_text())
    assert len(results["steps"]) == 5
    for step in results["steps"].values():
        assert sum(row["share"] for row in step["kernels"]) == pytest.approx(1.0)
        assert any("convolution_backward" in row["kernel"] for row in step["kernels"])
    assert "students, an order each: " in capsys.readouterr().out
    told = "\n".join(summary.findings(tmp_path / "out"))
    assert "teacher: a step takes" in told and "convolution_backward" in told


def test_a_step_that_fails_is_told_and_stops_no_other(tmp_path, monkeypatch):
    seen = []

    def profiled(side, steps):
        seen.append(side)
        if side.order == "own":
            raise RuntimeError("CUDA error: out of memory\nand more")
        row = {"kernel": "conv", "kind": "convolution", "share": 1.0}
        row |= {"us_a_step": 1.0, "calls_a_step": 2.0}
        step = {"ms_a_step": 1.0, "kernel_ms_a_step": 0.5, "by_kind": {"convolution": 1.0}}
        return step | {"kernels": [row]}

    monkeypatch.setattr(kernels, "profiled", profiled)
    assert kernels.main(["--output", str(tmp_path / "out")]) == 1
    assert len(seen) == 6
    told = summary.findings(tmp_path / "out")
    assert "students, an order each: RuntimeError: CUDA error: out of memory" in told
    assert "| 100.0 | 1.0 | 2.0 | convolution | `conv` |" in told
