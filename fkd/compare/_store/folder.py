"""A run's folder: whose it is, what is in it, and that one run at a time writes there."""

import json
import secrets
import shutil
from collections.abc import Collection, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fkd import checkpoint
from fkd.compare._accord import Accord
from fkd.compare._job.standing import Saved
from fkd.compare._store.identity import differences
from fkd.compare._store.moment import Moment, last_number, remove, whole_moments
from fkd.compare._store.saver import Saver
from fkd.compare.environment import environment
from fkd.compare.failure import reason_of
from fkd.compare.results import Results
from fkd.distillation import State, average_of, student_of
from fkd.distributed import Mesh
from fkd.model import Tensors, state_dict
from fkd.optim import AverageState
from fkd.teachers import Teacher

FORMAT = 4  # of run.json; a greater one is of a newer version of fkd
# A run may go on where these differ, but then it may not end as it would have.
TOLD = ("python", "fkd", "torch", "processor", "threads", "gpu", "data_ranks")


class RunFolder:
    """The folder of a run, which this run alone writes as long as it is open.

    It holds `run.json` (what the run is), `results.json`, `table.md`, pictures,
    `teacher.safetensors`, `students-METHOD.safetensors`, `averages-METHOD.safetensors` where
    they are asked for, `checkpoint-...safetensors` while a training is under way, and
    `error-METHOD.txt` of a method that failed by an error.

    Of several ranks, all of which open it, rank 0 holds the lock. It must be on a disk that all of
    them see.

    Raises ValueError, on every rank, where the folder is another run's, or no run's but not empty,
    where another run writes there, where it cannot be made, and where a rank does not see it or has
    been asked for another run. Nothing of it is touched then.
    """

    def __init__(
        self,
        path: str | Path,
        identity: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
        accord: Accord | None = None,
    ):
        self.path, self.accord = Path(path).expanduser(), accord or Accord(Mesh())
        self.mesh = self.accord.mesh
        self.notes: list[str] = []
        self._lock: FileLock | None = None
        self._between = self.path  # where ranks leave what rank 0 puts together
        self._handed = 0  # how often ranks have handed files to rank 0
        identity = json.loads(json.dumps(identity))
        try:
            self._check_same(identity)
            with self.accord.together("the run's folder"):
                if self.mesh.rank == 0:
                    self.notes = self._begin(self._take(), identity, options)
            # Of this attempt at the run; and the last moment of which any attempt has left a file.
            own = [secrets.token_hex(4), last_number(self.path)] if self.mesh.rank == 0 else None
            self.token, self.last = self.accord.share("the attempt at the run", own)[0]
            if self.mesh.ranks > 1:
                self._between = self.path / f".ranks.{self.token}.fkd-partial"
                self._check_seen()
        except BaseException:
            self.close()
            raise

    def _check_same(self, identity: Mapping[str, Any]) -> None:
        """Raise where a rank has been asked for another run than rank 0."""
        first, *others = self.accord.share("what the run is", identity)
        for rank, other in enumerate(others, start=1):
            if differing := differences(first, other):
                raise ValueError(
                    f"folder: rank {rank} is to do another run than rank 0: "
                    f"{'; '.join(differing)}; ask all ranks for the same, on the same data"
                )

    def _check_seen(self) -> None:
        """Raise where a rank does not see what rank 0 writes."""
        with self.accord.together("the ranks' folder"):
            if self.mesh.rank == 0:
                self._between.mkdir()
        with self.accord.together("one disk"):
            if not self._between.exists():
                raise ValueError(
                    f"folder: rank {self.mesh.rank} does not see in {self.path} what rank 0 has "
                    "written there; give a folder on a disk that all ranks share"
                )

    def _take(self) -> dict[str, Any] | None:
        """Lock the folder, and say what its run.json holds, if there is one."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            began = run_in(self.path)
            if began is None and not all(map(_is_of_a_beginning, self.path.iterdir())):
                raise ValueError(
                    f"folder: {self.path} is not empty and holds no run; give a new folder, or "
                    "that of a run to go on with"
                )
            lock = FileLock(self.path / ".lock")
            lock.acquire(timeout=0)
            self._lock = lock
            return run_in(self.path)  # which another process may have begun meanwhile
        except Timeout as error:
            raise ValueError(
                f"folder: another process is writing to {self.path}; wait for it, or give another"
            ) from error
        except OSError as error:
            raise self._unwritable(error) from error

    def _begin(
        self,
        began: Mapping[str, Any] | None,
        identity: Mapping[str, Any],
        options: Mapping[str, Any] | None,
    ) -> list[str]:
        """Write run.json, or hold it against what is asked now; what a user should know of it."""
        now = environment() | {"data_ranks": self.mesh.data_ranks}
        if began is None:
            entry = {
                "format": FORMAT,
                "environment": now,
                "options": options,
                "identity": identity,
            }
            try:
                self._write("run.json", json.dumps(entry, indent=1) + "\n")
            except OSError as error:  # a full disk
                raise self._unwritable(error) from error
            return []
        if differing := differences(began["identity"], identity):
            raise ValueError(
                f"folder: the run in {self.path} is another: {'; '.join(differing)}; ask for the "
                "same, or give another folder"
            )
        checkpoint.remove_left_overs(self.path)
        then, code = began["identity"].get("code", {}), identity.get("code", {})
        return [
            f"The code of {name} has changed since the run began: what was trained before is of "
            "the old code, and what is trained now is of the new"
            for name in then
            if then[name] != code.get(name)
        ] + [
            f"It began with {name} {began['environment'].get(name)} and goes on with {now[name]}: "
            "its results may not be those of one go"
            for name in TOLD
            if began["environment"].get(name) != now[name]
        ]

    def _unwritable(self, error: OSError) -> ValueError:
        return ValueError(
            f"folder: {self.path} cannot be written: {error}; make that possible, as by room on "
            "the disk, or give another folder"
        )

    def close(self) -> None:
        """Let other processes write there."""
        if self._lock is not None:
            if self._between != self.path:
                shutil.rmtree(self._between, ignore_errors=True)
            self._lock.release()

    def saver(self, minutes: float) -> Saver:
        """What writes, each so many minutes, where this rank's part of a training stands."""
        return Saver(self.path, minutes, self.token, self.last)

    def remove_saved(self, spared: Collection[int]) -> None:
        """Remove the checkpoints of trainings that have ended, which are all but those spared."""
        remove(self.path, self.last + 1, spared)

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
        then = None
        with self.accord.together("the results"):
            if self.mesh.rank == 0 and (self.path / "results.json").exists():
                then = Results.read(self.path).to_json()
        then = self.accord.share("the results so far", then)[0]
        return None if then is None else Results.from_json(then)

    def saved(self) -> list[Saved]:
        """The checkpoint of each training that has one, the last first: its last moment whose files
        are whole on every rank that reads them.

        Raises ValueError where every one is damaged.
        """
        moments = [] if self.mesh.rank else list(map(astuple, whole_moments(self.path)))
        saved: list[Saved] = []
        damaged = None
        for fields in self.accord.share("the checkpoints", moments)[0]:
            moment = Moment(*fields)
            try:
                with self.accord.together("a checkpoint"):
                    one = Saved(moment.paths(self.path), self.mesh, moment.number)
            except ValueError as error:
                damaged = damaged or error
                continue
            if all(one.seeds != later.seeds for later in saved):
                saved.append(one)
        if damaged and not saved:
            raise damaged
        if damaged:
            self.notes.append(f"{damaged}; the checkpoint before it is taken")
        return saved

    def save_teacher(self, teacher: Teacher, about: Mapping[str, Any]) -> None:
        checkpoint.write(self.teacher, state_dict(teacher.params, teacher.buffers), about)

    def save_students(
        self,
        method: str,
        state: State,
        about: Mapping[str, Any],
        first: int = 0,
        members: int = 0,
    ) -> None:
        """Write a method's trained students, which `checkpoint.load_members` gives back, and before
        them the running averages of their weights where they were kept, so that whose students are
        there has all. Of several ranks each hands on its own, numbered from `first` on, and there
        is one file in the end. They join what is there of as many `members`; where these are not,
        they stand under their numbers all the same.

        Raises what `checkpoint.write` raises, and of several ranks ValueError on every rank where
        one cannot write; no file is touched where the students to be joined cannot be read.
        """
        if isinstance(state.optimizer, AverageState):
            averages = state_dict(*average_of(state))
            self._save(self.averages(method), averages, about, first, members)
        self._save(self.students(method), state_dict(*student_of(state)), about, first, members)

    def holds(self, method: str, members: Collection[int]) -> bool:
        """Whether a method's students of these numbers are in its file."""
        try:
            return set(members) <= set(checkpoint.members(self.students(method)))
        except ValueError:  # there is none, or one that is damaged
            return False

    def _save(
        self, path: Path, tree: Tensors, about: Mapping[str, Any], first: int, members: int
    ) -> None:
        mesh = self.mesh
        if mesh.ranks == 1:
            own = checkpoint.by_member(tree, first=first)
            checkpoint.write(path, _only_first(path, members) | own, about)
            return
        self._handed += 1  # on every rank alike
        names = [f"{self._handed}-{part}.safetensors" for part in range(mesh.member_ranks)]
        parts = [self._between / name for name in names]
        trouble = None
        if mesh.data_rank == 0:
            try:
                checkpoint.save_members(parts[mesh.member_rank], tree, first=first)
            except (OSError, ValueError) as error:  # all ranks are to know
                trouble = reason_of(error)
        told = self.accord.share(f"the parts of {path.name}", trouble)
        if mesh.rank == 0:
            if not any(told):
                try:
                    own = checkpoint.read(parts)
                    checkpoint.write(path, _only_first(path, members) | own, about)
                except (OSError, ValueError) as error:
                    trouble = reason_of(error)
            for part in parts:  # where it failed they are not to fill the disk
                part.unlink(missing_ok=True)
        told = self.accord.share(path.name, trouble)
        for rank, why in enumerate(told):
            if why is not None:
                raise ValueError(f"{why} (on rank {rank})")

    def save_error(self, method: str, traceback: str) -> None:
        """Write what a method failed by, as a programmer wants to read it."""
        self._write(f"error-{method}.txt", traceback)

    def _write(self, name: str, text: str) -> None:
        with checkpoint.whole(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _only_first(path: Path, members: int) -> Tensors:
    """The first students in a file, as far as they are there: some may not have been written."""
    if not members or not path.exists():
        return {}
    tensors = checkpoint.read(path)
    return {name: x for name, x in tensors.items() if int(name.partition(".")[0]) < members}


def _is_of_a_beginning(path: Path) -> bool:
    """Whether a run that was killed before it had its run.json may have left this."""
    return path.name == ".lock" or path.match(".run.json.*.fkd-partial")


def run_in(path: Path, where: str = "folder") -> dict[str, Any] | None:
    """What run.json says: `options`, `identity` and `environment`; None where there is none.

    Raises ValueError, which begins with `where`, for one that is torn, or of a newer version.
    """
    file = path / "run.json"
    if not file.exists():
        return None
    try:
        entry = json.loads(file.read_text(encoding="utf-8"))
        version, *_ = (entry[key] for key in ("format", "options", "identity", "environment"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{where}: {file} cannot be read as a run's ({type(error).__name__}: {error}); start "
            "a new run, in another folder"
        ) from error
    if version != FORMAT:
        raise ValueError(
            f"{where}: {file} has format {version!r:.20}, and this version of fkd reads {FORMAT}; "
            "go on with the version that began it"
        )
    return entry
