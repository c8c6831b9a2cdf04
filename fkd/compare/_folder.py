"""A run's folder: whose it is, what is in it, and that one process at a time writes there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fkd import checkpoint
from fkd.compare._identity import differences
from fkd.compare._standing import Saved
from fkd.compare.environment import environment
from fkd.compare.results import Results
from fkd.distillation import State, average_of, student_of
from fkd.model import state_dict
from fkd.optim import AverageState
from fkd.teachers import Teacher

FORMAT = 1  # of run.json; a greater one is of a newer version of fkd
# A run may go on where these differ, but then it may not end as it would have.
TOLD = ("fkd", "torch", "processor", "threads", "gpu")


class RunFolder:
    """The folder of a run, which this process alone writes as long as it is open.

    It holds `run.json` (what the run is), `results.json`, `table.md`, pictures,
    `teacher.safetensors`, `students-METHOD.safetensors`, `averages-METHOD.safetensors` where
    they are asked for, `checkpoint.safetensors` while a training is under way, and
    `error-METHOD.txt` of a method that failed by an error.

    Raises ValueError where the folder is another run's, or no run's but not empty, where another
    process writes there, and where it cannot be made. Nothing of it is touched then.
    """

    def __init__(
        self,
        path: str | Path,
        identity: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
    ):
        self.path = Path(path).expanduser()
        identity = json.loads(json.dumps(identity))
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            began = run_in(self.path)
            if began is None and not all(map(_is_of_a_beginning, self.path.iterdir())):
                raise ValueError(
                    f"folder: {self.path} is not empty and holds no run; give a new folder, or "
                    "that of a run to go on with"
                )
            self._lock = FileLock(self.path / ".lock")
            self._lock.acquire(timeout=0)
            began = run_in(self.path)  # which another process may have begun meanwhile
        except Timeout as error:
            raise ValueError(
                f"folder: another process is writing to {self.path}; wait for it, or give another"
            ) from error
        except OSError as error:
            raise ValueError(f"folder: {self.path} cannot be written: {error}") from error
        try:
            self.notes = self._begin(began, identity, options)
        except BaseException:
            self.close()
            raise

    def _begin(
        self,
        began: Mapping[str, Any] | None,
        identity: Mapping[str, Any],
        options: Mapping[str, Any] | None,
    ) -> list[str]:
        """Write run.json, or hold it against what is asked now; what a user should know of it."""
        now = environment()
        if began is None:
            entry = {
                "format": FORMAT,
                "environment": now,
                "options": options,
                "identity": identity,
            }
            self._write("run.json", json.dumps(entry, indent=1) + "\n")
            return []
        if differing := differences(began["identity"], identity):
            raise ValueError(
                f"folder: the run in {self.path} is another: {'; '.join(differing)}; ask for the "
                "same, or give another folder"
            )
        return [
            f"It began with {name} {began['environment'].get(name)} and goes on with {now[name]}: "
            "its results may not be those of one go"
            for name in TOLD
            if began["environment"].get(name) != now[name]
        ]

    def close(self) -> None:
        """Let other processes write there."""
        self._lock.release()

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def teacher(self) -> Path:
        return self.path / "teacher.safetensors"

    def students(self, method: str) -> Path:
        """The file of a method's students."""
        return self.path / f"students-{method}.safetensors"

    def averages(self, method: str) -> Path:
        """The file of the running averages of their weights, where they were kept."""
        return self.path / f"averages-{method}.safetensors"

    def results(self) -> Results | None:
        """What the run had measured; None before the first method has ended."""
        return Results.read(self.path) if (self.path / "results.json").exists() else None

    def saved(self) -> Saved | None:
        """The checkpoint of the training that was under way, if there is one."""
        return Saved(self.checkpoint) if self.checkpoint.exists() else None

    def save_teacher(self, teacher: Teacher, about: Mapping[str, Any]) -> None:
        checkpoint.write(self.teacher, state_dict(teacher.params, teacher.buffers), about)

    def save_students(self, method: str, state: State, about: Mapping[str, Any]) -> None:
        """Write a method's trained students, which `checkpoint.load_members` gives back, and beside
        them the running averages of their weights where they were kept."""
        checkpoint.save_members(self.students(method), state_dict(*student_of(state)), about)
        if isinstance(state.optimizer, AverageState):
            average = state_dict(*average_of(state))
            checkpoint.save_members(self.averages(method), average, about)

    def save_error(self, method: str, traceback: str) -> None:
        """Write what a method failed by, as a programmer wants to read it."""
        self._write(f"error-{method}.txt", traceback)

    def _write(self, name: str, text: str) -> None:
        with checkpoint.whole(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _is_of_a_beginning(path: Path) -> bool:
    """Whether a run that was killed before it had its run.json may have left this."""
    return path.name == ".lock" or path.match(".run.json.*.fkd-partial")


def run_in(path: Path) -> dict[str, Any] | None:
    """What run.json says; None where there is none.

    Raises ValueError for one that is torn, or of a newer version.
    """
    file = path / "run.json"
    if not file.exists():
        return None
    try:
        entry = json.loads(file.read_text(encoding="utf-8"))
        version, _, _ = entry["format"], entry["identity"], entry["environment"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"folder: {file} cannot be read as a run's ({type(error).__name__}: {error}); give "
            "another folder"
        ) from error
    if version != FORMAT:
        raise ValueError(
            f"folder: {file} has format {version!r:.20}, and this version of fkd reads {FORMAT}; "
            "go on with the version that began it"
        )
    return entry
