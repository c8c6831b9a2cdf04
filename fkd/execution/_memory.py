"""What the C library does with freed memory, which on a CPU decides a step's speed."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # glibc's malloc.h


def keep_freed() -> bool:
    """Tell glibc to keep what is freed for the next step; whether it could be told.

    It would give large buffers back to the system, which zeroes and maps them anew at each step.
    It holds for the whole process, which then stays as large as it ever was.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
