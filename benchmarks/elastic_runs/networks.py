"""Networks for digits of 8 by 8 so small that a run takes seconds; each step draws numbers."""

from torch import Tensor, nn

PIXELS = 3 * 8 * 8


class Network(nn.Module):
    """Two layers with BatchNorm and dropout between them."""

    def __init__(self, hidden: int, classes: int):
        super().__init__()
        self.first, self.last = nn.Linear(PIXELS, hidden), nn.Linear(hidden, classes)
        self.norm, self.drop = nn.BatchNorm1d(hidden), nn.Dropout(0.1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.last(self.drop(self.norm(self.first(x.flatten(1))).relu()))}


def teacher(classes: int) -> Network:
    return Network(64, classes)


def student(classes: int) -> Network:
    return Network(16, classes)
