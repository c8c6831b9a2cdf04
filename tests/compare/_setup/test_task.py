"""What all methods have in common is tried once, and is refused as of each of them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from compare.small_comparisons import EAGER, Narrow, Wide, trained_elsewhere, vectors
from torch import Tensor, nn

from fkd import losses, methods
from fkd.compare import Comparison, compare
from fkd.data import IGNORED, Data, Resident
from fkd.methods import Context, Method, Term


class Watched(Narrow):
    """A student that counts its forward passes with numbers."""

    passes = 0

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        Watched.passes += x.device.type != "meta"
        return super().forward(x)


class Counting(nn.Module):
    """A network that is no pure function, around another."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        return self.inner(x)


def counting() -> nn.Module:
    return Counting(Narrow())


def counted(build: Callable[[], nn.Module], context: Context) -> nn.Module:
    return Counting(build())


def kept(build: Callable[[], nn.Module], context: Context) -> nn.Module:
    return build()


WRAPPED: Method = {"wrapped": Term(losses.squared_error, wrap=counted)}


def made(student, chosen: dict[str, Method]) -> Comparison:
    state = trained_elsewhere()
    return Comparison(Wide, student, chosen, vectors(), teacher_state=state, plan=EAGER)


def passes_of(chosen: dict[str, Method]) -> int:
    Watched.passes = 0
    made(Watched, chosen)
    return Watched.passes - 1  # that in which its logits are looked at, whatever the methods


def test_a_student_of_many_methods_is_tried_once_and_in_what_wraps_it_anew():
    one = passes_of({"ce": methods.ce()})
    many = {
        "ce": methods.ce(),
        "kd": methods.kd(),
        "hint": methods.hint(layer="hidden", teacher_layer="hidden"),
    }
    assert passes_of(many) == one > 0
    assert passes_of(many | {"own": {"own": Term(losses.squared_error, wrap=kept)}}) == 2 * one


@pytest.mark.plain
def test_an_impure_student_is_refused_as_of_the_first_method_that_trains_it():
    reason = "the model counts in its attribute 'calls', which is 1 after one forward pass and 2"
    with pytest.raises(ValueError, match=f"^methods: ce: {reason}"):
        made(counting, {"ce": methods.ce(), "kd": methods.kd()})
    with pytest.raises(ValueError, match=f"^methods: last: {reason}"):
        made(Narrow, {"ce": methods.ce(), "kd": methods.kd(), "last": WRAPPED})


class Pixels(nn.Module):
    """Two classes at each pixel."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def test_a_teacher_is_trained_under_the_mask_of_the_methods_labels():
    images = torch.randn(8, 2, 4, 3)
    labels = (images[..., 0] > 0).long()
    labels[:, 0] = IGNORED
    source = Resident(images, {"labels": labels, "kept": labels != IGNORED}, batch_size=4)
    data = Data("pixels", ("no", "yes"), source, source)
    masked: dict[str, Method] = {"ce": methods.ce(mask="kept"), "kd": methods.kd(mask="kept")}
    options: dict[str, Any] = {"seeds": [0], "epochs": 1, "plan": EAGER}
    results = compare(Pixels, Pixels, masked, data, **options)
    assert results.complete and results.teacher is not None
    with pytest.raises(ValueError, match=r"labels must lie in .* the label -100"):
        compare(Pixels, Pixels, masked | {"all": methods.ce()}, data, **options)
