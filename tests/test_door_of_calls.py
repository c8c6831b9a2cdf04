"""Every public function refuses an argument that does not fit in our words, or answers rightly.

One argument of a valid call is broken in a drawn way. What comes is a ValueError that begins with a
name and is raised in fkd, or the answer that an equivalent valid call gives. `-s` prints how many
cases were drawn, and `--hypothesis-profile=many` draws many.
"""

import importlib
import inspect
import math
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from broken import NOTHING, Call
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._pytree import tree_flatten
from valid_data import DATA
from valid_heads import HEADS
from valid_losses import LOSSES
from valid_methods import METHODS_AND_LAWS
from valid_models import ASKED
from valid_parts import PARTS
from valid_results import RESULTS
from valid_statistics import STATISTICS
from valid_teachers import TEACHERS
from valid_training import TRAINING

SOURCE = Path(__file__).parents[1] / "fkd"
CALLS: dict[str, Call] = {
    **LOSSES,
    **HEADS,
    **METHODS_AND_LAWS,
    **PARTS,
    **STATISTICS,
    **DATA,
    **ASKED,
    **TRAINING,
    **RESULTS,
    **TEACHERS,
}
DRAWN: Counter[str] = Counter()


PACKAGES = (
    "compare",
    "data",
    "data.augmentations",
    "data.datasets",
    "distillation",
    "ensemble",
    "evaluate",
    "execution",
    "export",
    "heads",
    "heads.align",
    "losses",
    "methods",
    "model",
    "models",
    "optim",
    "schedules",
    "split",
    "statistics",
    "teachers",
    "testing",
    "testing.strategies",
    "train",
)
# What is public and takes nothing that could be broken, or is tried elsewhere.
APART = {
    "compare.Progress": "a record that a comparison gives",
    "compare.Results": "a record that a comparison gives, and reads from its files",
    "compare.Teachers": "a record that comparisons give, and reads from its file",
    "compare.Variance": "a record that comparisons give, and reads from its file",
    "data.Augmentation": "what Crop and its kin are made of",
    "data.Streamed": "with the loaders that it reads",
    "data.inputs_and_targets": "with the loaders that it reads",
    "data.unchanged": "it takes anything",
    "data.datasets.Form": "what load makes of its arguments",
    "data.datasets.cache_dir": "it takes nothing",
    "data.datasets.digits": "what load calls",
    "data.datasets.folder": "what load calls",
    "distributed.MemberServer": "with the server that it asks, in its own tests",
    "distributed.Members": "what serve_members makes of its arguments",
    "distributed.StaleError": "an error that a server's answer raises",
    "distributed.load_sharded": "on several processes, in its own tests",
    "distributed.save_sharded": "on several processes, in its own tests",
    "distributed.serve_members": "with the workers that ask it, in its own tests",
    "distributed.sharded": "on several processes, in its own tests",
    "distributed.sharded_state": "on several processes, in its own tests",
    "distributed.whole_state": "on several processes, in its own tests",
    "distributed.ShardedTeacher": "what sharded_teacher makes of its arguments",
    "distributed.sharded_teacher": "on several processes, in its own tests",
    "distillation.Parts": "what distill makes of its arguments",
    "ensemble.check_order": "what train calls",
    "ensemble.seeds_of": "what init and Students call",
    "execution.Advance": "what lay makes of its arguments",
    "export.save_onnx": "as exported, which it calls",
    "teachers.kept": "with the files that it keeps",
    "train.At": "a record that train gives",
}


def _public(package: str) -> set[str]:
    """The functions and classes of a package, but for records, protocols and names of types."""
    module = importlib.import_module(f"fkd.{package}")
    own = [name for name, value in vars(module).items() if _of(value) == module.__name__]
    names = getattr(module, "__all__", [name for name in own if not name.startswith("_")])
    values = {name: getattr(module, name) for name in names}
    return {
        f"{package}.{name}"
        for name, value in values.items()
        if inspect.isfunction(value) or (inspect.isclass(value) and not _is_record(value))
    }


def _of(value: Any) -> str:
    return getattr(value, "__module__", "")


def _is_record(kind: type) -> bool:
    return issubclass(kind, tuple) or getattr(kind, "_is_protocol", False)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_function_is_tried(package):
    assert _public(package) <= CALLS.keys() | APART.keys()


@pytest.fixture(scope="module", autouse=True)
def _told() -> Iterator[None]:
    yield
    print("\ncases drawn, by function:")
    for name, number in sorted(DRAWN.items()):
        print(f"{number:6} {name}")
    print(f"{DRAWN.total():6} in all of {len(DRAWN)} functions")


def _answer(call: Call, arguments: dict[str, Any]) -> Any:
    return call.probe(call.function(**arguments))


@pytest.mark.plain
@pytest.mark.parametrize("name", CALLS)
def test_valid_arguments_are_taken(name):
    call = CALLS[name]
    _answer(call, {key: argument.value for key, argument in call.arguments.items()})


@pytest.mark.plain
@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call.arguments])
@settings(max_examples=settings().max_examples // 2 or 1)  # of each of 254 functions
@given(draw=st.data())
def test_a_broken_argument_is_refused_in_our_words_or_answered_rightly(name, draw):
    call = CALLS[name]
    key = draw.draw(st.sampled_from(sorted(call.arguments)))
    case = draw.draw(call.arguments[key].breaks)
    valid = {other: argument.value for other, argument in call.arguments.items()}
    DRAWN[name] += 1
    told = f"{name}({key}: {case.how})"
    try:
        answer = _answer(call, {**valid, key: case.value})
    except ValueError as error:
        _assert_ours(told, name, call, error)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        raise AssertionError(
            f"{told} ends in {type(error).__name__}: {error} at {frames[-1]}"
        ) from error
    else:
        assert case.same is not NOTHING, f"{told} is answered silently"
        _assert_alike(told, answer, _answer(call, {**valid, key: case.same}))


def _assert_ours(told: str, name: str, call: Call, error: ValueError) -> None:
    place = traceback.extract_tb(error.__traceback__)[-1].filename
    assert Path(place).is_relative_to(SOURCE), f"{told} is refused in {place}: {error}"
    names = (*name.split("."), *call.arguments, *call.voices)
    assert str(error).startswith(names), f"{told} is refused without a name: {error}"


def _assert_alike(told: str, answer: Any, right: Any) -> None:
    leaves, structure = tree_flatten(answer)
    others, other = tree_flatten(right)
    assert structure == other, told
    for leaf, own in zip(leaves, others, strict=True):
        if isinstance(own, Tensor):
            torch.testing.assert_close(
                leaf, own, check_dtype=False, equal_nan=True, msg=lambda text: f"{told}: {text}"
            )
        elif isinstance(own, float):
            assert math.isclose(leaf, own, rel_tol=1e-6) or np.isnan([leaf, own]).all(), told
        else:
            assert leaf == own, told
