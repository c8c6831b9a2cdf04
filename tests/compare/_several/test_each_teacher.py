"""The end of several teachers' runs: a failure with any of them is one of all."""

import errno
import os
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest
from compare._several.refused_and_stopped import tiny
from compare.comparison_records import method, record
from compare.test_variance import PLAN, random, runs
from rich.console import Console

from fkd import checkpoint
from fkd.compare import Results, Variance, command
from fkd.compare._accord import Accord
from fkd.compare._command.carry_out import End
from fkd.compare._several.each_teacher import Trained, finish
from fkd.compare.failure import Failure
from fkd.compare.report import _file
from fkd.distributed import Mesh


def test_a_failure_with_the_first_teacher_is_in_the_exit_code(tmp_path):
    made = [record({"ce": method([0.5, 0.5])}) for _ in range(2)]
    end = End(Accord(Mesh()), 0, False, None)
    quiet = Console(quiet=True)
    trained = Trained(tmp_path, made, end)
    assert finish(trained, None, [], [], quiet, quiet) == 0
    made[0].failed["kd"] = Failure("diverged", "it went")
    assert finish(trained, None, [], [], quiet, quiet) == 3
    assert not made[1].failed


@pytest.mark.slow
@pytest.mark.plain
@pytest.mark.usefixtures("elsewhere")
def test_a_disk_that_is_full_at_the_next_teacher_keeps_the_first(images, monkeypatch, capsys):
    @contextmanager
    def whole(path):
        if Path(path).parent.name == "teacher-43":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        with real(path) as temporary:
            yield temporary

    real = checkpoint.whole
    arguments = tiny(images, "--seeds", "2", "--teachers", "2", "--output", "out")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "whole", whole)
        assert command.main(arguments) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "compare: --output: out/teacher-43 cannot be written: [Errno 28]" in told
    assert "python -m fkd.compare --resume out" in told
    assert Results.read("out/teacher-42").complete
    assert command.main(["--resume", "out"]) == 0
    assert Results.read("out/teacher-42").resumed == 0 and Path("out/teachers.json").exists()


def test_what_ended_with_all_teachers_is_written_and_drawn(tmp_path, monkeypatch):
    def page(runs) -> str:
        (one,) = runs.values()
        return f"{_file.MARK} {one.waiting}"

    monkeypatch.setattr(_file, "page", page)
    made = runs(random("ce", "kd"))
    del made[1].methods["kd"]
    record = Variance.of(PLAN, made)
    stopped = Trained(tmp_path, made, End(Accord(Mesh()), 0, False, signal.SIGTERM))
    quiet = Console(quiet=True)
    assert finish(stopped, record, [], [], quiet, quiet) == 143
    names = ["report.html", "variance.json", "variance.md", "variance.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "report.html").read_text().endswith("['kd']")
    # Of nothing that all have ended there is nothing to write.
    del record.accuracy["ce"]
    none = Trained(tmp_path / "none", made, stopped.end)
    assert finish(none, record, [], [], quiet, quiet) == 143 and not (tmp_path / "none").exists()
