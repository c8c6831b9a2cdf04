"""The command line's door: whatever words are given, they are a Config or a refusal in our words,
and nothing is done before that is known."""

import os
import sys
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fkd.compare._command import options
from fkd.compare._command.parser import parser

EXAMPLES = max(200, settings().max_examples)
FLAGS = sorted(flag for flag in parser()._option_string_actions if flag.startswith("--"))
# Any text, with what a shell hands over where its bytes are no UTF-8, and NUL, which it cannot.
TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
NUMBERS = """
0 1 -1 2 3.5 1e-4 0.5 -0.0 1e-40 1e39 1e999 nan -inf 1_000 0x10 ٣ 4294967295 4294967296 99999999999
true , 1, 1,1 3,5 0.5,0.4,0.3 1,x,2
"""
WORDS = """
digits cifar10 folder mnits shared own train all ce kd hint loss nowhere:f mine: :f a:b/c
lightnn resnet20 resnet21 torchvision:x adam sgd lamb constant cosine steps crop flip mixup auto cpu
cuda tpu fp32 bf16 tf32 yes no vmap loop crd imagenet lr=1 lr=1,2 kd.weight=0.5 where=1 lr= =1
lr=1e39 a=b a= == . .. / ~ ~nobody file file/x pipe folder gone nowhere -- - -x
"""
ODD = ["", "9" * 5000, "x" * 300, "a/" * 3000, os.fsdecode(b"\xff"), "a\0b", " ", "★"]
VALUES = st.sampled_from([*NUMBERS.split(), *WORDS.split(), *ODD]) | TEXT


def option(flag: str) -> st.SearchStrategy[list[str]]:
    """A flag with no value, one or several, or written as one word."""
    several = st.lists(VALUES, max_size=3).map(lambda values: [flag, *values])
    return several | VALUES.map(lambda value: [f"{flag}={value}"])


ANYTHING = st.lists(st.sampled_from(FLAGS).flatmap(option) | VALUES.map(lambda word: [word]))
# Of each flag a value that is right by itself, so that many of these lines are right as a whole.
RIGHT = {
    "--dataset": ["digits", "cifar10", "folder"],
    "--root": ["folder", "gone", "~"],
    "--image-size": ["8", "64"],
    "--augment": ["crop", "flip"],
    "--batch-size": ["1", "32"],
    "--order": ["auto", "shared", "own"],
    "--student-model": ["lightnn", "resnet8"],
    "--teacher": ["train", "file"],
    "--teacher-member": ["0"],
    "--layer": ["a=b", "feature_map=layer3"],
    "--methods": ["ce", "kd", "all", "mypackage.mine:own"],
    "--set": ["lr=0.1", "kd.weight=0.5"],
    "--seeds": ["1", "3,5", "4294967295,"],
    "--resolution": ["0.5"],
    "--max-seeds": ["64"],
    "--epochs": ["10", "100"],
    "--teacher-epochs": ["3"],
    "--optimizer": ["sgd", "adam"],
    "--lr": ["0.1", "1e-3"],
    "--momentum": ["0.9"],
    "--schedule": ["steps", "cosine"],
    "--warmup-epochs": ["1"],
    "--recipe": ["crd", "imagenet"],
    "--device": ["cpu"],
    "--precision": ["bf16"],
    "--compile": ["no"],
    "--chunk": ["4"],
    "--sweep": ["lr=1,2"],
    "--validation": ["0.5"],
    "--output": ["new", "folder", "~/new"],
    "--checkpoint-minutes": ["0.5"],
}


def of_one(flag: str) -> st.SearchStrategy[list[str]]:
    """A flag with a value that is right by itself."""
    return st.sampled_from(RIGHT[flag]).map(lambda value: [flag, value])


SENSIBLE = st.lists(st.sampled_from(sorted(RIGHT)), unique=True, max_size=6).flatmap(
    lambda flags: st.tuples(*map(of_one, flags))
)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    (tmp_path / "here" / "folder").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FKD_CACHE", str(tmp_path / "cache"))
    Path("file").write_text("mine", encoding="utf-8")
    Path("nowhere").symlink_to("not-there")
    os.mkfifo("pipe")
    return tmp_path


def outcome(arguments: list[str]) -> str:
    """What came of a command line; any exception but these is a failure."""
    told = StringIO()
    try:
        with redirect_stderr(told), redirect_stdout(told):
            options.parse(arguments)
    except ValueError as error:
        words = str(error)
        assert words.startswith("--"), f"no flag is named: {words}"
        assert ": " in words and len(words) < 10_000
        return "refused"
    except SystemExit as stop:
        if stop.code == 0:
            assert "--help" in told.getvalue()
            return "helped"
        assert stop.code == 2 and "error: " in told.getvalue()
        return "not read"
    return "taken"


def counted(
    lines: st.SearchStrategy[list[str]], place: Path, examples: int = EXAMPLES
) -> Counter[str]:
    """How many command lines came to what, none of which left a trace."""
    outcomes: Counter[str] = Counter()
    before = sorted(place.rglob("*")), Path("file").read_bytes(), set(sys.modules)

    @settings(max_examples=examples)
    @given(lines)
    def each(arguments: list[str]) -> None:
        outcomes[outcome(arguments)] += 1

    each()
    after = sorted(place.rglob("*")), Path("file").read_bytes(), set(sys.modules)
    assert after[:2] == before[:2]
    assert not any(name.startswith("mypackage") for name in after[2] - before[2])
    return outcomes


@pytest.mark.plain
def test_any_words_are_a_config_or_a_refusal(place):
    lines = ANYTHING.map(lambda options: [word for words in options for word in words])
    outcomes = counted(lines, place)
    print(f"\n{outcomes.total()} command lines of any words: {dict(outcomes)}")
    assert outcomes["refused"] and outcomes["not read"]


@pytest.mark.plain
def test_one_wrong_value_beside_what_is_right_is_a_config_or_a_refusal(place):
    lines = st.builds(
        lambda right, wrong: [word for words in (*right, wrong) for word in words],
        SENSIBLE,
        st.sampled_from(FLAGS).flatmap(option),
    )
    outcomes = counted(lines, place, 3 * EXAMPLES)  # of which one in fifty is taken
    print(f"\n{outcomes.total()} command lines with one wrong value: {dict(outcomes)}")
    assert outcomes["refused"] and outcomes["not read"] and outcomes["taken"]


def test_what_is_right_by_itself_is_mostly_taken(place):
    lines = SENSIBLE.map(lambda options: [word for words in options for word in words])
    outcomes = counted(lines, place)
    print(f"\n{outcomes.total()} command lines of right values: {dict(outcomes)}")
    assert outcomes["taken"] > outcomes["refused"] and not outcomes["not read"]


@pytest.mark.plain
@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_takes_any_value_or_refuses_it(flag, place):
    outcomes = counted(option(flag), place, settings().max_examples)
    print(f"\n{outcomes.total()} command lines of {flag} alone: {dict(outcomes)}")
