"""Which precisions a device is fast in, and how a GPU multiplies."""

import os
import subprocess
import sys

import pytest
import torch

from fkd import execution


@pytest.mark.parametrize(
    ("capabilities", "used", "fast"),
    [
        ({"avx512_f": True, "avx512_bf16": True}, True, True),
        ({"avx512_f": True, "avx512_bf16": False}, True, False),  # oneDNN would emulate it
        ({"avx512_f": True, "avx512_bf16": True}, False, False),  # ONEDNN_MAX_CPU_ISA forbids it
        ({"amx_bf16": True}, True, True),
        ({"neon": True, "bf16": True}, True, True),
        ({"avx2": True}, False, False),
    ],
)
def test_bfloat16_is_fast_where_there_are_instructions_and_they_are_used(
    capabilities, used, fast, monkeypatch
):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: used)
    assert execution.fast_in_bfloat16("cpu") is fast
    assert execution.precisions("cpu") == (["fp32", "bf16"] if fast else ["fp32"])


def test_without_onednn_bfloat16_is_slow(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert execution.precisions("cpu") == ["fp32"]


def test_a_gpu_takes_all():
    assert execution.precisions("cuda") == ["fp32", "tf32", "bf16"]


@pytest.mark.plain
def test_the_environment_is_heeded():
    """Under AVX2 alone bfloat16 is told to be slow, whatever the processor has."""
    limits = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    text = "from fkd.execution import precisions; print(*precisions('cpu'))"
    ask = [sys.executable, "-c", text]
    answer = subprocess.run(
        ask, env=os.environ | limits, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["fp32"]


def test_a_gpu_rounds_factors_only_in_tf32():
    try:
        for precision in ("tf32", "fp32", "bf16"):
            execution.multiply_in(precision)
            rounds = precision == "tf32"
            assert torch.backends.cuda.matmul.allow_tf32 is rounds
            assert torch.backends.cudnn.allow_tf32 is rounds
    finally:
        execution.multiply_in("fp32")
