"""How much memory is free, on machines that are made up of files."""

import math
from pathlib import Path

import pytest
import torch

from fkd.compare._setup.free import free_memory
from fkd.compare.environment import installed_memory

CPU = torch.device("cpu")


def machine(folder: Path, files: dict[str, str]) -> float:
    """What is free where Linux says this."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return free_memory(CPU, folder / "proc", folder / "cgroup")


MEMORY = {"proc/meminfo": "MemTotal: 8000 kB\nMemFree: 10 kB\nMemAvailable: 4000 kB\n"}


def test_it_is_what_linux_says_is_available(tmp_path):
    assert machine(tmp_path, MEMORY) == 4000 * 1024


@pytest.mark.parametrize(
    "files",
    [
        # a container sees its own group at the root
        {"memory.max": "1000000\n", "memory.current": "300000\n"},
        # a job is a group within others, of which the tightest counts
        {
            "user/memory.max": "1000000\n",
            "user/memory.current": "300000\n",
            "user/job/memory.max": "max\n",
            "user/job/memory.current": "1\n",
        },
        # version 1 says so with a number that no memory has
        {
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
            "memory/memory.usage_in_bytes": "5\n",
            "memory/docker/1/memory.limit_in_bytes": "1000000\n",
            "memory/docker/1/memory.usage_in_bytes": "300000\n",
        },
    ],
)
def test_a_group_that_has_a_limit_leaves_less(files, tmp_path):
    groups = {"proc/self/cgroup": "4:memory:/docker/1\n1:cpu,cpuacct:/else\n0::/user/job\n"}
    files = {f"cgroup/{name}": text for name, text in files.items()}
    assert machine(tmp_path, MEMORY | groups | files) == 700_000


def test_pages_of_files_count_as_free(tmp_path):
    files = {
        "cgroup/memory.max": "1000000\n",
        "cgroup/memory.current": "900000\n",
        "cgroup/memory.stat": "anon 100000\ninactive_file 600000\nactive_file 200000\n",
    }
    assert machine(tmp_path, MEMORY | files) == 700_000
    over = {"cgroup/memory.current": "2000000\n"}
    assert machine(tmp_path, MEMORY | files | over) == 0


def test_where_nothing_is_said_it_is_what_is_installed(tmp_path):
    assert machine(tmp_path, {}) == installed_memory() * 2**30


def test_here_it_is_no_more_than_is_installed():
    free = free_memory(CPU)
    assert free > 0 and (free <= installed_memory() * 2**30 or math.isinf(free))


def test_of_a_gpu_its_driver_says_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3, 8))
    assert free_memory(torch.device("cuda")) == 3
