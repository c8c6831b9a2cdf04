"""A joint head that keeps what the student said of each example."""

import torch
from torch import Tensor, nn

from fkd import _check
from fkd.heads._shapes import Arguments, check_index, check_shapes


class Answers(nn.Module):
    """PS-KD's memory: the student's own last answer about each of the `examples`.

    Takes the student's logits [batch, ..., classes], the labels and the examples' numbers
    (`index`), and gives the loss `answers` beside the logits and the labels: the probabilities
    [batch, ..., classes] that the student gave each example when it was last read, and zeros of one
    that is read for the first time. Then those of now take their place. It keeps `examples` ×
    classes numbers a student among the buffers, in the dtype of the head.

    Raises ValueError for shapes without classes; and when it runs, for logits of another shape,
    labels that are not whole numbers, as mixed ones are not, and an index that is no example's.

    Kim et al., "Self-Knowledge Distillation with Progressive Refinement of Targets" (2021), section
    3.1; the answers are those of the steps in which an example is trained, as in the authors' code.
    """

    answers: Tensor

    def __init__(self, student: torch.Size, target: tuple[torch.Size, ...], *, examples: int):
        super().__init__()
        check_shapes("Answers", student=student)
        _check.instance("Answers", tuple, "the shapes of labels and of the index", target=target)
        if not student:
            raise ValueError("Answers: student must have an axis of classes, but it is ()")
        _check.whole("Answers", 1, examples=examples)
        self.register_buffer("answers", torch.zeros(examples, *student))

    def forward(self, student: Tensor, labels: Tensor, index: Tensor) -> Arguments:
        _check.tensor("Answers", student=student, labels=labels)
        _check.floating("Answers", student=student)
        if labels.is_floating_point():
            raise ValueError(
                f"Answers: labels must hold whole numbers, but their dtype is {labels.dtype}; "
                "leave MixUp and CutMix out, for what was said of one mixture is no answer about "
                "the next"
            )
        _check.integral("Answers", labels=labels)
        shape = self.answers.shape[1:]
        if student.shape[1:] != shape or labels.shape != student.shape[:-1]:
            raise ValueError(
                f"Answers: student must be [batch, {', '.join(map(str, shape))}] and labels "
                f"without its last axis, but they are {tuple(student.shape)} and "
                f"{tuple(labels.shape)}"
            )
        check_index("Answers", student, index, len(self.answers))
        index = index.long()  # bytes would be a mask
        before = self.answers[index]
        self.answers[index] = student.detach().to(self.answers.dtype).softmax(-1)
        return {"student": student, "labels": labels, "answers": before}
