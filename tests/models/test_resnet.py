"""The field's ResNets: their sizes, the shapes and names of what they give, one block by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fkd.models import MODELS, ResNet
from fkd.models._resnet import Block

# Parameters at 100 and at 10 classes, as the field's public code has them: 64 or 256 features reach
# the classifier, so 90 classes fewer are 90 · 65 or 90 · 257 parameters fewer.
SIZES = {
    "resnet8": (83_892, 78_042),
    "resnet14": (181_108, 175_258),
    "resnet20": (278_324, 272_474),
    "resnet32": (472_756, 466_906),
    "resnet44": (667_188, 661_338),
    "resnet56": (861_620, 855_770),
    "resnet110": (1_736_564, 1_730_714),
    "resnet8x4": (1_233_540, 1_210_410),
    "resnet32x4": (7_433_860, 7_410_730),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name):
    sizes = [sum(p.numel() for p in MODELS[name](classes).parameters()) for classes in (100, 10)]
    assert tuple(sizes) == SIZES[name]


@pytest.mark.parametrize(
    ("name", "channels"), [("resnet8", (16, 16, 32, 64)), ("resnet8x4", (32, 64, 128, 256))]
)
def test_shapes(name, channels):
    stem, one, two, three = channels
    outputs = MODELS[name](7)(torch.zeros(2, 3, 32, 32))
    assert {key: tuple(value.shape[1:]) for key, value in outputs.items()} == {
        "logits": (7,),
        "hidden": (three,),
        "f0": (stem, 32, 32),
        "f1": (one, 32, 32),
        "f2": (two, 16, 16),
        "f3": (three, 8, 8),
        "preact1": (one, 32, 32),
        "preact2": (two, 16, 16),
        "preact3": (three, 8, 8),
        "feature_map": (three, 8, 8),
        "pre_activation": (three, 8, 8),
        "early_map": (one, 32, 32),
    }


def test_an_image_has_any_size():
    outputs = ResNet(8)(torch.zeros(1, 3, 20, 28))
    assert outputs["feature_map"].shape == (1, 64, 5, 7)
    assert outputs["logits"].shape == (1, 10)


def test_maps_are_behind_the_relu_and_the_last_is_pooled():
    torch.manual_seed(0)
    net = ResNet(14).eval()
    outputs = net(torch.randn(2, 3, 16, 16))
    for stage in "123":
        assert outputs[f"preact{stage}"].min() < 0
        torch.testing.assert_close(outputs[f"preact{stage}"].clamp(min=0), outputs[f"f{stage}"])
    assert outputs["feature_map"] is outputs["f3"]
    assert outputs["pre_activation"] is outputs["preact3"]
    assert outputs["early_map"] is outputs["f1"]
    torch.testing.assert_close(outputs["hidden"], outputs["f3"].mean((2, 3)))
    expected = outputs["hidden"] @ net.fc.weight.T + net.fc.bias
    torch.testing.assert_close(outputs["logits"], expected)


def _normalised(x, norm):
    """BatchNorm in training by its definition."""
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, correction=0)
    scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
    return (x - mean) / (variance + norm.eps).sqrt() * scale + shift


def test_a_block_by_hand():
    torch.manual_seed(0)
    block = Block(4, 6, stride=2).double()
    for norm in block.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -1, 1)
    assert block.downsample is not None
    convolution, norm = block.downsample
    x = torch.randn(3, 4, 8, 8, dtype=torch.float64)
    y = _normalised(F.conv2d(x, block.conv1.weight, stride=2, padding=1), block.bn1)
    y = _normalised(F.conv2d(y.clamp(min=0), block.conv2.weight, padding=1), block.bn2)
    weight = convolution.get_parameter("weight")
    shortcut = _normalised(F.conv2d(x, weight, stride=2), norm)
    torch.testing.assert_close(block(x), y + shortcut, rtol=1e-12, atol=1e-12)


def test_a_block_of_one_shape_adds_its_input_itself():
    torch.manual_seed(0)
    block = Block(4, 4, stride=1).double()
    x = torch.randn(3, 4, 8, 8, dtype=torch.float64)
    y = _normalised(F.conv2d(x, block.conv1.weight, padding=1), block.bn1)
    y = _normalised(F.conv2d(y.clamp(min=0), block.conv2.weight, padding=1), block.bn2)
    torch.testing.assert_close(block(x), y + x, rtol=1e-12, atol=1e-12)


def test_convolutions_start_by_the_number_of_outputs():
    torch.manual_seed(0)
    weight = MODELS["resnet8x4"](10).get_parameter("layer3.0.conv1.weight")
    # 256 outputs, 3x3. The deviation of n normal numbers has a relative error of 1 / √(2n), 0.0013.
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 256)), rel=0.01)


def test_the_names_are_the_public_checkpoints():
    names = list(ResNet(8).state_dict())
    layers = dict.fromkeys(name.rpartition(".")[0] for name in names)
    block = ["conv1", "bn1", "conv2", "bn2"]
    assert list(layers) == [
        "conv1",
        "bn1",
        *(f"layer1.0.{layer}" for layer in block),
        *(f"layer2.0.{layer}" for layer in [*block, "downsample.0", "downsample.1"]),
        *(f"layer3.0.{layer}" for layer in [*block, "downsample.0", "downsample.1"]),
        "fc",
    ]


@pytest.mark.parametrize("depth", [2, 9, 18])
def test_other_depths_are_refused(depth):
    with pytest.raises(ValueError, match=f"depth must be 6n . 2, .* but it is {depth};"):
        ResNet(depth)
