"""Wide ResNets: their sizes, the shapes and names of what they give, one block by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fkd.models import MODELS, WideResNet
from fkd.models._wrn import Block

# Parameters at 100 and at 10 classes: 90 classes fewer are 90 · 65 or 90 · 129 parameters fewer.
SIZES = {
    "wrn-16-1": (180_916, 175_066),
    "wrn-16-2": (703_284, 691_674),
    "wrn-40-1": (569_780, 563_930),
    "wrn-40-2": (2_255_156, 2_243_546),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name):
    sizes = [sum(p.numel() for p in MODELS[name](classes).parameters()) for classes in (100, 10)]
    assert tuple(sizes) == SIZES[name]


def test_shapes():
    outputs = MODELS["wrn-16-2"](7)(torch.zeros(2, 3, 32, 32))
    assert {key: tuple(value.shape[1:]) for key, value in outputs.items()} == {
        "logits": (7,),
        "hidden": (128,),
        "f0": (16, 32, 32),
        "f1": (32, 32, 32),
        "f2": (64, 16, 16),
        "f3": (128, 8, 8),
        "preact1": (32, 32, 32),
        "preact2": (64, 16, 16),
        "preact3": (128, 8, 8),
        "feature_map": (128, 8, 8),
        "pre_activation": (128, 8, 8),
        "early_map": (32, 32, 32),
    }


def test_an_image_has_any_size():
    outputs = WideResNet(10, 1)(torch.zeros(1, 3, 20, 28))
    assert outputs["feature_map"].shape == (1, 64, 5, 7)
    assert outputs["logits"].shape == (1, 10)


def test_a_preact_is_what_the_next_batchnorm_makes_of_the_raw_sum():
    torch.manual_seed(0)
    net = WideResNet(16, 1).eval()
    names = ("block2.layer.0.bn1", "block3.layer.0.bn1", "bn1")
    norms = [net.get_submodule(name) for name in names]
    for norm in norms:
        nn.init.uniform_(norm.get_buffer("running_mean"), -1, 1)
        nn.init.uniform_(norm.get_parameter("weight"), 0.5, 1.5)
    outputs = net(torch.randn(2, 3, 16, 16))
    for number, norm in enumerate(norms, start=1):
        raw = outputs[f"f{number}"]
        assert raw.min() < 0
        torch.testing.assert_close(outputs[f"preact{number}"], norm(raw))
    torch.testing.assert_close(outputs["preact3"].clamp(min=0), outputs["feature_map"])
    assert outputs["pre_activation"] is outputs["preact3"]
    assert outputs["early_map"] is outputs["f1"]
    torch.testing.assert_close(outputs["hidden"], outputs["feature_map"].mean((2, 3)))
    expected = outputs["hidden"] @ net.fc.weight.T + net.fc.bias
    torch.testing.assert_close(outputs["logits"], expected)


def test_a_pass_counts_once_in_every_batchnorm():
    net = WideResNet(16, 1).train()
    net(torch.randn(2, 3, 16, 16))
    counts = [buffer for name, buffer in net.named_buffers() if name.endswith("tracked")]
    assert len(counts) == 13 and all(count == 1 for count in counts)


def _normalised(x, norm):
    """BatchNorm in training by its definition, its weight one and its bias zero."""
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, correction=0)
    return (x - mean) / (variance + norm.eps).sqrt()


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 6, 2), (4, 4, 1)])
def test_a_block_by_hand(inputs, outputs, stride):
    torch.manual_seed(0)
    block = Block(inputs, outputs, stride).double()
    x = torch.randn(3, inputs, 8, 8, dtype=torch.float64)
    preact = _normalised(x, block.bn1)
    y = preact.clamp(min=0)
    shortcut = x
    if block.convShortcut is not None:
        shortcut = F.conv2d(y, block.convShortcut.weight, stride=stride)
    y = F.conv2d(y, block.conv1.weight, stride=stride, padding=1)
    y = F.conv2d(_normalised(y, block.bn2).clamp(min=0), block.conv2.weight, padding=1)
    assert (block.convShortcut is None) == (inputs == outputs)
    torch.testing.assert_close(block(x), (preact, shortcut + y), rtol=1e-12, atol=1e-12)


def test_the_names_are_the_public_checkpoints():
    layers = dict.fromkeys(name.rpartition(".")[0] for name in WideResNet(10, 1).state_dict())
    block = ["bn1", "conv1", "bn2", "conv2"]
    assert list(layers) == [
        "conv1",
        *(f"block1.layer.0.{layer}" for layer in block),
        *(f"block2.layer.0.{layer}" for layer in [*block, "convShortcut"]),
        *(f"block3.layer.0.{layer}" for layer in [*block, "convShortcut"]),
        "bn1",
        "fc",
    ]


@pytest.mark.parametrize("depth", [4, 18, 28 + 1])
def test_other_depths_are_refused(depth):
    with pytest.raises(ValueError, match=f"depth must be 6n . 4, .* but it is {depth};"):
        WideResNet(depth, 1)
