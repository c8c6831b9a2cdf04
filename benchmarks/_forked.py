"""Processes that are forked from one that has imported what takes seconds."""

from multiprocessing import get_context
from multiprocessing.context import ForkServerContext

IMPORTED = ["fkd.compare.command", "torch.distributed.launcher.api"]


def forked() -> ForkServerContext:
    """Where processes come from that have all of that in memory already, and nothing else.

    They are forked from a server, which begins with the first of them, with the environment of
    then, and ends with this process.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context
