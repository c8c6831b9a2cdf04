"""A training under way as a file holds it: tensors by member, and the rest in JSON's types."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from fkd import checkpoint
from fkd.compare._record import Record
from fkd.ensemble import ensemble
from fkd.model import Tensors
from fkd.train import At, Students

# What a record holds beside the students themselves.
MEASURED = ("curves", "seconds", "diverged", "broken")


@dataclass(frozen=True)
class Standing:
    """Ensembles that are trained side by side: where they stand, and what was measured so far."""

    at: At
    records: Mapping[str, Record]

    def taken(self) -> tuple[Tensors, dict[str, Any]]:
        """A copy in the CPU's memory, for the next step writes over the states: the tensors by
        method and member, and what they are about."""
        at, tensors = self.at, {}
        for name in at.states:
            tree = {"diverged": at.diverged[name], "state": at.states[name], "sums": at.sums[name]}
            copied = tree_map(lambda leaf: leaf.detach().to("cpu", copy=True), tree)
            tensors |= checkpoint.by_member(copied, name)
        about = {
            "names": list(at.states),
            "epoch": at.epoch,
            "step": at.step,
            "steps": at.steps,
            "metrics": {name: list(sums) for name, sums in at.sums.items()},
            "records": {name: _measured(record) for name, record in self.records.items()},
        }
        return tensors, about


def _measured(record: Record) -> dict[str, Any]:
    # Copied as deep as JSON goes, for the record goes on while the file is written.
    return asdict(_Measured(*(getattr(record, field) for field in MEASURED)))


@dataclass
class _Measured:
    curves: dict[str, list[list[float]]]
    seconds: dict[str, float]
    diverged: list[int]
    broken: list[str]


class Saved:
    """A checkpoint in a file. `names` are those that it holds, in the order of their training.

    Raises ValueError where the file is damaged.
    """

    def __init__(self, path: Path):
        self.about, self.tensors = checkpoint.about(path), checkpoint.read(path)
        self.names: list[str] = self.about["names"]

    def __str__(self) -> str:
        """Whose training it is, and how far it had come."""
        at = self.about
        where = f"epoch {at['epoch'] + 1}, step {at['step']} of {at['steps']}"
        return f"{', '.join(self.names)} at {where}"

    def restored(
        self, students: Mapping[str, Students], records: Mapping[str, Record], device: torch.device
    ) -> At:
        """Where training stood; what had been measured goes into the records.

        Raises ValueError where the checkpoint is one of other students.
        """
        states, sums, diverged = {}, {}, {}
        for name, one in students.items():
            state = ensemble(one.distillation).init(one.seeds, one.hyper)
            like = {
                "diverged": torch.full_like(state.step, -1),
                "state": state,
                "sums": {metric: _no_sums(state.step) for metric in self.about["metrics"][name]},
            }
            tree = checkpoint.of_members(self.tensors, like, name=name)
            tree = tree_map(lambda leaf: leaf.to(device), tree)
            diverged[name], states[name], sums[name] = tree["diverged"], tree["state"], tree["sums"]
        for name, record in records.items():
            for field in MEASURED:
                setattr(record, field, self.about["records"][name][field])
            record.state = states[name]
        at = self.about
        return At(at["epoch"], at["step"], at["steps"], states, sums, diverged)


def _no_sums(step: Tensor) -> Tensor:
    return torch.zeros_like(step, dtype=torch.float64)
