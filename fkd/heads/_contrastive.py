"""Joint heads of contrastive losses: embeddings of both sides, and memory banks of them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fkd import _check, _random
from fkd.heads._shapes import Arguments, check_index, check_inputs, check_shapes


class Embeddings(nn.Module):
    """A linear embedding of either side, both trained, for contrastive losses and CC's bilinear
    form."""

    def __init__(self, student: torch.Size, target: torch.Size, width: int = 128):
        super().__init__()
        check_shapes("Embeddings", student=student, target=target)
        _check.whole("Embeddings", 1, width=width)
        self.student = nn.Linear(math.prod(student), width)
        self.teacher = nn.Linear(math.prod(target), width)

    def forward(self, student: Tensor, teacher: Tensor) -> Arguments:
        check_inputs("Embeddings", self.student.weight, student=student, teacher=teacher)
        for name, x, layer in (
            ("student", student, self.student),
            ("teacher", teacher, self.teacher),
        ):
            if x.ndim < 2 or x.shape[1:].numel() != layer.in_features:
                raise ValueError(
                    f"Embeddings: {name} must have {layer.in_features} numbers an example, but it "
                    f"is {tuple(x.shape)}"
                )
        return {
            "student": self.student(student.flatten(1)),
            "teacher": self.teacher(teacher.flatten(1)),
        }


class Memory(nn.Module):
    """CRD's embeddings and its memory banks of both sides, one row for each of the `examples`.

    Takes the teacher's output, the examples' numbers (`index`) and the loss's temperature.
    `negatives` rows an example, from 1 to `examples`, are drawn at random, by a key among the
    buffers; the rows of the batch move half-way to its embeddings. The normalising constants are
    those of the first batch's negatives; published code counts the positive in, one of 16,385.

    Tian et al., "Contrastive Representation Distillation" (2020), section 3.1.
    """

    student_bank: Tensor
    teacher_bank: Tensor
    scales: Tensor
    key: Tensor
    count: Tensor

    def __init__(
        self,
        student: torch.Size,
        target: tuple[torch.Size, ...],
        *,
        examples: int,
        negatives: int,
        width: int = 128,
    ):
        super().__init__()
        _check.instance("Memory", tuple, "the shapes of an output and of the index", target=target)
        if not target:
            raise ValueError("Memory: target must be the shapes of an output and of the index")
        check_shapes("Memory", student=student, **{"target[0]": target[0]})
        _check.whole("Memory", 1, examples=examples, width=width)
        _check.whole("Memory", negatives=negatives)
        _check.between("Memory", 1, examples, negatives=negatives)
        self.embeddings = Embeddings(student, target[0], width)
        self.examples, self.negatives = examples, negatives
        for side in ("student_bank", "teacher_bank"):
            self.register_buffer(side, F.normalize(torch.randn(examples, width), dim=1))
        self.register_buffer("scales", torch.zeros(2))
        self.register_buffer("key", torch.randint(2**31, ()))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(
        self, student: Tensor, teacher: Tensor, index: Tensor, temperature: Tensor
    ) -> Arguments:
        check_index("Memory", student, index, self.examples)
        _check.positive("Memory", temperature=temperature)
        _check.beside("Memory", student, temperature=temperature)
        embeddings, index = self.embeddings(student, teacher), index.long()  # bytes would be a mask
        # the banks are buffers, which stay in float32 whatever the model computes in
        both = {name: value.to(self.student_bank.dtype) for name, value in embeddings.items()}
        bits = _random.bits(_random.fold(self.key, self.count), (student.shape[0], self.negatives))
        rows = bits % self.examples
        arguments = both | {
            "student_negatives": self.student_bank[rows],
            "teacher_negatives": self.teacher_bank[rows],
        }
        # each side's rows against what the other side's bank holds, as `losses.crd` has them
        constants = torch.stack(
            [
                self._constant(both["student"], arguments["teacher_negatives"], temperature),
                self._constant(both["teacher"], arguments["student_negatives"], temperature),
            ]
        )
        scales = torch.where(self.count == 0, constants, self.scales).detach()
        for side in ("student", "teacher"):
            bank = getattr(self, f"{side}_bank")
            row = F.normalize(both[side].detach(), dim=1)
            bank[index] = F.normalize((bank[index] + row) / 2, dim=1)
        self.count.add_(1)
        self.scales.copy_(scales)
        share = torch.full((), self.negatives / self.examples, device=scales.device)
        return arguments | {"student_scale": scales[0], "teacher_scale": scales[1], "share": share}

    def _constant(self, anchors: Tensor, others: Tensor, temperature: Tensor) -> Tensor:
        cosines = (F.normalize(anchors, dim=1).unsqueeze(1) * others).sum(2)
        return self.examples * (cosines / temperature).exp().mean()
