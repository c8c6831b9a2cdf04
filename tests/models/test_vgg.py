"""The field's VGGs: their sizes, the shapes and names of what they give, one block by hand."""

import pytest
import torch
import torch.nn.functional as F

from fkd.models import MODELS, VGG

# Parameters at 100 and at 10 classes: 90 classes fewer are 90 · 513 parameters fewer.
SIZES = {"vgg8": (3_965_028, 3_918_858), "vgg13": (9_462_180, 9_416_010)}


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name):
    sizes = [sum(p.numel() for p in MODELS[name](classes).parameters()) for classes in (100, 10)]
    assert tuple(sizes) == SIZES[name]


@pytest.mark.parametrize("name", SIZES)
def test_shapes(name):
    outputs = MODELS[name](7)(torch.zeros(2, 3, 32, 32))
    assert {key: tuple(value.shape[1:]) for key, value in outputs.items()} == {
        "logits": (7,),
        "hidden": (512,),
        "f0": (64, 32, 32),
        "f1": (128, 16, 16),
        "f2": (256, 8, 8),
        "f3": (512, 4, 4),
        "f4": (512, 4, 4),
        "preact1": (128, 16, 16),
        "preact2": (256, 8, 8),
        "preact3": (512, 4, 4),
        "preact4": (512, 4, 4),
        "feature_map": (512, 4, 4),
        "pre_activation": (512, 4, 4),
        "early_map": (128, 16, 16),
    }


def test_an_image_has_any_size_from_eight_pixels_on():
    outputs = VGG(1)(torch.zeros(2, 3, 8, 24))
    assert outputs["feature_map"].shape == (2, 512, 1, 3)
    assert outputs["logits"].shape == (2, 10)


def test_maps_are_behind_the_relu_and_the_last_is_pooled():
    torch.manual_seed(0)
    net = VGG(2).eval()
    outputs = net(torch.randn(2, 3, 16, 16))
    for stage in "1234":
        assert outputs[f"preact{stage}"].min() < 0
        torch.testing.assert_close(outputs[f"preact{stage}"].clamp(min=0), outputs[f"f{stage}"])
    assert outputs["feature_map"] is outputs["f4"]
    assert outputs["pre_activation"] is outputs["preact4"]
    assert outputs["early_map"] is outputs["f1"]
    torch.testing.assert_close(outputs["hidden"], outputs["f4"].mean((2, 3)))
    expected = outputs["hidden"] @ net.classifier.weight.T + net.classifier.bias
    torch.testing.assert_close(outputs["logits"], expected)


def test_the_first_blocks_by_hand():
    torch.manual_seed(0)
    net = VGG(2).double().eval()  # BatchNorm starts at mean 0 and variance 1, and has an eps
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    outputs = net(x)
    maps = []
    for block in (net.block0, net.block1):
        for layer in block:
            if isinstance(layer, torch.nn.Conv2d):
                x = F.conv2d(x, layer.weight, layer.bias, padding=1) / (1 + 1e-5) ** 0.5
                x = x.clamp(min=0)
        maps.append(x)
        x = F.max_pool2d(x, 2)
    torch.testing.assert_close([outputs["f0"], outputs["f1"]], maps, rtol=1e-12, atol=1e-12)


def test_how_it_starts():
    torch.manual_seed(0)
    net = VGG(1, num_classes=100)
    # The deviation of n normal numbers has a relative error of 1 / √(2n): 0.0005 and 0.003.
    assert net.get_parameter("block4.0.weight").std().item() == pytest.approx(
        (2 / (9 * 512)) ** 0.5, rel=0.005
    )
    assert net.classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert (
        net.get_parameter("block4.0.bias").abs().max() == 0 and net.classifier.bias.abs().max() == 0
    )


def test_the_names_are_the_public_checkpoints():
    layers = dict.fromkeys(name.rpartition(".")[0] for name in VGG(2).state_dict())
    places = (0, 1, 3, 4)
    blocks = [f"block{block}.{place}" for block in range(5) for place in places]
    assert list(layers) == [*blocks, "classifier"]
