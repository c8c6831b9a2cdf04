"""A training under way as a file holds it: tensors by member, and the rest in JSON's types."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from fkd import checkpoint
from fkd.compare._job.record import Record, plans_of
from fkd.compare._json import with_seeds
from fkd.distributed import Mesh
from fkd.ensemble import Seed, ensemble, size
from fkd.execution import Plan
from fkd.model import Tensors
from fkd.train import At, Students

ALONE = Mesh()  # one process
# What a record holds beside the students themselves, and the plans by which they are trained.
MEASURED = ("curves", "seconds", "diverged", "broken", "answers")
# What all files of one moment say alike.
MOMENT = ("seeds", "epoch", "step", "steps", "members", "metrics")


def share(mesh: Mesh, members: int) -> slice:
    """A rank's members of an ensemble of so many. One of fewer than there are ranks, the teacher
    that is trained here, is trained by every rank."""
    return slice(0, members) if members < mesh.member_ranks else mesh.members(members)


@dataclass(frozen=True)
class Standing:
    """Ensembles that are trained side by side: where they stand, and what was measured so far.

    `at` holds this rank's members, `records` what was measured of all.
    """

    at: At
    records: Mapping[str, Record]
    mesh: Mesh = ALONE

    @property
    def parts(self) -> int:
        """In how many files it is written: of ranks that have the same members, the first writes
        them."""
        least = min(map(_count, self.records.values()))
        return 1 if least < self.mesh.member_ranks else self.mesh.member_ranks

    @property
    def part(self) -> int | None:
        """The number of this rank's file, counted from 0; None where another writes it."""
        part, rest = divmod(self.mesh.rank, self.mesh.data_ranks)
        return part if part < self.parts and not rest else None

    @property
    def step(self) -> int:
        """How many steps are taken of the whole training."""
        return self.at.epoch * self.at.steps + self.at.step

    def taken(self) -> tuple[Tensors, dict[str, Any]]:
        """A copy in the CPU's memory, for the next step writes over the states: the tensors by
        method and member, and what they are about."""
        at, tensors = self.at, {}
        for name in at.states:
            own = share(self.mesh, _count(self.records[name]))
            assert own.stop - own.start == size(at.states[name]), f"{name} has other members"
            tree = {"diverged": at.diverged[name], "state": at.states[name], "sums": at.sums[name]}
            copied = tree_map(lambda leaf: leaf.detach().to("cpu", copy=True), tree)
            tensors |= checkpoint.by_member(copied, name, first=own.start)
        about = {
            "seeds": {name: list(self.records[name].seeds) for name in at.states},
            "epoch": at.epoch,
            "step": at.step,
            "steps": at.steps,
            "members": {name: _count(record) for name, record in self.records.items()},
            "metrics": {name: list(sums) for name, sums in at.sums.items()},
            "records": {name: _measured(record) for name, record in self.records.items()},
        }
        return tensors, about


def _count(record: Record) -> int:
    """How many members the whole ensemble has, on all ranks."""
    return len(record.grid) * len(record.seeds)


def _measured(record: Record) -> dict[str, Any]:
    # Copied as deep as JSON goes, for the record goes on while the file is written.
    return asdict(_Measured(*(getattr(record, field) for field in (*MEASURED, "plans"))))


@dataclass
class _Measured:
    curves: dict[str, list[list[float]]]
    seconds: dict[str, float]
    diverged: list[int]
    broken: list[str]
    answers: list[str | None]
    plans: list[Plan]


class Saved:
    """A checkpoint in files, of which this rank's members are read. `seeds` are those of each
    method that it holds, in the order of their training; `number` is that of its moment.

    Raises ValueError where a file is damaged, is no checkpoint, or is one of another moment.
    """

    def __init__(self, paths: Sequence[Path], mesh: Mesh = ALONE, number: int = 0):
        self.number = number
        abouts = [_about(path) for path in paths]
        for path, about in zip(paths, abouts, strict=True):
            if any(about[field] != abouts[0][field] for field in MOMENT):
                raise ValueError(
                    f"checkpoint {path}: it is of another moment than {paths[0].name}; remove them"
                )
        self.about = abouts[0]  # rank 0's clock is taken
        # By method those of all ranks; an earlier version of fkd kept none.
        records = [about["records"] for about in abouts]
        self.plans = {
            name: plans_of(record[name].get("plans", []) for record in records)
            for name in self.about["records"]
        }
        self.seeds = _seeds(self.about)
        self.own = {name: share(mesh, count) for name, count in self.about["members"].items()}
        self.tensors: Tensors = {}
        for name in self.seeds:
            self.tensors |= checkpoint.only_members(paths, _range(self.own[name]), name)

    def __str__(self) -> str:
        """Whose training it is, and how far it had come."""
        at = self.about
        where = f"epoch {at['epoch'] + 1}, step {at['step']} of {at['steps']}"
        return f"{', '.join(self.seeds)} at {where}"

    def restored(
        self, students: Mapping[str, Students], records: Mapping[str, Record], device: torch.device
    ) -> At:
        """Where training stood, of this rank's students; what had been measured goes into the
        records.

        Raises ValueError where the checkpoint is one of other students.
        """
        states, sums, diverged = {}, {}, {}
        for name, one in students.items():
            then, now = self.about["members"][name], _count(records[name])
            if then != now:
                raise ValueError(
                    f"checkpoint: it is of {then} students of {name}, and not of {now}"
                )
            state = ensemble(one.distillation).init(one.seeds, one.hyper)
            like = {
                "diverged": torch.full_like(state.step, -1),
                "state": state,
                "sums": {metric: _no_sums(state.step) for metric in self.about["metrics"][name]},
            }
            tree = checkpoint.of_members(self.tensors, like, _range(self.own[name]), name)
            tree = tree_map(lambda leaf: leaf.to(device), tree)
            diverged[name], states[name], sums[name] = tree["diverged"], tree["state"], tree["sums"]
        for name, record in records.items():
            for field in MEASURED:
                setattr(record, field, self.about["records"][name][field])
            record.state, record.plans = states[name], list(self.plans[name])
        at = self.about
        return At(at["epoch"], at["step"], at["steps"], states, sums, diverged)


def seeds_in(path: Path) -> dict[str, list[Seed]]:
    """The seeds of each method in a checkpoint's file, of which the header alone is read.

    Raises ValueError where it is damaged, or is no checkpoint.
    """
    return _seeds(_about(path))


def _seeds(about: Mapping[str, Any]) -> dict[str, list[Seed]]:
    return {name: with_seeds(own) for name, own in about["seeds"].items()}


def _no_sums(step: Tensor) -> Tensor:
    return torch.zeros_like(step, dtype=torch.float64)


def _range(members: slice) -> range:
    return range(members.start, members.stop)


def _about(path: Path) -> dict[str, Any]:
    about = checkpoint.about(path)
    if missing := [name for name in (*MOMENT, "records") if name not in about]:
        raise ValueError(
            f"checkpoint {path}: it is not of a training under way, for it does not say "
            f"{missing[0]}; give the folder of a run"
        )
    return about
