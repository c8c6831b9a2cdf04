"""What cannot be a student is refused before it is trained, with the remedy."""

import pytest
import torch
from torch import nn

from fkd.model import Model, check, functional, outputs_like

X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


class Clamped(nn.Linear):
    def forward(self, input):
        self.weight.data.clamp_(-0.01, 0.01)
        return super().forward(input)


class Cached(nn.Linear):
    cache: torch.Tensor | None = None

    def forward(self, input):
        if self.cache is None:
            self.cache = self.weight.detach() * 2
        return super().forward(input) + input @ self.cache.T


class Counting(nn.Linear):
    calls = 0

    def forward(self, input):
        self.calls += 1
        return super().forward(input) * self.calls


class Late(nn.Linear):
    """Counts, and only later reads it."""

    calls = 0

    def forward(self, input):
        self.calls += 1
        return super().forward(input) * (self.calls < 100)


class Fading(nn.Linear):
    """Counts in a number that is no whole one."""

    weighs = 1.0

    def forward(self, input):
        self.weighs *= 0.5
        return super().forward(input) * (self.weighs > 1e-9)


class Undefined(nn.Module):
    """Of which one output is no number, as attention's where all is masked."""

    def __init__(self):
        super().__init__()
        self.classifier = nn.Linear(3, 2)

    def forward(self, input):
        return {"logits": self.classifier(input), "masked": input / 0 * 0}


class Random(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
        self.projection = [torch.randn(3, 2)]

    def forward(self, input):
        return super().forward(input) + input @ self.projection[0]


class Kept(nn.Linear):
    """Keeps what it computes, and reads it in the same pass only; and a constant."""

    def __init__(self):
        super().__init__(3, 2)
        self.scale = torch.ones(3)
        self.best = float("nan")

    def forward(self, input):
        self.last = input * self.scale
        self.largest = len(input)  # as of a cache, which settles
        return super().forward(self.last)


def hooked() -> nn.Module:
    net = nn.Linear(3, 2)
    net.weight.register_hook(torch.zeros_like)
    return net


def hooked_behind() -> nn.Module:
    net = nn.Linear(3, 2)
    net.weight.register_post_accumulate_grad_hook(print)
    return net


IMPURE = {
    "max_norm": (lambda: nn.Embedding(9, 2, max_norm=0.1), "changes its parameter 'weight'"),
    "clamp": (lambda: Clamped(3, 2), "changes its parameter 'weight'"),
    "cache": (lambda: Cached(3, 2), "'logits' depends on an earlier forward pass"),
    "count": (lambda: Counting(3, 2), "counts in its attribute 'calls'"),
    "late": (lambda: Late(3, 2), "counts in its attribute 'calls', which is 1 after one"),
    "fading": (lambda: Fading(3, 2), "counts in its attribute 'weighs', which is 0.5 after one"),
    "attribute": (Random, "keeps the tensor 'projection' as a plain attribute"),
    "spectral norm": (
        lambda: nn.utils.spectral_norm(nn.Linear(3, 2)),
        "take torch.nn.utils.parametrizations.spectral_norm",
    ),
    "hook": (hooked, "parameter 'weight' has a hook on its gradient"),
    "hook behind": (hooked_behind, "parameter 'weight' has a hook on its gradient"),
}


def _inputs(name: str) -> torch.Tensor:
    return torch.arange(6) if name == "max_norm" else X


@pytest.mark.parametrize("name", IMPURE)
def test_what_a_pass_leaves_behind_is_refused(name):
    build, reason = IMPURE[name]
    with pytest.raises(ValueError, match=reason):
        check(functional(build), _inputs(name))


@pytest.mark.parametrize(
    "build",
    [
        Kept,
        Undefined,
        lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2)),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)),
        lambda: nn.GRU(3, 2, batch_first=True),
    ],
)
def test_what_is_pure_passes(build):
    check(functional(build), X)


def test_inputs_without_numbers_are_not_tried():
    check(functional(lambda: Clamped(3, 2)), X.to("meta"))


class Branching(nn.Linear):
    def forward(self, input):
        return super().forward(input) if input.sum().item() > -1e9 else input


class OnTheCPU(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
        self.shift = torch.ones(2)

    def forward(self, input):
        return super().forward(input) + self.shift


@pytest.mark.parametrize("meta", [False, True])
@pytest.mark.parametrize(
    "build",
    [
        lambda: Branching(3, 2),
        OnTheCPU,
        lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, momentum=None)),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)),
    ],
)
def test_what_the_meta_device_cannot_do_is_done_for_real(build, meta):
    outputs = outputs_like(functional(build), X.to("meta") if meta else X, train=True)
    assert (outputs["logits"].shape, outputs["logits"].device.type) == ((6, 2), "meta")


def test_a_pass_that_fails_is_told_with_its_layer():
    model: Model = functional(lambda: nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2)))
    with pytest.raises(ValueError, match=r"layer '1' \(Linear\) fails in the forward pass: mat1"):
        outputs_like(model, X, train=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.uint8])
@pytest.mark.parametrize("build", [lambda: nn.Linear(3, 2), lambda: nn.Conv1d(3, 2, 1)])
def test_inputs_of_another_dtype_are_told_with_what_to_do(build, dtype):
    inputs = torch.ones(6, 3, 2).to(dtype) if build().weight.ndim == 3 else X.to(dtype)
    remedy = r"and the parameters torch.float32: .* as x.to\(torch.float32\)"
    with pytest.raises(ValueError, match=f"the inputs are {dtype}, {remedy}"):
        check(functional(build), inputs)


def test_parameters_wider_than_the_inputs_are_told_of():
    wide = functional(lambda: nn.Linear(2, 3).double())
    with pytest.raises(ValueError, match=r"parameters torch.float64: .* as x.to\(torch.float64\)"):
        check(wide, torch.ones(4, 2))


def test_a_lazy_module_is_refused_until_it_has_run():
    def build():
        module = nn.Sequential(nn.LazyLinear(3))
        module(torch.ones(1, 2))
        return module

    with pytest.raises(ValueError, match=r"0\.weight is lazy.*run the module once"):
        functional(lambda: nn.Sequential(nn.LazyLinear(3)))
    with pytest.raises(ValueError, match=r"running_mean is lazy.*run the module once"):
        functional(lambda: nn.LazyBatchNorm1d(affine=False))
    assert functional(build).init(0)[0]["0.weight"].shape == (3, 2)
