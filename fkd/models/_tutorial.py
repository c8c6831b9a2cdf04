"""The teacher and the student of PyTorch's knowledge distillation tutorial, for 32x32 images.

One class each serves every method, for the forward pass returns the features beside the logits.
The names in their state_dict are the tutorial's, so its checkpoints load.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fkd import _check


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=2, stride=2)


def _classifier(features: int, hidden: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, classes)
    )


def _features(layers: nn.Sequential, x: Tensor, early: int, last: int) -> dict[str, Tensor]:
    """The maps on the way: before layer `early`, and behind `last`, the last convolution."""
    for number in range(early):
        x = layers[number](x)
    early_map = x
    for number in range(early, last + 1):
        x = layers[number](x)
    # Pooling before the ReLU gives what pooling after it would, and the map before it as well.
    pre_activation = layers[last + 2](x)
    feature_map = layers[last + 1](pre_activation)
    return {"early_map": early_map, "pre_activation": pre_activation, "feature_map": feature_map}


class DeepNN(nn.Module):
    """The teacher: 1,186,986 parameters at 10 classes.

    Gives `logits` [batch, classes], `feature_map` [batch, 32, 8, 8] and `hidden` [batch, 1024],
    the flattened map average-pooled over pairs to the student's width; beside these
    `pre_activation`, the map before its ReLU, and `early_map` [batch, 64, 16, 16], the first
    block's. Raises ValueError for classes that are no count.
    """

    def __init__(self, num_classes: int = 10):
        super().__init__()
        _check.count("DeepNN", num_classes=num_classes)
        self.features = nn.Sequential(
            _conv(3, 128),
            nn.ReLU(),
            _conv(128, 64),
            nn.ReLU(),
            _pool(),
            _conv(64, 64),
            nn.ReLU(),
            _conv(64, 32),
            nn.ReLU(),
            _pool(),
        )
        self.classifier = _classifier(2048, 512, num_classes)

    def forward(self, x: Float[Tensor, "batch 3 32 32"]) -> dict[str, Tensor]:
        maps = _features(self.features, x, early=5, last=7)
        flat = maps["feature_map"].flatten(1)
        return {"logits": self.classifier(flat), "hidden": F.avg_pool1d(flat, 2), **maps}


class LightNN(nn.Module):
    """The student: 267,738 parameters at 10 classes.

    Gives `logits` [batch, classes], `feature_map` [batch, 16, 8, 8] and `hidden` [batch, 1024],
    the flattened map; beside these `pre_activation`, the map before its ReLU, and `early_map`
    [batch, 16, 16, 16], the first block's. Raises ValueError for classes that are no count.
    """

    def __init__(self, num_classes: int = 10):
        super().__init__()
        _check.count("LightNN", num_classes=num_classes)
        self.features = nn.Sequential(
            _conv(3, 16), nn.ReLU(), _pool(), _conv(16, 16), nn.ReLU(), _pool()
        )
        self.classifier = _classifier(1024, 256, num_classes)

    def forward(self, x: Float[Tensor, "batch 3 32 32"]) -> dict[str, Tensor]:
        maps = _features(self.features, x, early=3, last=3)
        hidden = maps["feature_map"].flatten(1)
        return {"logits": self.classifier(hidden), "hidden": hidden, **maps}
