"""A teacher that a file gives: a state_dict, or one student of a run."""

import pytest
import torch
from compare.small_images import run, tiny
from torch import nn

from fkd import checkpoint
from fkd.compare import command
from fkd.compare._command import options
from fkd.compare._command.given_teacher import given_teacher
from fkd.compare.results import Results


class Tied(nn.Module):
    """With BatchNorm's integer among its buffers, and one weight under two names."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.one, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
        self.other.weight = self.one.weight


@pytest.fixture
def modules(tmp_path):
    """Two students as modules, and the file that a run would write of them."""
    modules = Tied(), Tied()
    for module in modules:
        module.norm(torch.randn(8, 3))
    leaves = [dict(m.named_parameters()) | dict(m.named_buffers()) for m in modules]
    tree = {name: torch.stack([x[name].detach() for x in leaves]) for name in leaves[0]}
    checkpoint.save_members(tmp_path / "students.safetensors", tree, {"seeds": [3, 5]})
    return modules


def asked(*words):
    return options.parse(["--teacher-model", "lightnn", *map(str, words)])


def test_a_student_of_a_run_is_taken_whole(modules, tmp_path):
    config = asked("--teacher", tmp_path / "students.safetensors", "--teacher-member", 1)
    state = given_teacher(config, Tied, 10)
    assert state is not None and set(state) == set(modules[1].state_dict())
    for name, value in modules[1].state_dict().items():
        assert torch.equal(state[name], value)


def test_a_state_dict_is_taken_as_it_is(modules, tmp_path):
    torch.save(modules[0].state_dict(), tmp_path / "teacher.pt")
    state = given_teacher(asked("--teacher", tmp_path / "teacher.pt"), Tied, 10)
    assert state is not None
    for name, value in modules[0].state_dict().items():
        assert torch.equal(state[name], value)


def test_without_a_file_there_is_none():
    assert given_teacher(asked(), Tied, 10) is None


@pytest.mark.parametrize(
    "more, message",
    [
        ([], r"(?s)^--teacher: .*: it holds 2 students of a run; choose one by --teacher-member"),
        (["--teacher-member", 2], r"(?s)^--teacher: .*member 2 is missing.* for 10 classes"),
    ],
)
def test_students_of_whom_none_is_chosen_are_refused(modules, tmp_path, more, message):
    config = asked("--teacher", tmp_path / "students.safetensors", *more)
    with pytest.raises(ValueError, match=message):
        given_teacher(config, Tied, 10)


@pytest.mark.slow
@pytest.mark.plain
@pytest.mark.usefixtures("elsewhere")
def test_a_student_teaches_the_next_generation(images):
    out = run(*tiny(images, "train", "--methods", "ce", "--epochs", "1"))
    first = Results.read(out).methods["ce"]
    words = tiny(images, out / "students-ce.safetensors", "--teacher-member", "1")
    words += ["--teacher-model", "lightnn", "--methods", "kd", "--epochs", "1"]
    assert command.main([*words, "--output", "next"]) == 0
    teacher = Results.read("next").teacher
    assert teacher and teacher.accuracy == first.last("test_accuracy")[1]
