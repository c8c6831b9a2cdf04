"""A comparison on two processes: the same results as on one, and the same end whatever befalls."""

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

import pytest
import torch
import torch.distributed as dist
from compare.small_comparisons import ALL, EAGER, Narrow, Wide, small, trained_elsewhere, vectors
from torch import nn

from benchmarks._launched import launched
from fkd import methods, optim
from fkd.compare import Comparison, Results, command
from fkd.compare._job import course
from fkd.data import Data, Source
from fkd.distributed import Mesh, started
from fkd.execution import Plan
from fkd.train import At, Students, train

TIMEOUT = 240.0  # seconds
pytestmark = pytest.mark.plain


def failing(students: Mapping[str, Students], source: Source, **options: Any) -> Iterator[At]:
    """A training with a fault that one of two processes has, in an epoch's midst."""
    for number, at in enumerate(train(students, source, **options)):
        if "mine" in students and os.environ["RANK"] == "1" and number == 2:
            raise KeyError("of rank 1 alone")
        yield at


def not_on_rank_1() -> nn.Module:
    """A network that one of two processes cannot build."""
    if os.environ["RANK"] == "1":
        raise ValueError("there is no such file")
    return Narrow()


FAULTY = {"ce": ALL["ce"], "mine": methods.reverse_kd(), "kd": ALL["kd"]}
TAUGHT: dict[str, Any] = {"teacher_state": trained_elsewhere()}
# Whole comparisons, which are to give on two ranks what they give on one, bit for bit.
WHOLE: dict[str, dict[str, Any]] = {
    "members, of whom one rank has more": {"seeds": (3, 5, 8)},
    "members side by side": {"plan": Plan("vmap", compile="none"), "seeds": (3, 5, 8, 9)} | TAUGHT,
    "a sweep": {"sweep": {"lr": (1e-3, 1e-2, 1e30), "kd.temperature": (1.0, 4.0)}} | TAUGHT,
    "a sweep with a running average": {
        "sweep": {"lr": (1e-3, 1e-2)},
        "seeds": (3, 5, 8),
        "optimizer": optim.averaged(optim.adam(0.01), decay=0.9),
    }
    | TAUGHT,
    "a live teacher": {"teacher_memory": 0.0} | TAUGHT,
    # Of three rounds, of which the last has fewer members than there are ranks.
    "two stages": {"resolution": 0.1, "max_seeds": 5} | TAUGHT,
    "a shared order": {"order": "shared"} | TAUGHT,
    "a head with a memory": {"methods": {"crd": methods.crd(negatives=4), "ce": ALL["ce"]}}
    | TAUGHT,
    "a method that diverges": {
        "methods": {"ce": ALL["ce"], "kd": methods.kd(weight=3e38), "reverse": methods.reverse_kd()}
    }
    | TAUGHT,
}


def measured(results: Results) -> dict[str, Any]:
    """All of the results that no clock has a part in, nor what is said of the ranks."""
    entry = results.to_json()
    for name in ("environment", "seconds", "resumed"):
        del entry[name]
    for method in entry["methods"].values():
        del method["seconds"]
    return entry


def refusal(data: Data | None = None, **options: Any) -> str:
    """What a comparison is refused or ends with."""
    try:
        small(data or vectors(), **options)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def stopped(mesh: Mesh) -> list[Any]:
    """Where a comparison stops that rank 1 is told to stop in its fifth step, and with what."""
    made = Comparison(Wide, Narrow, ALL, vectors(), epochs=50, seeds=(3, 5), plan=EAGER, mesh=mesh)
    training, where = made.run(), []
    for number, progress in enumerate(training):
        if number == 5 and mesh.rank == 1:
            made.accord.wish(stop=signal.SIGTERM)
        if progress.stop is not None:
            where = [progress.what, progress.step, progress.stop]
            break
    training.close()
    return where


def checks() -> dict[str, Any]:
    """What this rank makes of all that is looked at below, by name."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    told: dict[str, Any] = {}
    with started(timeout=60) as mesh:
        # Alone each is run by one of the ranks.
        told["alone"] = {
            name: measured(small(vectors(), **WHOLE[name])) for name in list(WHOLE)[mesh.rank :: 2]
        }
        for name, options in WHOLE.items():
            told[name] = measured(small(vectors(), **options, mesh=mesh))
        course.train = failing
        one: dict[str, Any] = {"order": "shared"} | TAUGHT
        for name, memory in (("an error", 4.0), ("an error beside others", 0.0)):
            results = small(vectors(), methods=FAULTY, teacher_memory=memory, mesh=mesh, **one)
            told[name] = measured(results)
        course.train = train
        told["the same without"] = measured(small(vectors(), **one))
        told["few members"] = refusal(seeds=[3], mesh=mesh)
        told["a refusal"] = refusal_of_one(mesh)
        told["a teacher that diverges"] = refusal(optimizer=optim.adam(1e30), epochs=3, mesh=mesh)
        told["a stop"] = stopped(mesh)
        told["environment"] = small(vectors(), mesh=mesh, **TAUGHT).environment
        # The same processes, of whom both share each student.
        assert dist.group.WORLD is not None
        row = Mesh(mesh.rank, data_ranks=2, data_group=dist.group.WORLD.group_name)
        both = [small(vectors(), seeds=[3], mesh=m, **TAUGHT) for m in (Mesh(), row)]
        told["batches"] = [measured(results) for results in both]
        told["batches of one"] = refusal(seeds=[3], mesh=row, data=vectors().batched(1))
    return told


def refusal_of_one(mesh: Mesh) -> str:
    try:
        Comparison(Wide, not_on_rank_1, ALL, vectors(), mesh=mesh)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    return launched(checks, 2)


@pytest.mark.parametrize("name", WHOLE)
def test_members_that_are_dealt_give_what_one_process_gives_bit_for_bit(name, ranks):
    alone = (ranks[0]["alone"] | ranks[1]["alone"])[name]
    assert ranks[0][name] == alone == ranks[1][name]
    if name == "two stages":
        assert [len(one["seeds"]) for one in alone["methods"].values()] == [5, 5]


@pytest.mark.parametrize("name", ["an error", "an error beside others"])
def test_an_error_on_one_rank_is_its_methods_own_on_all(name, ranks):
    assert ranks[0][name] == ranks[1][name]
    told = ranks[0][name]
    reason = "rank 1: KeyError: 'of rank 1 alone'"
    assert told["failed"] == {"mine": {"kind": "error", "reason": reason}}
    without = ranks[0]["the same without"]["methods"]
    for method in ("ce", "kd"):
        assert told["methods"][method]["curves"] == without[method]["curves"]


def test_fewer_members_than_ranks_are_refused_with_the_remedy(ranks):
    for told in ranks:
        assert told["few members"].startswith("ValueError: seeds: ce: ")
        assert "1 members cannot be dealt over 2 ranks" in told["few members"]
        assert "fewer processes, more seeds" in told["few members"]


def test_what_one_rank_refuses_all_refuse(ranks):
    for told in ranks:
        assert told["a refusal"] == "ValueError: there is no such file (on rank 1)"


def test_a_teacher_that_diverges_ends_all_ranks_alike(ranks):
    for told in ranks:
        reason = told["a teacher that diverges"]
        assert reason.startswith("FloatingPointError: teacher: member 0 (seed 42): the loss became")


def test_ranks_stop_at_one_step(ranks):
    assert ranks[0]["a stop"] == ranks[1]["a stop"]
    what, step, number = ranks[0]["a stop"]
    assert what == "teacher" and 5 <= step < 200 and number == signal.SIGTERM


def test_results_tell_how_many_ranks_there_were(ranks):
    told = ranks[0]["environment"]
    assert (told["member_ranks"], told["data_ranks"]) == (2, 1)


def test_batches_that_are_split_give_what_one_process_gives_but_for_rounding(ranks):
    for told in ranks:
        alone, together = told["batches"]
        for method, one in alone["methods"].items():
            for metric, curve in one["curves"].items():
                other = together["methods"][method]["curves"][metric]
                torch.testing.assert_close(
                    torch.tensor(other), torch.tensor(curve), rtol=1e-4, atol=1e-5
                )
        assert told["batches of one"].startswith("ValueError: batch_size: ")


def warned(*_: Any) -> int:
    warnings.warn("the step cannot be compiled and goes on without", stacklevel=1)
    return 0


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_rank_alone_warns(rank, monkeypatch):
    monkeypatch.setattr(command, "own_rank", lambda: rank)
    monkeypatch.setattr(command, "_compare", warned)
    with warnings.catch_warnings(record=True, action="always") as told:
        assert command.main(["--methods", "ce"]) == 0
    assert len(told) == (rank == 0)


QUICK = "--methods ce kd --epochs 1 --image-size 8 --teacher-model resnet14 --student-model resnet8"
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]


def commanded(*words: str) -> list[Any]:
    """The code that the command line ends with on this rank, and what it tells of errors."""
    with redirect_stderr(StringIO()) as told:
        code = command.main([*QUICK.split(), "--no-compile", *words])
    return [code, told.getvalue()]


@pytest.mark.slow
def test_the_command_line_under_torchrun_is_told_and_written_once(tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert launched(commanded, 1, "--seeds", "3", "--output", str(alone))[0][0] == 0
    many = [sys.executable, *TORCHRUN, "--rdzv-endpoint", "localhost:0", "-m", "fkd.compare"]
    many += [*QUICK.split(), "--no-compile", "--seeds", "3", "--output", str(together)]
    done = subprocess.run(many, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    for line in ("Teacher ResNet: ", "Teacher accuracy: ", "Written to "):
        assert done.stdout.count(line) == 1
    one, other = Results.read(alone), Results.read(together)
    assert other.complete and other.environment["member_ranks"] == 2
    for name, method in one.methods.items():
        assert other.methods[name].curves == method.curves
    assert (together / "accuracy.png").exists()


def test_the_command_line_refuses_on_all_ranks_and_tells_once(tmp_path):
    first, other = launched(commanded, 2, "--seeds", "1", "--output", str(tmp_path / "none"))
    assert first[0] == other[0] == 2 and not (tmp_path / "none").exists()
    assert first[1].count("compare: --seeds: ce: Mesh: 1 members cannot be dealt") == 1
    assert other[1] == ""
