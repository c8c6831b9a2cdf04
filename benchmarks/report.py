"""What a comparison found, as a dict that becomes results.json, and as a table."""

import json
import math
import os
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sweep
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from fkd import evaluate
from fkd.train import Trained

Results = dict[str, Any]


def start(config: Any) -> Results:
    """The results of a run that has not yet found anything."""
    return {
        "complete": False,
        "config": asdict(config),
        "environment": environment(),
        "methods": {},
    }


def environment() -> dict[str, Any]:
    """What a figure depends on beside the configuration."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("fkd", "torch", "torchvision")},
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _commit() -> str | None:
    ask = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def new_folder(asked: str | None, dataset: str) -> Path:
    """Make a folder that did not exist: the one asked for, or with -2, -3, ... behind its name."""
    wanted = Path(asked or f"runs/{dataset}-{datetime.now():%Y%m%d-%H%M%S}").expanduser()
    folder, number = wanted, 1
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
            folder = wanted.with_name(f"{wanted.name}-{number}")
        except OSError as error:
            raise ValueError(f"--output: {folder} cannot be made: {error}") from error
        else:
            return folder


def add_method(
    results: Results, name: str, trained: Trained, swept: dict[str, Any] | None = None
) -> None:
    """Put a method's run into the results: each seed's last epoch, the curves, the comparisons.

    Of a sweep, `trained` has the curves of the chosen setting, and `swept` is what `sweep.choose`
    says of all.
    """
    seeds = results["config"]["seeds"]
    last = {metric: curve[-1] for metric, curve in trained.curves.items()}
    results["methods"][name] = {
        "seeds": [
            {"seed": seed} | {metric: values[k] for metric, values in last.items()}
            for k, seed in enumerate(seeds)
        ],
        "curves": trained.curves,
        "seconds": trained.seconds,
    } | ({"sweep": swept} if swept else {})
    baseline = results["baseline"]
    for method, found in results["methods"].items():
        accuracy = final(results, method, "test_accuracy")
        agreement = final(results, method, "teacher_agreement")
        found["accuracy"] = evaluate.interval(accuracy)._asdict()
        found["agreement"] = evaluate.interval(agreement)._asdict()
        if method != baseline and baseline in results["methods"]:
            base = final(results, baseline, "test_accuracy")
            found["difference"] = evaluate.paired(accuracy, base)._asdict()


def final(results: Results, method: str, metric: str) -> list[float]:
    """One number a seed, of the last epoch."""
    return [seed[metric] for seed in results["methods"][method]["seeds"]]


def write(folder: Path, results: Results) -> None:
    """Write results.json and table.md, each whole or not at all."""
    _replace(folder / "results.json", json.dumps(results, indent=1, allow_nan=False) + "\n")
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=400, file=nowhere)
        console.print(table(results, box.MARKDOWN), markup=False)
        rows = [line.strip() for line in console.export_text().splitlines() if line.strip()]
    told = [f"- {line}" for line in choices(results)]
    lines = [*rows, "", *told, *([""] if told else []), caption(results)]
    _replace(folder / "table.md", "\n".join(lines) + "\n")


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    os.replace(temporary, path)


def table(results: Results, style: box.Box = box.SIMPLE_HEAD) -> Table:
    """A row a method: accuracy, how it differs from the baseline, agreement, seconds."""
    # Without padding, four methods fit a terminal of 80 columns.
    made = Table(box=style, padding=0 if style is box.SIMPLE_HEAD else (0, 1))
    made.add_column("method", no_wrap=True)
    against = f"− {results['baseline']}"
    for column in ("accuracy %", "95 % interval", against, "95 % interval", "p", "agree", "s"):
        made.add_column(column, justify="right", no_wrap=True)
    for name, found in results["methods"].items():
        accuracy, difference = found["accuracy"], found.get("difference")
        spread = (
            f" ± {_percent(accuracy['deviation'])}" if accuracy["deviation"] is not None else ""
        )
        paired = ("", "", "")
        if difference:
            middle = _percent(difference["difference"], sign=True)
            paired = (middle, _range(difference, sign=True), _p(difference["p"]))
        seconds = found["seconds"]["first_step"] + found["seconds"]["steps"]
        made.add_row(
            *(name, _percent(accuracy["mean"]) + spread, _range(accuracy)),
            *(*paired, _percent(found["agreement"]["mean"]), f"{seconds:.1f}"),
        )
    return made


def show(console: Console, made: Table) -> None:
    """Print a table whole: past the edge of a narrow terminal rather than with figures cut."""
    needed = console.measure(made, options=console.options.update(max_width=400)).maximum
    Console(width=max(needed, console.width)).print(made)


def choices(results: Results) -> list[str]:
    """What a sweep chose for each method that it swept, in lines."""
    swept = {m: found["sweep"] for m, found in results["methods"].items() if "sweep" in found}
    return [line for method, entry in swept.items() for line in sweep.tell(method, entry)]


def setting(results: Results) -> str:
    """`digits, 8 seeds, 10 epochs`."""
    config = results["config"]
    return f"{results['data']['name']}, {len(config['seeds'])} seeds, {config['epochs']} epochs"


def caption(results: Results) -> str:
    """What the table's figures are, and where and when they were measured."""
    config, where, teacher = results["config"], results["environment"], results["teacher"]
    hardware = where["gpu"] if results["device"] == "cuda" else where["processor"]
    state = "" if results["complete"] else "INCOMPLETE: a method diverged or the run was stopped. "
    swept = config.get("sweep", {})
    rate = "at the swept rates" if "lr" in swept else f"{config['lr']:g}"
    how = _how_chosen(results) if swept else ""
    return (
        f"{state}{results['data']['name']}: {results['data']['train']:,} training and "
        f"{results['data']['test']:,} test images; {len(config['seeds'])} seeds, "
        f"{config['epochs']} epochs, batch {config['batch_size']}, Adam {rate}, "
        f"{config.get('precision', 'fp32')}; teacher "
        f"{_percent(teacher['accuracy'])} %. {how}"
        "Test accuracy after the last epoch: mean ± deviation "
        f"over seeds, Student's t interval; difference from {results['baseline']} paired by seed "
        f"(the same initial weights, {config['order']} order of batches), its interval and the "
        "paired t-test's p, not corrected for the number of methods; agreement with the teacher "
        "in %; training seconds of all students together, with compilation and without evaluation. "
        f"{_compiling(results['seconds'])}"
        f"{where['date'][:10]}, {hardware}, {where['cores']} cores, torch {where['torch']}."
    )


def _compiling(seconds: dict[str, float]) -> str:
    """What compilation cost, once a run that compiled is over."""
    if "first_steps" not in seconds or "total" not in seconds:
        return ""
    return (
        f"Of the run's {seconds['total']:.1f} seconds, {seconds['first_steps']:.1f} were the first "
        "steps of its trainings, which compile; what is compiled is kept for the next run. "
    )


def _how_chosen(results: Results) -> str:
    settings = {
        name: len(found["sweep"]["settings"]) if "sweep" in found else 1
        for name, found in results["methods"].items()
    }
    config = results["config"]
    also = f" and the teacher (Adam {config['lr']:g})" if config["teacher"] == "train" else ""
    return (
        "Hyperparameters were chosen by mean accuracy over seeds on a validation split of "
        f"{results['data']['validation']:,} images, held out of the training set (settings: "
        f"{', '.join(f'{name} {count}' for name, count in settings.items())}); the students{also} "
        "were trained on the rest. "
    )


def _percent(share: float | None, sign: bool = False) -> str:
    if share is None:
        return "–"
    return f"{100 * share:{'+' if sign else ''}.2f}"


def _range(found: dict[str, float | None], sign: bool = False) -> str:
    if found["low"] is None:
        return "–"
    return f"[{_percent(found['low'], sign)}, {_percent(found['high'], sign)}]"


def _p(p: float | None) -> str:
    if p is None or math.isnan(p):
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
