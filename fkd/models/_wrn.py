"""Wide residual networks, whose BatchNorm and ReLU stand before a convolution, for small images.

The names in their state_dict are those of the field's public checkpoints.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fkd import _check
from fkd.models._field import WIDTHS, by_name, convolution, start


class Block(nn.Module):
    """Two convolutions behind BatchNorm and ReLU, and their shortcut.

    Gives the first BatchNorm's output beside the sum. Where the channels change, the shortcut is a
    1x1 convolution of what the first convolution takes.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = convolution(inputs, outputs, stride=stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = convolution(outputs, outputs)
        same = inputs == outputs
        self.convShortcut = None if same else convolution(inputs, outputs, side=1, stride=stride)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        preact = self.bn1(x)
        y = F.relu(preact)
        shortcut = x if self.convShortcut is None else self.convShortcut(y)
        y = F.relu(self.bn2(self.conv1(y)))
        return preact, shortcut + self.conv2(y)


class Stage(nn.Module):
    """Blocks in a row. Gives the first BatchNorm's output beside the last sum."""

    def __init__(self, inputs: int, outputs: int, blocks: int, stride: int):
        super().__init__()
        first = Block(inputs, outputs, stride)
        self.layer = nn.Sequential(first, *(Block(outputs, outputs, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        preacts = []
        for block in self.layer:
            preact, x = block(x)
            preacts.append(preact)
        return preacts[0], x


class WideResNet(nn.Module):
    """A wide residual network of `depth` = 6n + 4 layers, `width` times as wide as a ResNet.

    Gives `logits` [batch, classes] and `hidden` [batch, 64 · width]; `f0`, the first convolution's
    output, and `f1` to `f3`, the stages' sums, which BatchNorm and ReLU have not passed, the last
    two at a half and a quarter of the image's side; `preact1` to `preact3`, the output of the
    BatchNorm that follows a stage; and for default methods `feature_map`, the last map behind the
    ReLU, `pre_activation` (preact3) and `early_map` (f1). An image has any size, for the last map
    is averaged over its positions.

    Raises ValueError for a depth that is not 6n + 4, and for a width and classes that are no
    counts.

    Zagoruyko and Komodakis, "Wide Residual Networks" (2016), section 2, without dropout.

    >>> import torch
    >>> outputs = WideResNet(10, width=2)(torch.zeros(2, 3, 32, 32))
    >>> outputs["logits"].shape, outputs["f2"].shape
    (torch.Size([2, 10]), torch.Size([2, 64, 16, 16]))
    """

    def __init__(self, depth: int, width: int, num_classes: int = 10):
        super().__init__()
        _check.count("WideResNet", depth=depth, width=width, num_classes=num_classes)
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise ValueError(
                f"WideResNet: depth must be 6n + 4, as 16 or 40, but it is {depth}; three stages "
                "of n blocks have two layers a block"
            )
        stem, *stages = WIDTHS
        one, two, three = (width * channels for channels in stages)
        self.conv1 = convolution(3, stem)
        self.block1 = Stage(stem, one, blocks, stride=1)
        self.block2 = Stage(one, two, blocks, stride=2)
        self.block3 = Stage(two, three, blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(three)
        self.fc = nn.Linear(three, num_classes)
        start(self)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        f0 = self.conv1(x)
        _, f1 = self.block1(f0)
        preact1, f2 = self.block2(f1)
        preact2, f3 = self.block3(f2)
        preact3 = self.bn1(f3)
        last = F.relu(preact3)
        hidden = F.adaptive_avg_pool2d(last, 1).flatten(1)
        maps, preacts = (f0, f1, f2, f3), (preact1, preact2, preact3)
        return by_name(self.fc(hidden), hidden, maps, preacts, last)
