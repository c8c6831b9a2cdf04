"""The files of one moment of a training: a part of each rank, which count together or not at all.

Ranks write their parts without a word to each other. Whoever sees that a moment is whole removes
the older ones, so that at every instant one that is whole is on the disk, and a kill of any ranks
at any instant leaves parts that never count. Moments of other trainings, of which something is not
written yet, are spared.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from fkd import checkpoint

FORM = re.compile(r"checkpoint-(\d{4,})-(\d+)-([0-9a-f]{8})-\d+-of-(\d+)\.safetensors")


@dataclass(frozen=True, order=True)
class Moment:
    """The moment of a run with this `number`, at this `step` of a training, in so many `parts`.

    `token` is of the attempt at the run, so that parts of two attempts are never of one moment.
    """

    number: int
    step: int
    token: str
    parts: int

    def path(self, folder: Path, part: int) -> Path:
        """The file of a part, counted from 0."""
        name = f"{self.number:04d}-{self.step}-{self.token}-{part + 1}-of-{self.parts}"
        return folder / f"checkpoint-{name}.safetensors"

    def paths(self, folder: Path) -> list[Path]:
        return [self.path(folder, part) for part in range(self.parts)]

    def is_whole(self, folder: Path) -> bool:
        """Whether every part is there; each is a file that is there whole or not at all."""
        return all(path.exists() for path in self.paths(folder))


def whole_moments(folder: Path) -> list[Moment]:
    """The moments of which every part is there, the last one first."""
    found = {moment for _, moment in _files(folder)}
    return sorted((moment for moment in found if moment.is_whole(folder)), reverse=True)


def last_number(folder: Path) -> int:
    """The greatest number of a moment of which there is a file; 0 where there is none."""
    return max((moment.number for _, moment in _files(folder)), default=0)


def remove(folder: Path, before: int, spared: Collection[int] = ()) -> None:
    """Remove every file of the moments before this number, but for those of the numbers spared."""
    checkpoint.flush(folder)  # what they give way to stays, even if the power fails now
    for path, moment in list(_files(folder)):
        if moment.number < before and moment.number not in spared:
            path.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[tuple[Path, Moment]]:
    for path in folder.iterdir():
        if match := FORM.fullmatch(path.name):
            number, step, token, parts = match.groups()
            yield path, Moment(int(number), int(step), token, int(parts))
