"""A run that goes on has its own options: what is no run, and what differs, is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from fkd.compare._command import options
from fkd.compare._command.resume import differences
from fkd.compare._store.folder import FORMAT

ASKED = ["--seeds", "3,5", "--epochs", "20", "--set", "kd.weight=0.5", "--sweep", "lr=1,2"]


def run_json(raw: Any) -> str:
    """What a run with these options writes of itself."""
    return json.dumps({"format": FORMAT, "options": raw, "identity": {}, "environment": {}})


def began(folder: Path, *arguments: str) -> options.Config:
    """What was asked of a run whose folder this is."""
    config = options.parse(arguments)
    folder.mkdir()
    (folder / "run.json").write_text(run_json(config.raw), encoding="utf-8")
    return config


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ASKED,
        ["--recipe", "crd", "--epochs", "60"],
        ["--mean", "0.1,0.2,0.3", "--std", "1,2,3", "--optimizer", "sgd", "--momentum", "0.9"],
        ["--nesterov", "--optimizer", "sgd", "--momentum", "0.9", "--no-compile"],
        ["--methods", "all", "--layer", "a=b", "c=d", "--max-seeds", "9", "--resolution", "1"],
        ["--output", "run"],
    ],
)
def test_a_run_goes_on_with_the_options_that_it_began_with(arguments, elsewhere):
    config = began(elsewhere / "run", *arguments)
    on = options.parse(["--resume", "run"])
    assert on.resume == Path("run") and config.resume is None
    assert on.asked == config.asked and on.raw == config.raw
    assert options.parse(["--resume", "run", *arguments]).raw == config.raw


def test_a_part_of_a_run_is_gone_on_with_as_the_whole(elsewhere):
    config = began(elsewhere / "run", "--teachers", "2", "--output", "run")
    part = elsewhere / "run" / "teacher-42"
    part.mkdir()
    (part / "run.json").write_text(run_json(config.raw), encoding="utf-8")
    told = "--resume: run/teacher-42 is a part of the run in run; give that folder"
    with pytest.raises(ValueError, match=f"^{told}"):
        options.parse(["--resume", "run/teacher-42"])
    (elsewhere / "run" / "run.json").write_text("{}", encoding="utf-8")  # it is another's
    assert options.parse(["--resume", "run/teacher-42"]).raw == config.raw


def test_how_often_a_run_is_saved_may_change(elsewhere):
    began(elsewhere / "run", "--checkpoint-minutes", "2")
    assert options.parse(["--resume", "run"]).checkpoint_minutes == 2
    assert options.parse(["--resume", "run", "--checkpoint-minutes", "9"]).checkpoint_minutes == 9


def test_where_the_images_lie_may_change(elsewhere):
    for name in ("here", "there"):
        (elsewhere / name).mkdir()
    asked = ["--dataset", "folder", "--root"]
    began(elsewhere / "run", *asked, "here")
    (elsewhere / "here").rmdir()
    assert options.parse(["--resume", "run", "--root", "there"]).root == "there"
    assert differences(options.parse([*asked, "here"]).raw, options.parse([*asked, "x"]).raw) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--epochs", "10"], "the run has --epochs 20, and now --epochs 10 is asked for: leave"),
        (["--seeds", "2"], "the run has --seeds 3,5, and now --seeds 2 is asked for"),
        (["--set", "kd.weight=1"], "the run has --set kd.weight=0.5, and now --set kd.weight=1 is"),
        (["--resolution", "1"], "the run has no --resolution, and now --resolution 1.0 is asked"),
        (["--lr", "0.1"], "the run has no --lr, and now --lr 0.1 is asked for"),
        (["--recipe", "crd"], "the run has no --recipe, and now --recipe crd is asked for"),
        (["--nesterov"], "the run has no --nesterov, and now --nesterov is asked for"),
        (["--milestones", "0.5,0.75"], "no --milestones, and now --milestones 0.5,0.75 is asked"),
        (["--output", "other"], "the run has no --output, and now --output other is asked for"),
        (
            ["--epochs", "1", "--lr", "2"],
            "--epochs 1 is asked for; the run has no --lr, and now --lr 2.0 is asked for",
        ),
    ],
)
def test_an_option_that_differs_is_refused_with_the_difference(given, message, elsewhere):
    began(elsewhere / "run", *ASKED)
    with pytest.raises(ValueError) as error:
        options.parse(["--resume", "run", *given])
    assert message in str(error.value)


def test_what_is_free_to_change_is_no_difference():
    raw = options.parse([]).raw
    assert differences(raw, options.parse(["--checkpoint-minutes", "1"]).raw) == []
    assert len(differences(raw, options.parse(["--epochs", "7", "--seeds", "2"]).raw)) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"run\.json cannot be read as a run's .JSONDecodeError"),
        (run_json([]), r"does not hold this version's options .they are \[\]"),
        (run_json(None), "it was begun from Python.; go on with what began it"),
        (run_json({}), "dataset is missing; data is missing"),
    ],
)
def test_a_file_that_is_no_runs_is_refused(text, message, elsewhere):
    (elsewhere / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"^--resume: .*{message}"):
        options.parse(["--resume", "."])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", "many"),
        ("epochs", 1.5),
        ("epochs", True),
        ("epochs", None),
        ("lr", "1"),
        ("seeds", 8),
        ("methods", "ce"),
        ("methods", [1]),
        ("mean", ["0.5"]),
        ("nesterov", 1),
        ("unheard_of", 3),
    ],
)
def test_options_of_another_kind_are_refused_by_name(name, value, elsewhere):
    raw = options.parse([]).raw | {name: value}
    (elsewhere / "run.json").write_text(run_json(raw))
    with pytest.raises(ValueError, match=f"does not hold this version's options .{name} is "):
        options.parse(["--resume", "."])


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("gone", "there is no folder gone; give the folder of a run"),
        ("file", "there is no folder file; give the folder of a run"),
        (".", "holds no run, for it has no run.json"),
        ("", "names nothing; give a path"),
        ("~nobody-has-this-name", "names no path"),
        ("a\0b", "a path holds no NUL"),
    ],
)
def test_what_is_no_folder_of_a_run_is_refused(folder, message, elsewhere):
    (elsewhere / "file").touch()
    with pytest.raises(ValueError, match=f"^--resume: .*{message}"):
        options.parse(["--resume", folder])
