"""Out again: what was trained here loads and runs elsewhere, one student at a time."""

import sys
from functools import partial
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.models.gpt2.configuration_gpt2 import GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel

from fkd import methods, optim
from fkd.data import Batch
from fkd.distillation import State, distill, step, student_of
from fkd.ensemble import ensemble, member
from fkd.export import exported, member_state_dict, save_onnx, save_safetensors
from fkd.model import Model, functional
from fkd.models import MODELS, features


class Net(nn.Module):
    """A network with BatchNorm, a frozen layer, and a buffer that no state_dict holds."""

    shift: Tensor

    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 3)
        self.register_buffer("shift", torch.ones(4), persistent=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.drop(self.norm(self.frozen(x) + self.shift))
        return {"logits": self.fc(hidden), "hidden": hidden}


class Extra(nn.Linear):
    """A layer whose state_dict holds more than tensors."""

    def get_extra_state(self):
        return {"version": 2}

    def set_extra_state(self, state):
        assert state == {"version": 2}


def gpt2() -> GPT2LMHeadModel:
    config = GPT2Config(vocab_size=50, n_positions=8, n_embd=16, n_layer=1, n_head=2)
    return GPT2LMHeadModel(config)


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def trained(build) -> tuple[Model, State]:
    """Three students after two steps, each with a seed of its own."""
    model = functional(build)
    batch = Batch(numbers(6, 4), {"labels": torch.tensor([0, 1, 2, 0, 1, 2])})
    rule = ensemble(distill(model, methods.ce(), optim.sgd(0.1), batch))
    state = rule.init([0, 1, 2])
    for _ in range(2):
        state, _ = step(rule, state, batch)
    return model, state


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_member_loads_and_answers_as_it_did(number):
    model, state = trained(Net)
    state_dict = member_state_dict(model.build, *student_of(state), member=number)
    module = Net()
    module.load_state_dict(state_dict, strict=True)
    expected, _ = model.apply(*member(student_of(state), number), numbers(5, 4), train=False)
    torch.testing.assert_close(module.eval()(numbers(5, 4)), expected, rtol=0, atol=0)
    assert state_dict["norm.num_batches_tracked"] == 2
    assert "shift" not in state_dict
    frozen = member(state, number).buffers["student"]["frozen.weight"]
    assert torch.equal(state_dict["frozen.weight"], frozen)


def test_one_students_state_needs_no_member():
    model = functional(Net)
    state_dict = member_state_dict(Net, *model.init(7))
    torch.manual_seed(7)
    torch.testing.assert_close(state_dict, dict(Net().state_dict()), rtol=0, atol=0)


def test_what_comes_out_is_a_copy_of_one_members_size():
    model, state = trained(Net)
    params, buffers = student_of(state)
    state_dict = member_state_dict(model.build, params, buffers, member=1)
    for name, tensor in state_dict.items():
        assert tensor.untyped_storage().nbytes() == tensor.nbytes, name
        assert not tensor.requires_grad
    state_dict["fc.bias"].fill_(9)
    assert params["fc.bias"].max() < 9


def test_tied_weights_come_under_both_names():
    params, buffers = functional(gpt2).init(0)
    assert "lm_head.weight" not in params
    state_dict = member_state_dict(gpt2, params, buffers)
    module = gpt2()
    assert state_dict.keys() == module.state_dict().keys()
    module.load_state_dict(state_dict, strict=True)
    assert module.lm_head.weight is module.transformer.wte.weight
    assert torch.equal(module.lm_head.weight, params["transformer.wte.weight"])
    assert state_dict["lm_head.weight"] is state_dict["transformer.wte.weight"]


def test_an_extra_state_is_what_the_build_makes():
    build = partial(Extra, 2, 3)
    state_dict = member_state_dict(build, *functional(build).init(0))
    build().load_state_dict(state_dict, strict=True)
    assert state_dict["_extra_state"] == {"version": 2}


@pytest.mark.plain
@pytest.mark.parametrize(
    ("change", "number", "message"),
    [
        ({}, 3, r"there is no member 3, for weight is \(3, 3, 4\); members are the first axis"),
        ({}, -1, "member must be a whole number of at least 0"),
        ({"bias": torch.zeros(())}, 0, r"there is no member 0, for bias is \(\)"),
        ({}, None, r"not one Linear's; [^\n]*\n  weight must be \(3, 4\), but is \(3, 3, 4\)\n  b"),
        ({"more": torch.zeros(3, 2)}, 0, "more is not wanted"),
        ({"bias": torch.zeros(3, 2)}, 0, r"bias must be \(3,\), but is \(2,\)"),
    ],
)
def test_what_does_not_fit_is_refused(change, number, message):
    params = {"weight": torch.zeros(3, 3, 4), "bias": torch.zeros(3, 3)} | change
    with pytest.raises(ValueError, match=message):
        member_state_dict(lambda: nn.Linear(4, 3), params, {}, member=number)


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match=r"one Linear's; [^\n]*\n  bias is missing$"):
        member_state_dict(lambda: nn.Linear(4, 3), {"weight": torch.zeros(3, 4)}, {})


def test_a_buffer_that_would_be_lost_is_refused():
    params, buffers = functional(Net).init(0)
    buffers["shift"] = buffers["shift"] + 1
    with pytest.raises(ValueError, match=r"holds the buffer shift, .* build.. makes another one"):
        member_state_dict(Net, params, buffers)


def test_a_safetensors_file_holds_one_member(tmp_path):
    model, state = trained(Net)
    state_dict = member_state_dict(model.build, *student_of(state), member=1)
    save_safetensors(tmp_path / "one.safetensors", state_dict)
    assert [path.name for path in tmp_path.iterdir()] == ["one.safetensors"]
    read = load_file(tmp_path / "one.safetensors")
    torch.testing.assert_close(read, state_dict, rtol=0, atol=0)
    Net().load_state_dict(read, strict=True)
    # 4·4 + 4 of the frozen layer, 4·4 of BatchNorm, 3·4 + 3 of the last, a count of 8 bytes
    size = (tmp_path / "one.safetensors").stat().st_size
    header = int.from_bytes((tmp_path / "one.safetensors").read_bytes()[:8], "little")
    assert size == 8 + header + 4 * (20 + 16 + 15) + 8


def test_tied_weights_are_each_written_out(tmp_path):
    state_dict = member_state_dict(gpt2, *functional(gpt2).init(0))
    state_dict["view"] = state_dict["lm_head.weight"].mT  # of the same memory, and not contiguous
    save_safetensors(tmp_path / "gpt2.safetensors", state_dict)
    read = load_file(tmp_path / "gpt2.safetensors")
    torch.testing.assert_close(read, state_dict, rtol=0, atol=0)
    del read["view"]
    gpt2().load_state_dict(read, strict=True)


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(ValueError, match=r"save_safetensors: there is a file .*a already; name a"):
        save_safetensors(tmp_path / "a", {"x": torch.zeros(2)})
    assert (tmp_path / "a").read_text() == "mine"


@pytest.mark.plain
def test_what_is_no_tensor_is_refused(tmp_path):
    with pytest.raises(ValueError, match="_extra_state must be a tensor, but it is a dict; leave"):
        save_safetensors(tmp_path / "a", {"_extra_state": {}})  # pyright: ignore[reportArgumentType]
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(*arguments, **named):
        raise OSError("no space left")

    monkeypatch.setattr("fkd.checkpoint._file.serialize_file", fail)
    with pytest.raises(OSError, match="no space left"):
        save_safetensors(tmp_path / "a", {"x": torch.zeros(2)})
    assert not list(tmp_path.iterdir())


def test_a_program_answers_as_the_student_does_for_any_number_of_examples():
    model, state = trained(Net)
    state_dict = member_state_dict(model.build, *student_of(state), member=2)
    program = exported(Net, state_dict, numbers(2, 4)).module()
    for examples in (1, 5):
        x = numbers(examples, 4)
        expected, _ = model.apply(*member(student_of(state), 2), x, train=False)
        torch.testing.assert_close(program(x), expected)


def test_a_program_takes_arguments_by_name_and_in_order():
    state_dict = member_state_dict(gpt2, *functional(gpt2).init(0))
    module, tokens = gpt2(), torch.tensor([[1, 2, 3], [4, 5, 6]])
    module.load_state_dict(state_dict)
    expected = module.eval()(input_ids=tokens, use_cache=False).logits
    named = {"input_ids": tokens, "use_cache": False}
    by_name = exported(gpt2, state_dict, named).module()(**named)
    torch.testing.assert_close(by_name.logits, expected)
    build = partial(nn.Bilinear, 4, 4, 3)
    pair = numbers(3, 4), numbers(3, 4) + 1
    program = exported(build, build().state_dict(), pair).module()
    assert program(*pair).shape == (3, 3)


@pytest.mark.plain  # the typed pass asks for tensors where torch.fx has none yet
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (partial(MODELS["resnet8"], 3), (2, 3, 16, 16)),
        (features(Net, {"mine": "logits"}), (2, 4)),
        (features(Net, {"normalised": "norm"}), (2, 4)),
    ],
)
def test_a_program_has_the_features_too(build, shape):
    torch.manual_seed(0)
    net, x = build().eval(), numbers(*shape)
    program = exported(build, net.state_dict(), x)
    torch.testing.assert_close(program.module()(x), net(x))


@pytest.mark.plain
def test_a_single_example_is_refused():
    # torch.export would make a program of it that takes one example and no other number
    state = nn.Linear(3, 2).state_dict()
    with pytest.raises(ValueError, match="exported: inputs must be a batch of two examples"):
        exported(lambda: nn.Linear(3, 2), state, torch.ones(1, 3))


def test_a_state_of_another_module_is_refused():
    with pytest.raises(ValueError, match=r"exported: state_dict.*Missing key"):
        exported(Net, {}, numbers(2, 4))


def test_onnx_is_asked_for_where_it_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match="ONNX is not installed; pip install onnx onnxscript"):
        save_onnx(tmp_path / "a.onnx", Net, Net().state_dict(), numbers(2, 4))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    not all(find_spec(name) for name in ("onnx", "onnxscript")), reason="ONNX is not installed"
)
@pytest.mark.filterwarnings("default")  # the converter's own
def test_an_onnx_file_answers_as_the_student_does(tmp_path):
    from onnx.reference import ReferenceEvaluator  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    net = Net().eval()
    save_onnx(tmp_path / "a.onnx", Net, net.state_dict(), numbers(2, 4))
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    session = ReferenceEvaluator(str(tmp_path / "a.onnx"))
    for examples in (2, 5):
        x = numbers(examples, 4)
        arrays = session.run(None, {"x": x.numpy()})
        outputs = dict(zip(session.output_names, map(torch.from_numpy, arrays), strict=True))
        expected = {name: value.detach() for name, value in net(x).items()}
        torch.testing.assert_close(outputs, expected)
    with pytest.raises(ValueError, match="save_onnx: there is a file"):
        save_onnx(tmp_path / "a.onnx", Net, net.state_dict(), numbers(2, 4))


def test_a_module_of_ones_own_is_left_as_it_is():
    module = nn.Linear(2, 3).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    exported(lambda: module, nn.Linear(2, 3).state_dict(), torch.ones(2, 2))
    assert module.training
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
