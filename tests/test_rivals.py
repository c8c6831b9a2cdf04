"""The other sides of the speed comparison do the work that fkd's step does."""

import copy

import numpy as np
import pytest
import rivals
import rivals_jax
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fkd import methods, optim
from fkd.data import normalize
from fkd.distillation import distill, step
from fkd.model import functional
from fkd.models import DeepNN, LightNN

EXAMPLES, BATCH, STEPS = 24, 8, 3
METHODS = {
    "ce": methods.supervised,
    "kd": methods.kd,
    "cosine": methods.cosine,
    "hint": methods.hint,
}
RESIDENT = pytest.mark.parametrize("resident", [False, True])
CACHED = pytest.mark.parametrize("cached", [False, True])


def needs(name: str) -> pytest.MarkDecorator:
    why = rivals.missing(name)
    return pytest.mark.skipif(why is not None, reason=why or "")


@pytest.fixture(scope="module")
def images() -> Tensor:
    shape = (EXAMPLES, 3, 32, 32)
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def labels() -> Tensor:
    return torch.arange(EXAMPLES) % 10


@pytest.fixture(scope="module")
def teacher() -> DeepNN:
    torch.manual_seed(0)
    return DeepNN().eval()


@pytest.fixture(scope="module")
def outputs(teacher, images) -> dict[str, Tensor]:
    with torch.no_grad():
        return teacher(normalize(images))


def light(seed: int = 1) -> LightNN:
    """A student without dropout, which no two sides draw alike."""
    torch.manual_seed(seed)
    student = LightNN()
    student.classifier[2] = nn.Dropout(0.0)
    return student


def by_hand(student: LightNN, target: Tensor, images: Tensor, labels: Tensor) -> list[float]:
    """STEPS of kd on the whole set at T = 2 by torch.optim, in place; the loss before each."""
    optimizer, losses = torch.optim.Adam(student.parameters(), lr=1e-3), []
    for _ in range(STEPS):
        logits = student(normalize(images))["logits"]
        soft = F.cross_entropy(logits / 2, F.softmax(target / 2, dim=1))
        loss = 0.25 * 2**2 * soft + 0.75 * F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def assert_trained_alike(found, expected, start) -> None:
    """Equal to rounding, which Adam's quotient of small gradients widens; and all have moved."""
    assert set(found) == set(expected)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=3e-5)
        assert (value - start[name]).abs().max() > 1e-3  # Adam's first step is 1e-3


@RESIDENT
@CACHED
@pytest.mark.parametrize("method", METHODS)
def test_the_tutorial_trains_as_fkd_does(
    method, resident, cached, images, labels, teacher, outputs
):
    # A DataLoader's order is not known here, so its batch is the whole set.
    size = BATCH if resident else EXAMPLES
    student = rivals.tutorial_student(method, light())
    start = copy.deepcopy(student.state_dict())
    run = rivals.tutorial(
        *(method, images, labels),
        **{"teacher": teacher, "device": "cpu", "resident": resident, "cached": cached},
        **{"batch_size": size, "student": student, "workers": 0, "seed": 5},
    )
    run(1)
    run(STEPS - 1)

    whole, targets = normalize(images), {"labels": labels, **outputs}
    shuffled = torch.randperm(EXAMPLES, generator=torch.Generator().manual_seed(5))
    batches = [
        (whole[index], {name: target[index] for name, target in targets.items()})
        for index in (shuffled.split(BATCH) if resident else [shuffled] * STEPS)
    ]
    ours = distill(functional(light), METHODS[method](), optim.adam(1e-3), *batches[0])
    state = ours.init(0)  # light() draws its weights from a seed of its own
    if method == "hint":
        head = {n.removeprefix("match."): w for n, w in start.items() if n.startswith("match.")}
        state.params["heads"]["hint"] = head
    for batch in batches:
        state, _ = step(ours, state, *batch)
    heads = {f"match.{n}": w for n, w in state.params["heads"].get("hint", {}).items()}
    assert_trained_alike(state.params["student"] | heads, student.state_dict(), start)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", METHODS)
def test_the_tutorial_lowers_the_loss(method, precision, images, labels, teacher):
    torch.manual_seed(0)
    student = rivals.tutorial_student(method, LightNN())
    run = rivals.tutorial(
        *(method, images, labels),
        **{"teacher": teacher, "device": "cpu", "resident": True, "cached": True},
        **{"batch_size": BATCH, "student": student, "precision": precision},
    )

    def loss() -> float:
        with torch.no_grad():
            return F.cross_entropy(student(normalize(images))[0], labels).item()

    before = loss()
    run(20)
    assert loss() < before
    assert all(p.dtype == torch.float32 for p in student.parameters())


def test_pictures_are_the_images_normalised(images, labels):
    inputs, label, number = rivals.Pictures(images, labels, numbered=True)[3]
    torch.testing.assert_close(inputs, normalize(images[3:4])[0])
    assert (label, number) == (3, 3)


def test_neither_side_touches_the_teacher(images, labels):
    given = DeepNN().train()
    way = {"device": "cpu", "resident": True, "cached": False, "batch_size": BATCH}
    rivals.tutorial("kd", images, labels, teacher=given, **way)(1)
    if rivals.missing("torchdistill") is None:
        del way["cached"]
        rivals.torchdistill_kd(images, labels, teacher=given, **way)(1)
    assert given.training
    assert all(p.requires_grad and p.grad is None for p in given.parameters())


@needs("torchdistill")
@RESIDENT
def test_torchdistill_trains_as_by_hand(resident, images, labels, teacher, outputs):
    student, expected, start = light(), light(), light().state_dict()
    run = rivals.torchdistill_kd(
        *(images, labels),
        **{"teacher": teacher, "device": "cpu", "batch_size": EXAMPLES, "resident": resident},
        **{"student": student, "workers": 0},
    )
    run(1)
    run(STEPS - 1)
    by_hand(expected, outputs["logits"], images, labels)
    assert_trained_alike(student.state_dict(), expected.state_dict(), start)


@needs("jax")
@pytest.mark.parametrize("layout", ["vmap", "loop"])
def test_jax_loses_as_by_hand(layout, images, labels, outputs):
    jax = pytest.importorskip("jax")
    logits, seeds = outputs["logits"], (3, 4)
    state, data, train = rivals_jax.jax_program(
        images, labels, logits, seeds, dropout=0.0, layout=layout
    )
    found = []
    for _ in range(STEPS):
        state, losses = jax.jit(train)(state, data, np.arange(EXAMPLES)[::-1])
        found.append(losses)
    expected = [by_hand(light(seed), logits, images, labels) for seed in seeds]
    np.testing.assert_allclose(np.stack(found, axis=1), expected, rtol=1e-4)


@needs("jax")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_jax_lowers_the_loss_with_dropout(dtype, images, labels, outputs):
    jax = pytest.importorskip("jax")
    state, data, train = rivals_jax.jax_program(
        images, labels, outputs["logits"], [3, 3, 4], dtype=dtype
    )
    train, found = jax.jit(train), []
    for _ in range(20):
        state, losses = train(state, data, np.arange(EXAMPLES))
        found.append(losses)
    assert (found[-1] < found[0]).all()
    assert found[5][0] == found[5][1] != found[5][2]  # the seed is the member's dropout too


@needs("jax")
def test_jax_runs_on_in_calls_of_several_steps_and_of_one(images, labels, outputs, monkeypatch):
    jax = pytest.importorskip("jax")
    calls, program = [], rivals_jax.jax_program

    def counting(*given, **options):
        state, data, train = program(*given, **options)

        def counted(state, data, index):
            jax.debug.callback(lambda steps: calls.append(int(steps)), state[2])
            return train(state, data, index)

        return state, data, counted

    monkeypatch.setattr(rivals_jax, "jax_program", counting)
    run = rivals_jax.jax_kd(
        *(images, labels),
        **{"teacher_logits": outputs["logits"], "seeds": [0], "batch_size": BATCH},
        steps_per_call=2,
    )
    run(2)
    run(5)
    jax.effects_barrier()
    assert calls == list(range(7))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"method": "dkd"}, "method 'dkd' is not known; choose from ce, kd, cosine, hint"),
        ({"precision": "fp16"}, "precision 'fp16' is not known; choose from fp32, bf16"),
    ],
)
def test_the_tutorial_refuses_what_it_does_not_know(wrong, text, images, labels, teacher):
    given = {"method": "kd", "precision": "fp32"} | wrong
    with pytest.raises(ValueError, match=text):
        rivals.tutorial(
            *(given["method"], images, labels),
            **{"teacher": teacher, "device": "cpu", "resident": True, "cached": True},
            precision=given["precision"],
        )


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert rivals.missing("tutorial") is None
    assert rivals.missing("jax") == (
        'jax needs jax and optax, not installed here: pip install "fkd[rivals]"'
    )
