"""Why a method has no results: its own fault, told in a word and in a line."""

import errno
import os
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from fkd import _check

Kind = Literal["diverged", "memory", "disk", "error"]

FULL = (errno.ENOSPC, errno.EDQUOT)
# What torch, safetensors and a loader's worker say of a full memory or disk, in types of their own.
NO_MEMORY = ("DefaultCPUAllocator: ", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
NO_DISK = tuple(os.strerror(code) for code in FULL)


@dataclass(frozen=True)
class Failure:
    """Why a method has no results, in a word and in a line.

    Raises ValueError for a kind that is not known.
    """

    kind: Kind
    reason: str

    def __post_init__(self) -> None:
        _check.known("Failure", "kind", self.kind, get_args(Kind))

    @property
    def word(self) -> str:
        """The kind where there is room for no more.

        >>> Failure("disk", "the disk is full").word
        'disk full'
        """
        return {"memory": "no memory", "disk": "disk full"}.get(self.kind, self.kind)


class RankError(RuntimeError):
    """An error of one rank, or between ranks, as all ranks raise it.

    It is none that a method has of its own where it `ends` the run, and the ranks hear no more of
    each other where they are `lost`. `traceback` is that of the rank that failed.
    """

    def __init__(
        self, failure: Failure, *, ends: bool = False, lost: bool = False, traceback: str = ""
    ):
        super().__init__(failure.reason)
        self.failure, self.ends, self.lost, self.traceback = failure, ends, lost, traceback


def reason_of(error: OSError | ValueError) -> str:
    """Why something could not be written, without the name that a file had meanwhile, which is
    another each time.

    >>> reason_of(OSError(28, "No space left on device", "/runs/.x.0a1b2c3d.fkd-partial"))
    '[Errno 28] No space left on device'
    """
    if isinstance(error, OSError) and error.strerror is not None:
        return str(OSError(error.errno, error.strerror))
    return str(error)


def failure_of(error: Exception) -> Failure:
    """The failure that an error in a method's training is.

    A full memory is `torch.OutOfMemoryError`, `MemoryError` or what torch says of it in a
    RuntimeError; a full disk an OSError with ENOSPC or EDQUOT, or the system's words for them in
    the error of another library; a FloatingPointError is a divergence, which gives its own reason.
    Of any other error the type and the first line are told.

    >>> failure_of(FloatingPointError("member 0 (seed 3): the loss became infinite or no number"))
    Failure(kind='diverged', reason='member 0 (seed 3): the loss became infinite or no number')
    >>> failure_of(KeyError("no such layer"))
    Failure(kind='error', reason="KeyError: 'no such layer'")
    """
    if isinstance(error, RankError):
        return error.failure
    text = str(error).strip()
    line = text.split("\n")[0]
    if isinstance(error, FloatingPointError):
        return Failure("diverged", line or "a number became infinite or no number")
    if isinstance(error, OSError):
        full = error.errno in FULL or any(words in text for words in NO_DISK)
    else:
        full = any(words in text for words in NO_DISK)
    if full:
        return Failure("disk", f"the disk is full ({line or type(error).__name__}); make room")
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in NO_MEMORY)
    ):
        less = "fewer seeds or settings, a smaller batch or a plan with a chunk take less"
        return Failure("memory", f"the memory is full ({line or type(error).__name__}); {less}")
    return Failure("error", f"{type(error).__name__}: {line}" if line else type(error).__name__)
