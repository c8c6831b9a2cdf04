"""Class maps: the classifier at each position, whose mean is the logits, bias included once."""

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fkd import losses, optim
from fkd.data import Batch
from fkd.distillation import distill, step
from fkd.ensemble import ensemble
from fkd.methods import Term
from fkd.model import check, functional
from fkd.models import DeepNN, LightNN, class_map, features, named

EXACT = {"rtol": 0, "atol": 1e-12}
Average = Callable[[Tensor], Tensor]


def _pooled(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


class Small(nn.Module):
    """A network with BatchNorm, and a ReLU that writes over what it takes."""

    def __init__(self, average: Average = _pooled, bias: bool = True, dropout: float = 0.0):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.average = average
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(4, 3, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(self.average(self.relu(self.norm(self.conv(x))))))


def images(examples: int = 4, side: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(examples, 3, side, side, generator=generator, dtype=torch.float64)


def double() -> nn.Module:
    return Small().double()


def built(build: Callable[[], nn.Module]) -> Any:
    torch.manual_seed(0)
    return build().double()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_it_is_a_convolution_of_the_averaged_map_by_the_classifiers_weight(bias, training):
    net, seen = built(class_map(partial(Small, bias=bias))).train(training), []
    net.relu.register_forward_hook(lambda layer, inputs, output: seen.append(output.clone()))
    outputs, plain = net(images()), built(partial(Small, bias=bias)).train(training)
    assert len(seen) == 1  # the network runs once
    assert net.norm.num_batches_tracked == training
    expected = F.conv2d(seen[0], net.fc.weight[..., None, None], net.fc.bias)
    torch.testing.assert_close(outputs["class_map"], expected, **EXACT)
    torch.testing.assert_close(outputs["logits"], plain(images()), rtol=0, atol=0)
    torch.testing.assert_close(net.state_dict(), plain.state_dict(), rtol=0, atol=0)


# The typed pass asks the field's networks for tensors where torch.fx has none yet.
NETWORKS = [
    *(pytest.param(name, marks=pytest.mark.plain) for name in ("resnet8", "wrn-16-1", "vgg8")),
    "torchvision:shufflenet_v2_x0_5",
    "timm:resnet18",
]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_mean_over_the_positions_is_the_logits(name):
    net = built(class_map(named(name, 5)))
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.bias)
    for mode in (True, False):
        outputs = net.train(mode)(images(2, 40))
        assert outputs["class_map"].shape[2:].numel() > 1
        means = outputs["class_map"].mean((2, 3))
        torch.testing.assert_close(means, outputs["logits"], **EXACT)


AVERAGES: list[Average] = [
    nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d((1, 1)), nn.Identity(), nn.Flatten()),
    lambda x: F.adaptive_avg_pool2d(x, output_size=(1, 1)).view(x.size(0), -1),
    lambda x: torch.flatten(F.adaptive_avg_pool2d(x, [1, 1]), 1),  # pyright: ignore[reportArgumentType]
    lambda x: x.mean([2, 3]),
    lambda x: x.mean(dim=(-1, -2), keepdim=True).squeeze(-1).squeeze(-1),
    lambda x: torch.mean(x, (2, 3), keepdim=True).reshape(-1, 4),
]


@pytest.mark.parametrize("average", AVERAGES)
def test_an_average_may_be_written_in_many_ways(average):
    outputs = built(class_map(partial(Small, average)))(images())
    assert outputs["class_map"].shape == (4, 3, 6, 6)
    torch.testing.assert_close(outputs["class_map"].mean((2, 3)), outputs["logits"], **EXACT)


def test_a_dropout_reaches_the_logits_alone():
    net = built(class_map(partial(Small, dropout=0.5)))
    outputs, kept = net(images()), built(class_map(Small))(images())
    torch.testing.assert_close(outputs["class_map"], kept["class_map"], rtol=0, atol=0)
    assert not torch.allclose(outputs["logits"], kept["logits"])
    outputs = net.eval()(images())
    torch.testing.assert_close(outputs["class_map"].mean((2, 3)), outputs["logits"], **EXACT)


def test_each_member_has_maps_of_its_own_weights_and_they_their_gradients():
    model, x = functional(class_map(double)), images()
    check(model, x)
    states = [model.init(seed) for seed in (0, 1)]
    params, buffers = (
        {k: torch.stack([s[i][k] for s in states]) for k in states[0][i]} for i in (0, 1)
    )

    def maps(params: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return model.apply(params, buffers, x, train=True)[0]["class_map"]

    together = torch.func.vmap(maps)(params, buffers)
    gradients = torch.func.vmap(torch.func.grad(lambda p, b: maps(p, b).sum()))(params, buffers)
    for member, state in enumerate(states):
        net = built(class_map(Small))
        net.load_state_dict(dict(state[0]) | dict(state[1]))
        torch.testing.assert_close(together[member], net(x)["class_map"], **EXACT)
        map = net.relu(net.norm(net.conv(x)))
        expected = map.sum((0, 2, 3)).expand(3, 4)
        torch.testing.assert_close(gradients["fc.weight"][member], expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradients["fc.bias"][member], torch.full((3,), 144.0).double())


def test_losses_of_class_maps_train_on_them():
    cat = Term(losses.class_attention_transfer, "class_map", "class_map", 100.0)
    method = {"cat": cat, "sdd": Term(losses.sdd, "class_map", ("class_map", "labels"))}
    with torch.no_grad():
        targets = built(class_map(Small)).eval()(images()) | {"labels": torch.tensor([0, 1, 2, 0])}
    batch = Batch(images(), targets)
    model = functional(class_map(double))
    rule = ensemble(distill(model, method, optim.sgd(1e-3), batch))
    state, values = rule.init([1, 2]), []
    for _ in range(5):
        state, metrics = step(rule, state, batch)
        values.append(metrics["cat"] + metrics["sdd"])
    assert (values[-1] < values[0]).all()


@pytest.mark.plain
def test_it_compiles_as_one_graph_and_can_be_sent_to_another_process():
    net = built(pickle.loads(pickle.dumps(class_map(Small))))
    torch.compiler.reset()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    for mode in (True, False):
        net.train(mode)
        torch.testing.assert_close(compiled(images()), net(images()), rtol=0, atol=0)
    torch.compiler.reset()


@pytest.mark.parametrize("inside", [False, True])
def test_inner_tensors_and_class_maps_stand_side_by_side(inside):
    names = {"feature_map": "relu", "hidden": "flatten"}
    build = class_map(features(Small, names)) if inside else features(class_map(Small), names)
    outputs, alone = built(build)(images()), built(class_map(Small))(images())
    assert set(outputs) == {"logits", "class_map", "feature_map", "hidden"}
    torch.testing.assert_close({name: outputs[name] for name in alone}, alone, rtol=0, atol=0)
    means = outputs["feature_map"].mean((2, 3))
    torch.testing.assert_close(means, outputs["hidden"], **EXACT)


class Rescaled(Small):
    """A network whose logits are not what its classifier gives."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 2


class Other(Small):
    """A network without logits."""

    def forward(self, x: Tensor) -> Tensor:
        return {"scores": super().forward(x)}  # pyright: ignore[reportReturnType]


class Branches(Small):
    """A network that torch.fx cannot read."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


REFUSED = {
    "there is max_pool2d": [partial(Small, lambda x: F.max_pool2d(x, 6).flatten(1))],
    "there is avg_pool2d": [partial(Small, lambda x: F.avg_pool2d(x, 6).flatten(1))],
    "there is adaptive_avg": [
        partial(Small, lambda x: F.adaptive_avg_pool2d(x, (1, 2)).flatten(1))
    ],
    "there is mean": [
        partial(Small, lambda x: x.mean((1, 2))),
        partial(Small, lambda x: x.mean(1)),
    ],
    "there is ReLU": [LightNN, DeepNN, partial(Small, lambda x: x.flatten(1))],
    "there is truediv": [Rescaled],
    "must give `logits`, but its outputs are scores": [Other],
    "torch.fx cannot read the forward pass of the Branches": [Branches],
    r"build\(\) must return an nn.Module": [lambda: 3],
}


@pytest.mark.plain
@pytest.mark.parametrize(
    ("words", "build"), [(words, build) for words, builds in REFUSED.items() for build in builds]
)
def test_a_network_that_ends_otherwise_is_refused(words, build):
    with pytest.raises(ValueError, match=rf"^class_map: .*{words}"):
        class_map(build)
