"""What heads are sized from: shapes without their batch axis."""

import torch
from torch import Tensor

Arguments = dict[str, Tensor]  # what a joint head gives its loss, by argument


def channels(where: str, student: torch.Size, target: torch.Size) -> tuple[int, int]:
    if len(student) != 3 or len(target) != 3:
        raise ValueError(
            f"{where}: it joins feature maps [channels, height, width], but the "
            f"student's is {tuple(student)} and the target's is {tuple(target)}"
        )
    return student[0], target[0]
