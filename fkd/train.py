"""The loop over epochs and steps, as an iterator: the caller is in charge of all the rest."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path, tree_map

from fkd import _check
from fkd._random import Key
from fkd.data import Batch, Source, steps_per_epoch
from fkd.data._late import late_transform
from fkd.data._members import Read, member_feeds, member_reader
from fkd.data._source import unchanged
from fkd.distillation import Distillation, State
from fkd.distillation._transformed import transformed
from fkd.ensemble import Order, Seed, check_order, ensemble, part, seeds_of, size
from fkd.execution import Advance, Plan, keep_freed, lay, runner, why_not_vmap
from fkd.execution._capture import Captured
from fkd.model import Tensors
from fkd.model._module import check_ask
from fkd.teachers import Ask

FEW = 2  # members, by whom it is found out what vmap can run


@dataclass(frozen=True)
class Students:
    """An ensemble to train: what one student is, the seeds, one value a member of each number.

    A seed is a whole number, or `fkd.ensemble.Seeds`, one of each source. Where many processes
    share the ensemble and these seeds are one process's part, `members` is how many members it has
    on all of them: they decide what a plan leaves open, so that a student is the same however many
    processes there are. Raises ValueError for what is no distillation, for no seeds and seeds
    outside [0, 2³²), for what is no mapping of numbers, and for fewer `members` than seeds.
    """

    distillation: Distillation
    seeds: Sequence[Seed]
    hyper: Mapping[str, Sequence[float]] = field(default_factory=dict)
    members: int | None = None

    def __post_init__(self) -> None:
        _check.kind("Students", Distillation, distillation=self.distillation)
        _check.sequence("Students", seeds=self.seeds)
        if not self.seeds:
            raise ValueError("Students: there are no seeds; give at least one")
        for seed in self.seeds:
            seeds_of("Students", seed)
        _check.mapping("Students", hyper=self.hyper)
        if self.members is not None:
            _check.count("Students", least=len(self.seeds), members=self.members)


@dataclass(frozen=True)
class At:
    """Where training stands: all there is to know, and all that going on needs.

    `epoch` counts from 0, and `step` is how many of its `steps` were taken. By the name of the
    students: `states` are stacked over members; `sums` holds each metric's sum over the epoch's
    steps, a number a member; `diverged` the first step of the run, counted from 0, after which a
    member's loss was not finite, or -1. The next step writes over the states: copy what you keep.
    `plans` say how the last step was taken, compiled or not; going on does not ask for them.
    """

    epoch: int
    step: int
    steps: int
    states: dict[str, State]
    sums: dict[str, Tensors]
    diverged: dict[str, Tensor]
    plans: dict[str, Plan] = field(default_factory=dict)

    @property
    def epoch_ended(self) -> bool:
        return self.step == self.steps

    @property
    def metrics(self) -> dict[str, Tensors]:
        """Each metric's mean over the epoch's steps so far, a number a member, in float64."""
        return tree_map(lambda total: total / self.step, self.sums)


def train(
    students: Mapping[str, Students],
    source: Source,
    *,
    epochs: int,
    plan: Plan | None = None,
    teacher: Ask | None = None,
    order: Order = "shared",
    order_seed: int = 0,
    start: At | None = None,
) -> Iterator[At]:
    """Train ensembles side by side, to the last epoch, from the beginning or from `start`.

    It says where it stands after every few steps: after each, or on a GPU after those that one
    CUDA graph holds, and at the end of every epoch. What `teacher` makes of a batch's inputs is
    matched beside the source's targets, or in place of those of its names, as a teacher's that were
    kept. With `order="shared"` all members of all ensembles read the order of `order_seed`, and the
    teacher sees each batch once for all; with "own" each reads that of its own seed. An order's
    seed is also that of the key by which its batches are augmented and mixed: so with "own" a
    member reads what all read of "shared" where its seed is `order_seed`. A loss that is not finite
    stops nothing: it is a fact in `At`, and what to do about it the caller's choice.

    A run that was stopped anywhere and goes on from its `At` is, bit for bit, the run that was not:
    it takes the numbers that `At` holds, such as learning rates, and not those of `Students`.
    On a CPU, memory that was freed stays with the process from here on, which makes a step faster.

    What the plan leaves open each ensemble settles by its own members, so that its students are
    the same whoever trains beside them. Students that vmap cannot run, which a few examples show,
    are laid out one by one if the plan left the layout open; and if it left open whether to
    compile, a step that the compiler cannot take goes on without it, with a warning. Steps that no
    CUDA graph can hold, for they wait for the device, go on one by one, with a warning, too.

    Raises ValueError for an argument of another kind, no students, epochs below one, an
    `order_seed` outside [0, 2³²), members with a seed of their own order where the order is shared,
    a `start` that is of other students, and students that cannot run as the plan demands; and when
    it comes to it for a teacher that gives no tensors by name, or the source's labels or `index`.
    """
    _check.count("train", epochs=epochs)
    _check.seed("train", order_seed=order_seed)
    _check.kind("train", Source, source=source)
    _check.mapping("train", students=students)
    for name, one in students.items():
        _check.kind("train", Students, **{f"students {name!r}": one})
    if plan is not None:
        _check.kind("train", Plan, plan=plan)
    if start is not None:
        _check.kind("train", At, start=start)
    if teacher is not None:
        check_ask("train", teacher=teacher)
    _check.known("train", "order", order, ("shared", "own"))
    if not students:
        raise ValueError("train: there are no students; give at least one ensemble")
    for one in students.values():
        check_order("train", order, one.seeds)
    steps = steps_per_epoch(source.examples, source.batch_size)
    if start is None:
        start = _begin(students, source, steps)
    _check_start(students, start, steps)
    if source.device.type == "cpu":
        keep_freed()
    asked = plan or Plan()
    plans = {
        name: asked.settle(source.device, steps * epochs, one.members or len(one.seeds))
        for name, one in students.items()
    }
    rules, late = {name: one.distillation for name, one in students.items()}, unchanged
    layouts = {(plan.layout, plan.compile) for plan in plans.values()}
    if layouts == {("vmap", "step")} and teacher is None:
        source, late = late_transform(source)  # a CPU, laid in a loop, gains nothing by it
    read, wide = source.read, any(plan.layout == "vmap" for plan in plans.values())
    if order == "own" or wide:
        # What vmap can run, the first feed of a few members shows.
        few = {name: part(state, slice(FEW)) for name, state in start.states.items()}
        seeds = _order_seeds(students, order, order_seed, FEW)
        feed = next(_feeds(source, seeds, order, replace(start, epoch=0, step=0)))
        if order == "own":
            own, number, rows = feed
            read = member_reader(source, rows, Key(own, number))
        if wide:
            for name, batch in _batches(read, teacher, order, few, feed):
                if plans[name].layout == "vmap":
                    # Transformed here, for what the transform refuses is no fault of the students.
                    batch = batch._replace(inputs=late(batch.inputs, None))
                    why_not = why_not_vmap(rules[name], few[name], batch, order)
                    plans[name] = _that_runs(asked, plans[name], name, why_not)
    if late is not unchanged:
        rules = {name: transformed(rule, late) for name, rule in rules.items()}
    fall_back = asked.compile == "auto"
    advances = {
        name: lay(rule, plans[name], order=order, fall_back=fall_back)
        for name, rule in rules.items()
    }
    body = partial(_step, advances, read, teacher, order, start.states)
    graph = max(plan.graph for plan in plans.values())  # the device decides it, and has one
    run = runner(body, start.states, graph, fall_back=True)
    seeds = _order_seeds(students, order, order_seed)
    return _epochs(run, advances, source, seeds, order, epochs, max(graph, 1), start)


def _order_seeds(
    students: Mapping[str, Students], order: Order, order_seed: int, most: int | None = None
) -> list[int]:
    """The seeds of the orders that are read: one, or that of every member, or of each ensemble's
    first."""
    if order == "shared":
        return [order_seed]
    each = [seed for one in students.values() for seed in islice(one.seeds, most)]
    return [seeds_of("train", seed).order for seed in each]


def _that_runs(asked: Plan, plan: Plan, name: str, why_not: str | None) -> Plan:
    """The plan, or the one that vmap has no part in, by why vmap cannot run these students."""
    if why_not is None:
        return plan
    if asked.layout == "vmap":
        raise ValueError(
            f"train: vmap cannot run the students {name!r}: {why_not}; use Plan(layout='loop'), "
            "or 'auto', which takes it by itself"
        )
    return replace(plan, layout="loop")


def _begin(students: Mapping[str, Students], source: Source, steps: int) -> At:
    states = {
        name: ensemble(one.distillation).init(one.seeds, one.hyper)
        for name, one in students.items()
    }
    states = tree_map(lambda leaf: leaf.to(source.device), states)
    none = {name: torch.full_like(state.step, -1) for name, state in states.items()}
    return At(0, 0, steps, states, {name: {} for name in students}, none)


def _check_start(students: Mapping[str, Students], start: At, steps: int) -> None:
    for name, one in students.items():
        if name not in start.states or size(start.states[name]) != len(one.seeds):
            held = {key: size(state) for key, state in start.states.items()}
            raise ValueError(
                f"train: start must hold a state of {len(one.seeds)} members for {name!r}, "
                f"but it holds {held} by name"
            )
        like = ensemble(one.distillation).init([one.seeds[0]])
        own, other = _shapes(like), _shapes(start.states[name])
        wrong = next((path for path in own | other if own.get(path) != other.get(path)), None)
        if wrong is not None:
            raise ValueError(
                f"train: start must hold the state of such students as {name!r} are, but of the "
                f"state{wrong} it has {other.get(wrong, 'none')}, and they {own.get(wrong, 'none')}"
                "; give the model, method and optimizer that it was trained with"
            )
    if start.steps != steps:
        raise ValueError(
            f"train: start is of epochs of {start.steps} steps, but this source has {steps}; "
            "give the examples and the batch size that it was trained with"
        )


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    """The shape of each leaf by its path, without the axis of members."""
    leaves, _ = tree_flatten_with_path(state)
    return {keystr(path): tuple(leaf.shape[1:]) for path, leaf in leaves}


def _plans(advances: Mapping[str, Advance], run: Callable[..., Any]) -> dict[str, Plan]:
    """How each ensemble's last step was taken."""
    plans = {name: one.plan for name, one in advances.items()}
    if isinstance(run, Captured) and run.gave_way:
        return {name: replace(plan, graph=0) for name, plan in plans.items()}
    return plans


def _epochs(
    run: Callable[[list[Any]], dict[str, Tensors]],
    advances: Mapping[str, Advance],
    source: Source,
    seeds: Sequence[int],
    order: Order,
    epochs: int,
    at_once: int,
    at: At,
) -> Iterator[At]:
    if at.epoch_ended:
        at = _next_epoch(at)
    feeds = _feeds(source, seeds, order, at)
    while at.epoch < epochs:
        later = iter(())
        while few := list(islice(feeds, at_once)):
            at = _later(at, run(few), len(few))
            at = replace(at, plans=_plans(advances, run))
            if at.epoch_ended and at.epoch + 1 < epochs:
                # While a GPU is still busy: the caller will wait for it.
                later = _feeds(source, seeds, order, _next_epoch(at))
            yield at
        at, feeds = _next_epoch(at), later


def _next_epoch(at: At) -> At:
    return replace(at, epoch=at.epoch + 1, step=0, sums={name: {} for name in at.sums})


def _feeds(source: Source, seeds: Sequence[int], order: Order, at: At) -> Iterator[Any]:
    """(seed of the order, step of the run, feed), from where training stands to the end of the
    epoch. Where the order is the members' own, seeds and feeds are stacked."""
    if order == "own":
        feeds = member_feeds(source, seeds, at.epoch, at.step)
    else:
        feeds = source.feeds(seeds[0], at.epoch, at.step)
    own = torch.tensor(seeds, device=source.device)
    return _numbered(own if order == "own" else own[0], at.epoch * at.steps + at.step, feeds)


def _numbered(seed: Tensor, first: int, feeds: Iterator[Any]) -> Iterator[Any]:
    for number, feed in enumerate(feeds, start=first):
        # Filled: for a number that comes from the CPU a GPU would be waited for in every step.
        yield seed, torch.full((), number, dtype=torch.int64, device=seed.device), feed


def _step(
    advances: Mapping[str, Advance],
    read: Read,
    teacher: Ask | None,
    order: Order,
    states: Mapping[str, State],
    feed: Any,
) -> dict[str, Tensors]:
    """One step of all ensembles, in place: their metrics."""
    batches = _batches(read, teacher, order, states, feed)
    return {name: advances[name](states[name], batch) for name, batch in batches}


def _batches(
    read: Read,
    teacher: Ask | None,
    order: Order,
    states: Mapping[str, State],
    feed: Any,
) -> Iterator[tuple[str, Batch]]:
    """What each ensemble reads in a step."""
    seed, step, rows = feed
    batch, first = None, 0
    for name, state in states.items():
        if order == "own":
            few = slice(first, first + size(state))
            key = Key(seed[few], step)
            batch = _read(read, teacher, order, part(rows, few), key)
            first = few.stop
        elif batch is None:  # read once for all
            batch = _read(read, teacher, order, rows, Key(seed, step))
        yield name, batch


def _read(read: Read, teacher: Ask | None, order: Order, rows: Any, key: Key) -> Batch:
    batch = read(rows, key)
    if teacher is None:
        return batch
    if order == "shared":
        return Batch(batch.inputs, batch.targets | _said(teacher, batch.inputs, batch.targets))
    # The teacher is no ensemble: it sees the members' batches as one.
    members = len(next(iter(batch.targets.values())))
    inputs = tree_map(lambda leaf: leaf.flatten(0, 1), batch.inputs)
    outputs = _said(teacher, inputs, batch.targets)
    apart = tree_map(lambda leaf: leaf.unflatten(0, (members, -1)), outputs)
    return Batch(batch.inputs, batch.targets | apart)


def _said(teacher: Ask, inputs: Any, targets: Tensors) -> Tensors:
    """What the teacher says of the inputs: tensors by name, none in place of the labels."""
    outputs: Any = teacher(inputs)
    tensors = outputs if isinstance(outputs, Mapping) else {"all": outputs}
    other = next((name for name, x in tensors.items() if not isinstance(x, Tensor)), None)
    if tensors is not outputs or other is not None:
        kind = "tensor" if other is None else f"{type(tensors[other]).__name__} for {other!r}"
        raise ValueError(
            f"train: teacher must give tensors by name, as {{'logits': tensor}}, but it gave a "
            f"{kind}; fkd.teachers.teacher_of_module makes of a module what does"
        )
    for name in ("labels", "index"):
        if name in tensors and name in targets:
            raise ValueError(
                f"train: teacher gives {name!r}, which are the source's own; give another name, or "
                "leave it out, as by teacher_of_module(..., names=...)"
            )
    return dict(tensors)


def _later(at: At, metrics: dict[str, Tensors], steps: int) -> At:
    """Where training stands after so many more steps, of which these are the metrics."""
    first = at.epoch * at.steps + at.step
    sums, diverged = {}, {}
    for name, by_step in metrics.items():  # [steps, members]
        before = at.sums[name]
        totals = {key: values.double().sum(0) for key, values in by_step.items()}
        sums[name] = {key: before[key] + v if before else v for key, v in totals.items()}
        finite = by_step["loss"].isfinite()
        bad = first + finite.int().argmin(0)
        earlier = at.diverged[name]
        still = (earlier < 0) & ~finite.all(0)
        diverged[name] = torch.where(still, bad, earlier)
    return replace(at, step=at.step + steps, sums=sums, diverged=diverged)
