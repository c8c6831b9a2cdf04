"""What heads are sized from: shapes without their batch axis."""

import torch
from torch import Tensor

Arguments = dict[str, Tensor]  # what a joint head gives its loss, by argument


def channels(where: str, student: torch.Size, target: torch.Size) -> tuple[int, int]:
    """The channels of two maps; raises ValueError where a side is none."""
    if len(student) != 3 or len(target) != 3:
        raise ValueError(
            f"{where}: it joins feature maps [channels, height, width], but the student's is "
            f"{tuple(student)} and the target's is {tuple(target)}; of tokens and vectors "
            "`heads.align` makes maps"
        )
    return student[0], target[0]
