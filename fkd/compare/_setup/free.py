"""How much memory is free: of the machine, within the limits that its groups of processes have."""

import math
from pathlib import Path

import torch

from fkd.compare.environment import installed_memory

PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# By version of Linux's control groups: their folder, the limit, and what is taken of it.
FILES = {
    2: ("", "memory.max", "memory.current"),
    1: ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
}
CACHE = ("inactive_file", "total_inactive_file")  # pages of files, which the system gives back


def free_memory(device: torch.device, proc: Path = PROC, groups: Path = GROUPS) -> float:
    """The bytes that this process can still take on a device.

    Of a CPU it is what Linux says is available (without swap, in which a training stands still), or
    less where a control group, as of a container or a job, has a limit; elsewhere what is
    installed.
    """
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    within = [_within(*group) for group in _groups(proc, groups)]
    return min(_available(proc), *within)


def _available(proc: Path) -> float:
    for line in _text(proc / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return 1024.0 * int(line.split()[1])
    return installed_memory() * 2**30


def _groups(proc: Path, groups: Path) -> list[tuple[Path, str, str]]:
    """Every group that this process is in, with the names of its files."""
    found = [(groups / root, limit, taken) for root, limit, taken in FILES.values()]
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            root, limit, taken = FILES[1 if controllers else 2]
            own = Path(path.strip("/"))
            found += [(groups / root / at, limit, taken) for at in (own, *own.parents)]
    return found


def _within(folder: Path, limit: str, taken: str) -> float:
    """What a group may still take; infinite where it has no limit or is not shown here."""
    most, now = _text(folder / limit).strip(), _text(folder / taken).strip()
    if not most.isdecimal() or not now.isdecimal():  # `max`, or no such file
        return math.inf
    stat = dict(line.split(maxsplit=1) for line in _text(folder / "memory.stat").splitlines())
    cache = max(int(stat.get(name, 0)) for name in CACHE)
    return float(max(int(most) - (int(now) - cache), 0))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
