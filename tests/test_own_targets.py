"""Targets that are no classes, matched by a loss of one's own, as the README says."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fkd import losses, methods, optim
from fkd.data import Batch
from fkd.distillation import distill, step, student_of
from fkd.methods import Term
from fkd.model import functional

STEPS = 4
bce = partial(F.binary_cross_entropy_with_logits, reduction="none")
X = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "loss", "target", "torchs"),
    [
        ("values", losses.squared_error, X[:, :3].sin(), F.mse_loss),
        ("tags", bce, (X[:, :3] > 0).double(), F.binary_cross_entropy_with_logits),
    ],
)
def test_numbers_and_tags_are_trained_on_as_in_torchs_loop(name, loss, target, torchs):
    torch.manual_seed(3)
    net = nn.Linear(5, 3).double()
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    batch = Batch(X, {name: target})
    student = functional(lambda: nn.Linear(5, 3).double())
    run = distill(student, {"task": Term(loss, target=name)}, optim.sgd(0.5), batch)
    state = run.init(3)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torchs(net(X), target).backward()
        optimizer.step()
        state, _ = step(run, state, batch)
    torch.testing.assert_close(student_of(state)[0], dict(net.state_dict()))


class Dense(nn.Module):
    """Its logits twice: with the classes last, and in front, as a map."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)

    def forward(self, x):
        x = self.conv(x)
        return {"logits": x.movedim(1, -1), "map": x}


def test_dense_logits_are_compared_by_position_and_by_channel():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 2, 5, 6, generator=generator)
    teacher = torch.randn(4, 3, 5, 6, generator=generator)
    labels = torch.randint(3, (4, 5, 6), generator=generator)
    kept = labels > 0
    student = functional(Dense)
    targets = {"labels": labels, "kept": kept, "logits": teacher.movedim(1, -1), "map": teacher}
    batch = Batch(images, targets)
    method = methods.kd(temperature=2.0, mask="kept") | methods.cwd(layer="map", ce=0.0)
    method |= methods.ce(mask="kept")
    run = distill(student, method, optim.sgd(), batch)
    _, metrics = step(run, run.init(0), batch)
    torch.manual_seed(0)
    logits = Dense()(images)["map"]
    expected = F.cross_entropy(logits, labels.masked_fill(~kept, -100), ignore_index=-100)
    torch.testing.assert_close(metrics["ce"], expected)
    soft = F.cross_entropy(logits / 2, (teacher / 2).softmax(1), reduction="none")[kept]
    torch.testing.assert_close(metrics["kd"], 4 * soft.mean())
    # Shu et al. (2021), equation 5: distributions over positions, a channel by itself.
    q, p = ((x / 4).flatten(2).log_softmax(-1) for x in (logits, teacher))
    by_channel = F.kl_div(q, p, log_target=True, reduction="none").sum(-1)
    torch.testing.assert_close(metrics["cwd"], 16 * by_channel.mean())
