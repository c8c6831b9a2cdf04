"""Attempts at a run by the real command line: `python -m fkd.compare`."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.crashes.attempts import BEFORE, LONGEST, Attempt
from benchmarks.crashes.kills import SIGNALS, Kill

ROOT = Path(__file__).parents[2]
OPTIONS = (
    "--dataset digits --image-size 8 --teacher-model resnet14 --student-model resnet8 "
    "--methods ce kd --seeds 2 --epochs 2 --compile no"
)


@dataclass
class Line:
    """A run by the command line, which takes so many seconds in one go."""

    folder: Path
    seconds: float = 0.0
    kind: str = "the command line, on digits"

    def drawn(self, draws: random.Random) -> Kill:
        # Python alone takes the first third of it to start.
        delay = draws.uniform(self.seconds / 3, self.seconds)
        return Kill(draws.choice(SIGNALS), delay=delay)

    def attempt(self, kill: Kill | None, minutes: float) -> Attempt:
        begin = time.perf_counter()
        with _started(self.folder, minutes) as process:
            if kill is not None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(kill.delay)
                process.send_signal(getattr(signal, kill.signal))  # nothing, where it has ended
            try:
                told, errors = process.communicate(timeout=LONGEST)
            except subprocess.TimeoutExpired:
                process.kill()
                told, errors = "", f"it did not end in {LONGEST} seconds"
        places = [line for line in told.splitlines() if " steps" in line]
        went_on = told.partition("Going on with the run in ")[2].partition("\n")[0]
        return Attempt(
            process.returncode,
            _place(places[-1]) if places else BEFORE,
            went_on.partition(": ")[2],
            time.perf_counter() - begin,
            _wrong(process.returncode, self.folder, errors),
        )


def _started(folder: Path, minutes: float) -> subprocess.Popen[str]:
    """The command that begins the run in a folder, or goes on with it."""
    options = [*OPTIONS.split(), "--output", str(folder)]
    if (folder / "run.json").exists():
        options = ["--resume", str(folder)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen(
        [sys.executable, "-m", "fkd.compare", *options, "--checkpoint-minutes", repr(minutes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        encoding="utf-8",
    )


def _place(line: str) -> str:
    what = line.partition(" (")[0].partition(":")[0]
    if what.startswith("the teacher reads"):
        return "the teacher's reading"
    return "the teacher's training" if what == "teacher" else "a method's training"


def _wrong(code: int, folder: Path, errors: str) -> str:
    """What is wrong with the way that it ended, or nothing."""
    told = f": python -m fkd.compare --resume {folder}"  # of a training, or of what is drawn
    if code > 128 and told not in errors and "stopped before it began" not in errors:
        return f"it ended with {code} and did not say how to go on: {errors}"
    return errors if 0 < code <= 128 else ""
