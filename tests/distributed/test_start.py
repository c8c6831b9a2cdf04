"""A process group from torchrun's environment: refused by halves, gone at the end however it came,
and a rank that hangs or fails ends the others with the reason."""

import os
import signal
import socket
from contextlib import suppress
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from benchmarks._launched import launched
from fkd.distributed import started

PATIENCE = 2.0  # seconds that a rank waits for one that hangs
WHOLE = {
    "RANK": "0",
    "WORLD_SIZE": "1",
    "LOCAL_RANK": "0",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "1",
}
AGENT = {
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_MAX_RESTARTS": "3",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}


@pytest.fixture
def environ(monkeypatch):
    """The environment of a process that was started alone; nothing binds it to its parent."""
    for name in (*WHOLE, *AGENT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delattr(multiprocessing, "_prctl_pr_set_pdeathsig", raising=False)
    return lambda new: [monkeypatch.setenv(name, value) for name, value in new.items()]


def test_a_process_alone_needs_no_group(environ):
    for new in ({}, WHOLE):
        environ(new)
        with started() as mesh:
            assert mesh.ranks == 1 and mesh.words("alone") == ["alone"]
            assert not dist.is_initialized()


@pytest.mark.plain
@pytest.mark.parametrize("name", WHOLE)
def test_half_an_environment_is_refused(name, environ):
    environ({other: value for other, value in WHOLE.items() if other != name})
    with pytest.raises(ValueError, match=rf"^started: the environment has .* but no {name}; start"):
        started().__enter__()


@pytest.mark.plain
@pytest.mark.parametrize(
    "new, told",
    [
        ({"RANK": "one"}, "must be numbers"),
        ({"RANK": "1"}, "RANK=1 and WORLD_SIZE=1"),
        ({"RANK": "-1"}, "RANK=-1"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0"),
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(new, told, environ):
    environ(WHOLE | new)
    with pytest.raises(ValueError, match=f"^started: .*{told}.*torchrun"):
        started().__enter__()


@pytest.mark.plain
def test_ranks_that_cannot_be_dealt_are_refused(environ):
    with pytest.raises(ValueError, match=r"^started: 1 ranks cannot be dealt into rows of 2"):
        started(data_ranks=2).__enter__()


@pytest.mark.plain
def test_a_rank_without_a_gpu_is_refused(environ, monkeypatch):
    environ(WHOLE | {"LOCAL_RANK": "2"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"^started: LOCAL_RANK is 2, but this machine has 2 GPUs"):
        started().__enter__()
    with started(backend="gloo") as mesh:
        assert mesh.ranks == 1


@pytest.mark.plain
def test_what_torchrun_should_have_in_its_environment_is_said_by_the_first_rank(environ):
    environ(WHOLE | AGENT)
    with pytest.warns(UserWarning, match="write TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 torchrun"):
        started().__enter__()
    environ({"TORCHELASTIC_USE_AGENT_STORE": "False"})  # what torchrun makes of it
    started().__enter__()  # a warning would be an error
    environ({"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_MAX_RESTARTS": "0"})
    started().__enter__()


@pytest.fixture(scope="module")
def told() -> dict[str, list[Any]]:
    """What each check found on both ranks, by its name."""
    sockets = [socket.create_server(("localhost", 0)) for _ in CHECKS]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    first, second = launched(_check_all, 2, ports)
    return {name: [first[name], second[name]] for name in first}


def _check_all(ports: list[int]) -> dict[str, Any]:
    # Each check has a process group of its own, at a port where none has been before.
    del os.environ["TORCHELASTIC_USE_AGENT_STORE"]
    found = {}
    for (name, check), port in zip(CHECKS.items(), ports, strict=True):
        os.environ["MASTER_PORT"] = str(port)
        found[name] = {"value": check(int(os.environ["RANK"])), "left": dist.is_initialized()}
    return found


def _meet(rank: int) -> Any:
    with started() as mesh:
        return [mesh.rank, mesh.member_ranks, mesh.data_ranks, mesh.words({"of": rank})]


def _raise(rank: int) -> str:
    try:
        with started() as mesh:
            if rank == 1:
                raise KeyError("a defect")
            mesh.words("I wait")
    except (KeyError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def _hang(rank: int, hung: int) -> list[str]:
    """One rank stops, and is woken when the other has given up on it."""
    reasons = []
    with suppress(RuntimeError), started(data_ranks=2, timeout=PATIENCE) as mesh:
        split = mesh.split
        assert split is not None
        pids = mesh.words(os.getpid())
        if rank == hung:
            os.kill(os.getpid(), signal.SIGSTOP)
        for wait in (lambda: split.sum(torch.ones(3)), lambda: mesh.words("I wait")):
            try:
                wait()
            except RuntimeError as error:
                reasons.append(str(error))
        if rank != hung:
            os.kill(pids[hung], signal.SIGCONT)
    return reasons


def _hang_0(rank: int) -> list[str]:
    return _hang(rank, 0)


def _hang_1(rank: int) -> list[str]:
    return _hang(rank, 1)


def _lose_agent(rank: int) -> bool:
    """Whether a worker ends when its agent is killed: as long as it lives, the pipe is open."""
    read, write = os.pipe()
    agent = os.fork()
    if not agent:
        if not os.fork():
            os.environ |= WHOLE
            with started():
                os.write(write, b"!")
                signal.alarm(60)
                signal.pause()
        signal.pause()
    os.close(write)
    assert os.read(read, 1) == b"!"
    os.kill(agent, signal.SIGKILL)
    os.waitpid(agent, 0)
    signal.alarm(30)  # ends this process, where the worker does not
    return os.read(read, 1) == b""


CHECKS = {
    "meet": _meet,
    "raise": _raise,
    "hang 0": _hang_0,
    "hang 1": _hang_1,
    "lose agent": _lose_agent,
}


@pytest.mark.plain
def test_ranks_meet(told):
    words = [{"of": 0}, {"of": 1}]
    assert [one["value"] for one in told["meet"]] == [[0, 2, 1, words], [1, 2, 1, words]]


@pytest.mark.plain
def test_no_group_is_left_however_the_end_came(told):
    assert not any(one["left"] for both in told.values() for one in both)


@pytest.mark.plain
def test_a_rank_that_raises_ends_the_other(told):
    first, second = (one["value"] for one in told["raise"])
    assert second == "KeyError: 'a defect'"
    assert first.startswith("RuntimeError: Mesh.words: not all ranks came: ")


@pytest.mark.plain
def test_a_rank_that_hangs_ends_the_other_with_the_reason(told):
    (_, on_0), (on_1, _) = ([one["value"] for one in told[f"hang {hung}"]] for hung in (0, 1))
    assert len(on_0) == len(on_1) == 2  # a sum of tensors, and words
    assert "Timed out waiting 2000ms" in on_0[0] and "Timed out waiting 2000ms" in on_1[0]
    assert "from rank 0" in on_0[1]
    assert "Ranks 1 failed" in on_1[1]


@pytest.mark.plain
@pytest.mark.skipif(not hasattr(multiprocessing, "_prctl_pr_set_pdeathsig"), reason="not Linux")
def test_a_worker_ends_with_its_agent(told):
    assert [one["value"] for one in told["lose agent"]] == [True, True]
