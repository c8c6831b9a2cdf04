"""What was asked of a comparison: checked before any work, and as its results tell it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from fkd import _check
from fkd._random import Key
from fkd.compare._setup.stages import Resolution
from fkd.compare._setup.task import Build, Candidates, SchedulesOf, Task
from fkd.compare.results import DataSummary
from fkd.data import Batch, Data, Mix, Source, Transform
from fkd.distributed import Mesh
from fkd.ensemble import Order, Seed, Seeds, check_order, seeds_of
from fkd.execution import PRECISIONS, Plan
from fkd.methods import Method
from fkd.model import Model, Tensors
from fkd.optim import Optimizer
from fkd.schedules import Schedule


def check_kinds(
    teacher: Build,
    student: Build,
    methods: Mapping[str, Method],
    data: Data,
    optimizer: Optimizer | None,
    schedules: Mapping[str, Schedule] | SchedulesOf | None,
    numbers: Mapping[str, float] | None,
    augment: Transform | None,
    mix: Mix | None,
    sweep: Mapping[str, Sequence[float]] | None,
    validation: float | Source,
    teacher_state: Mapping[str, Tensor] | None,
    baseline: str | None,
    plan: Plan | None,
) -> None:
    """Raise where an argument is of another kind, by its name, before anything reads it."""
    _check.function("teacher", teacher=teacher)
    _check.function("student", student=student)
    _check.mapping("methods", methods=methods)
    for name, method in methods.items():
        _check.mapping("methods", **{name: method})
    _check.kind("data", Data, data=data)
    if len(data.classes) == 1:
        raise ValueError(
            f"data: there is one class, {data.classes[0]!r:.100}, so that every answer is right; "
            "give two or more"
        )
    numbers = {} if numbers is None else numbers
    _check.mapping("numbers", numbers=numbers)
    for name, value in numbers.items():
        _check.plain("numbers", **{name: value})
    sweep = {} if sweep is None else sweep
    _check.mapping("sweep", sweep=sweep)
    for name in numbers:
        if name in sweep:
            raise ValueError(
                f"numbers: {name!r} is swept as well, by which this value would count for nothing; "
                "give it to one of them"
            )
    for name, values in sweep.items():
        _check.sequence("sweep", **{name: values})
        for value in values:
            _check.plain("sweep", **{name: value})
            _check.scalar("sweep", **{name: value})
    if not isinstance(validation, Source):
        _check.plain("validation", validation=validation)
    if schedules is not None and not callable(schedules):
        _check.mapping("schedules", schedules=schedules)
    for name, function in (("augment", augment), ("mix", mix)):
        if function is not None:
            _check.function(name, **{name: function})
    if teacher_state is not None:
        _check.mapping("teacher_state", teacher_state=teacher_state)
        for name, value in teacher_state.items():
            if isinstance(value, Mapping) and value:
                raise ValueError(
                    f"teacher_state: it must be a state_dict, tensors by name, but its {name!r} is "
                    f"a mapping itself, as in a training script's file; give that alone: "
                    f"state[{name!r}]"
                )
        entries = {f"the entry {name!r}": value for name, value in teacher_state.items()}
        _check.instance("teacher_state", Tensor, "a torch.Tensor", **entries)
    for name, wanted, value in (
        ("optimizer", Optimizer, optimizer),
        ("baseline", str, baseline),
        ("plan", Plan, plan),
    ):
        if value is not None:
            _check.kind(name, wanted, **{name: value})


TEACHER = "teacher"  # what the teacher's own training goes by
SEEDS = 2**32  # numpy's generator takes 32 bits, so a greater seed would be a smaller one again
LONGEST = 100  # signs of a method's name
BYTES = 200  # in UTF-8, for a file's name takes 255, and some are of the file itself
# What a method's students are measured by, beside each term's own mean.
METRICS = (
    "seed",
    "loss",
    "teacher_agreement",
    "calibration_error",
    *(f"{split}_accuracy{of}" for split in ("validation", "test") for of in ("", "_of_average")),
)


def check_arguments(
    methods: Mapping[str, Method],
    seeds: Sequence[Seed],
    epochs: int,
    teacher_seed: int,
    teacher_epochs: int | None,
    teacher_memory: float,
    order: Order | None,
) -> None:
    if not methods:
        raise ValueError("methods: there are none; give at least one")
    for name, method in methods.items():
        check_names(name, method)
    check_seeds("seeds", seeds)
    _check.count("epochs", epochs=epochs)
    _check.seed("teacher_seed", teacher_seed=teacher_seed)
    if teacher_epochs is not None:
        _check.count("teacher_epochs", teacher_epochs=teacher_epochs)
    _check.plain("teacher_memory", teacher_memory=teacher_memory)
    _check.not_negative("teacher_memory", teacher_memory=teacher_memory)
    if order is not None:
        _check.known("order", "order", order, ("shared", "own"))
        check_order("order", order, seeds)


def check_names(name: str, method: Method) -> None:
    """Refuse a method whose name cannot be a file's or is a metric's, and a term of such a name."""
    if not 0 < len(name) <= LONGEST or not name.isprintable():
        raise ValueError(
            f"methods: a name must be text of 1 to {LONGEST} signs that can be printed, but it is "
            f"{name!r:.120}"
        )
    if set(name) & set("/\\"):
        raise ValueError(f"methods: {name!r} must be another name: files are named after it")
    if len(name.encode()) > BYTES:
        raise ValueError(
            f"methods: {name!r} must be a shorter name, for files are named after it: it takes "
            f"{len(name.encode())} bytes in UTF-8, and may take {BYTES}"
        )
    if name == TEACHER:
        raise ValueError(f"methods: {name!r} must be another name: the teacher goes by it")
    for part in (name, *method):
        if part in METRICS:
            raise ValueError(f"methods: {part!r} must be another name: it is a metric's")


def check_seeds(where: str, seeds: Sequence[Seed]) -> None:
    """Refuse seeds that are none, or not each of another student."""
    _check.sequence(where, seeds=seeds)
    numbers = [n for seed in seeds for n in (seed if isinstance(seed, Seeds) else (seed,))]
    for number in numbers:
        _check.whole(where, seed=number)
    if not seeds or max(numbers) >= SEEDS or len(set(seeds)) != len(seeds):
        raise ValueError(
            f"{where}: there must be at least one, each once and from 0 to {SEEDS - 1}, but they "
            f"are {list(seeds)!r:.100}"
        )


def resolution_of(
    points: float | None, max_seeds: int, seeds: Sequence[Seed], methods: Collection[str]
) -> Resolution | None:
    """What is asked for, if anything is.

    Raises ValueError for points that are no number above zero, a pilot of one seed, one method
    alone, seeds that vary by their source, and a bound below the pilot's seeds or above the seeds
    that there are.
    """
    _check.count("max_seeds", max_seeds=max_seeds)
    if points is None:
        return None
    _check.plain("resolution", resolution=points)
    _check.positive("resolution", resolution=points)
    numbers = [seed for seed in seeds if not isinstance(seed, Seeds)]
    if len(numbers) < len(seeds):
        raise ValueError(
            "resolution: it asks for more seeds as they are needed, but seeds by their source are "
            "laid out as a whole; leave it out"
        )
    if len(methods) < 2:
        raise ValueError(
            "resolution: it is that of differences between methods, but there is one method, "
            f"{next(iter(methods))}; give another to compare it with"
        )
    if len(seeds) < 2:
        raise ValueError(
            "resolution: how many seeds it takes is known from a pilot of at least two, but there "
            "is one seed; give more"
        )
    if max_seeds < len(seeds):
        raise ValueError(
            f"max_seeds: it bounds the seeds of the pilot too, which are {len(seeds)}, but it is "
            f"{max_seeds}; give at least as many"
        )
    if max(numbers) + max_seeds - len(seeds) >= SEEDS:
        raise ValueError(
            f"max_seeds: {max_seeds - len(seeds)} seeds beyond {max(numbers)} are not all below "
            f"{SEEDS}; give fewer, or lower seeds"
        )
    return Resolution(points, max_seeds)


def check_classes(role: str, outputs: Tensors, data: Data) -> None:
    """Refuse a network with fewer logits than there are classes, for it can never name the last."""
    logits = outputs.get("logits")
    if logits is not None and logits.ndim > 1 and logits.shape[-1] < len(data.classes):
        raise ValueError(
            f"{role}: its logits are of {logits.shape[-1]} classes, but the data has "
            f"{len(data.classes)}; build it for as many"
        )


def check_precision(precision: str, device: torch.device) -> None:
    _check.known("precision", "precision", precision, PRECISIONS)
    if precision == "tf32" and device.type != "cuda":
        raise ValueError("precision: tf32 is for a GPU, and this runs on the CPU; choose fp32")


def check_ranks(task: Task, mesh: Mesh) -> None:
    """Refuse a method with fewer students than there are ranks, and batches that cannot be split
    over those that share them."""
    for name in task.methods:
        try:
            mesh.members(task.members([name]))
        except ValueError as error:
            raise ValueError(f"seeds: {name}: {error}") from error
    if mesh.split is not None:
        try:
            mesh.split.rows(task.data.train.batch_size)
        except ValueError as error:
            raise ValueError(f"batch_size: {error}") from error


FEW = 8  # examples, and seeds, by which it is seen whether a network draws


def check_dropout(task: Task, candidates: Mapping[str, Candidates]) -> None:
    """Refuse members who differ in the seed of their dropout where no student draws anything."""
    if len({seed.dropout for seed in task.seeds if isinstance(seed, Seeds)}) < 2:
        return
    if not any(_draws(one.network.model, _first(task)) for one in candidates.values()):
        raise ValueError(
            "dropout: no student draws random numbers in its steps, so that seeds of it change "
            "nothing; leave it out, or take a network with dropout"
        )


def check_start(task: Task) -> list[str]:
    """Refuse seeds that all make one student, as of a pretrained network that draws nothing where
    the order of batches is shared. Where they begin alike and differ later, a note says so."""
    seeds = [seeds_of("seeds", seed) for seed in task.seeds]
    inits = sorted({seed.init for seed in seeds})
    if len(inits) < 2 or not _begin_alike(task.student.model, inits[0], inits[1]):
        return []
    alike = "with each seed the student begins with the same weights, as a pretrained one does"
    orders = {seed.order for seed in seeds} if task.order == "own" else {0}
    if len(orders) < 2 and not _draws(task.student.model, _first(task)):
        raise ValueError(
            f"seeds: {alike}, reads one order of batches, and draws nothing, so that all would be "
            "one student; let each have an order of its own, or give one seed"
        )
    return [f"{alike.capitalize()}: what is concluded is of these"]


def _begin_alike(model: Model, seed: int, other: int) -> bool:
    """Whether two seeds make one network."""
    pairs = zip(tree_leaves(model.init(seed)), tree_leaves(model.init(other)), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def _first(task: Task) -> Any:
    """The first few examples of a batch, on the CPU."""
    return tree_map(lambda leaf: leaf[:FEW].cpu(), task.recipe.batch.inputs)


def _draws(model: Model, inputs: Any) -> bool:
    """Whether another key gives other outputs in training."""
    state, zero = model.init(0), torch.tensor(0)
    with torch.no_grad():
        first, *others = (
            model.apply(*state, inputs, train=True, key=Key(torch.tensor(seed), zero))[0]
            for seed in range(FEW)
        )
    return any(not torch.equal(other[name], first[name]) for other in others for name in first)


def hold_out(data: Data, validation: float | Source) -> tuple[Data, Source]:
    """The validation split, and the data without it, before anything reads them."""
    if not isinstance(validation, int | float):
        return data, validation
    try:
        return data.hold_out(validation)
    except ValueError as error:
        raise ValueError(f"validation: {error}") from error


def summary(task: Task, batch: Batch) -> DataSummary:
    data = task.data
    pictures = isinstance(batch.inputs, Tensor) and batch.inputs.ndim == 4
    return DataSummary(
        name=data.name,
        classes=len(data.classes),
        train=data.train.examples,
        test=data.test.examples,
        validation=task.validation.examples if task.validation else 0,
        unit="images" if pictures else "examples",
    )


def config(
    task: Task,
    validation: float | Source,
    teacher_state: Mapping[str, Tensor] | None,
    teacher_memory: float,
    precision: str,
) -> dict[str, Any]:
    """What was asked, under the names that results.json has always had."""
    recipe, plan, train = task.recipe, task.plan, task.data.train
    stages = {}
    if task.resolution is not None:
        stages = {"resolution": task.resolution.points, "max_seeds": task.resolution.max_seeds}
    return {
        "dataset": task.data.name,
        "root": None,
        "methods": list(task.methods),
        "seeds": [list(seed) if isinstance(seed, Seeds) else seed for seed in task.seeds],
        "epochs": task.epochs,
        "teacher_epochs": task.teacher_epochs if teacher_state is None else None,
        "batch_size": train.batch_size,
        "optimizer": None,  # a chain of transformations has no name
        "lr": recipe.optimizer.hyper.get("lr"),
        "schedules": list(recipe.schedules),
        "teacher": "train" if teacher_state is None else "given",
        "device": str(train.device),
        "precision": precision,
        "compile": plan.compile,
        "layout": plan.layout,
        "chunk": plan.chunk,
        "graph": plan.graph,
        "teacher_memory": teacher_memory,
        "order": task.order,
        "teacher_seed": task.teacher_seed if teacher_state is None else None,
        "sweep": {name: list(values) for name, values in recipe.sweep.items()},
        "validation": validation if isinstance(validation, int | float) else None,
        "output": None,
    } | stages
