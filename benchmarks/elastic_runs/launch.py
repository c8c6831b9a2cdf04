"""Runs as a user launches them: on one process, on two workers of one agent, and on two agents."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.elastic_runs import worker
from benchmarks.elastic_runs.worker import TOLD, told

ROOT = Path(__file__).parents[2]
LAUNCHES = ("one process", "two workers", "two agents")
NETWORKS = "benchmarks.elastic_runs.networks"
OPTIONS = (
    f"--dataset digits --image-size 8 --teacher-model {NETWORKS}:teacher "
    f"--student-model {NETWORKS}:student --methods ce kd --seeds 4 --batch-size 32 --epochs 4 "
    "--compile no --checkpoint-minutes 0.003"
)
RESTARTS = 3
# An agent that is lost is given up after two heartbeats, and others are waited for five seconds
# more; torch's own defaults are 15 and 30 seconds.
PACE = "keep_alive_interval=1,keep_alive_max_attempt=2,last_call_timeout=5"


@contextmanager
def launched(launch: str, folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes of a run that writes to a folder; of two agents the second does not host the
    rendezvous. At the end none of them is left, and none of their workers."""
    work = [worker.__name__, *OPTIONS.split(), "--output", str(folder)]
    log = folder.with_name(f"{folder.name}.log")
    file = folder.with_name(f"{folder.name}.told")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(paths),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        TOLD: str(file),
    }
    processes = []
    with log.open("ab") as lines:
        try:
            for options in _agents(launch):
                command = [sys.executable, "-m", *options, *work]
                processes.append(
                    subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=lines,
                        stderr=lines,
                        env=environment,
                    )
                )
            yield processes
        finally:
            for process in processes:
                process.kill()
                process.wait()
            for life in told(file)[0]:
                if is_worker(life.process):
                    kill(life.process)


def _agents(launch: str) -> list[list[str]]:
    """What stands between `python -m` and the worker's own line, for each agent."""
    torchrun = ["torch.distributed.run", "--max-restarts", str(RESTARTS)]
    if launch == "one process":
        return [[]]
    if launch == "two workers":
        return [[*torchrun, "--standalone", "--nproc-per-node", "2", "-m"]]
    meet = ["--nnodes", "1:2", "--nproc-per-node", "1", "--rdzv-backend", "c10d"]
    meet += ["--rdzv-endpoint", f"127.0.0.1:{_free_port()}", "--rdzv-id", "elastic"]
    return [
        [*torchrun, *meet, "--rdzv-conf", f"is_host={host},{PACE}", "-m"]
        for host in ("true", "false")
    ]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def is_worker(process: int) -> bool:
    """Whether a process is alive and still the worker that had this number."""
    try:
        return worker.__name__.encode() in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def kill(process: int) -> None:
    with suppress(ProcessLookupError):  # it has just ended
        os.kill(process, signal.SIGKILL)


def wait(processes: list[subprocess.Popen[bytes]], deadline: float) -> bool:
    """Until all of them have ended: whether that was before the deadline of the monotonic clock."""
    while any(process.poll() is None for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
