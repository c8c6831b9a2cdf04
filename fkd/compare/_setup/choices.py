"""What a comparison chooses before it runs: whether the teacher's outputs are kept, whether seeds
share an order of batches, and whether to compile. Each choice comes with what a user should know
of it."""

import time
from dataclasses import replace

from fkd.compare._accord import Accord
from fkd.compare._setup.reading import gibibytes
from fkd.compare._setup.task import Task
from fkd.data import Resident, Streamed
from fkd.ensemble import Order, Seeds
from fkd.execution import PAYS_FROM, why_not_compile
from fkd.model import Tensors
from fkd.teachers import reads_alike

STREAM = (
    "The training data are an IterableDataset, whose order is its own: if it takes none from its "
    "workers' seed, all seeds read that one, and what is concluded is of it"
)


def choose_live(task: Task, outputs: Tensors, memory: float) -> tuple[Task, list[str]]:
    """Whether the teacher's outputs are kept, or it is asked about each batch."""
    targets = {name: outputs[name] for name in task.wanted}
    size = gibibytes(targets, task.data.train.examples)
    fixed = reads_alike(task.data.train)
    if size <= memory and (fixed or not targets):
        return task, []
    why = "An example is read anew each time"
    if size > memory:
        why = f"The teacher's outputs would take {size:.3g} GiB, and may take {memory:g}"
    return replace(task, live=True), [f"{why}: the teacher is asked about each batch instead"]


def choose_order(task: Task, order: Order | None) -> tuple[Task, list[str]]:
    """Whether each seed reads batches in an order of its own, where nobody says.

    It does where that costs little, for an interval over seeds of one order holds for that order
    alone. But each order would read a streamed source anew, and ask a live teacher anew.
    """
    train = task.data.train
    if order == "own" or (order is None and any(isinstance(seed, Seeds) for seed in task.seeds)):
        one = isinstance(train, Streamed) and not train.numbered
        return replace(task, order="own"), [STREAM] * one
    if order is not None:
        return replace(task, order=order), []
    if isinstance(train, Resident) and not task.live:
        return replace(task, order="own"), []
    what = "ask the teacher" if task.live else "read the data"
    note = (
        f"All seeds read one order of batches, for each of its own would {what} once a seed: what "
        "is concluded is of this order"
    )
    return replace(task, order="shared"), [note]


def choose_compiling(
    task: Task, has_teacher: bool, accord: Accord, seconds: dict[str, float]
) -> tuple[Task, list[str]]:
    """Ask the compiler whether it works, if a training is to compile."""
    runs = [(task.members([name]), task.epochs) for name in task.methods]
    if not has_teacher:
        runs.append((1, task.teacher_epochs))
    if all(task.plan_of(*run).compile == "none" for run in runs):
        if task.plan.compile != "auto":
            return task, []
        most = task.steps * max(members * epochs for members, epochs in runs)
        note = (
            f"Not compiled: no training takes more than {most:,} steps of a student, and "
            f"compiling pays from {PAYS_FROM:,} on"
        )
        return task, [note]
    begin = time.perf_counter()
    reasons = accord.share("the compiler", why_not_compile(task.data.train.device))
    seconds["compiler_check"] = time.perf_counter() - begin
    reason = next(filter(None, reasons), None)  # what one rank cannot, none does
    if reason is None:
        return task, []
    note = f"Compilation is not possible here, going on without: {reason}"
    return replace(task, plan=replace(task.plan, compile="none")), [note]
