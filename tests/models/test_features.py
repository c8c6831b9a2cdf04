"""Inner tensors as outputs: they are what a hook sees, and the module is otherwise what it was."""

import pickle
import random
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import get_graph_node_names
from transformers.models.gpt2.configuration_gpt2 import GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel

from fkd import methods, optim
from fkd.data import Batch
from fkd.distillation import distill, step
from fkd.ensemble import ensemble
from fkd.model import Key, check, functional, outputs_like
from fkd.models import MODELS, features

resnet18 = partial(torchvision.models.resnet18, num_classes=4)
NODES = {
    "hidden": "flatten",
    "feature_map": "layer4",
    "pre_activation": "layer4.1.add",
    "early_map": "layer1",
    "normalised": "layer1.0.bn1",
}


class Small(nn.Module):
    """A network that computes otherwise in training, in which a ReLU writes over what it takes."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.frozen = nn.BatchNorm2d(4).eval()
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        x = self.frozen(self.norm(self.conv(x))) * scale
        if self.training:
            x = 2 * x
        return self.fc(self.drop(self.relu(x).mean((2, 3))))


class Lists(nn.Module):
    """A network that torch.fx cannot read, for it counts what it is given."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 3)])

    def forward(self, x: Tensor) -> dict[str, Tensor | list[Tensor]]:
        maps = []
        for layer in self.layers[: len(x)]:
            x = layer(x)
            maps.append(x)
        return {"logits": x, "maps": maps}


class Masked(nn.Module):
    """A network with arguments that are seldom given."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor, mask: Tensor | None = None, twice: bool = False) -> Tensor:
        if mask is None:
            mask = torch.ones_like(x).tril()
        if twice:
            x = 2 * x
        return self.fc(F.scaled_dot_product_attention(x, x, x, attn_mask=mask.bool()))


def images(examples: int = 3, side: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(examples, 3, side, side, generator=generator)


def built(build):
    torch.manual_seed(0)
    return build()


@pytest.mark.parametrize("training", [False, True])
def test_a_node_is_what_a_hook_sees(training):
    net, plain = built(features(resnet18, NODES)), built(resnet18)
    seen = {}
    layers = {
        "hidden": plain.avgpool,
        "feature_map": plain.layer4,
        "pre_activation": plain.get_submodule(
            "layer4.1.relu"
        ),  # it is called twice, and last with the sum
        "early_map": plain.layer1,
        "normalised": plain.get_submodule("layer1.0.bn1"),
    }
    for name, layer in layers.items():

        def keep(layer, inputs, output, name=name):
            seen[name] = output.flatten(1) if name == "hidden" else output.clone()

        def keep_before(layer, inputs, name=name):
            seen[name] = inputs[0].clone()

        if name == "pre_activation":
            layer.register_forward_pre_hook(keep_before)
        else:
            layer.register_forward_hook(keep)
    logits = plain.train(training)(images())
    outputs = net.train(training)(images())
    assert list(outputs) == ["logits", *NODES]
    torch.testing.assert_close(outputs, {"logits": logits, **seen}, rtol=0, atol=0)
    assert outputs["pre_activation"].min() < 0 and outputs["normalised"].min() < 0
    torch.testing.assert_close(net.state_dict(), plain.state_dict(), rtol=0, atol=0)


def test_the_module_is_what_it_was_but_for_its_outputs():
    net, plain = built(features(resnet18, NODES)), built(resnet18)
    assert isinstance(net, torchvision.models.ResNet) and net.fc.out_features == 4
    assert list(net.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(net.state_dict())
    assert net.training and all(part.training for part in net.modules())
    evaluated = features(lambda: resnet18().eval(), NODES)()
    assert not any(part.training for part in evaluated.modules())


def test_an_own_output_has_another_name_and_takes_that_of_another():
    build = partial(MODELS["resnet8"], 4)
    plain = built(build).eval()(images(2, 16))
    renamed = features(build, {"feature_map": "f2", "mine": "hidden"})
    outputs = built(renamed).eval()(images(2, 16))
    expected = plain | {"feature_map": plain["f2"], "mine": plain["hidden"]}
    torch.testing.assert_close(outputs, expected, rtol=0, atol=0)


@pytest.mark.plain  # the typed pass asks for tensors where torch.fx has none yet
def test_own_outputs_and_nodes_stand_side_by_side():
    build = partial(MODELS["resnet8"], 4)
    mixed = features(build, {"mine": "f1", "sum": "layer1.0.add", "early_map": "layer2.0.conv1"})
    net = built(mixed).eval()
    outputs, plain = net(images(2, 16)), built(build).eval()(images(2, 16))
    assert set(outputs) == {*plain, "mine", "sum"}
    torch.testing.assert_close(outputs["mine"], plain["f1"], rtol=0, atol=0)
    torch.testing.assert_close(outputs["sum"], plain["preact1"], rtol=0, atol=0)
    expected = net.get_submodule("layer2.0.conv1")(plain["f1"])
    torch.testing.assert_close(outputs["early_map"], expected, rtol=0, atol=0)
    both = features(mixed, {"again": "mine"})  # features of what has features
    torch.testing.assert_close(built(both).eval()(images(2, 16))["again"], plain["f1"])


def test_training_and_evaluation_each_have_their_own_pass():
    build = features(Small, {"map": "mul", "pooled": "mean"})
    model, plain = functional(build), functional(Small)
    (params, buffers), key = model.init(3), Key(torch.tensor(3), torch.tensor(7))
    for train in (True, False):
        state = params, buffers, images(4, 8)
        outputs, after = model.apply(*state, train=train, key=key)
        expected, expected_after = plain.apply(*state, train=train, key=key)
        torch.testing.assert_close(outputs["logits"], expected["logits"], rtol=0, atol=0)
        torch.testing.assert_close(after, expected_after, rtol=0, atol=0)
        assert after["norm.num_batches_tracked"] == train  # what is frozen counts nothing
        assert after["frozen.num_batches_tracked"] == 0
        relu = (outputs["map"] * (2 if train else 1)).clamp(min=0)
        torch.testing.assert_close(outputs["pooled"], relu.mean((2, 3)))


def test_arguments_keep_their_names():
    model = functional(features(Small, {"map": "mul"}))
    outputs, _ = model.apply(
        *model.init(0), {"x": images(4, 8), "scale": torch.zeros(())}, train=False
    )
    assert outputs["map"].abs().max() == 0


def test_arguments_that_a_pass_turns_on_stay_at_their_defaults():
    build, x = features(Masked, {"mixed": "scaled_dot_product_attention"}), torch.randn(2, 4, 4)
    net, plain = built(build), built(Masked)
    outputs = net(x)
    torch.testing.assert_close(outputs["logits"], plain(x), rtol=0, atol=0)
    torch.testing.assert_close(plain.fc(outputs["mixed"]), outputs["logits"])
    again = net(x, mask=None, twice=False)
    torch.testing.assert_close(again, outputs, rtol=0, atol=0)
    for other in ({"mask": torch.ones_like(x)}, {"twice": True}):
        with pytest.raises(AssertionError, match="has been specialized to have value"):
            net(x, **other)
    # Read as any other argument the mask would count as given, and the network's own be left out.


def test_a_module_that_was_there_before_is_left_alone():
    module = Small()
    net = features(lambda: module, {"map": "mul"})()
    assert type(module) is Small and net.conv is module.conv
    assert module.training and not module.frozen.training
    assert isinstance(module(images(2, 8)), Tensor)
    assert set(net(images(2, 8))) == {"logits", "map"}


def test_it_is_a_model_like_any_other():
    build = features(Small, {"feature_map": "norm"})
    check(functional(build), images(4, 8))
    with torch.no_grad():
        net = built(build).eval()
        targets = net(images(4, 8)) | {"labels": torch.tensor([0, 1, 2, 0])}
    batch = Batch(images(4, 8), targets)
    rule = ensemble(distill(functional(build), methods.at(), optim.sgd(0.1), batch))
    after, metrics = step(rule, rule.init([0, 1]), batch)
    assert metrics["at"].isfinite().all()
    assert set(after.params["student"]) == {name for name, _ in net.named_parameters()}


@pytest.mark.plain
@pytest.mark.parametrize("names", [{"map": "norm"}, {"mine": "logits"}])
def test_it_compiles_as_one_graph(names):
    net = built(features(Small, names)).eval()
    torch.compiler.reset()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images(2, 8)), net(images(2, 8)), rtol=0, atol=0)
    torch.compiler.reset()


def test_a_build_can_be_sent_to_another_process():
    build = pickle.loads(pickle.dumps(features(resnet18, NODES)))
    assert set(build()(images())) == {"logits", *NODES}


class Beside(nn.Module):
    """A network that changes its buffers, and computes with them alone."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 2)
        self.passes = nn.Buffer(torch.zeros(()))
        self.mean = nn.Buffer(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        if self.training:
            self.passes.add_(1)
            self.mean.mul_(0.5).add_(x.detach().mean(0))
        return self.two(x - (self.mean + 1) * 2) * (self.passes + 1)


def test_what_is_made_of_buffers_is_made_anew_in_each_pass():
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    plain, taken = functional(Beside), functional(features(Beside, {"hidden": "one"}))
    params, buffers = taken.init(0)
    assert buffers["passes"] == 0  # reading the pass has changed nothing
    buffers = {name: buffer + 0.5 for name, buffer in buffers.items()}
    for train in (True, False):
        expected, after = plain.apply(params, buffers, x, train=train)
        outputs, own = taken.apply(params, buffers, x, train=train)
        assert torch.equal(outputs["logits"], expected["logits"])
        assert all(torch.equal(own[name], after[name]) for name in after)


class Dropped(Beside):
    """A layer that is left out at random."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        return self.two(x if self.training and torch.rand(1) < 0.5 else x.relu())


class DroppedByPython(Beside):
    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        return self.two(x if self.training and random.random() < 0.5 else x.relu())


class DroppedByNumPy(Beside):
    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        return self.two(x if self.training and np.random.random() < 0.5 else x.relu())


class Counting(Beside):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.two(self.one(x)) * self.calls


@pytest.mark.plain
@pytest.mark.parametrize("build", [Dropped, DroppedByPython, DroppedByNumPy, Counting])
def test_a_pass_that_is_another_each_time_is_not_read(build):
    module = features(build, {"hidden": "one"})()
    with pytest.raises(ValueError, match=r"'one' is no output .*draws random numbers, or counts"):
        module(torch.ones(4, 3))


def test_what_torch_fx_cannot_read_has_its_own_outputs():
    net = built(features(Lists, {"hidden": "maps.0"}))
    x = torch.ones(2, 4)
    torch.testing.assert_close(net(x)["hidden"], net.get_submodule("layers.0")(x))
    with pytest.raises(ValueError, match="let it return a dict that has them") as error:
        outputs_like(functional(features(Lists, {"hidden": "layers.0"})), x, train=True)
    assert "'layers.0' is no output of the Lists, which gives logits, maps.0" in str(error.value)


def test_a_transformer_has_its_hidden_states():
    config = GPT2Config(
        vocab_size=11, n_positions=8, n_embd=4, n_layer=2, n_head=2, output_hidden_states=True
    )
    build = features(partial(GPT2LMHeadModel, config), {"hidden": "hidden_states.1"})
    net, tokens = built(build).eval(), torch.tensor([[1, 2, 3], [4, 5, 6]])
    plain = built(partial(GPT2LMHeadModel, config)).eval()(tokens)
    torch.testing.assert_close(net(tokens)["hidden"], plain.hidden_states[1], rtol=0, atol=0)
    assert list(net.state_dict()) == list(GPT2LMHeadModel(config).state_dict())
    wrong = functional(features(partial(GPT2LMHeadModel, config), {"hidden": "transformer.h.0"}))
    with pytest.raises(ValueError, match=r"torch\.fx cannot read its forward pass"):
        outputs_like(wrong, tokens, train=False)


@pytest.mark.plain
def test_an_unknown_name_is_refused_with_those_near_it():
    with pytest.raises(ValueError, match=r"output or node 'layer5' is not known") as error:
        features(resnet18, {"feature_map": "layer5"})
    assert "near it are layer4, layer3" in str(error.value)
    # beside the nodes 4 stages, 8 blocks and 3 shortcuts that hold them, and the output, `logits`
    nodes, _ = get_graph_node_names(resnet18())
    assert f"there are {len(nodes) + 4 + 8 + 3 + 1}," in str(error.value)
    with pytest.raises(ValueError, match="none is near it; there are"):
        features(resnet18, {"feature_map": "?"})


@pytest.mark.plain
def test_a_node_that_is_no_tensor_is_refused():
    class Recurrent(Small):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(3, 2)

        def forward(self, x: Tensor, scale: Tensor | float = 1.0) -> Tensor:
            return self.lstm(x)[0] * scale

    module = features(Recurrent, {"hidden": "lstm"})()
    with pytest.raises(ValueError, match="features: 'lstm' must be one tensor, but it is a tuple"):
        module(torch.ones(4, 3))


def test_what_makes_no_module_is_refused():
    with pytest.raises(ValueError, match=r"must return an nn\.Module, but it returned a int"):
        features(lambda: 3, {"feature_map": "layer4"})  # pyright: ignore[reportArgumentType]
