"""What each process of a side runs, started by torchrun: steps, as many as it is asked for.

    torchrun --nproc-per-node 2 -m benchmarks.scalings.rank SOCKET SIDE

The first rank asks at the socket, and tells the others: a line of JSON for a question, and one for
the answer.
"""

import json
import socket
import sys
import time
from typing import Any, TextIO

from benchmarks.scalings import traffic
from benchmarks.scalings.sides import Run, Side, make
from benchmarks.scalings.traffic import Call
from fkd.distributed import Mesh, started

COUNTED = 2  # steps; what one sends is half of it


def main(address: str, text: str) -> None:
    side = Side(**json.loads(text))
    calls: list[Call] = []
    if side.counted:
        traffic.register(calls)
    backend = traffic.BACKEND if side.counted else None
    with started(side.data_ranks, backend) as mesh:
        line = None
        if mesh.rank == 0:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(address)
            line = connection.makefile("rw")
        begin = time.perf_counter()
        run = make(side, mesh)
        run(1)
        answer: Any = [{"wall": time.perf_counter() - begin}]
        while (asked := _exchange(mesh, line, answer)) is not None:
            answer = _counted(mesh, run, calls) if side.counted else _timed(mesh, run, asked)


def _exchange(mesh: Mesh, line: TextIO | None, answer: Any) -> int | None:
    """Answer, and the number of steps that is asked for next, the same on every rank."""
    asked = None
    if line is not None:
        line.write(json.dumps(answer) + "\n")
        line.flush()
        question = line.readline()
        asked = json.loads(question) if question else None  # who asked has gone
    return mesh.words(asked)[0]


def _timed(mesh: Mesh, run: Run, steps: int) -> list[Any]:
    """Of each rank the seconds of so many steps, by the clock and of its processor."""
    # Others ran meanwhile: some steps are not timed.
    run(-(-steps // 8))
    mesh.words(None)
    wall, processor = time.perf_counter(), time.process_time()
    run(steps)
    taken = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    return mesh.words(taken)


def _counted(mesh: Mesh, run: Run, calls: list[Call]) -> list[Any]:
    """Of each rank the collectives of a step."""
    calls.clear()
    run(COUNTED)
    return mesh.words([list(call) for call in calls[: len(calls) // COUNTED]])


if __name__ == "__main__":
    main(*sys.argv[1:])
