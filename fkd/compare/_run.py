"""A comparison that runs: the teacher, what it says, then each method's students."""

import time
import traceback
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fkd import evaluate
from fkd.compare import sweep
from fkd.compare._accord import Accord
from fkd.compare._forecast import Cost, Pace, cost_of, left_of
from fkd.compare._record import Exam, Record, answers_of, marks_of, timed
from fkd.compare._standing import Saved, Standing
from fkd.compare._task import Candidates, Task, teacher_candidates
from fkd.compare.environment import peak_memory
from fkd.compare.failure import Failure, RankError, failure_of
from fkd.compare.results import MethodResults, Results, TeacherResults
from fkd.data import Source
from fkd.distillation import State, student_of
from fkd.ensemble import member
from fkd.methods import Context
from fkd.teachers import Teacher, cached, module_of
from fkd.train import Students, train

TEACHER = "teacher"


@dataclass(frozen=True)
class Progress:
    """How far a comparison is: of what is going on now, `step` of `steps` steps are taken.

    `compiling` is True while the step that compiles is under way. `results` is the comparison's
    record, which holds all that is known. `standing` is that of the students in training, from
    which the training can go on, valid until the next step. `left` is the seconds to the end of the
    whole comparison, once the pace of a method's students is known. `save` and `stop` are what all
    ranks agreed on at this step: to save where training stands, and the number of a signal that
    ends the run.
    """

    what: str
    step: int
    steps: int
    compiling: bool
    results: Results
    standing: Standing | None = None
    left: float | None = None
    save: bool = False
    stop: int | None = None


@dataclass
class Run:
    """One run of a task: what is known so far, and how it goes on.

    `teacher` is None before it is trained here; `context` holds it as a module. `saved` is the
    checkpoint that a training goes on from. `students` are those of the methods that ended last, as
    far as they are this rank's, and `held` says which of a method's seeds these are. `tracebacks`
    tell of the methods that failed by an error. `spent` is the seconds that the run took before it
    was gone on with, `troubles` what could not be written of it, and `accord` what the ranks that
    share it agree on.
    """

    task: Task
    context: Context
    results: Results
    accord: Accord
    teacher: Teacher | None = None
    teacher_curves: dict[str, list[float]] | None = None
    saved: Saved | None = None
    students: dict[str, State] = field(default_factory=dict)
    held: dict[str, slice] = field(default_factory=dict)
    tracebacks: dict[str, str] = field(default_factory=dict)
    spent: float = 0.0
    troubles: list[str] = field(default_factory=list)

    def progress(self) -> Generator[Progress]:
        """Do everything that is not done, and say how far it is."""
        begin, results = time.perf_counter(), self.results
        if not all(map(self.has_ended, self.task.methods)):
            with self.accord.together("the end of the run"):
                for progress in self._progress():
                    total = self.spent + time.perf_counter() - begin
                    results.seconds["total"] = total
                    if progress.left is not None:
                        results.seconds.setdefault("estimated_total", total + progress.left)
                    yield progress
        results.complete = not results.failed
        results.environment["peak_memory"] = peak_memory()

    def _progress(self) -> Generator[Progress]:
        if self.teacher is None:
            yield from self._train_teacher()
        reading = "the teacher reads each example once"
        yield self._between(reading, 0, 1)
        source, exam = self._ask_teacher()
        yield self._between(reading, 1, 1)
        groups = self.task.groups
        for number, group in enumerate(groups, start=1):
            names = [name for name in group if not self.has_ended(name)]
            if names:
                where = f"({number} of {len(groups)})"
                yield from self._compare_alone(where, names, source, exam)

    def _between(self, what: str, step: int, steps: int, compiling: bool = False) -> Progress:
        """How far it is between steps, where all ranks meet."""
        self.accord.at()
        return Progress(what, step, steps, compiling, self.results, stop=self.accord.stop)

    def has_ended(self, name: str) -> bool:
        """Whether a method was trained to its end, or failed."""
        return name in self.results.methods or name in self.results.failed

    def set_teacher(self, teacher: Teacher, curves: dict[str, list[float]] | None) -> None:
        """Take the teacher that was trained here."""
        self.teacher, self.teacher_curves = teacher, curves
        self.context = replace(self.context, teacher=module_of(teacher))

    def _train_teacher(self) -> Generator[Progress]:
        """Raises FloatingPointError where it diverges, for then nothing can be compared."""
        task = self.task
        record = Record(task.teacher.model, [task.teacher_seed], [{}])
        teacher = teacher_candidates(task, self.context, self.accord.mesh.split)
        exam = Exam("test", task.data.test, task.test_labels)
        yield from self._train(
            TEACHER,
            task.teacher_epochs,
            {TEACHER: teacher},
            {TEACHER: record},
            task.data.train,
            exam,
        )
        if reason := record.why_diverged(task.steps):
            raise FloatingPointError(f"{TEACHER}: {reason}")
        assert record.state is not None
        # Every rank has trained it; whatever a rank's processor makes of it, all have the same.
        trained = member(student_of(record.state), 0)
        params, buffers = self.accord.of_first("the teacher's parameters", trained)
        curves = {name: [row[0] for row in curve] for name, curve in record.curves.items()}
        self.set_teacher(Teacher(task.teacher.model, params, buffers), curves)
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
        self.results.teacher = TeacherResults(accuracy, self.teacher_curves, task.live)
        self.results.seconds["teacher_outputs"] = time.perf_counter() - begin
        return source, Exam("test", task.data.test, labels, logits)

    def _candidates(self, name: str) -> Candidates:
        task = self.task
        split = self.accord.mesh.split
        return task.recipe.students(task.student, task.methods[name], self.context, split)

    def _compare_alone(
        self, where: str, names: Sequence[str], source: Source, exam: Exam
    ) -> Generator[Progress]:
        """Compare methods so that one's fault is its own: those that were trained side by side are
        trained one by one where that fails, for whose fault it was shows alone."""
        apart = len(names) > 1 and self.saved is not None and self.saved.names != names
        if not apart:
            try:
                yield from self._compare(where, names, source, exam)
            except Exception as error:  # whatever it is, the other methods are worth knowing
                told = self.accord.told(error, ends=False)
                if isinstance(told, RankError) and told.ends:
                    raise told from error
                apart = len(names) > 1
                if not apart:
                    self.results.failed[names[0]] = failure_of(told)
                    self.tracebacks[names[0]] = traceback_of(told)
            # Only here is the error let go of, and with it the memory of what it came from.
            if names[0] in self.tracebacks:
                yield self._between(f"{names[0]} {where}: failed", 1, 1)
        for name in names if apart else ():
            yield from self._compare_alone(where, [name], source, exam)

    def _compare(
        self, where: str, names: Sequence[str], source: Source, test: Exam
    ) -> Generator[Progress]:
        """Train methods side by side, and put each into the results."""
        task = self.task
        what = f"{', '.join(names)} {where}: {task.members(names)} students"
        candidates = {name: self._candidates(name) for name in names}
        members = self.accord.mesh.members
        records = {
            name: Record(one.model, task.seeds, one.grid, members(task.members([name])))
            for name, one in candidates.items()
        }
        # A sweep's many students are followed on the validation split; only the chosen are tested.
        exam = test
        if task.validation:
            exam = Exam("validation", task.validation, task.validation_labels)
        teacher = self.teacher if task.live else None
        yield from self._train(what, task.epochs, candidates, records, source, exam, teacher)
        ended: dict[str, MethodResults] = {}
        failed: dict[str, Failure] = {}
        students: dict[str, State] = {}
        held: dict[str, slice] = {}
        for name, record in records.items():
            one = self._concluded(name, record, test)
            if isinstance(one, Failure):  # the other methods are still worth knowing
                failed[name] = one
            else:
                ended[name], students[name], held[name] = one
        # All at once, for their checkpoint is one.
        self.students, self.held = students, held
        known = self.results.methods | ended
        self.results.methods = {name: known[name] for name in task.methods if name in known}
        self.results.failed |= failed
        steps = task.epochs * task.steps
        yield self._between(what, steps, steps)

    def _concluded(
        self, name: str, record: Record, test: Exam
    ) -> tuple[MethodResults, State, slice] | Failure:
        """A method's results after its last epoch, this rank's students, and which of them all
        those are; of a sweep, those of the chosen setting, tested. A failure where no setting can
        be chosen, and where a student that is tested is not finite."""
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
        known = answers_of(answers, test.source.examples)
        one = MethodResults(list(record.seeds), curves, record.seconds, choice, known)
        return one, state, held

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
        students, members, own = {}, 0, 0
        for name, record in records.items():
            seeds, hyper = sweep.members(record.grid, record.seeds)
            members += len(seeds)
            here = slice(None) if record.own is None else record.own
            hyper = {key: values[here] for key, values in hyper.items()}
            students[name] = Students(candidates[name].distillation, seeds[here], hyper)
            own += len(seeds[here])
        total = epochs * task.steps
        compiles = task.plan_of(members, epochs).compile != "none"
        start = None
        if self.saved is not None and self.saved.names == list(records):
            start = self.saved.restored(students, records, source.device)
            self.saved = None
        first = 0 if start is None else start.epoch * start.steps + start.step
        yield self._between(what, first, total, compiles)
        evaluation = exam.source.examples / task.data.train.batch_size
        pace = Pace(task.steps, epochs, evaluation, members)
        pace.see(first, seconds_of(records))
        waiting, known = self._others(records)
        training = train(
            students,
            source,
            epochs=epochs,
            plan=task.plan_here(members, own, epochs),
            teacher=teacher,
            order=task.order,
            start=start,
        )
        for at in timed(training, records.values(), source.device):
            for name, record in records.items():
                record.state = at.states[name]
                if at.epoch_ended:
                    record.end_epoch(name, at, exam, self.accord)
            step = at.epoch * at.steps + at.step
            pace.see(step, seconds_of(records))
            left = None
            if pace.known and TEACHER not in records:
                left = pace.left + left_of(waiting, [pace.cost, *known])
            standing = Standing(at, records, self.accord.mesh)
            self.accord.at(step)
            save, stop = self.accord.save, self.accord.stop
            yield Progress(what, step, total, False, results, standing, left, save, stop)
            if all(record.hopeless for record in records.values()):
                break
        if compiles:
            results.compiled = True
            taken = sum(record.seconds["first_step"] for record in records.values())
            results.seconds["first_steps"] = results.seconds.get("first_steps", 0.0) + taken

    def _others(self, records: Mapping[str, Record]) -> tuple[list[int], list[Cost]]:
        """Beside the methods of these records: the members of each that is yet to be trained, and
        what each took that has ended."""
        task, ended = self.task, self.results.methods
        waiting = [
            name for name in task.methods if name not in records and not self.has_ended(name)
        ]
        known = [cost_of(one.seconds, task.members([name])) for name, one in ended.items()]
        return [task.members([name]) for name in waiting], known


def seconds_of(records: Mapping[str, Record]) -> dict[str, float]:
    """What records that are trained side by side took together, by phase."""
    each = [record.seconds for record in records.values()]
    return {phase: sum(seconds[phase] for seconds in each) for phase in each[0]}


def traceback_of(error: Exception) -> str:
    """An error's traceback; of one that another rank had, that rank's."""
    if isinstance(error, RankError):
        return error.traceback
    return "".join(traceback.format_exception(error))
