"""A comparison that runs: the teacher, what it says, then each method's students."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from fkd import evaluate, methods
from fkd.compare import sweep
from fkd.compare._record import Exam, Record, timed
from fkd.compare._task import Candidates, Task
from fkd.compare.failure import failure_of
from fkd.compare.results import MethodResults, Results, TeacherResults
from fkd.data import Source
from fkd.distillation import student_of
from fkd.ensemble import member, part
from fkd.methods import Context
from fkd.teachers import Teacher, cached, module_of
from fkd.train import Students, train

TEACHER = "teacher"


@dataclass(frozen=True)
class Progress:
    """How far a comparison is: of what is going on now, `step` of `steps` steps are taken.

    `compiling` is True while the step that compiles is under way. `results` is the comparison's
    record, which holds all that is known.
    """

    what: str
    step: int
    steps: int
    compiling: bool
    results: Results


@dataclass
class Run:
    """One run of a task: what is known so far, and how it goes on.

    `teacher` is None before it is trained here; `context` holds it as a module.
    """

    task: Task
    context: Context
    results: Results
    teacher: Teacher | None = None

    def progress(self) -> Iterator[Progress]:
        """Do everything, and say how far it is."""
        curves = None
        if self.teacher is None:
            record = Record(self.task.teacher.model, [self.task.teacher_seed], [{}])
            yield from self._train_teacher(record)
            curves = {name: [row[0] for row in curve] for name, curve in record.curves.items()}
        reading = "the teacher reads each example once"
        yield Progress(reading, 0, 1, False, self.results)
        source, exam = self._ask_teacher(curves)
        yield Progress(reading, 1, 1, False, self.results)
        groups = self.task.groups
        for number, names in enumerate(groups, start=1):
            students = f"{self.task.members(names)} students"
            what = f"{', '.join(names)} ({number} of {len(groups)}): {students}"
            candidates = {name: self._candidates(name) for name in names}
            yield from self._compare(what, candidates, source, exam)

    def _train_teacher(self, record: Record) -> Iterator[Progress]:
        """Raises FloatingPointError where it diverges, for then nothing can be compared."""
        begin = time.perf_counter()
        task = self.task
        teacher = task.teacher_recipe.students(task.teacher, methods.ce(), self.context)
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
        params, buffers = member(student_of(record.state), 0)
        self.teacher = Teacher(task.teacher.model, params, buffers)
        self.context = replace(self.context, teacher=module_of(self.teacher))
        self.results.seconds["teacher_training"] = time.perf_counter() - begin

    def _ask_teacher(self, curves: dict[str, list[float]] | None) -> tuple[Source, Exam]:
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
        self.results.teacher = TeacherResults(accuracy, curves, task.live)
        self.results.seconds["teacher_outputs"] = time.perf_counter() - begin
        return source, Exam("test", task.data.test, labels, logits)

    def _candidates(self, name: str) -> Candidates:
        task = self.task
        return task.recipe.students(task.student, task.methods[name], self.context)

    def _compare(
        self, what: str, candidates: Mapping[str, Candidates], source: Source, test: Exam
    ) -> Iterator[Progress]:
        """Train methods side by side, and put each into the results."""
        task = self.task
        records = {
            name: Record(one.model, task.seeds, one.grid) for name, one in candidates.items()
        }
        # A sweep's many students are followed on the validation split; only the chosen are tested.
        exam = test
        if task.validation:
            exam = Exam("validation", task.validation, task.validation_labels)
        teacher = self.teacher if task.live else None
        yield from self._train(what, task.epochs, candidates, records, source, exam, teacher)
        for name, record in records.items():
            try:
                method = concluded(record, test, task.validation, task.steps)
            except FloatingPointError as error:  # the other methods are still worth knowing
                self.results.failed[name] = failure_of(error)
                continue
            self.results.methods[name] = method
        steps = task.epochs * task.steps
        yield Progress(what, steps, steps, False, self.results)

    def _train(
        self,
        what: str,
        epochs: int,
        candidates: Mapping[str, Candidates],
        records: Mapping[str, Record],
        source: Source,
        exam: Exam,
        teacher: Teacher | None = None,
    ) -> Iterator[Progress]:
        """Train students side by side into their records."""
        task, results = self.task, self.results
        students, members = {}, 0
        for name, record in records.items():
            seeds, hyper = sweep.members(record.grid, record.seeds)
            students[name] = Students(candidates[name].distillation, seeds, hyper)
            members += len(seeds)
        total = epochs * task.steps
        compiles = task.plan_of(members, epochs).compile != "none"
        yield Progress(what, 0, total, compiles, results)
        training = train(
            students,
            source,
            epochs=epochs,
            plan=task.plan,
            teacher=teacher,
            order=task.order,
        )
        for at in timed(training, records.values(), source.device):
            for name, record in records.items():
                record.state = at.states[name]
                if at.epoch_ended:
                    record.end_epoch(name, at, exam)
            yield Progress(what, at.epoch * at.steps + at.step, total, False, results)
            if all(record.hopeless for record in records.values()):
                break
        if compiles:
            results.compiled = True
            first = sum(record.seconds["first_step"] for record in records.values())
            results.seconds["first_steps"] = results.seconds.get("first_steps", 0.0) + first


def concluded(
    record: Record, test: Exam, validation: Source | None, steps_per_epoch: int
) -> MethodResults:
    """A method's results after its last epoch; of a sweep, those of the chosen setting, tested.

    Raises FloatingPointError where no setting can be chosen, and where a student that is tested is
    not finite.
    """
    if reason := record.why_diverged(steps_per_epoch):
        raise FloatingPointError(reason)
    assert record.state is not None
    state, curves, choice = record.state, record.curves, None
    own = slice(0, None)
    if validation and record.grid[0]:
        accuracy = curves["validation_accuracy"][-1]
        choice = sweep.choose(record.grid, accuracy, record.finite, validation.examples)
        own = sweep.members_of(choice)
        curves = {name: [row[own] for row in curve] for name, curve in curves.items()}
        state = part(state, own)
    if validation:
        tested = test.measure(record.model, state)
        if any(tested.broken):
            raise FloatingPointError(record.why_broken(tested.broken, own.start))
        curves = curves | {name: [row.tolist()] for name, row in tested.metrics.items()}
    return MethodResults(list(record.seeds), curves, record.seconds, choice)
