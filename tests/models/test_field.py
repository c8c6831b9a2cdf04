"""Methods run on the field's networks as they stand, without an option."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from fkd import methods, optim
from fkd.data import Batch
from fkd.distillation import Distillation, distill, step
from fkd.ensemble import ensemble
from fkd.methods import METHODS, Context
from fkd.model import functional
from fkd.models import MODELS

CLASSES, EXAMPLES = 3, 6
PAIRS = [("resnet8x4", "resnet8"), ("wrn-16-2", "wrn-16-1"), ("vgg8", "vgg8")]
# Its two hidden layers must be of one width, which those of the first two pairs are not.
ONE_WIDTH = ("cosine",)


@torch.no_grad()
def fitted(
    method: methods.Method, teacher: nn.Module, build: Callable[[], nn.Module], batch: Batch
) -> Distillation:
    """The distillation of a student, of whose outputs the method finds its own by its defaults."""
    context = Context(
        examples=EXAMPLES,
        steps_per_epoch=1,
        epochs=2,
        teacher=teacher,
        outputs={name: output.shape[1:] for name, output in build()(images()).items()},
        targets={name: target.shape[1:] for name, target in batch.targets.items()},
    )
    model = functional(methods.wrapped(build, method, context))
    return distill(model, method, optim.sgd(1e-3), batch, context=context)


def images() -> Tensor:
    return torch.randn(EXAMPLES, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def batch_of(teacher: nn.Module) -> Batch:
    labels, index = torch.arange(EXAMPLES) % CLASSES, torch.arange(EXAMPLES)
    return Batch(images(), {"labels": labels, "index": index, **teacher(images())})


def teacher_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[name](CLASSES).eval()


@pytest.mark.parametrize(("teacher", "student"), PAIRS)
def test_every_method_fits_every_pair(teacher, student):
    big, small = teacher_of(teacher), MODELS[student](CLASSES)
    batch = batch_of(big)
    shapes = {name: target.to("meta") for name, target in batch.targets.items()}
    for name, method in METHODS.items():
        layers = {layer for term in method().values() for layer in term.students}
        if layers <= {"logits", "peer_logits"} or (name in ONE_WIDTH and teacher != student):
            continue
        rule = fitted(method(), big, lambda: small, Batch(batch.inputs.to("meta"), shapes))
        assert isinstance(rule, Distillation)


@pytest.mark.parametrize("name", ["hint", "at", "ab", "ofd", "crd", "simkd"])
def test_two_students_take_a_step(name):
    teacher, student = PAIRS[0]
    big = teacher_of(teacher)
    batch = batch_of(big)
    rule = ensemble(fitted(METHODS[name](), big, partial(MODELS[student], CLASSES), batch))
    state = rule.init([0, 1])
    after, metrics = step(rule, state, batch)
    assert metrics[name].shape == (2,)
    assert metrics[name].isfinite().all() and (metrics[name] > 0).all()
    assert metrics[name][0] != metrics[name][1]
    before, weights = (s.params["student"] for s in (state, after))
    key = next(key for key in weights if key.endswith("layer3.0.conv2.weight"))
    assert (weights[key] != before[key]).flatten(1).any(1).all()
