"""The field's recipe: an ensemble of ResNet-20 against a plain loop with torch.optim.SGD."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from fkd import methods, optim, schedules
from fkd._random import Key
from fkd.data import Crop, Flip, Resident, chain
from fkd.distillation import distill, student_of
from fkd.ensemble import member
from fkd.execution import Plan
from fkd.model import functional, state_dict
from fkd.models import named
from fkd.train import Students, train

STEPS, EPOCHS, BATCH, CLASSES = 5, 4, 8, 10
SEEDS = [3, 5]
# Near the field's numbers, and exact in float32, as the leaves of a state are.
RATE, MOMENTUM, DECAY, MILESTONES, FALL = 1 / 16, 7 / 8, 2**-11, [10, 15], 1 / 8
HARD, SOFT, TEMPERATURE = 1 / 8, 7 / 8, 4.0


def scaled(images: Tensor, key: Key | None) -> Tensor:
    return images.double() / 255 - 0.5


def source() -> Resident:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (STEPS * BATCH, 3, 16, 16), generator=generator)
    labels = torch.randint(0, CLASSES, (STEPS * BATCH,), generator=generator)
    plain = Resident(images.byte(), {"labels": labels}, batch_size=BATCH, transform=scaled)
    return plain.augmented(chain(Crop(padding=4), Flip()))


def teacher(images: Tensor) -> dict[str, Tensor]:
    """Some function of the images that are shown, crops and flips included."""
    return {"logits": images.flatten(1)[:, : CLASSES * 50].unflatten(1, (CLASSES, -1)).mean(-1)}


def plain_loop(seed: int, data: Resident) -> dict[str, Tensor]:
    """What torch makes of the student of that seed, with the batches that fkd reads."""
    torch.manual_seed(seed)
    net = named("resnet20", CLASSES)().double().train()
    optimizer = torch.optim.SGD(net.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, MILESTONES, gamma=FALL)
    for epoch in range(EPOCHS):
        for number, rows in enumerate(data.feeds(0, epoch), start=epoch * STEPS):
            step = torch.tensor(number)
            batch = data.read(rows, Key(torch.zeros_like(step), step))
            logits, target = net(batch.inputs)["logits"], teacher(batch.inputs)["logits"]
            soft = F.cross_entropy(logits / TEMPERATURE, F.softmax(target / TEMPERATURE, -1))
            hard = F.cross_entropy(logits, batch.targets["labels"])
            loss = HARD * hard + SOFT * TEMPERATURE**2 * soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    return net.state_dict()


def test_an_ensemble_of_resnets_is_torchs_loop_after_twenty_steps():
    data = source()
    rows = next(data.feeds(0, 0))
    zero = torch.tensor(0)
    example = data.read(rows, Key(zero, zero))
    example = example._replace(targets=example.targets | teacher(example.inputs))
    model = functional(partial(_double, "resnet20"))
    optimizer = optim.sgd(RATE, momentum=MOMENTUM, weight_decay=DECAY)
    method = methods.kd(weight=SOFT, temperature=TEMPERATURE, ce=HARD)
    falls = {"lr": schedules.piecewise(MILESTONES, FALL)}
    run = distill(model, method, optimizer, example, schedules=falls)
    *_, at = train(
        {"kd": Students(run, SEEDS)},
        data,
        epochs=EPOCHS,
        teacher=teacher,
        plan=Plan(compile="none"),
    )
    for k, seed in enumerate(SEEDS):
        outputs = state_dict(*student_of(member(at.states["kd"], k)))
        expected = plain_loop(seed, data)
        assert outputs.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(outputs[name], value, rtol=0, atol=1e-9)


def _double(name: str) -> torch.nn.Module:
    return named(name, CLASSES)().double()
