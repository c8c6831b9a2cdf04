"""Kernels are summed by name and by kind."""

import json

import pytest

from benchmarks.rehearsal import kernels
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


@pytest.mark.slow
def test_a_run_on_a_cpu_tells_operators(tmp_path, capsys):
    flags = ["--members", "1", "--precision", "fp32", "--steps", "1", "--no-compile"]
    assert kernels.main([*flags, "--output", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "kernels.json").read_text())
    assert sum(row["share"] for row in results["kernels"]) == pytest.approx(1.0)
    assert any("convolution_backward" in row["kernel"] for row in results["kernels"])
    assert "a step takes" in capsys.readouterr().out
