"""A side's ranks: a process each, which take steps when they are told to."""

import multiprocessing
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from benchmarks.ddp.loops import LOOPS, Side
from fkd.distributed import started

TIMEOUT = 120.0  # seconds that a rank may let the others wait


class Ranks:
    """Called with a number of steps, all ranks take them: each rank's losses at the last one.

    Where nobody holds this object any more, its ranks end. Raises RuntimeError for one that ended
    before.
    """

    def __init__(self, side: Side):
        context = multiprocessing.get_context("spawn")
        port = free_port()
        self.connections: list[Connection] = []
        self.processes: list[Any] = []
        for rank in range(side.ranks):
            connection, remote = context.Pipe()
            process = context.Process(target=serve, args=(remote, side, rank, port))
            process.start()
            remote.close()
            self.connections.append(connection)
            self.processes.append(process)

    def __call__(self, steps: int) -> list[list[float]]:
        answers: dict[int, list[float]] = {}
        for rank in range(len(self.connections)):
            with _told(rank):
                self.connections[rank].send(steps)
        while len(answers) < len(self.connections):
            for ready in wait([c for r, c in enumerate(self.connections) if r not in answers]):
                rank = next(r for r, one in enumerate(self.connections) if one is ready)
                with _told(rank):
                    answers[rank] = self.connections[rank].recv()
        return [answers[rank] for rank in sorted(answers)]

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        for process in self.processes:
            process.join()


@contextmanager
def _told(rank: int) -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError) as error:
        raise RuntimeError(f"rank {rank} ended; why, it has printed") from error


def peak(side: Side) -> float:
    """The most memory that each rank held so far, summed, in MiB; 0 where the system tells none."""
    return sum(_peak(process.pid) for process in multiprocessing.active_children())


def _peak(process: int | None) -> float:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM"))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


# What follows runs in a rank's process.


def serve(connection: Connection, side: Side, rank: int, port: int) -> None:
    """Take so many steps, as often as it is told to, until the other end is closed."""
    if side.ranks > 1:
        os.environ.update(as_torchrun_has_it(rank, side.ranks, port))
    # A core may have one thread, so that ranks do not take each other's time.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // side.ranks))
    with started(side.data_ranks, backend="gloo", timeout=TIMEOUT) as mesh:
        take = LOOPS[side.loop](side, mesh)
        while True:
            try:
                steps = connection.recv()
            except EOFError:
                return
            connection.send(take(steps))


def as_torchrun_has_it(rank: int, ranks: int, port: int) -> dict[str, str]:
    """The environment of a rank on this machine."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
