"""The end of several teachers' runs: a failure with any of them is one of all."""

from compare.comparison_records import method, record
from rich.console import Console

from fkd.compare._accord import Accord
from fkd.compare._command.each_teacher import Trained, finish
from fkd.compare.command import End
from fkd.compare.failure import Failure
from fkd.distributed import Mesh


def test_a_failure_with_the_first_teacher_is_in_the_exit_code(tmp_path):
    runs = [record({"ce": method([0.5, 0.5])}) for _ in range(2)]
    end = End(Accord(Mesh()), 0, False, None)
    quiet = Console(quiet=True)
    trained = Trained(tmp_path, runs, end, whole=True)
    assert finish(trained, None, [], [], quiet, quiet) == 0
    runs[0].failed["kd"] = Failure("diverged", "it went")
    assert finish(trained, None, [], [], quiet, quiet) == 3
    assert not runs[1].failed
