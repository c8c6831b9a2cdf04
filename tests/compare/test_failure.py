"""What an error in a method's training is told as."""

import errno
import os

import pytest
import torch

from fkd.compare.failure import Failure, failure_of


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (FloatingPointError("member 0: the loss"), "diverged", "member 0: the loss"),
        (
            torch.OutOfMemoryError("tried 2 GiB\nof 1"),
            "memory",
            "the memory is full (tried 2 GiB); fewer",
        ),
        (MemoryError(), "memory", "the memory is full (MemoryError); fewer seeds"),
        (OSError(errno.ENOSPC, "none left", "x"), "disk", "[Errno 28] none left: 'x'"),
        (OSError(errno.EDQUOT, "none left"), "disk", "none left"),
        (RuntimeError(f"I/O error: {os.strerror(errno.ENOSPC)}"), "disk", "the disk is full (I/O"),
        (PermissionError(errno.EACCES, "no", "x"), "error", "PermissionError: [Errno 13] no: 'x'"),
        (RuntimeError("CUDA error: out of memory\nat x"), "memory", "CUDA error: out of memory"),
        (ValueError("mine: two\nlines"), "error", "ValueError: mine: two"),
        (ValueError("out of memory of old times"), "error", "ValueError: out of memory"),
        (ZeroDivisionError(), "error", "ZeroDivisionError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_told_by_its_kind_and_first_line(error, kind, reason):
    failure = failure_of(error)
    assert failure.kind == kind and reason in failure.reason
    assert "\n" not in failure.reason


def test_a_cpu_without_memory_is_told():
    # A petabyte is refused by the address space, whatever the machine.
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert failure_of(caught.value).kind == "memory"


def test_a_full_disk_is_told_of_a_real_device():
    with pytest.raises(OSError) as caught, open("/dev/full", "wb", 0) as full:
        full.write(bytes(10))
    assert failure_of(caught.value) == Failure(
        "disk", f"the disk is full ([Errno 28] {os.strerror(errno.ENOSPC)}); make room"
    )


@pytest.mark.plain
def test_a_kind_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="Failure: kind 'tired' is not known; choose from"):
        Failure("tired", "it slept")  # pyright: ignore[reportArgumentType]
