"""Compare distillation methods over many seeds: which one helps, and how sure are we?

The comparison of PyTorch's knowledge distillation tutorial (a teacher DeepNN, a student LightNN),
with every method's students trained at once. Seeds are paired: a seed means the same initial
weights under each method, and all members read the same order of batches. The accuracy is that of
the last epoch; no epoch is chosen on the test set.

    python benchmarks/compare_methods.py
    python benchmarks/compare_methods.py --dataset cifar10 --methods ce kd --seeds 3,5,8

With `--sweep`, each method's students are trained at every setting of a grid of hyperparameters,
and the setting that is best on a validation split is reported. That split is held out of the
training set, for the teacher too where it is trained here; of a teacher that is given, only its
giver knows whether it was.

    python benchmarks/compare_methods.py --sweep lr=3e-4,1e-3,3e-3 kd.temperature=1,2,4,8
"""

import copy
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import compiler
import figures
import fit
import report
import sweep
import torch
from options import PRECISIONS, Config, multiply_in, parse
from rich.console import Console
from torch import Tensor, nn

from fkd import _check, checkpoint, datasets, evaluate, heads, optim
from fkd.data import Data, hold_out, normalize
from fkd.distillation import Distillation, State, distill, student_of
from fkd.ensemble import member, why_not_compile
from fkd.methods import METHODS, Method, supervised
from fkd.model import Model, Tensors, functional, outputs_like, state_dict
from fkd.models import DeepNN, LightNN, ReusedClassifier
from fkd.train import Trained

TEACHER_SEED = 42
Metrics = dict[str, Tensor]  # one number a member by name


class Comparison:
    """One run of the main job: data, a frozen teacher, then each method's students at once."""

    def __init__(self, config: Config, console: Console):
        self.config, self.console = config, console
        self.seconds: dict[str, float] = {}
        cuda = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
        self.device = torch.device("cuda" if cuda else "cpu")
        with self.phase("data"), console.status(f"reading {config.dataset}"):
            self.data: Data = datasets.load(config.dataset, config.root).to(self.device)
        self.validation = self.hold_out() if config.sweep else None
        examples = len(self.data.train_images)
        _check.between("--batch-size", 1, examples, batch_size=config.batch_size)
        classes = len(self.data.classes)
        self.dtype = PRECISIONS[config.precision]
        multiply_in(config.precision)
        self.teacher = functional(lambda: DeepNN(classes), self.dtype)
        self.student = functional(lambda: LightNN(classes), self.dtype)
        self.methods: dict[str, Method] = {
            # CRD's memory banks have a row for each example
            name: METHODS[name](**({"examples": examples} if name == "crd" else {}))
            for name in config.methods
        }
        self.loaded = None if config.teacher == "train" else self.load_teacher(config.teacher)
        self.shapes = self.check_methods()
        self.compile = config.compile and self.check_compiler()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - begin

    def hold_out(self) -> tuple[Tensor, Tensor]:
        """Take the validation split out of the training set, before anything reads it."""
        images, labels = self.data.train_images, self.data.train_labels
        try:
            kept, held = hold_out(labels, self.config.validation)
        except ValueError as error:
            raise ValueError(f"--validation: {error}") from error
        self.data = replace(self.data, train_images=images[kept], train_labels=labels[kept])
        return images[held], labels[held]

    def load_teacher(self, path: str) -> tuple[Tensors, Tensors]:
        params, buffers = self.teacher.init(TEACHER_SEED)
        loaded = checkpoint.load(path, like=state_dict(params, buffers))
        return (
            {name: loaded[name].to(self.device) for name in params},
            {name: loaded.get(name, value).to(self.device) for name, value in buffers.items()},
        )

    def check_methods(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """Refuse, before any work, a method that does not fit these models; give their shapes."""
        images = normalize(self.data.train_images[: self.config.batch_size])
        taught = outputs_like(self.teacher, images, train=False)
        labels = self.data.train_labels[: self.config.batch_size]
        targets = {"labels": labels, "index": torch.arange(len(labels))} | taught
        teacher = self.loaded or self.teacher.init(TEACHER_SEED)
        rules = {}
        for name, method in self.methods.items():
            student = self.student_for(name, teacher)
            rules[name] = distill(student, method, optim.adam(self.config.lr), images, targets)
        self.grids = self.lay_grids(rules)
        studied = outputs_like(self.student, images, train=True)
        return {
            role: {name: tuple(output.shape) for name, output in outputs.items()}
            for role, outputs in (("teacher", taught), ("student", studied))
        }

    def lay_grids(self, rules: dict[str, Distillation]) -> dict[str, list[sweep.Setting]]:
        """Each method's settings of the hyperparameters that it has; refuse what no method has."""
        has = {name: list(rule.init(0).hyper) for name, rule in rules.items()}
        anywhere = dict.fromkeys(name for names in has.values() for name in names)
        for name in self.config.sweep:
            _check.known("--sweep", "hyperparameter", name, anywhere)
        grids = {name: sweep.settings(self.config.sweep, has[name]) for name in rules}
        for name, grid in grids.items():
            for setting in grid:
                try:
                    rules[name].init(0, setting)
                except ValueError as error:
                    raise ValueError(f"--sweep: {name}: {error}") from error
        return grids

    def student_for(self, name: str, teacher: tuple[Tensors, Tensors]) -> Model:
        """LightNN, but for SimKD, whose student ends in the teacher's classifier."""
        if name != "simkd":
            return self.student
        classes = len(self.data.classes)
        whole = DeepNN(classes)
        whole.load_state_dict(state_dict(*teacher))

        def build() -> nn.Module:
            student = LightNN(classes)
            projector = heads.projector(torch.Size([16, 8, 8]), torch.Size([32, 8, 8]))
            classifier = nn.Sequential(nn.Flatten(), copy.deepcopy(whole.classifier))
            return ReusedClassifier(student, projector, classifier)

        return functional(build, self.dtype)

    def check_compiler(self) -> bool:
        compiler.keep_compiled()
        with self.phase("compiler_check"), self.console.status("trying the compiler"):
            reason = why_not_compile(self.device)
        if reason:
            text = f"Compilation is not possible here, going on without: {reason}"
            self.console.print(text, markup=False)
        return not reason

    def run(self, results: dict[str, Any], folder: Path) -> None:
        """Train all there is to train, and put into `results` what is known as it comes."""
        config, data = self.config, self.data
        results |= {
            "data": {
                "name": data.name,
                "classes": len(data.classes),
                "train": len(data.train_images),
                "validation": len(self.validation[1]) if self.validation else 0,
                "test": len(data.test_images),
            },
            "device": str(self.device),
            "compiled": self.compile,
            "parameters": {"teacher": _count(self.teacher), "student": _count(self.student)},
            "shapes": self.shapes,
            "baseline": "ce" if "ce" in config.methods else config.methods[0],
            "seconds": self.seconds,
        }
        say = self.console.print
        say(f"Teacher DeepNN: {results['parameters']['teacher']:,} parameters")
        say(f"Student LightNN: {results['parameters']['student']:,} parameters")
        for name, title in (("hidden", "hidden representation"), ("feature_map", "feature map")):
            for role, shapes in self.shapes.items():
                say(f"Shape of the {role}'s {title}: {shapes[name]}")

        teacher, curves = self.loaded, None
        if teacher is None:
            with self.phase("teacher_training"):
                teacher, curves = self.train_teacher()
            checkpoint.save(folder / "teacher.pt", state_dict(*teacher))
        wanted = self.wanted()
        live = self.bytes_of(wanted) > config.teacher_memory * 2**30
        # Without augmentation the teacher's answers never change: each image is shown to it once.
        with (
            self.phase("teacher_outputs"),
            self.console.status("the teacher reads each image once"),
        ):
            ask = partial(evaluate.predict, self.teacher, *teacher)
            known = {} if live else ask(data.train_images, names=sorted(wanted))
            on_test = ask(data.test_images)["logits"]
        accuracy = evaluate.accuracy(on_test, data.test_labels).item()
        results["teacher"] = {"accuracy": accuracy, "curves": curves, "live": live}
        say(f"Teacher accuracy: {100 * accuracy:.2f} %")
        if live:
            needed, given = self.bytes_of(wanted) / 2**30, config.teacher_memory
            say(f"Teacher outputs would take {needed:.3g} GiB, of --teacher-memory {given:g}:")
            say("the teacher is asked about each batch instead, by all methods together")

        def test(student: Model, state: State) -> Metrics:
            logits = evaluate.predict_members(student, state, data.test_images)
            return {
                "test_accuracy": evaluate.accuracy(logits, data.test_labels),
                "teacher_agreement": evaluate.agreement(logits, on_test),
                "calibration_error": evaluate.calibration_error(logits, data.test_labels),
            }

        def validate(images: Tensor, labels: Tensor, student: Model, state: State) -> Metrics:
            logits = evaluate.predict_members(student, state, images)
            return {"validation_accuracy": evaluate.accuracy(logits, labels)}

        # A sweep's many students are followed on the validation split; only the chosen are tested.
        on_epoch = partial(validate, *self.validation) if self.validation else test
        index = torch.arange(len(data.train_labels), device=self.device)
        targets = {"labels": data.train_labels, "index": index} | known
        jobs = {
            name: fit.Job(student, method, config.seeds, partial(on_epoch, student), grid)
            for name, method in self.methods.items()
            for student, grid in [(self.student_for(name, teacher), self.grids[name])]
        }
        # A live teacher is asked once for all methods, where they read the same batches.
        names = list(jobs)
        groups = [names] if live and config.order == "shared" else [[name] for name in names]
        failed = []
        for number, group in enumerate(groups, start=1):
            students = sum(len(jobs[name].grid) * len(config.seeds) for name in group)
            what = f"{', '.join(group)} ({number} of {len(groups)}): {students} students"
            asked = (self.teacher, *teacher) if live else None
            found = self.fit(what, {name: jobs[name] for name in group}, targets, asked)
            for name, trained in found.items():
                entry = None
                try:
                    if isinstance(trained, FloatingPointError):
                        raise trained
                    if self.validation:
                        if self.grids[name][0]:
                            images = len(self.validation[1])
                            trained, entry = sweep.choose(self.grids[name], trained, images)
                        last = test(jobs[name].student, trained.state)
                        trained.curves.update({key: [v.tolist()] for key, v in last.items()})
                except FloatingPointError as error:  # the other methods are still worth knowing
                    failed.append(f"{name}: {error}")
                    continue
                report.add_method(results, name, trained, entry)
                report.write(folder, results)
        if failed:
            raise FloatingPointError("; ".join(failed))

    def wanted(self) -> set[str]:
        """The teacher's outputs that a method matches."""
        terms = [term for method in self.methods.values() for term in method.values()]
        return {name for term in terms for name in term.targets} - {"labels", "index"}

    def bytes_of(self, outputs: set[str]) -> int:
        """How much memory the teacher's outputs take for the whole training set, in float32."""
        numbers = sum(math.prod(self.shapes["teacher"][name][1:]) for name in outputs)
        return 4 * numbers * len(self.data.train_images)

    def fit(
        self,
        what: str,
        jobs: dict[str, fit.Job],
        targets: Tensors,
        teacher: tuple[Model, Tensors, Tensors] | None = None,
    ) -> dict[str, Trained | FloatingPointError]:
        found = fit.fit(
            *(what, jobs, self.data.train_images, targets, self.config, self.console),
            compile=self.compile,
            teacher=teacher,
        )
        if self.compile:
            first = [
                one.seconds["first_step"] for one in found.values() if isinstance(one, Trained)
            ]
            self.seconds["first_steps"] = self.seconds.get("first_steps", 0.0) + sum(first)
        return found

    def train_teacher(self) -> tuple[tuple[Tensors, Tensors], dict[str, Any]]:
        def on_epoch(state: State) -> Metrics:
            logits = evaluate.predict_members(self.teacher, state, self.data.test_images)
            return {"test_accuracy": evaluate.accuracy(logits, self.data.test_labels)}

        targets = {"labels": self.data.train_labels}
        job = fit.Job(self.teacher, supervised(), [TEACHER_SEED], on_epoch)
        trained = self.fit("teacher", {"teacher": job}, targets)["teacher"]
        if isinstance(trained, FloatingPointError):
            raise FloatingPointError(f"teacher: {trained}")
        curves = {name: [values[0] for values in curve] for name, curve in trained.curves.items()}
        return member(student_of(trained.state), 0), curves


def _count(model: Model) -> int:
    return sum(value.numel() for value in model.init(0)[0].values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; return 0, or 2 where it was refused, stopped or diverged."""
    console, errors = Console(), Console(stderr=True, style="bold red", soft_wrap=True)
    begin = time.perf_counter()
    try:
        comparison = Comparison(parse(arguments), console)
        folder = report.new_folder(comparison.config.output, comparison.config.dataset)
    except ValueError as error:
        errors.print(f"compare_methods: {error}", markup=False)
        return 2
    results = report.start(comparison.config)
    try:
        comparison.run(results, folder)
        results["complete"] = True
    except (FloatingPointError, KeyboardInterrupt) as error:
        errors.print(f"compare_methods: {error or 'stopped'}", markup=False)
    except torch.OutOfMemoryError as error:
        text = "the GPU's memory is full; --chunk takes fewer members at once"
        errors.print(f"compare_methods: {text}: {error}", markup=False)
    comparison.seconds["total"] = time.perf_counter() - begin
    if results["methods"]:  # of a run that was cut short, what was finished
        report.write(folder, results)
        figures.write(folder, results)
        report.show(console, report.table(results))
        for line in report.choices(results):
            console.print(line, markup=False, highlight=False)
        console.print(report.caption(results))
    console.print(f"Written to {folder}", soft_wrap=True)
    return 0 if results["complete"] else 2


if __name__ == "__main__":
    sys.exit(main())
