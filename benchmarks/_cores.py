"""The share of the processor that each of several processes side by side may take."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


def share(processes: int) -> dict[str, str]:
    """The variables that give one of so many processes its share of this one's threads.

    Without them each takes a thread for every core, and starts as many helpers of the compiler,
    each of which loads torch and Triton: on 16 cores 15 processes, which took a minute each by
    fours, did not end in two and a half.
    """
    own = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    threads = str(max(1, own // processes))
    return {"OMP_NUM_THREADS": threads, "TORCHINDUCTOR_COMPILE_THREADS": threads}


@contextmanager
def shared(processes: int) -> Iterator[None]:
    """Within it, processes that are started inherit their share of the threads."""
    before = dict(os.environ)
    os.environ.update(share(processes))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
