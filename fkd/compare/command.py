"""The command line: a comparison of the tutorial's networks, told on the console and in files."""

import signal
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from fkd import checkpoint
from fkd._imported import imported
from fkd.compare import conclusions, report
from fkd.compare._accord import Accord
from fkd.compare._command.compiled_cache import keep_compiled
from fkd.compare._command.console import (
    PIPE,
    READER_GONE,
    Display,
    consoles,
    nothing_told,
    reader_gone,
    tell,
)
from fkd.compare._command.named import method, method_name, network
from fkd.compare._command.options import Config, in_flags, parse
from fkd.compare._command.parser import BASELINE
from fkd.compare._command.resume import differences, kept_options
from fkd.compare._command.signals import Stop
from fkd.compare._setup.estimate import check_data
from fkd.compare.environment import may_restart, new_folder, own_rank
from fkd.compare.failure import RankError, failure_of
from fkd.compare.presentation import table
from fkd.compare.report import command as report_command
from fkd.compare.results import Results
from fkd.compare.run import TEACHER_SEED, Comparison, Progress
from fkd.compare.teachers import Teachers
from fkd.compare.variance import Variance
from fkd.data import Data, augmentations, built, datasets
from fkd.distributed import Mesh, started


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison, or behind the word `report` write that of runs. Return 0; 1 where a
    method failed otherwise than by divergence, 2 where the comparison was refused, 3 where a method
    diverged, 128 and its number where a signal stopped it (130 of Ctrl-C, 143 of SIGTERM, 129 of
    SIGHUP), or 141 where nobody reads the console. Of the many processes that torchrun starts each
    returns the same, and the first alone tells and writes.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == [report_command.NAME]:
        return report_command.main(words[1:])
    rank = own_rank()
    console, errors = consoles(rank)
    begin = time.perf_counter()
    try:
        with nothing_told() if rank else nullcontext():
            config = parse(words)
        with started(config.data_ranks) as mesh:
            if config.factorial is not None or config.teachers is not None:
                from fkd.compare._command import teachers, vary  # which take of this file

                of_several = vary.vary if config.vary else teachers.teachers
                return of_several(config, mesh, console, errors, begin)
            return _compare(config, mesh, console, errors, begin)
    except ValueError as error:
        errors.print(f"compare: {in_flags(str(error))}", markup=False)
        return 2
    except KeyboardInterrupt:
        errors.print("compare: stopped before it began", markup=False)
        return 130


def _compare(config: Config, mesh: Mesh, console: Console, errors: Console, begin: float) -> int:
    """Run the comparison on this rank; raises ValueError where it is refused."""
    accord = Accord(mesh)
    try:
        with accord.together("the start"):
            folder = named_folder(config)
            comparison = prepare(config, console, mesh)
            folder = shared_folder(folder, config, accord)
            minutes = config.checkpoint_minutes
            training = comparison.run(folder, checkpoint_minutes=minutes, options=config.raw)
    except RankError as error:
        return failed(error, errors)
    end = carry_out(comparison, training, console, errors, begin)
    code, results = end.code, comparison.results
    # Of a run that was cut short, what was finished.
    if mesh.rank == 0 and (results.methods or results.failed):
        code = _show(comparison, folder, console, errors) or code
    return tell_end(end, code, results, folder, console, errors)


class End(NamedTuple):
    """How the training of all methods ended: the exit code of an error that ended all, whether by
    it a rank was lost, and the number of the signal that stopped it."""

    accord: Accord
    code: int
    lost: bool
    signal: int | None


def carry_out(
    comparison: Comparison,
    training: Generator[Progress],
    console: Console,
    errors: Console,
    begin: float,
) -> End:
    """Train all there is to train, show how far it is, and tell what failed."""
    results, accord = comparison.results, comparison.accord
    # The library does not know of what went before it.
    before = time.perf_counter() - begin
    error = None
    with Stop() as stop:
        try:
            follow(comparison, training, console, stop)
        except Exception as own:  # in the teacher's training, so that nothing can be compared
            error = accord.told(own)
        finally:
            training.close()  # and so saves where it stands
    for trouble in comparison.troubles:
        errors.print(f"compare: {trouble}", markup=False)
    for name, failure in results.failed.items():
        errors.print(f"compare: {name}: {failure.reason}", markup=False)
    code = 0 if error is None else failed(error, errors)
    results.seconds["total"] = results.seconds.get("total", 0.0) + before
    lost = isinstance(error, RankError) and error.lost
    return End(accord, code, lost, accord.stop or stop.signal)


def tell_end(
    end: End, code: int, results: Results, folder: Path, console: Console, errors: Console
) -> int:
    """Tell where everything is, and how to go on where a signal came: the exit code, on which all
    ranks agree."""
    if peak := results.environment.get("peak_memory"):
        console.print(f"Peak memory: {peak:.2f} GiB", highlight=False)
    console.print(f"Written to {folder}", soft_wrap=True)
    kinds = {failure.kind for failure in results.failed.values()}
    code = code or (0 if not kinds else 3 if kinds == {"diverged"} else 1)
    if end.signal is not None and end.signal != PIPE:
        name = signal.Signals(end.signal).name
        text = f"stopped by {name}; to go on: python -m fkd.compare --resume {folder}"
        errors.print(f"compare: {text}", markup=False)
        code = 128 + end.signal
    elif reader_gone(console):
        code = READER_GONE
    if end.lost:
        return code
    try:
        return end.accord.share("the end", code)[0]  # when the first has written all there is
    except RankError as lost:
        return failed(lost, errors)


def failed(error: Exception, errors: Console) -> int:
    """Tell why nothing can be compared: the exit code."""
    failure = failure_of(error)
    if isinstance(error, RankError) and error.lost:
        errors.quiet = False  # whoever is left tells it, for the first may be the one that is lost
    errors.print(f"compare: {failure.reason}", markup=False)
    return 3 if failure.kind == "diverged" else 1


def _show(comparison: Comparison, folder: Path, console: Console, errors: Console) -> int:
    """Write, draw and print what was measured; return 1 where it cannot be written."""
    results = comparison.results
    code = write_all(results, folder, errors)
    table.show(console, table.table(results))
    console.print(conclusions.sentence(results), markup=False, highlight=False)
    for line in table.choices(results):
        console.print(line, markup=False, highlight=False)
    console.print(table.caption(results))
    return code


def write_all(record: Results | Variance | Teachers, folder: Path, errors: Console) -> int:
    """Write a record, its pictures and its report into a folder; return 1 where they cannot be."""
    try:
        record.write(folder)
        record.draw(folder)
        report.write(folder / report_command.FILE, {folder.name: record})
    except (OSError, ValueError) as error:  # the last of a file that is not fkd's
        errors.print(f"compare: the results cannot be written: {error}", markup=False)
        return 1
    return 0


def prepare(
    config: Config,
    console: Console,
    mesh: Mesh | None = None,
    teacher_seed: int = TEACHER_SEED,
) -> Comparison:
    """The comparison that was asked for; raises ValueError for what makes no sense."""
    methods = {
        method_name(text): method(text, config.recipe, config.epochs) for text in config.methods
    }
    if config.compile != "none":
        keep_compiled()
    begin = time.perf_counter()
    with console.status(f"reading {config.data or config.dataset}"):
        data = _read(config)
    seconds = time.perf_counter() - begin
    classes = len(data.classes)
    student = network("--student-model", config.student_model, classes, config.layer)
    layers = config.layer | config.teacher_layer
    teacher = network("--teacher-model", config.teacher_model, classes, layers)
    state = None
    if config.teacher_file is not None:
        try:
            state = checkpoint.load(config.teacher_file, like=teacher().state_dict())
        except ValueError as error:
            raise ValueError(f"--teacher: {error}") from error
    augment, mix = None, None
    if config.augment:
        augment, mix = augmentations.named(config.augment, config.image_size, classes)
    training = config.training
    with console.status("preparing"):
        comparison = Comparison(
            teacher,
            student,
            methods,
            data,
            seeds=config.seeds if config.factorial is None else config.factorial.seeds,
            resolution=config.resolution,
            max_seeds=config.max_seeds,
            epochs=config.epochs,
            optimizer=training.build(),
            schedules=training.schedules,
            numbers=config.set,
            augment=augment,
            mix=mix,
            sweep=config.sweep,
            validation=config.validation,
            teacher_state=state,
            teacher_seed=teacher_seed,
            teacher_epochs=config.teacher_epochs,
            teacher_memory=config.teacher_memory,
            baseline=BASELINE if BASELINE in methods else next(iter(methods)),
            order=config.order if config.factorial is None else "own",
            precision=config.precision,
            plan=config.plan,
            mesh=mesh,
        )
    results = comparison.results
    results.seconds["data"] = seconds
    words = {"lr": results.config["lr"], "training": training.title(config.set)}
    results.config |= config.asked | words
    return comparison


def _read(config: Config) -> Data:
    try:
        if config.data is not None:
            data = built(imported(config.data), memory=config.memory)
        else:
            data = datasets.load(
                config.dataset,
                config.root,
                image_size=config.image_size,
                memory=config.memory,
                channels=config.channels,
                mean=config.mean,
                std=config.std,
            )
    except ValueError as error:
        if config.data is not None:
            raise ValueError(f"--data: {error}") from error
        raise ValueError(
            f"--dataset: {error}; --root gives the folder, and --dataset digits needs no download"
        ) from error
    check_data(data, config.torch_device)
    return data.to(config.torch_device).batched(config.batch_size)


def named_folder(config: Config) -> Path | None:
    """The folder that was named, with its run held against the options; None where none was."""
    if config.resume is not None:
        return config.resume
    if config.output is None:
        if may_restart():
            raise ValueError(
                "--output: torchrun may start this run again, and then it is to go on in its "
                "folder; name one, the same on every machine"
            )
        return None
    folder = Path(config.output).expanduser()
    if (folder / "run.json").exists():
        differing = differences(kept_options("--output", folder), config.raw)
        if differing:
            raise ValueError(
                f"--output: {folder} holds another run: {'; '.join(differing)}; ask for the same "
                "to go on with it, or give another folder"
            )
    return folder


def shared_folder(folder: Path | None, config: Config, accord: Accord) -> Path:
    """The folder that was named, or a new one, on every rank."""
    made = str(folder or _new_folder(config)) if accord.mesh.rank == 0 else ""
    return Path(accord.share("the folder", made)[0])


def _new_folder(config: Config) -> Path:
    name = config.dataset if config.data is None else config.data.partition(":")[2]
    path = f"runs/{name}-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        return new_folder(path)
    except OSError as error:
        raise ValueError(f"--output: {path} cannot be made: {error}") from error


def follow(
    comparison: Comparison, training: Generator[Progress], console: Console, stop: Stop
) -> None:
    """Show how far the comparison is, until its end or a signal, or where nobody reads it."""
    results, accord = comparison.results, comparison.accord
    tell(comparison, console)
    accuracy_told, notes, troubles = False, len(comparison.notes), 0
    with Display(console) as display:
        for progress in training:
            notes = _tell_new(console, comparison.notes, notes)
            try:
                display.show(progress)
            except BrokenPipeError:
                accord.wish(stop=PIPE)
            if results.teacher and not accuracy_told:
                console.print(f"Teacher accuracy: {100 * results.teacher.accuracy:.2f} %")
                accuracy_told = True
            troubles = _tell_new(console, comparison.troubles, troubles)
            if stop.signal is not None:
                accord.wish(stop=stop.signal)
            if accord.stop is not None:
                return
    _tell_new(console, comparison.notes, notes)


def _tell_new(console: Console, lines: Sequence[str], told: int) -> int:
    """Print the lines behind those that were told; how many are told now."""
    for line in lines[told:]:
        console.print(line, markup=False)
    return len(lines)
