"""Trainings in words and numbers against torch's, and the field's recipes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fkd.compare._command.named import method
from fkd.compare._command.options import parse
from fkd.compare.recipes import RECIPES, Training
from fkd.data import MixUp
from fkd.data.augmentations import named
from fkd.methods import Context, Method


def rates(training: Training, epochs: int, steps: int) -> list[float]:
    """The rate at every step of a run."""
    lr = training.build().hyper["lr"]
    schedule = training.schedules(epochs, steps).get("lr")
    each = range(epochs * steps)
    return [lr * (float(schedule(torch.tensor(step))) if schedule else 1.0) for step in each]


def torchs(scheduler, epochs: int, steps: int, by_epoch: bool) -> list[float]:
    values = []
    for _ in range(epochs):
        for _ in range(steps):
            values.append(scheduler.get_last_lr()[0])
            scheduler.optimizer.step()
            if not by_epoch:
                scheduler.step()
        if by_epoch:
            scheduler.step()
    return values


def sgd(lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)


def test_the_fields_rate_falls_after_its_epochs():
    training = Training("sgd", lr=0.05, momentum=0.9, schedule="steps")
    expected = torchs(
        torch.optim.lr_scheduler.MultiStepLR(sgd(0.05), [150, 180, 210]), 240, 2, by_epoch=True
    )
    assert rates(training, 240, 2) == pytest.approx(expected, rel=1e-6)


def test_a_shorter_run_has_them_in_proportion():
    training = Training("sgd", lr=1.0, schedule="steps")
    assert rates(training, 8, 1) == pytest.approx([1, 1, 1, 1, 1, 0.1, 0.01, 0.001])


def test_a_cosine_and_no_schedule():
    expected = torchs(
        torch.optim.lr_scheduler.CosineAnnealingLR(sgd(0.1), 12), 3, 4, by_epoch=False
    )
    cosine = Training("sgd", lr=0.1, schedule="cosine")
    assert rates(cosine, 3, 4) == pytest.approx(expected, abs=1e-7)
    assert rates(Training("sgd", lr=0.1), 3, 4) == [0.1] * 12


@pytest.mark.parametrize("schedule", ["constant", "cosine", "steps"])
def test_a_warm_up_rises_to_the_full_rate(schedule):
    training = Training("adam", lr=1.0, schedule=schedule, warmup_epochs=2)
    assert rates(training, 8, 2)[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_the_numbers_are_the_optimizers_own_where_none_is_named():
    assert Training().build().hyper == {"lr": 1e-3, "weight_decay": 0.0}
    assert Training("adamw").build().hyper["weight_decay"] == 0.01
    assert Training("sgd").build().hyper["lr"] == 0.1
    whole = Training(
        "sgd", lr=0.2, momentum=0.9, nesterov=True, weight_decay=0.1, clip_norm=2.0, ema=0.5
    )
    numbers = {"lr": 0.2, "momentum": 0.9, "weight_decay": 0.1, "max_norm": 2.0, "ema_decay": 0.5}
    assert whole.build().hyper == numbers


def test_a_training_in_words():
    assert Training().title({}) == "Adam 0.001"
    assert Training().title({"lr": 0.1, "kd.weight": 1.0}) == "Adam 0.1"
    whole = Training(
        "sgd",
        lr=0.2,
        momentum=0.9,
        nesterov=True,
        weight_decay=0.1,
        clip_norm=2.0,
        ema=0.5,
        schedule="cosine",
        warmup_epochs=3,
    )
    assert whole.title({}) == (
        "SGD 0.2, momentum 0.9, Nesterov, decay 0.1, norms clipped at 2, averaged by 0.5, cosine, "
        "warm-up 3 epochs"
    )


def test_a_run_too_short_for_its_milestones_is_refused():
    training = Training("sgd", schedule="steps")
    with pytest.raises(ValueError, match="milestones: of 3 epochs the rate would fall after"):
        training.schedules(3, 10)


def test_function_matching_is_one_word_and_its_method():
    config = parse(["--recipe", "funmatch", "--methods", "ce", "funmatch", "--epochs", "60"])
    assert config.training.title({}) == (
        "AdamW 0.03, decay 0.01, norms clipped at 1, cosine, warm-up 16 epochs"
    )
    assert config.training.lr and config.training.weight_decay
    # big_vision subtracts rate · Adam's direction + 0.0003 · weight, both times the schedule
    assert config.training.lr * config.training.weight_decay == pytest.approx(0.0003)
    _, mix = named(config.augment, config.image_size, 1000)
    assert mix == MixUp(1000, alpha=1.0)  # Beta(1, 1), which is uniform
    term = method("funmatch", config.recipe, config.epochs)["funmatch"]
    assert (term.targets, term.hyper) == (("logits",), {"temperature": 1.0})


def test_the_fields_numbers():
    crd = RECIPES["crd"]
    kd = crd.methods["kd"](240)
    assert (kd["kd"].weight, kd["ce"].weight) == (0.9, 0.1) and kd["kd"].hyper["temperature"] == 4
    steps = crd.methods["dkd"](24)["dkd"].schedules["weight"](Context(steps_per_epoch=10))
    assert float(steps(torch.tensor(0))) == pytest.approx(1 / 2)  # 2 of 24 epochs, as 20 of 240


def staged(width: int) -> dict[str, torch.Tensor]:
    """Maps as a ResNet has behind its stages, and logits."""
    generator = torch.Generator().manual_seed(width)
    sizes = {"f1": (width, 8, 8), "f2": (2 * width, 4, 4), "f3": (4 * width, 2, 2)}
    maps = {name: torch.randn(6, *size, generator=generator) for name, size in sizes.items()}
    return maps | {"logits": torch.randn(6, 3, generator=generator)}


def total(method: Method, outputs: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]):
    """What is minimised, of terms without heads."""
    values = [
        term.weight * term.values(outputs, targets, term.hyper, None).mean()
        for term in method.values()
    ]
    return torch.stack(values).sum()


def attention(x: torch.Tensor) -> torch.Tensor:
    return F.normalize(x.square().mean(1).flatten(1))


def kernel(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x, y = (F.normalize(map.flatten(2), dim=2) for map in (x, y))
    return (x @ y.mT).square().mean()


def test_attention_and_selectivity_are_summed_over_three_stages():
    """RepDistiller's attention.py and NST.py, over `feat[1:-1]`, by 1000 and 50."""
    student, teacher = staged(4), staged(5)
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    ce = F.cross_entropy(student["logits"], labels)
    pairs = [(student[name], teacher[name]) for name in ("f1", "f2", "f3")]
    expected = {
        "at": sum(1000 * (attention(s) - attention(t)).square().mean() for s, t in pairs),
        "nst": sum(50 * (kernel(t, t) + kernel(s, s) - 2 * kernel(s, t)) for s, t in pairs),
    }
    for name, value in expected.items():
        method = RECIPES["crd"].methods[name](240)
        whole = total(method, student, teacher | {"labels": labels})
        torch.testing.assert_close(whole, ce + value, rtol=1e-5, atol=1e-5)


def test_vid_bounds_each_of_three_stages():
    method = RECIPES["crd"].methods["vid"](240)
    assert [term.student for name, term in method.items() if name != "ce"] == ["f1", "f2", "f3"]
    assert {term.weight for term in method.values()} == {1.0}


def test_hint_rectifies_a_normalised_convolution_of_the_second_stage():
    method = RECIPES["crd"].methods["hint"](240)
    assert (method["hint"].weight, method["ce"].weight) == (100.0, 1.0)
    student, teacher = staged(4), staged(5)
    head = method["hint"].build_head(student, teacher, Context())
    convolution, norm = (part for part in head.modules() if hasattr(part, "weight"))
    assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    x = F.conv2d(student["f2"], convolution.weight)
    expected = F.mse_loss(F.batch_norm(x, None, None, training=True).relu(), teacher["f2"])
    value = method["hint"].values(student, teacher, {}, lambda x: {"logits": head(*x)})
    torch.testing.assert_close(value.mean(), expected)
