"""What a measurement depends on beside its configuration, and a new folder for what it gives."""

import math
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch


def environment(member_ranks: int = 1, data_ranks: int = 1) -> dict[str, Any]:
    """Date, commit, versions, hardware and how many ranks share it, as results.json holds them.

    `commit` is fkd's own, or None where fkd does not run from a clone.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "python": platform.python_version(),
        "fkd": _version("fkd"),
        "torch": _version("torch"),
        "torchvision": _version("torchvision"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "member_ranks": member_ranks,
        "data_ranks": data_ranks,
    }


def peak_memory() -> float | None:
    """The most memory, in GiB, that this process has held so far, or one that it started, such as
    the workers of a loader; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    most = max(resource.getrusage(who).ru_maxrss for who in whose)
    return most / (2**30 if sys.platform == "darwin" else 2**20)


def installed_memory() -> float:
    """The memory of this machine in GiB; infinite where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (AttributeError, ValueError, OSError):  # Windows
        return math.inf


def own_rank() -> int:
    """The number of this process among those that torchrun started; 0 where it started none."""
    many = int(os.environ.get("WORLD_SIZE", 1)) > 1
    return int(os.environ.get("RANK", 0)) if many else 0


def may_restart() -> bool:
    """Whether torchrun may start this process again, should it or another of the run be lost."""
    return int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) > 0


def ranks_here(ranks: int) -> int:
    """How many of a run's ranks share this machine, as torchrun says; all, where it does not."""
    return min(ranks, int(os.environ.get("LOCAL_WORLD_SIZE", ranks)))


def cores_here() -> int:
    """The cores of this machine that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows


def idle_cores(ranks: int) -> list[str]:
    """What a user should know of cores that ranks leave idle: torchrun gives each one thread."""
    here, threads, cores = ranks_here(ranks), torch.get_num_threads(), cores_here()
    if ranks == 1 or cores // here <= threads:
        return []
    return [
        f"Each of {here} processes on this machine computes with {threads} of its {cores} cores: "
        f"OMP_NUM_THREADS={cores // here} in the environment has them use all"
    ]


def new_folder(path: str | Path) -> Path:
    """Make a folder that did not exist: this one, or with -2, -3, ... behind its name.

    Raises OSError where it cannot be made.
    """
    first = Path(path).expanduser()
    folder, number = first, 1
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
            folder = first.with_name(f"{first.name}-{number}")
        else:
            return folder


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    # An installed copy may lie in somebody else's repository, which does not track this file.
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return _git("describe", "--always", "--dirty")


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        given = subprocess.run(command, capture_output=True, check=True)
        return given.stdout.decode("utf-8", "replace").strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
