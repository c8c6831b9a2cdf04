"""A count of students that does not fit is a row, and so are the others."""

import pytest

from benchmarks.rehearsal import memory
from benchmarks.speed.sides import Side
from benchmarks.speed.timed import SideFailed


class Here:
    """In place of a process: a side of many members fails."""

    def __init__(self, side, cache):
        self.side, self.steps = side, 0

    def ask(self, call, *arguments):
        if self.side.members > 8:
            raise SideFailed(f"{self.side}: OutOfMemoryError: CUDA out of memory\nTried to")
        return 24.0

    def close(self): ...


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_row_is_of_its_side(at_once, monkeypatch):
    monkeypatch.setattr(memory, "Process", Here)
    few, many = Side("fkd", members=8), Side("fkd", members=64, compile="none")
    first, second = memory.peaks([few, many], at_once)
    assert first == {
        "members": 8,
        "precision": "fp32",
        "compile": "step",
        "peak_mib": 24.0,
        "mib_a_member": 3.0,
    }
    assert second["members"] == 64 and "peak_mib" not in second
    assert second["error"].endswith("OutOfMemoryError: CUDA out of memory")


def test_no_members_are_refused(tmp_path):
    with pytest.raises(ValueError, match="members must be above zero"):
        memory.main(["--members", "0", "--output", str(tmp_path / "none")])
    assert not (tmp_path / "none").exists()
