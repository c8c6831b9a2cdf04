"""A file holds what the teacher said, is read instead of asking, and is refused where it is not."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fkd.data import Resident
from fkd.model import functional
from fkd.teachers import Several, Teacher, cached, kept, teacher_of_module

CLASSES, EXAMPLES = 5, 100


class Net(nn.Module):
    """A network that counts the examples that it sees, and whose code can change."""

    seen, power = 0, 1

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        Net.seen += len(x)
        hidden = self.first(x).relu()
        return {"logits": self.last(hidden) ** Net.power, "hidden": hidden}


def teacher(seed: int = 0, **options: Any) -> Teacher:
    model = functional(Net)
    return Teacher(model, *model.init(seed), **options)


def source(**changes: Any) -> Resident:
    inputs = torch.randn(EXAMPLES, 4, generator=torch.Generator().manual_seed(0))
    arguments: dict[str, Any] = {
        "inputs": {"x": inputs},
        "targets": {"labels": torch.arange(EXAMPLES) % CLASSES},
    }
    return Resident(**arguments | changes)


def doubled(inputs: Any, key: object = None) -> Any:
    return {"x": 2 * inputs["x"]}


def tripled(inputs: Any, key: object = None) -> Any:
    return {"x": 3 * inputs["x"]}


def the_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


@pytest.mark.parametrize(
    "options",
    [{}, {"top_k": 2}, {"storage": torch.float16}, {"top_k": 4, "storage": torch.bfloat16}],
    ids=["whole", "top k", "float16", "top k in bfloat16"],
)
def test_a_file_reads_as_what_is_cached(options, tmp_path):
    names, rows = ["logits", "hidden"], torch.tensor([[3, 99], [0, 3]])
    expected = cached(teacher(), source(), names, **options)
    Net.seen = 0
    written = kept(teacher(), source(), tmp_path / "a" / "b", names, **options)
    assert Net.seen == EXAMPLES
    read = kept(teacher(), source(), tmp_path / "a" / "b", names, **options)
    assert Net.seen <= EXAMPLES + 8  # a few, to see that it is the same teacher
    for taught in (written, read):
        assert taught.targets.keys() == expected.targets.keys()
        for name, target in taught.targets.items():
            assert torch.equal(target, expected.targets[name])
            assert target.dtype == expected.targets[name].dtype
        batch, other = taught.read(rows), expected.read(rows)
        for name in (*names, "labels"):
            assert torch.equal(batch.targets[name], other.targets[name])
            assert batch.targets[name].dtype == other.targets[name].dtype
    path = the_file(tmp_path / "a" / "b")
    assert path.suffix == ".safetensors" and len(path.stem) == 64


def test_every_other_teacher_data_or_request_has_its_own_file(tmp_path):
    keep = partial(kept, folder=tmp_path)
    moved = source().inputs["x"].clone()
    moved[50, 2] += 1e-6
    pair = {"a": teacher(0), "b": teacher(1)}
    calls = [
        partial(keep, teacher(), source(), names=["logits"]),
        partial(keep, teacher(1), source(), names=["logits"]),
        partial(keep, teacher(transform=doubled), source(), names=["logits"]),
        partial(keep, teacher(), source(transform=doubled), names=["logits"]),
        partial(keep, teacher(), source(transform=tripled), names=["logits"]),
        partial(keep, teacher(), source(inputs={"x": moved}), names=["logits"]),
        partial(keep, teacher(), source(), names=["logits", "hidden"]),
        partial(keep, teacher(), source(), names=["logits"], top_k=2),
        partial(keep, teacher(), source(), names=["logits"], top_k=3),
        partial(keep, teacher(), source(), names=["logits"], storage=torch.float16),
        partial(keep, Several(pair), source(), names=["logits"]),
        partial(keep, Several(pair, "geometric"), source(), names=["logits"]),
        partial(keep, Several(pair, None), source(), names=["a.logits", "b.hidden"], top_k=2),
    ]
    for number, call in enumerate(calls, start=1):
        first = call()
        assert len(list(tmp_path.iterdir())) == number
        again = call()
        assert len(list(tmp_path.iterdir())) == number
        assert all(torch.equal(first.targets[k], v) for k, v in again.targets.items())


def test_what_the_outputs_do_not_come_from_does_not_count(tmp_path):
    kept(teacher(), source(), tmp_path, ["logits", "hidden"])
    other = source(targets={"depth": torch.zeros(EXAMPLES)}, batch_size=7)
    taught = kept(teacher(), other, tmp_path, ["hidden", "logits"])
    assert sorted(taught.targets) == ["depth", "hidden", "logits"] and taught.batch_size == 7
    the_file(tmp_path)


def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path):
    call = partial(kept, teacher(), source(), tmp_path, ["logits"])
    call()
    path = the_file(tmp_path)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[-5] ^= 1
    for content in (bytes(changed), whole[: len(whole) // 2], b"", b"somebody's notes"):
        path.write_bytes(content)
        Net.seen = 0
        with pytest.raises(ValueError, match=f"{path.name} is damaged.*; delete it, and the teach"):
            call()
        assert path.read_bytes() == content and Net.seen == 0
    path.write_bytes(whole)
    call()
    path.unlink()
    assert torch.equal(call().targets["logits"], teacher()(source().inputs)["logits"])


def test_a_file_under_anothers_name_is_refused(tmp_path):
    kept(teacher(0), source(), tmp_path / "0", ["logits"])
    kept(teacher(1), source(), tmp_path / "1", ["logits"])
    the_file(tmp_path / "0").write_bytes(the_file(tmp_path / "1").read_bytes())
    with pytest.raises(ValueError, match="was written for other outputs"):
        kept(teacher(0), source(), tmp_path / "0", ["logits"])


@pytest.mark.parametrize("top_k", [None, 2])
def test_a_teacher_whose_code_has_changed_is_told(top_k, tmp_path, monkeypatch):
    kept(teacher(), source(), tmp_path, ["logits"], top_k=top_k)
    monkeypatch.setattr(Net, "power", 2)
    with pytest.raises(ValueError, match=r"with the same tensors that says otherwise.*delete it"):
        kept(teacher(), source(), tmp_path, ["logits"], top_k=top_k)


LOGITS = torch.tensor([[4.0, 3.0, 3.0, -torch.inf, 1.0]]).expand(EXAMPLES, -1)


def answering(monkeypatch: pytest.MonkeyPatch, folder: Path, **options: Any) -> Any:
    """What is kept of a network whose code gives any input the logits above and their `change`,
    with a class that is ruled out, and what is no number."""

    def ask(*change: float) -> Resident:
        def forward(self: nn.Module, x: Tensor) -> dict[str, Tensor]:
            logits = (LOGITS + torch.tensor(change))[: len(x)]
            return {"logits": logits, "hidden": torch.full((len(x), 2), torch.nan)}

        monkeypatch.setattr(Net, "forward", forward)
        return kept(teacher(), source(), folder, ["logits", "hidden"], **options)

    return ask


@pytest.mark.parametrize("top_k", [None, 3])
def test_the_rounding_of_other_hardware_is_taken_and_a_twentieth_is_not(
    top_k, tmp_path, monkeypatch
):
    """Also where it is another class that is larger, where one is ruled out, and of what is no
    number."""
    ask = answering(monkeypatch, tmp_path, top_k=top_k)
    first = ask(0.0, 0.01, 0.0, 0.0, 0.0)
    again = ask(0.0, 0.0, 0.01, 0.0, 0.0)  # the second and the third change places
    for name, target in first.targets.items():
        torch.testing.assert_close(again.targets[name], target, rtol=0, atol=0, equal_nan=True)
    with pytest.raises(ValueError, match="with the same tensors that says otherwise: 'logits"):
        ask(-2.0, 0.01, 0.0, 0.0, 0.0)


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("fkd.checkpoint._file.serialize_file", full)
    with pytest.raises(OSError, match="no space left"):
        kept(teacher(), source(), tmp_path, ["logits"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.plain
@pytest.mark.parametrize(
    ("one", "source", "options", "message"),
    [
        (lambda x: {"logits": x["x"]}, source(), {}, "must be a Teacher, or Several of them"),
        (Several([teacher(), nn.Linear(1, 1).eval()]), source(), {}, "but it is a Linear"),
        (teacher(transform=lambda x, _: x), source(), {}, "^kept: test.*<lambda> has no name"),
        (teacher(), source(transform=lambda x, _: x), {}, "in its place, or use cached$"),
        (teacher(), source(), {"names": ["depth"]}, "output 'depth' is not known"),
        (teacher(), source(), {"names": ["hidden"], "top_k": 1}, "kept: top_k is of logits"),
        (teacher(), source(), {"folder": __file__}, "the folder .* cannot be made"),
    ],
)
def test_what_cannot_be_kept_is_refused(one, source, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        kept(one, source, **{"folder": tmp_path, "names": ["logits"]} | options)
    assert list(tmp_path.iterdir()) == []


def test_a_trained_module_is_found_again(tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout())
    vectors = source(inputs=source().inputs["x"])
    first = kept(teacher_of_module(module), vectors, tmp_path, ["logits"])
    again = kept(teacher_of_module(module), vectors, tmp_path, ["logits"])
    assert torch.equal(first.targets["logits"], again.targets["logits"])
    the_file(tmp_path)
    module(vectors.inputs)  # its statistics move
    kept(teacher_of_module(module), vectors, tmp_path, ["logits"])
    assert len(list(tmp_path.iterdir())) == 2
