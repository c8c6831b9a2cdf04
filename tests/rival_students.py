"""The tutorial's student without dropout, and its training by hand, to hold other loops to."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.speed.rivals import batches
from fkd.models import LightNN

EXAMPLES, STEPS = 24, 3
RATE = 2**-10  # near the tutorial's 1e-3, but the same number in float32 and float64


def light(seed: int = 1) -> LightNN:
    """A student without dropout, which no two sides draw alike."""
    torch.manual_seed(seed)
    student = LightNN()
    student.classifier[2] = nn.Dropout(0.0)
    return student


def normalize(images: Tensor) -> Tensor:
    return batches.normalizer(images.device)(images)


def by_hand(
    student: LightNN, target: Tensor, images: Tensor, labels: Tensor, lr: float = RATE
) -> list[float]:
    """STEPS of kd on the whole set at T = 2 by torch.optim, in place; the loss before each."""
    optimizer, losses = torch.optim.Adam(student.parameters(), lr=lr), []
    for _ in range(STEPS):
        logits = student(normalize(images))["logits"]
        soft = F.cross_entropy(logits / 2, F.softmax(target / 2, dim=1))
        loss = 0.25 * 2**2 * soft + 0.75 * F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def assert_trained_alike(
    student: dict[str, Tensor], expected: dict[str, Tensor], start: dict[str, Tensor]
) -> None:
    """Equal to rounding in float64; and all have moved.

    Adam divides by |g| + 1e-8, so an error e of a gradient near zero moves a parameter by up to
    RATE · 1e8 · e, which is 1e5 e, at each of STEPS. A gradient is a sum of up to 24 · 1024 terms
    over the images and their places, below 1 together, so e is below 24 · 1024 · 2^-53 = 3e-12,
    and sums in another order come to 1e-6. Errors of either sign cancel: e grows with the root
    of the number of terms, to 2e-14, and the parameters differ by less than 3 · 1e5 · 2e-14.
    """
    assert set(student) == set(expected)
    for name, value in student.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(value, expected[name], rtol=0, atol=6e-9)
        assert (value - start[name]).abs().max() > 0.9 * RATE  # Adam's first step is RATE
