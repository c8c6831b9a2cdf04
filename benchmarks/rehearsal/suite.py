"""The files of the test suite that know of a GPU, run; and tests.json, which says what failed.

python -m benchmarks.rehearsal.suite --output FOLDER
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks._output import new_folder
from benchmarks.rehearsal.stage import ROOT

KNOWS = "cuda.is_available()"


class Noted:
    """What pytest tells of each test, written as it comes: a GPU that fails for good takes only
    what comes after."""

    def __init__(self, file: Path):
        self.file = file
        self.results: dict[str, Any] = {"passed": 0, "skipped": {}, "failed": {}, "seconds": {}}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.results["failed"][report.nodeid] = report.longreprtext
            self.write()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.results["seconds"][report.nodeid] = report.duration
        if report.failed:
            self.results["failed"][report.nodeid] = report.longreprtext
        elif report.skipped and isinstance(report.longrepr, tuple):
            self.results["skipped"][report.nodeid] = report.longrepr[2]
        elif report.when == "call":
            self.results["passed"] += 1
        self.write()

    def write(self) -> None:
        self.file.write_text(json.dumps(self.results, indent=1) + "\n")


def files(folder: Path) -> list[str]:
    """The test files below a folder that ask whether there is a GPU, fkd's before its benchmarks'.

    A test that only names the device is the same without one.
    """
    paths = sorted(folder.rglob("test_*.py"), key=lambda path: ("benchmarks" in path.parts, path))
    return [str(path) for path in paths if KNOWS in path.read_text()]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/rehearsal/suite", description="The tests that know of a GPU."
    )
    parser.add_argument("--tests", default=str(ROOT / "tests"), help="the folder of tests")
    parser.add_argument("--only", default="", help="pytest's -k")
    parser.add_argument("--output", help="a new folder for the results")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them; return pytest's code, which is 0 where all passed."""
    values = parse(arguments)
    noted = Noted(new_folder(values.output, "suite") / "tests.json")
    noted.write()
    flags = ["--quiet", "--continue-on-collection-errors", "-k", values.only]
    # Not this project's, and each gives a warning on some machines, which is an error here.
    flags += ["-p", "no:benchmark", "-p", "no:cacheprovider", "-W", "ignore:TensorFloat32"]
    return int(pytest.main([*flags, *files(Path(values.tests))], [noted]))


if __name__ == "__main__":
    sys.exit(main())
