"""The tutorial's loop does the work that fkd's step does."""

import copy

import pytest
import torch
import torch.nn.functional as F
from rival_students import EXAMPLES, RATE, STEPS, assert_trained_alike, light, normalize

from benchmarks.speed.rivals import missing, torchdistill, tutorial
from fkd import methods, optim
from fkd.data import Batch
from fkd.distillation import distill, step
from fkd.model import functional
from fkd.models import DeepNN, LightNN

BATCH = 8
METHODS = {"ce": methods.ce, "kd": methods.kd, "cosine": methods.cosine, "hint": methods.hint}


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_the_tutorial_trains_as_fkd_does(
    method, resident, cached, double, images, labels, teacher, outputs
):
    # A DataLoader's order is not known here, so its batch is the whole set.
    size = BATCH if resident else EXAMPLES
    student = tutorial.student_of(method, light())
    start = copy.deepcopy(student.state_dict())
    run = tutorial.loop(
        method,
        images,
        labels,
        teacher=teacher,
        device="cpu",
        batch_size=size,
        resident=resident,
        cached=cached,
        student=student,
        workers=0,
        seed=5,
        lr=RATE,
    )
    run(1)
    run(STEPS - 1)

    whole = Batch(normalize(images), {"labels": labels, **outputs})
    shuffled = torch.randperm(EXAMPLES, generator=torch.Generator().manual_seed(5))
    batches = [
        Batch(whole.inputs[index], {name: t[index] for name, t in whole.targets.items()})
        for index in (shuffled.split(BATCH) if resident else [shuffled] * STEPS)
    ]
    ours = distill(functional(light), METHODS[method](), optim.adam(RATE), batches[0])
    state = ours.init(0)  # light() draws its weights from a seed of its own
    if method == "hint":
        head = {n.removeprefix("match."): w for n, w in start.items() if n.startswith("match.")}
        state.params["heads"]["hint"] = head
    for batch in batches:
        state, _ = step(ours, state, batch)
    heads = {f"match.{n}": w for n, w in state.params["heads"].get("hint", {}).items()}
    assert_trained_alike(state.params["student"] | heads, student.state_dict(), start)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", METHODS)
def test_the_tutorial_lowers_the_loss(method, precision, images, labels, teacher):
    torch.manual_seed(0)
    student = tutorial.student_of(method, LightNN())
    run = tutorial.loop(
        method,
        images,
        labels,
        teacher=teacher,
        device="cpu",
        batch_size=BATCH,
        resident=True,
        cached=True,
        precision=precision,
        student=student,
    )
    before = _loss(student, images, labels)
    run(10)
    assert _loss(student, images, labels) < before
    assert all(p.dtype == torch.float32 for p in student.parameters())


@torch.no_grad()
def _loss(student, images, labels) -> float:
    return F.cross_entropy(student(normalize(images))[0], labels).item()


def test_no_loop_touches_the_teacher(images, labels):
    teacher = DeepNN().train()
    tutorial.loop(
        "kd",
        images,
        labels,
        teacher=teacher,
        device="cpu",
        batch_size=BATCH,
        resident=True,
        cached=False,
    )(1)
    if missing("torchdistill") is None:
        torchdistill.loop(
            images, labels, teacher=teacher, device="cpu", batch_size=BATCH, resident=True
        )(1)
    assert teacher.training
    assert all(p.requires_grad and p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize(
    ("method", "precision", "text"),
    [
        ("dkd", "fp32", "method 'dkd' is not known; choose from ce, kd, cosine, hint"),
        ("kd", "fp16", "precision 'fp16' is not known; choose from fp32, bf16"),
    ],
)
def test_the_tutorial_refuses_what_it_does_not_know(
    method, precision, text, images, labels, teacher
):
    with pytest.raises(ValueError, match=text):
        tutorial.loop(
            method,
            images,
            labels,
            teacher=teacher,
            device="cpu",
            resident=True,
            cached=True,
            precision=precision,
        )


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert missing("tutorial") is None
    assert missing("jax") == (
        'jax needs jax and optax, not installed here: pip install "fkd[rivals]"'
    )
