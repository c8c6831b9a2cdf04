"""The precisions that can be computed in, and which of them a device is fast in."""

import torch

from fkd import _check

# The dtype of each; tf32 is how a GPU multiplies numbers of float32.
PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
# By torch's names: of x86 processors, then of ARM's.
INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def fast_in_bfloat16(device: str) -> bool:
    """Whether a device, "cpu" or "cuda", has instructions for bfloat16 and torch will use them.

    A CPU without them computes in it several times slower than in float32. Raises ValueError for
    any other device.
    """
    _check.known("fast_in_bfloat16", "device", device, ("cpu", "cuda"))
    if device == "cuda":
        return True
    if not torch.backends.mkldnn.is_available():
        return False
    # The first is of the processor. oneDNN's own answer heeds ONEDNN_MAX_CPU_ISA as its kernels
    # do, but is yes on any AVX-512, where it would do with float32 what the processor cannot.
    supported = torch.cpu.get_capabilities()
    instructions = any(supported.get(name, False) for name in INSTRUCTIONS)
    return instructions and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def precisions(device: str) -> list[str]:
    """Those that a device, "cpu" or "cuda", is fast in. Raises ValueError for any other.

    >>> precisions("cuda")
    ['fp32', 'tf32', 'bf16']
    """
    _check.known("precisions", "device", device, ("cpu", "cuda"))
    fast = {"fp32": True, "tf32": device == "cuda", "bf16": fast_in_bfloat16(device)}
    return [name for name in PRECISIONS if fast[name]]


def multiply_in(precision: str) -> None:
    """Let a GPU round the factors of float32 to TensorFloat-32 or not, in the whole process.

    Raises ValueError for a precision that is not known.
    """
    _check.known("multiply_in", "precision", precision, PRECISIONS)
    # The newer `fp32_precision` cannot be read back through these, which the compiler reads.
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
