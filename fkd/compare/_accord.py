"""What the ranks of a comparison agree on: errors, signals, and when where they stand is saved.

All ranks meet at the same places in the same order. At each they exchange one word of JSON, and a
rank that failed says so in place of its word: no other waits for it in vain.
"""

import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from fkd.compare.failure import Failure, RankError, failure_of
from fkd.distributed import Mesh

SECONDS = 1.0  # between two meetings in training
Tree = TypeVar("Tree")  # any pytree of tensors


class Accord:
    """What the ranks of a mesh agreed on so far; one process agrees with itself and waits for none.

    `save` says whether where training stands is to be saved after this step, and `stop` is the
    number of the signal that ends the run after it, or None.
    """

    def __init__(self, mesh: Mesh):
        self.mesh = mesh
        self.save = self._save = False
        self.stop: int | None = None
        self._stop: int | None = None
        self._next = 0  # the step after which the ranks meet again
        self._last = (0, time.monotonic())

    def wish(self, save: bool | None = None, stop: int | None = None) -> None:
        """Ask the others to save where training stands, or to stop by this signal, after the step
        at which they meet next. One process stops at once, and saves after its next step."""
        if save is not None:
            self._save = save
        if stop is not None and self._stop is None:
            self._stop = stop
        if self.mesh.ranks == 1:
            self.stop = self._stop

    def at(self, step: int | None = None) -> None:
        """Meet the other ranks if it is time to after so many steps of a training; without a step,
        between trainings, they always meet. Then `save` and `stop` are what any rank wished.

        Raises RankError where one reports an error.
        """
        self.save = False
        if self.mesh.ranks > 1 and step is not None and step < self._next:
            return
        wishes = {"save": self._save, "stop": self._stop, "next": self._ahead(step)}
        words = self.share("between trainings" if step is None else f"step {step}", wishes)
        self._save = False
        self.save = any(word["save"] for word in words)
        self.stop = next((w["stop"] for w in words if w["stop"] is not None), None)
        self._next = words[0]["next"]

    def _ahead(self, step: int | None) -> int:
        """The step of the next meeting: as many steps on as were taken in a second, and at most
        twice as many as since the last, for the first steps compile."""
        before, then = self._last
        now = time.monotonic()
        self._last = (step or 0, now)
        if step is None or step <= before:
            return 0
        done = step - before
        return step + max(1, min(2 * done, int(done * SECONDS / max(now - then, 1e-9))))

    def share(self, where: str, value: Any) -> list[Any]:
        """A value of JSON's types of each rank, in order of ranks, on all.

        Raises RankError where a rank reports an error, and where one is at another place.
        """
        if self.mesh.ranks == 1:
            return [value]
        words = self._words({"where": where, "value": value})
        if error := _error(words):
            raise error
        places = [word["where"] for word in words]
        if len(set(places)) > 1:
            reason = f"the ranks are not at one place, but at {', '.join(places)}"
            raise RankError(Failure("error", reason), ends=True, lost=True)
        return [word["value"] for word in words]

    def gather(self, where: str, rows: Sequence[Any]) -> list[Any]:
        """A value of each member of this rank -> those of all members, in order, on every rank."""
        shares = self.share(where, list(rows))
        return [row for share in shares[:: self.mesh.data_ranks] for row in share]

    def of_first(self, where: str, tree: Tree) -> Tree:
        """Rank 0's tensors on every rank."""
        self.share(where, None)
        try:
            return self.mesh.of_first(tree)
        except Exception as error:  # whatever a backend raises
            raise _lost(error) from error

    @contextmanager
    def together(self, where: str) -> Iterator[None]:
        """What each rank does by itself before all go on: what one refuses, all refuse.

        Raises ValueError on all ranks where one does, and RankError for any other error.
        """
        try:
            yield
        except Exception as error:  # whatever it is, the others wait for a word
            told = self.told(error, refuses=True)
            if told is error:
                raise
            raise told from error
        self.share(where, None)

    def told(self, error: Exception, *, ends: bool = True, refuses: bool = False) -> Exception:
        """Tell the others of this rank's error: the error that all ranks raise now.

        It is the error itself where all have the same, and of one process; else a RankError, or a
        ValueError where a rank `refuses` what was asked by one. `ends` says that no rank goes on
        behind it.
        """
        if self.mesh.ranks == 1 or isinstance(error, RankError):
            return error
        failure = failure_of(error)
        word = {
            "kind": failure.kind,
            "error": failure.reason,
            "refused": str(error) if refuses and isinstance(error, ValueError) else None,
            "ends": ends,
            "traceback": "".join(traceback.format_exception(error)),
        }
        try:
            words = self._words(word)
        except RankError as lost:
            return lost
        if all(other.get("error") == failure.reason for other in words):
            return error
        return _error(words) or error

    def _words(self, word: Any) -> list[Any]:
        try:
            return self.mesh.words(word)
        except Exception as error:  # whatever a backend raises
            raise _lost(error) from error


def _error(words: Sequence[Any]) -> Exception | None:
    """The error of the first rank that has one; it ends the run where that of any rank does."""
    ends = any(word.get("ends", False) for word in words)
    for rank, word in enumerate(words):
        if "error" in word:
            if word["refused"] is not None:
                return ValueError(f"{word['refused']} (on rank {rank})")
            failure = Failure(word["kind"], f"rank {rank}: {word['error']}")
            return RankError(failure, ends=ends, traceback=word["traceback"])
    return None


def _lost(error: Exception) -> RankError:
    reason = f"the other ranks cannot be reached: {failure_of(error).reason}"
    return RankError(Failure("error", reason), ends=True, lost=True)
