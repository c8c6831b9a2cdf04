"""Runs on one process, on two workers of one agent, and on two agents with a worker each.

An agent is torchrun's own, with what `torchrun` would give it. It is forked, and so are its
workers, from a process that has torch in memory already.
"""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from benchmarks.elastic_runs import worker
from benchmarks.elastic_runs.worker import TOLD, Life, born, told

RANKS = {"one process": 1, "two workers": 2, "two agents": 2}
NETWORKS = "benchmarks.elastic_runs.networks"
OPTIONS = (
    f"--dataset digits --image-size 8 --teacher-model {NETWORKS}:teacher "
    f"--student-model {NETWORKS}:student --methods ce kd --seeds 4 --batch-size 32 --epochs 2 "
    "--compile no --checkpoint-minutes 0.003"
)
RESTARTS = 3
# A host that is lost is given up after two heartbeats, and another is waited for three seconds
# more; torch's own defaults are 15 and 30 seconds.
PACE = {"keep_alive_interval": 1, "keep_alive_max_attempt": 2, "last_call_timeout": 3}


@contextmanager
def launched(launch: str, folder: Path) -> Iterator[list[ForkProcess]]:
    """The agents of a run that writes to a folder, or the one process that it is; of two agents
    the second does not host the rendezvous. At the end none is left, and none of their workers."""
    told_to = folder.with_name(f"{folder.name}.told")
    port = _free_port()
    processes = [
        get_context("fork").Process(target=_agent, args=(launch, number == 0, port, folder))
        for number in range(2 if launch == "two agents" else 1)
    ]
    try:
        for process in processes:
            process.start()
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join()
        for life in told(told_to)[0]:
            if lives(life):
                kill(life.process)


def _agent(launch: str, is_host: bool, port: int, folder: Path) -> None:
    """What an agent's process does, or the process of a run that has none."""
    log = os.open(folder.with_name(f"{folder.name}.log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ[TOLD] = str(folder.with_name(f"{folder.name}.told"))
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    torch.set_num_threads(1)
    arguments = [*OPTIONS.split(), "--output", str(folder)]
    if launch == "one process":
        worker.main(*arguments)
        return
    agents = 2 if launch == "two agents" else 1
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=agents,
        nproc_per_node=2 // agents,
        run_id="elastic",
        rdzv_backend="c10d",
        rdzv_endpoint=f"127.0.0.1:{port}",
        rdzv_configs=PACE | {"is_host": is_host},
        max_restarts=RESTARTS,
        monitor_interval=0.1,  # torchrun's own
        start_method="fork",
    )
    elastic_launch(config, worker.main)(*arguments)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def lives(life: Life) -> bool:
    """Whether a worker is alive, and its number no other process's."""
    return born(life.process) == life.born


def kill(process: int) -> None:
    with suppress(ProcessLookupError):  # it has just ended
        os.kill(process, signal.SIGKILL)


def wait(processes: list[ForkProcess], deadline: float) -> bool:
    """Until all of them have ended: whether that was before the deadline of the monotonic clock."""
    while any(process.is_alive() for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
