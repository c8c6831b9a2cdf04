"""The residual networks of 6n + 2 layers that distillation is measured on, for small images.

The names in their state_dict are those of the field's public checkpoints.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fkd import _check
from fkd.models._field import WIDTHS, by_name, check_widths, convolution, start


class Block(nn.Module):
    """Two convolutions and their shortcut, up to the ReLU behind their sum, which is the caller's.

    Where the shape changes, the shortcut is a 1x1 convolution with a BatchNorm: option B.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = convolution(inputs, outputs, stride=stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = convolution(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            shortcut = convolution(inputs, outputs, side=1, stride=stride)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return y + (x if self.downsample is None else self.downsample(x))


class ResNet(nn.Module):
    """A residual network of `depth` = 6n + 2 layers, of `widths` channels: stem and three stages.

    Gives `logits` [batch, classes] and `hidden` [batch, widths[3]]; the maps behind the ReLU: `f0`
    of the stem and `f1` to `f3` of the stages, the last two at a half and a quarter of the image's
    side; `preact1` to `preact3`, before the last ReLU of a stage; and for default methods
    `feature_map` (f3), `pre_activation` (preact3) and `early_map` (f1). An image has any size, for
    the last map is averaged over its positions.

    Raises ValueError for a depth that is not 6n + 2, and for widths and classes that are no counts.

    He et al., "Deep Residual Learning for Image Recognition" (2016), section 4.2, but for the
    shortcuts, which are option A there and B in the papers on distillation.

    >>> import torch
    >>> outputs = ResNet(8)(torch.zeros(2, 3, 32, 32))
    >>> outputs["logits"].shape, outputs["f2"].shape
    (torch.Size([2, 10]), torch.Size([2, 32, 16, 16]))
    """

    def __init__(
        self, depth: int, widths: tuple[int, int, int, int] = WIDTHS, num_classes: int = 10
    ):
        super().__init__()
        _check.count("ResNet", depth=depth, num_classes=num_classes)
        check_widths("ResNet", widths)
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(
                f"ResNet: depth must be 6n + 2, as 8, 20 or 56, but it is {depth}; three stages of "
                "n blocks have two layers a block"
            )
        self.conv1 = convolution(3, widths[0])
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = _stage(widths[0], widths[1], blocks, stride=1)
        self.layer2 = _stage(widths[1], widths[2], blocks, stride=2)
        self.layer3 = _stage(widths[2], widths[3], blocks, stride=2)
        self.fc = nn.Linear(widths[3], num_classes)
        start(self)

    def forward(self, x: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        x = F.relu(self.bn1(self.conv1(x)))
        maps, preacts = [x], []
        for stage in (self.layer1, self.layer2, self.layer3):
            preact = x
            for block in stage:
                preact = block(x)
                x = F.relu(preact)
            maps.append(x)
            preacts.append(preact)
        hidden = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return by_name(self.fc(hidden), hidden, maps, preacts, last=x)


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = Block(inputs, outputs, stride)
    return nn.Sequential(first, *(Block(outputs, outputs, 1) for _ in range(blocks - 1)))
