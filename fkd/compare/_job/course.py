"""A comparison that runs: the teacher, what it says, then each method's students, by rounds."""

import time
import traceback
from collections.abc import Generator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import NamedTuple

from fkd import evaluate
from fkd.compare import sweep
from fkd.compare._accord import Accord
from fkd.compare._counted import counted
from fkd.compare._job.forecast import Pace, left_of
from fkd.compare._job.progress import Progress
from fkd.compare._job.record import Exam, Record, answers_of, marks_of, seconds_of, timed
from fkd.compare._job.rounds import Rounds
from fkd.compare._job.standing import Saved, Standing
from fkd.compare._setup.asked import TEACHER
from fkd.compare._setup.task import Candidates, Task, takes_teacher, teacher_candidates
from fkd.compare.environment import peak_memory
from fkd.compare.failure import Failure, RankError, failure_of
from fkd.compare.results import MethodResults, Results, TeacherResults
from fkd.data import Source
from fkd.distillation import State, student_of
from fkd.ensemble import Seed, member, part
from fkd.execution import Plan
from fkd.methods import Context
from fkd.teachers import Teacher, cached, module_of
from fkd.train import Students, train

ESTIMATE = "estimated_total"


class Trained(NamedTuple):
    """A rank's students of a method: their state, and the place of the `first` of them among all
    seeds of the method."""

    state: State
    first: int


@dataclass
class Run:
    """One run of a task: what is known so far, and how it goes on.

    `candidates` are those of methods and teacher that are made so far, and as they would be made
    now; `work`, which `rounds` keeps, says how much a step of one student is, by method. `teacher`
    is None before it is trained here; `context` holds it as a module. `saved` are the checkpoints
    that trainings go on from, and `spared` the numbers of those that stay whatever else is saved,
    of trainings that are to come or could not be written. `students` are those of the methods that
    ended last, as far as they are this rank's. `tracebacks` tell of the methods that failed by an
    error. `spent` is the seconds that the run took before it was gone on with, `notes` what a user
    should know of it, `troubles` what could not be written of it, `reasons` why that is so now,
    `unwritten` the names of the files of results that are not written yet, and `accord` what the
    ranks that share it agree on.
    """

    task: Task
    context: Context
    candidates: dict[str, Candidates]
    work: InitVar[Mapping[str, float]]
    results: Results
    accord: Accord
    notes: list[str]
    teacher: Teacher | None = None
    teacher_curves: dict[str, list[float]] | None = None
    teacher_plans: list[Plan] = field(default_factory=list)
    saved: list[Saved] = field(default_factory=list)
    spared: set[int] = field(default_factory=set)
    students: dict[str, Trained] = field(default_factory=dict)
    tracebacks: dict[str, str] = field(default_factory=dict)
    spent: float = 0.0
    troubles: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    unwritten: set[str] = field(default_factory=set)
    rounds: Rounds = field(init=False)

    def __post_init__(self, work: Mapping[str, float]) -> None:
        self.rounds = Rounds(self.task, self.results, work)

    def progress(self) -> Generator[Progress]:
        """Do everything that is not done, and say how far it is."""
        results = self.results
        begin = time.perf_counter() - results.seconds.get("preparation", 0.0)
        if self.saved or not all(map(self.rounds.has_ended, self.task.methods)):
            with self.accord.together("the end of the run"):
                for progress in self._progress():
                    total = self.spent + time.perf_counter() - begin
                    results.seconds["total"] = total
                    # Of the first students a step tells less than an epoch.
                    early = not self.rounds.measured and progress.step <= self.task.steps
                    if progress.left is not None and (early or ESTIMATE not in results.seconds):
                        results.seconds[ESTIMATE] = total + progress.left
                    yield progress
        results.complete = not results.failed
        results.environment["peak_memory"] = peak_memory()

    def _progress(self) -> Generator[Progress]:
        if self.teacher is None and TEACHER not in self.results.failed:
            yield from self._train_teacher()
        if failure := self.results.failed.get(TEACHER):
            raise FloatingPointError(f"{TEACHER}: {failure.reason}")
        reading = "the teacher reads each example once"
        yield self._between(reading, 0, 1)
        source, exam = self._ask_teacher()
        yield self._between(reading, 1, 1)
        for saved in [one for one in self.saved if self.rounds.have_ended(one.seeds)]:
            yield from self._bring_back(saved, source, exam)
        yield from self._round(0, source, exam)
        self.notes += self.rounds.decide(self.accord)
        for number in range(1, len(self.rounds.ends)):
            yield from self._round(number, source, exam)

    def _round(self, number: int, source: Source, exam: Exam) -> Generator[Progress]:
        """Train what each method lacks of a round's seeds."""
        groups, which = self.task.groups, ""
        if self.task.resolution is not None:
            which = f", round {number + 1} of {len(self.rounds.ends)}" if number else ", pilot"
        for k, group in enumerate(groups, start=1):
            lacking = {name: self.rounds.lacking(name, number) for name in group}
            seeds = {name: own for name, own in lacking.items() if own}
            if seeds:
                yield from self._compare_alone(
                    f"({k} of {len(groups)}{which})", seeds, source, exam
                )

    def _between(self, what: str, step: int, steps: int, compiling: bool = False) -> Progress:
        """How far it is between steps, where all ranks meet."""
        self.accord.at()
        return Progress(what, step, steps, compiling, self.results, stop=self.accord.stop)

    def set_teacher(
        self, teacher: Teacher, curves: dict[str, list[float]] | None, plans: list[Plan]
    ) -> None:
        """Take the teacher that was trained here."""
        self.teacher, self.teacher_curves, self.teacher_plans = teacher, curves, plans
        self.context = replace(self.context, teacher=module_of(teacher))
        methods, made = self.task.methods, self.candidates
        self.candidates = {
            name: one
            for name, one in made.items()
            if name in methods and not takes_teacher(methods[name])
        }

    def _train_teacher(self) -> Generator[Progress]:
        """Where it diverges, which is recorded, nothing can be compared."""
        task = self.task
        record = Record(task.teacher.model, [task.teacher_seed], [{}])
        exam = Exam("test", task.data.test, task.test_labels)
        yield from self._train(
            TEACHER,
            task.teacher_epochs,
            {TEACHER: self.candidates_of(TEACHER)},
            {TEACHER: record},
            task.data.train,
            exam,
        )
        if reason := record.why_diverged(task.steps):
            self.results.failed[TEACHER] = Failure("diverged", reason)
            yield self._between(f"{TEACHER}: failed", 1, 1)
            return
        assert record.state is not None
        # Every rank has trained it; whatever a rank's processor makes of it, all have the same.
        trained = member(student_of(record.state), 0)
        params, buffers = self.accord.of_first("the teacher's parameters", trained)
        curves = {name: [row[0] for row in curve] for name, curve in record.curves.items()}
        self.set_teacher(Teacher(task.teacher.model, params, buffers), curves, record.plans)
        self.results.seconds["teacher_training"] = sum(record.seconds.values())

    def _ask_teacher(self) -> tuple[Source, Exam]:
        """The training source, with what methods match of the teacher's outputs if they are kept;
        and the test. The teacher's accuracy goes into the results."""
        assert self.teacher is not None
        begin = time.perf_counter()
        task = self.task
        source = task.data.train
        if task.kept:
            source = cached(self.teacher, task.kept, task.wanted)
        labels = task.test_labels
        logits = evaluate.predict(self.teacher, task.data.test)["logits"]
        accuracy = evaluate.accuracy(logits, labels).item()
        self.results.teacher = TeacherResults(
            accuracy, self.teacher_curves, task.live, self.teacher_plans
        )
        self.results.seconds["teacher_outputs"] = time.perf_counter() - begin
        return source, Exam("test", task.data.test, labels, logits)

    def candidates_of(self, name: str) -> Candidates:
        """The candidates of a method, or of the teacher."""
        if name not in self.candidates:
            task, context, split = self.task, self.context, self.accord.mesh.split
            if name == TEACHER:
                made = teacher_candidates(task, context, split)
            else:
                made = task.recipe.students(task.student, task.methods[name], context, split)
            self.candidates[name] = made
        return self.candidates[name]

    def _bring_back(self, saved: Saved, source: Source, exam: Exam) -> Generator[Progress]:
        """Students that ended and could not be written, from their checkpoint. Where that fails
        nothing is lost, for it stays."""
        try:
            yield from self._compare("from their checkpoint", saved.seeds, source, exam)
        except Exception as error:  # whatever it is, what is to come does not depend on it
            told = self.accord.told(error, ends=False)
            if isinstance(told, RankError) and told.ends:
                raise told from error
            names = ", ".join(saved.seeds)
            self.troubles.append(f"{names} from their checkpoint: {failure_of(told).reason}")

    def _compare_alone(
        self, where: str, seeds: Mapping[str, list[Seed]], source: Source, exam: Exam
    ) -> Generator[Progress]:
        """Compare methods so that one's fault is its own: those that were trained side by side are
        trained one by one where that fails, for whose fault it was shows alone, and where one has
        more seeds to train than another, having failed before."""
        names = list(seeds)
        saved = any(set(one.seeds) & seeds.keys() and one.seeds != seeds for one in self.saved)
        apart = len(names) > 1 and (saved or len(set(map(len, seeds.values()))) > 1)
        if not apart:
            try:
                yield from self._compare(where, seeds, source, exam)
            except Exception as error:  # whatever it is, the other methods are worth knowing
                told = self.accord.told(error, ends=False)
                if isinstance(told, RankError) and told.ends:
                    raise told from error
                apart = len(names) > 1
                if not apart:
                    self.rounds.put({}, {names[0]: failure_of(told)})
                    self.tracebacks[names[0]] = traceback_of(told)
            # Only here is the error let go of, and with it the memory of what it came from.
            if names[0] in self.tracebacks:
                yield self._between(f"{names[0]} {where}: failed", 1, 1)
        for name in names if apart else ():
            yield from self._compare_alone(where, {name: seeds[name]}, source, exam)

    def _compare(
        self, where: str, seeds: Mapping[str, list[Seed]], source: Source, test: Exam
    ) -> Generator[Progress]:
        """Train these seeds of methods side by side, and put each into the results."""
        task = self.task
        candidates = {name: self.candidates_of(name) for name in seeds}
        records = {n: self._record(n, one, seeds[n]) for n, one in candidates.items()}
        members = sum(len(record.grid) * len(record.seeds) for record in records.values())
        what = f"{', '.join(seeds)} {where}: {counted(members, 'student')}"
        # A sweep's many students are followed on the validation split; only the chosen are tested.
        exam = test
        if task.validation:
            exam = Exam("validation", task.validation, task.validation_labels)
        teacher = self.teacher if task.live else None
        read = task.matched(source, seeds)
        yield from self._train(what, task.epochs, candidates, records, read, exam, teacher)
        ended: dict[str, MethodResults] = {}
        failed: dict[str, Failure] = {}
        students: dict[str, Trained] = {}
        for name, record in records.items():
            one = self._concluded(name, record, test)
            if isinstance(one, Failure):  # the other methods are still worth knowing
                failed[name] = one
            else:
                ended[name], state, first = one
                students[name] = Trained(state, self.rounds.place(record.seeds) + first)
        # All at once, for their checkpoint is one.
        self.rounds.put(ended, failed)
        self.students = students
        steps = task.epochs * task.steps
        yield self._between(what, steps, steps)

    def _record(self, name: str, candidates: Candidates, seeds: Sequence[Seed]) -> Record:
        """The record of new students of a method. Those that join others have the setting of a
        sweep that was chosen of these."""
        known, grid, mesh = self.results.methods.get(name), candidates.grid, self.accord.mesh
        if known is not None and known.sweep is not None and self.rounds.place(seeds) > 0:
            grid = [known.sweep.best.hyper]
        members = len(grid) * len(seeds)
        # Fewer than there are ranks, which only the last to join can be, every rank trains.
        own = None if members < mesh.member_ranks else mesh.members(members)
        return Record(candidates.network.model, seeds, grid, own)

    def _concluded(
        self, name: str, record: Record, test: Exam
    ) -> tuple[MethodResults, State, int] | Failure:
        """A method's results after its last epoch, this rank's students, and the place of the first
        of them among all; of a sweep, those of the chosen setting, tested. A failure where no
        setting can be chosen, and where a student that is tested is not finite."""
        task = self.task
        if reason := record.why_diverged(task.steps):
            return Failure("diverged", reason)
        assert record.state is not None
        curves, choice, answers = record.curves, None, record.answers
        chosen = slice(0, len(record.broken))
        if task.validation and record.grid[0]:
            accuracy = curves["validation_accuracy"][-1]
            try:
                choice = sweep.choose(
                    record.grid, accuracy, record.finite, task.validation.examples
                )
            except FloatingPointError as error:
                return failure_of(error)
            chosen = sweep.members_of(choice)
            curves = {key: [row[chosen] for row in curve] for key, curve in curves.items()}
        state, held = record.part(chosen)
        if task.validation:
            # All are tested, after the choice: it tells what the choice was worth.
            rows = test.measure(record.model, record.state).rows()
            every = record.of_all(f"{name}: the test", rows, self.accord)
            if choice:
                choice = sweep.with_tests(choice, record.tested(marks_of(every)))
            tested = marks_of(every[chosen])
            if any(tested.broken):
                return Failure("diverged", record.why_broken(tested.broken, chosen.start))
            curves = curves | {key: [row] for key, row in tested.metrics.items()}
            answers = tested.answers
        if record.own is None and self.accord.mesh.member_rank:
            state = part(state, slice(0, 0))  # rank 0 has them, too
        known = answers_of(answers, test.source.examples)
        seeds, seconds, plans = list(record.seeds), record.seconds, record.plans
        one = MethodResults(seeds, curves, seconds, choice, known, plans)
        return one, state, held.start

    def _train(
        self,
        what: str,
        epochs: int,
        candidates: Mapping[str, Candidates],
        records: Mapping[str, Record],
        source: Source,
        exam: Exam,
        teacher: Teacher | None = None,
    ) -> Generator[Progress]:
        """Train students side by side into their records."""
        task, results = self.task, self.results
        students, compiles = {}, False
        for name, record in records.items():
            each, hyper = sweep.members(record.grid, record.seeds)
            here = slice(None) if record.own is None else record.own
            hyper = {key: values[here] for key, values in hyper.items()}
            one = candidates[name].distillation
            students[name] = Students(one, each[here], hyper, members=len(each))
            compiles = compiles or task.plan_of(len(each), epochs).compile != "none"
        total = epochs * task.steps
        start = None
        seeds = {name: list(record.seeds) for name, record in records.items()}
        for saved in [one for one in self.saved if one.seeds == seeds]:
            start = saved.restored(students, records, source.device)
            self.saved.remove(saved)
            self.spared.discard(saved.number)
        first = 0 if start is None else start.epoch * start.steps + start.step
        yield self._between(what, first, total, compiles)
        evaluation = exam.source.examples / task.data.train.batch_size
        size = self.rounds.size({name: one.members for name, one in students.items()})
        pace = Pace(task.steps, epochs, evaluation, size)
        pace.see(first, seconds_of(records))
        waiting = self.rounds.to_come({name: len(own) for name, own in seeds.items()})
        known = self.rounds.costs()
        training = train(
            students,
            source,
            epochs=epochs,
            plan=task.plan,
            teacher=teacher,
            order=task.order,
            start=start,
        )
        for at in timed(training, records.values(), source.device):
            for name, record in records.items():
                record.state = at.states[name]
                record.take_plan(at.plans[name])
                if at.epoch_ended:
                    record.end_epoch(name, at, exam, self.accord)
            step = at.epoch * at.steps + at.step
            pace.see(step, seconds_of(records))
            left = None
            if pace.known and self.rounds.decided and TEACHER not in records:
                left = pace.left + left_of(waiting, [pace.cost, *known])
            standing = Standing(at, records, self.accord.mesh)
            self.accord.at(step)
            save, stop = self.accord.save, self.accord.stop
            yield Progress(what, step, total, False, results, standing, left, save, stop)
            if all(record.hopeless for record in records.values()):
                break
        taken = 0.0
        for name, record in records.items():
            record.share_plans(name, self.accord)
            if any(plan.compile == "step" for plan in record.plans):
                taken += record.seconds["first_step"]
                results.compiled = True
        if taken:
            results.seconds["first_steps"] = results.seconds.get("first_steps", 0.0) + taken


def traceback_of(error: Exception) -> str:
    """An error's traceback; of one that another rank had, that rank's."""
    if isinstance(error, RankError):
        return error.traceback
    return "".join(traceback.format_exception(error))
