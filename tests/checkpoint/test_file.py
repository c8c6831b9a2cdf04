"""Whatever tensors are written come back bit for bit; what safetensors cannot hold is refused."""

import errno
import json
import math
import resource
import stat
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load, load_file, save
from torch import Tensor, nn

from fkd import checkpoint
from fkd.checkpoint._file import DTYPES


class Odd(Tensor):
    """What may keep its numbers anywhere."""


def bits(x: Tensor) -> bytes:
    """The numbers' bytes in order, by NumPy."""
    plain = x.detach().resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, x in one.items():
        assert (x.dtype, x.shape) == (other[name].dtype, other[name].shape), name
        assert bits(x) == bits(other[name]), name


def through(tmp_path, tensors: dict[str, Tensor], **about: Any) -> dict[str, Tensor]:
    checkpoint.write(tmp_path / "x.safetensors", tensors, about)
    return checkpoint.read(tmp_path / "x.safetensors")


SHAPES = st.lists(st.integers(0, 4), max_size=3)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def any_tensor(draw: st.DrawFn) -> Tensor:
    """Any dtype, shape and bits, strided as it comes."""
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(SHAPES)
    size = math.prod(shape) * dtype.itemsize
    raw = bytearray(draw(st.binary(min_size=size, max_size=size)))
    if dtype == torch.bool:
        raw = bytearray(byte % 2 for byte in raw)
    flat = torch.frombuffer(raw, dtype=torch.uint8).view(dtype) if raw else torch.empty(0).to(dtype)
    return flat.reshape(shape).permute(draw(st.permutations(range(len(shape)))))


@given(tensors=st.dictionaries(NAMES.filter(lambda name: name != "__metadata__"), any_tensor()))
def test_any_tensors_come_back_bit_for_bit(tmp_path_factory, tensors):
    path = tmp_path_factory.mktemp("any") / "x"
    checkpoint.write(path, tensors)
    assert_same(checkpoint.read(path), tensors)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_is_the_one_that_others_read(dtype, tmp_path):
    x = torch.arange(2).to(dtype)
    back = through(tmp_path, {"x": x, "none": x[:0], "one": x[1]})
    assert_same(back, {"x": x, "none": x[:0], "one": x[1]})
    assert_same(load_file(tmp_path / "x.safetensors"), back)


def is_held(dtype: torch.dtype) -> bool:
    """Whether safetensors' own functions save and load a dtype."""
    try:
        return load(save({"x": torch.zeros(2, dtype=torch.uint8).to(dtype)}))["x"].dtype == dtype
    except Exception:  # as torch or safetensors does not know the dtype, or know it by halves
        return False


def test_every_dtype_that_safetensors_holds_is_taken():
    all_of_torch = {x for x in vars(torch).values() if isinstance(x, torch.dtype)}
    held = {dtype for dtype in all_of_torch if is_held(dtype)}
    assert torch.float32 in held and torch.complex128 not in held
    assert held <= set(DTYPES)


def test_a_file_that_the_disk_does_not_take_is_an_error_of_the_system(tmp_path):
    through(tmp_path, {"x": torch.ones(1)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match=r"x\.safetensors") as error:
            checkpoint.write(tmp_path / "x.safetensors", {"x": torch.ones(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.errno == errno.EFBIG
    assert checkpoint.read(tmp_path / "x.safetensors")["x"].tolist() == [1.0]


def test_numbers_that_are_none_keep_their_bits(tmp_path):
    raw = np.array([0x7FC00001, 0xFFC12345, 0x7F800000, 0xFF800000, 0x80000000, 1], dtype=np.uint32)
    x = torch.from_numpy(raw.view(np.float32))
    assert through(tmp_path, {"x": x})["x"].numpy().view(np.uint32).tolist() == raw.tolist()


def test_views_are_written_at_their_own_size(tmp_path):
    large = torch.randn(1000, 100)
    views = {
        "row": large[3],
        "column": large[:, 5],
        "again": large[3],
        "part": large[2:5, :7],
        "turned": large[:4].T,
        "wide": torch.ones(1).expand(10),
    }
    assert_same(through(tmp_path, views), views)
    size = (tmp_path / "x.safetensors").stat().st_size
    assert size < 4 * sum(x.numel() for x in views.values()) + 4000


def test_lazily_conjugated_numbers_are_written_as_they_are(tmp_path):
    z = torch.tensor([1 + 2j, 3 - 4j])
    back = through(tmp_path, {"conj": z.conj(), "imag": z.conj().imag})
    assert back["conj"].tolist() == [1 - 2j, 3 + 4j] and back["imag"].tolist() == [-2.0, 4.0]


def test_parameters_and_tied_weights_come_back_apart(tmp_path):
    layer = nn.Linear(2, 2)
    back = through(tmp_path, {"one": layer.weight, "other": layer.weight})
    assert not back["one"].requires_grad
    back["one"].zero_()
    assert torch.equal(back["other"], layer.weight)


def test_what_a_file_is_about_is_read_from_its_header_alone(tmp_path, monkeypatch):
    about = {"step": 3, "names": ["kd", "ü\udc80"], "loss": [0.1, math.inf, None, True], "d": {}}
    through(tmp_path, {"x": torch.ones(1000)}, **about)
    monkeypatch.setattr("fkd.checkpoint._file.checksum", None)
    assert checkpoint.about(tmp_path / "x.safetensors") == about


def test_the_header_says_which_versions_wrote_it(tmp_path):
    through(tmp_path, {"x": torch.ones(1)})
    metadata = safe_open(tmp_path / "x.safetensors", "pt").metadata()
    assert metadata["format"] == "pt" and metadata["fkd.format"] == "1"
    assert json.loads(metadata["fkd.versions"])["torch"] == torch.__version__


def test_names_of_every_kind(tmp_path):
    odd = ["", ".", "a.b", "a b\n", "\0", '"\\', "ü\u2028\U0001f600", "/etc/passwd", "x" * 5000]
    tensors = {name: torch.full((1,), float(k)) for k, name in enumerate(odd)}
    assert_same(through(tmp_path, tensors), tensors)


def test_very_many_tensors(tmp_path):
    tensors = {f"{k:04d}.params.weight": torch.tensor(k) for k in range(5000)}
    assert_same(through(tmp_path, tensors), tensors)
    assert through(tmp_path, {}) == {}


@pytest.mark.plain
@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"x": 1.0}, "x must be a tensor, but it is a float; leave it out"),
        ({1: torch.ones(1)}, "1 must be a name, but it is a int"),
        ({"__metadata__": torch.ones(1)}, "__metadata__ must be another name"),
        ({"\udc80": torch.ones(1)}, "must be a name that UTF-8 can hold"),
        (
            {"x": torch.ones(2, dtype=torch.complex128)},
            "x must have a dtype that safetensors",
        ),
        ({"x": torch.eye(2).to_sparse()}, "x must be a dense tensor, but it is torch.sparse_coo"),
        ({"x": torch.eye(2, device="meta")}, "x must be a dense tensor, .* on meta"),
        ({"x": torch.ones(1).as_subclass(Odd)}, "x must be a plain tensor, but it is a Odd"),
        ({"x": torch.ones(1), "y": 1, "z": None}, "y must be .*\n  z must be a tensor"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_by_name(tensors, message, tmp_path):
    with pytest.raises(ValueError, match=f"checkpoint: these cannot be written:\n  .*{message}"):
        checkpoint.write(tmp_path / "x", tensors)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.plain
def test_quantized_numbers_are_refused(tmp_path):
    x = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    with pytest.raises(ValueError, match=r"x must be a dense tensor, but it is .* of torch\.qint8"):
        checkpoint.write(tmp_path / "x", {"x": x})


@pytest.mark.plain
@pytest.mark.parametrize(
    "about", [{"x": {1, 2}}, {"x": torch.ones(1)}, {1: "a", "1": "b"}, [1], {(1, 2): 3}]
)
def test_what_is_not_json_is_refused(about, tmp_path):
    with pytest.raises(ValueError, match="checkpoint: about must be a dict in JSON's types, but"):
        checkpoint.write(tmp_path / "x", {}, about)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_header_that_no_one_could_read_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"header too large.* write several files"):
        checkpoint.write(tmp_path / "x", {"x": torch.ones(1)}, {"text": "x" * 100_000_001})
    assert list(tmp_path.iterdir()) == []


def test_a_file_has_the_permissions_of_any_other(tmp_path):
    through(tmp_path, {"x": torch.ones(1)})
    (tmp_path / "other").write_text("")
    one, other = (tmp_path / name for name in ("x.safetensors", "other"))
    assert stat.S_IMODE(one.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)
