"""What of the tests is run on a GPU, and what is written of them."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.rehearsal import suite

TESTS = """
import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

def test_right(): pass

def test_wrong(): assert DEVICE == "tpu", "it is not"

@pytest.mark.skipif(True, reason="needs a GPU")
def test_skipped(): pass
"""


def test_files_that_know_of_a_gpu_are_found():
    names = [Path(file).name for file in suite.files(Path(__file__).parents[2])]
    assert {"test_capture.py", "test_operators.py", "test_ensemble_layers.py"} <= set(names)
    assert "test_plan.py" not in names  # which names the device alone
    assert names.index("test_resident.py") < names.index("test_race.py")  # the benchmarks' are last


def test_what_failed_is_written_and_the_rest_runs(tmp_path):
    (tmp_path / "test_one.py").write_text(TESTS)
    (tmp_path / "test_broken.py").write_text('raise OSError("cuda")  # cuda.is_available()')
    (tmp_path / "test_other.py").write_text("def test_other(): assert False")
    flags = ["--tests", str(tmp_path), "--output", str(tmp_path / "out")]
    call = [sys.executable, "-m", "benchmarks.rehearsal.suite", *flags]
    root = Path(__file__).parents[3]
    ran = subprocess.run(call, cwd=root, capture_output=True, text=True)
    assert ran.returncode != 0
    results = json.loads((tmp_path / "out" / "tests.json").read_text())
    assert (results["passed"], len(results["skipped"])) == (1, 1)
    failed = {Path(name).name: why for name, why in results["failed"].items()}
    assert set(failed) == {"test_broken.py", "test_one.py::test_wrong"}
    assert "OSError: cuda" in failed["test_broken.py"]
    assert "it is not" in failed["test_one.py::test_wrong"]
