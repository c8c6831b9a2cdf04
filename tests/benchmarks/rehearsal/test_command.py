"""The whole rehearsal on a CPU; what is told and written; what is refused."""

import json
import os
import runpy
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.convolutions import command as convolutions
from benchmarks.losses import command as losses
from benchmarks.networks import command as networks
from benchmarks.rehearsal import command, correctness, images, kernels, memory, suite
from benchmarks.rehearsal.stage import Outcome, Stage
from benchmarks.rehearsal.stages import PLAN, UNMEASURED, stages
from benchmarks.speed import command as speed
from fkd.compare._command import options

WRITTEN = {  # by a stage's module
    "benchmarks.rehearsal.images": "images.json",
    "benchmarks.rehearsal.suite": "tests.json",
    "benchmarks.rehearsal.correctness": "correctness.json",
    "benchmarks.rehearsal.kernels": "kernels.json",
    "benchmarks.rehearsal.memory": "memory.json",
    "benchmarks.rehearsal.parts": "parts.json",
    "benchmarks.convolutions": "convolutions.json",
    "benchmarks.losses": "losses.json",
    "benchmarks.networks": "networks.json",
    "benchmarks.speed": "speed.json",
}

PARSERS = {
    "benchmarks.rehearsal.images": images.parse,
    "benchmarks.rehearsal.suite": suite.parse,
    "benchmarks.rehearsal.correctness": correctness.parse,
    "benchmarks.rehearsal.kernels": kernels.parse,
    "benchmarks.rehearsal.memory": memory.parse,
    "benchmarks.rehearsal.parts": options.parse,
    "benchmarks.convolutions": convolutions.parse,
    "benchmarks.losses": losses.parse,
    "benchmarks.networks": networks.parse,
    "benchmarks.speed": speed.parse,
}


@pytest.fixture
def archive(tmp_path) -> Path:
    """A few images of three classes, as an archive."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 4)):
        for name in "abc":
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.jpg")
    with tarfile.open(tmp_path / "images.tar.xz", "w:xz") as archive:
        for split in ("train", "test"):
            archive.add(tmp_path / "images" / split, split)
    return tmp_path / "images.tar.xz"


# One stage of each module: the others differ by what they ask it for, which is held below. Modules
# that compile or start many processes are left out: their own tests run them whole.
APART = (
    "benchmarks.convolutions",
    "benchmarks.networks",
    "benchmarks.rehearsal.correctness",
    "benchmarks.rehearsal.parts",
    "benchmarks.rehearsal.suite",
    "benchmarks.speed",
)
EACH = list({p.module: p.name for p in reversed(PLAN) if p.module not in APART}.values())


def in_this_process(stage: Stage, log: Path, limit: float, variables: Mapping[str, str]) -> Outcome:
    """In place of `stage._run`, whose processes would each import all anew."""
    _, module, *words = stage.arguments
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module, *words])
        for name, value in variables.items():
            patch.setenv(name, value)
        try:
            runpy.run_module(module, run_name="__main__")
        except SystemExit as end:
            assert not end.code
    log.touch()
    return Outcome(stage.name, "done", 1.0, limit)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_every_stage_runs_and_writes(archive, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.rehearsal.stage._run", in_this_process)
    monkeypatch.setattr("benchmarks.speed.sides.BATCH", 8)
    out = tmp_path / "out"
    flags = ["--rehearse", "--root", str(archive), "--output", str(out), "--stages", *EACH]
    assert command.main(flags) == 0
    ended = json.loads((out / "summary.json").read_text())["stages"]
    assert {one["name"]: one["ended"] for one in ended} == dict.fromkeys(EACH, "done")
    told = (out / "summary.md").read_text()
    assert "Rehearsed, which measures nothing" in told
    for planned in PLAN:
        if planned.name in EACH:
            assert json.loads((out / planned.name / WRITTEN[planned.module]).read_text())
            assert f"## {planned.name}\n" in told or planned.name == "images"


@pytest.mark.parametrize("rehearse", [False, True])
@pytest.mark.parametrize("planned", PLAN, ids=lambda planned: planned.name)
def test_a_stage_is_asked_in_words_that_its_module_knows(planned, rehearse, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    where = Path("/images")
    (stage,) = (
        stage for stage in stages(where, rehearse, where, where) if stage.name == planned.name
    )
    assert stage.arguments[:2] == ("-m", planned.module)
    PARSERS[planned.module](list(stage.arguments[2:]))


def test_a_stage_that_fails_is_told_with_its_last_lines_and_stops_no_other(
    tmp_path, monkeypatch, capsys
):
    plan = [
        Stage("first", ("-c", "print('one'); raise ValueError('no kernel')"), 60.0),
        Stage("second", ("-c", "pass"), 60.0),
    ]
    monkeypatch.setattr(command, "stages", lambda *arguments: plan)
    monkeypatch.setattr(command, "PLAN", plan)
    out = tmp_path / "out"
    assert command.main(["--rehearse", "--output", str(out)]) == 1
    ended = json.loads((out / "summary.json").read_text())["stages"]
    assert [(stage["ended"], stage["why"]) for stage in ended] == [
        ("failed", "ValueError: no kernel"),
        ("done", ""),
    ]
    told = capsys.readouterr().out
    assert "first: failed" in told and "Traceback" in told and "second: done" in told
    assert "| first | failed |" in (out / "summary.md").read_text()


def test_results_are_packed_without_weights(tmp_path, monkeypatch):
    writes = (
        "import pathlib, sys; out = pathlib.Path(sys.argv[1]); out.mkdir();"
        "(out / 'results.txt').touch(); (out / 'teacher.safetensors').touch()"
    )
    out, packed = tmp_path / "out", tmp_path / "packed.tar.gz"
    plan = [Stage("first", ("-c", writes, str(out / "first")), 60.0)]
    monkeypatch.setattr(command, "stages", lambda *arguments: plan)
    monkeypatch.setattr(command, "PLAN", plan)
    assert command.main(["--rehearse", "--output", str(out), "--archive", str(packed)]) == 0
    with tarfile.open(packed) as archive:
        names = archive.getnames()
    assert names == ["first/results.txt", "first.log", "summary.json", "summary.md"]
    assert not packed.with_name("packed.tar.gz.part").exists()


def test_what_a_call_leaves_for_the_next_lies_where_it_is_asked_for(tmp_path, monkeypatch):
    seen = []

    def planned(folder, rehearse, root, images):
        seen.append(images)
        return [Stage("first", ("-c", "pass"), 60.0)]

    monkeypatch.setenv("FKD_CACHE", "")  # so that it is as before when the test is over
    monkeypatch.delenv("FKD_CACHE")
    monkeypatch.setattr(command, "stages", planned)
    monkeypatch.setattr(command, "PLAN", [])
    archive, cache = tmp_path / "images.tar.xz", tmp_path / "cache"
    archive.touch()
    flags = ["--rehearse", "--root", str(archive), "--cache", str(cache)]
    assert command.main([*flags, "--output", str(tmp_path / "out")]) == 0
    assert seen == [cache / "images"]
    assert os.environ["FKD_CACHE"] == str(cache / "fkd")


def test_a_summary_that_fails_stops_nothing(tmp_path, monkeypatch, capsys):
    plan = [Stage(name, ("-c", "pass"), 60.0) for name in ("first", "second")]
    monkeypatch.setattr(command, "stages", lambda *arguments: plan)
    monkeypatch.setattr(command, "PLAN", plan)
    monkeypatch.setattr(command.summary, "write", lambda *arguments: 1 / 0)
    assert command.main(["--rehearse", "--output", str(tmp_path / "out")]) == 0
    both = capsys.readouterr()
    assert "second: done" in both.out and "summary: ZeroDivisionError" in both.err


def test_stages_that_need_images_say_so_and_the_others_are_asked_for_a_gpu():
    every = stages(Path("/out"), rehearse=False, root=None, images=None)
    assert [stage.name for stage in every] == [planned.name for planned in PLAN]
    without = {stage.name for stage in every if stage.missing}
    assert without == {"images", "table-bf16", "table-again", "table-fp32"}
    for stage in every:
        assert stage.arguments[-2:] == ("--output", f"/out/{stage.name}")
        if stage.name not in ("images", "suite"):
            assert stage.arguments[stage.arguments.index("--device") + 1] == "cuda"


def test_what_is_not_measured_yet_comes_first_and_ends_in_time():
    first = [name for names in UNMEASURED.values() for name in names]
    assert [planned.name for planned in PLAN[: len(first)]] == first
    for minutes, names in UNMEASURED.items():
        of_call = [planned for planned in PLAN if planned.name in names]
        beside = [planned.seconds for planned in of_call if not planned.timed]
        apart = [planned.seconds for planned in of_call if planned.timed]
        assert max(beside, default=0) + sum(apart) <= 60 * minutes


def test_an_archive_is_unpacked_once_and_read_by_the_others():
    root, images = Path("/a.tar.xz"), Path("/tmp/unpacked")
    every = {stage.name: stage for stage in stages(Path("/out"), True, root, images)}
    first = every["images"].arguments
    assert first[first.index("--root") + 1] == str(root)
    assert first[first.index("--into") + 1] == str(images)
    table = every["table-bf16"].arguments
    assert table[table.index("--root") + 1] == str(images)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--rehearse", "--minutes", "0"], "--minutes: minutes must be above zero"),
        (["--rehearse", "--root", "/nowhere"], "--root: there is no /nowhere"),
        pytest.param(
            [],
            "torch finds no GPU here; use --rehearse",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(arguments, text, tmp_path, capsys):
    out = tmp_path / "none"
    assert command.main([*arguments, "--output", str(out)]) == 2
    assert text in capsys.readouterr().err
    assert not out.exists()
