"""The tutorial's models: its sizes, its names, its shapes, and its trained teacher."""

import os
from pathlib import Path

import pytest
import torch

from fkd.models import DeepNN, LightNN

# The teacher of a run of the tutorial's own loop, which is not part of the project.
CHECKPOINT = (
    Path(os.environ.get("FKD_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "teacher_deepnn_seed42.pt"
)


@pytest.mark.parametrize(
    ("build", "parameters", "channels", "early"),
    [(DeepNN, 1_186_986, 32, 64), (LightNN, 267_738, 16, 16)],
)
def test_sizes_and_shapes(build, parameters, channels, early):
    model = build()
    assert sum(p.numel() for p in model.parameters()) == parameters
    outputs = model(torch.zeros(2, 3, 32, 32))
    shapes = {name: tuple(output.shape) for name, output in outputs.items()}
    assert shapes == {
        "logits": (2, 10),
        "feature_map": (2, channels, 8, 8),
        "hidden": (2, 1024),
        "pre_activation": (2, channels, 8, 8),
        "early_map": (2, early, 16, 16),
    }


def test_the_names_are_the_tutorials():
    layers = ("features.0", "features.3", "classifier.0", "classifier.3")
    names = [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    assert list(LightNN().state_dict()) == names


def test_the_teachers_hidden_layer_is_pooled_over_pairs():
    model = DeepNN().eval()
    outputs = model(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    flat = outputs["feature_map"].flatten(1)
    torch.testing.assert_close(outputs["hidden"], (flat[:, ::2] + flat[:, 1::2]) / 2)


@pytest.mark.parametrize("build", [DeepNN, LightNN])
def test_the_maps_are_those_of_the_layers_in_their_order(build):
    model = build()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    outputs = model(x)
    torch.testing.assert_close(outputs["feature_map"], model.features(x))
    torch.testing.assert_close(outputs["pre_activation"].relu(), outputs["feature_map"])
    assert outputs["pre_activation"].min() < 0


def test_classes_are_an_argument():
    assert LightNN(100)(torch.zeros(1, 3, 32, 32))["logits"].shape == (1, 100)


@pytest.mark.skipif(not CHECKPOINT.exists(), reason="the tutorial's teacher is not at hand")
def test_the_tutorials_checkpoint_loads():
    DeepNN().load_state_dict(torch.load(CHECKPOINT, weights_only=True))
