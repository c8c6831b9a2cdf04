"""The teacher and the student of PyTorch's knowledge distillation tutorial, for 32x32 images.

One class each serves every method, for the forward pass returns the features beside the logits.
The names in their state_dict are the tutorial's, so its checkpoints load.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=2, stride=2)


def _classifier(features: int, hidden: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, classes)
    )


class DeepNN(nn.Module):
    """The teacher: 1,186,986 parameters at 10 classes.

    Gives `logits` [batch, classes], `feature_map` [batch, 32, 8, 8] and `hidden` [batch, 1024],
    the flattened map average-pooled over pairs to the student's width.
    """

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.features = nn.Sequential(
            *(_conv(3, 128), nn.ReLU(), _conv(128, 64), nn.ReLU(), _pool()),
            *(_conv(64, 64), nn.ReLU(), _conv(64, 32), nn.ReLU(), _pool()),
        )
        self.classifier = _classifier(2048, 512, num_classes)

    def forward(self, x: Float[Tensor, "batch 3 32 32"]) -> dict[str, Tensor]:
        feature_map = self.features(x)
        flat = feature_map.flatten(1)
        hidden = F.avg_pool1d(flat, 2)
        return {"logits": self.classifier(flat), "feature_map": feature_map, "hidden": hidden}


class LightNN(nn.Module):
    """The student: 267,738 parameters at 10 classes.

    Gives `logits` [batch, classes], `feature_map` [batch, 16, 8, 8] and `hidden` [batch, 1024],
    the flattened map.
    """

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.features = nn.Sequential(
            *(_conv(3, 16), nn.ReLU(), _pool()), *(_conv(16, 16), nn.ReLU(), _pool())
        )
        self.classifier = _classifier(1024, 256, num_classes)

    def forward(self, x: Float[Tensor, "batch 3 32 32"]) -> dict[str, Tensor]:
        feature_map = self.features(x)
        hidden = feature_map.flatten(1)
        return {"logits": self.classifier(hidden), "feature_map": feature_map, "hidden": hidden}
