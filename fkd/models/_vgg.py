"""The plain networks of five blocks of convolutions that distillation is measured on.

The names in their state_dict are those of the field's public checkpoints.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fkd import _check
from fkd.models._field import by_name, start

WIDTHS = (64, 128, 256, 512, 512)  # channels of the blocks
POOLS = 3  # blocks that a max-pooling follows: the last two are of one resolution


class VGG(nn.Module):
    """Five blocks of `convolutions` 3x3 convolutions, each with BatchNorm, and one linear layer.

    Gives `logits` [batch, classes] and `hidden` [batch, 512]; `f0` to `f4`, the blocks' maps behind
    the ReLU, from the image's side down to an eighth of it, the last two alike; `preact1` to
    `preact4`, before their ReLU; and for default methods `feature_map` (f4), `pre_activation`
    (preact4) and `early_map` (f1). An image has any size from 8 pixels on, for the last map is
    averaged over its positions. Raises ValueError for what is no count.

    Simonyan and Zisserman, "Very Deep Convolutional Networks" (2015), with the changes that the
    papers on distillation make for images of 32x32: BatchNorm, three poolings, one linear layer.

    >>> import torch
    >>> outputs = VGG(1)(torch.zeros(2, 3, 32, 32))
    >>> outputs["logits"].shape, outputs["f4"].shape
    (torch.Size([2, 10]), torch.Size([2, 512, 4, 4]))
    """

    def __init__(self, convolutions: int, num_classes: int = 10):
        super().__init__()
        _check.count("VGG", convolutions=convolutions, num_classes=num_classes)
        self.block0 = _block(3, WIDTHS[0], convolutions)
        self.block1 = _block(WIDTHS[0], WIDTHS[1], convolutions)
        self.block2 = _block(WIDTHS[1], WIDTHS[2], convolutions)
        self.block3 = _block(WIDTHS[2], WIDTHS[3], convolutions)
        self.block4 = _block(WIDTHS[3], WIDTHS[4], convolutions)
        self.classifier = nn.Linear(WIDTHS[4], num_classes)
        start(self)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        maps, preacts = [], []
        blocks = (self.block0, self.block1, self.block2, self.block3, self.block4)
        for number, block in enumerate(blocks):
            preact = block(x)
            maps.append(F.relu(preact))
            preacts.append(preact)
            x = F.max_pool2d(maps[-1], 2) if number < POOLS else maps[-1]
        hidden = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return by_name(self.classifier(hidden), hidden, maps, preacts[1:], last=x)


def _block(inputs: int, outputs: int, convolutions: int) -> nn.Sequential:
    """Convolutions with BatchNorm and ReLU, but for the last ReLU, which is the caller's."""
    layers: list[nn.Module] = []
    for number in range(convolutions):
        convolution = nn.Conv2d(outputs if number else inputs, outputs, 3, padding=1)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
