"""Numbers, schedules, augmentation, averages: a comparison by a recipe of one's own."""

from functools import partial

import numpy as np
import pytest
import torch
from compare.small_comparisons import ALL, EAGER, Narrow, Wide, small, trained_elsewhere, vectors
from torch import Tensor, nn

from fkd import methods, optim, schedules
from fkd.compare import compare
from fkd.data import Crop, Data, Flip, MixUp, Normalize, Resident, chain


@pytest.fixture
def data() -> Data:
    return vectors()


@pytest.fixture
def teacher_state() -> dict[str, Tensor]:
    return trained_elsewhere()


def test_numbers_stand_in_for_defaults_wherever_a_method_has_them(data, teacher_state):
    numbers = {"kd.weight": 0.5, "lr": 0.02}
    plain = {"ce": methods.ce(), "kd": methods.kd(weight=0.5)}
    expected = small(data, plain, teacher_state=teacher_state, optimizer=optim.adam(0.02))
    results = small(data, teacher_state=teacher_state, numbers=numbers)
    for name in ALL:
        assert results.methods[name].curves == expected.methods[name].curves
    assert results.config["lr"] == 0.02


def test_the_teacher_trains_as_long_as_it_is_told_with_schedules_of_its_own(data):
    lengths = []

    def of_run(epochs: int, steps: int):
        lengths.append((epochs, steps))
        return {"lr": schedules.cosine(epochs * steps)}

    results = small(data, teacher_epochs=3, schedules=of_run)
    assert results.teacher and results.teacher.curves
    assert len(results.teacher.curves["loss"]) == 3
    assert len(results.methods["kd"].curves["loss"]) == 2
    assert lengths == [(2, 4), (3, 4)]


def test_augmented_and_mixed_examples_are_shown_to_a_live_teacher():
    def images(number: int, seed: int) -> Resident:
        generator = torch.Generator().manual_seed(seed)
        pixels = torch.randint(0, 256, (number, 3, 8, 8), generator=generator).byte()
        labels = pixels[:, 0].sum((1, 2)) % 2
        scale = Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        return Resident(pixels, {"labels": labels}, batch_size=10, transform=scale)

    build = partial(nn.Sequential, nn.Flatten(), nn.Linear(192, 2))
    results = compare(
        build,
        build,
        ALL,
        Data("images", ("even", "odd"), images(40, 0), images(20, 1)),
        seeds=[0],
        epochs=1,
        augment=chain(Crop(1), Flip()),
        mix=MixUp(2),
        plan=EAGER,
    )
    assert results.complete and results.teacher and results.teacher.live


def test_a_running_average_is_tested_beside_the_last_weights(data, teacher_state):
    optimizer = optim.averaged(optim.adam(0.01), 0.5)
    results = small(data, teacher_state=teacher_state, optimizer=optimizer)
    kd = results.methods["kd"]
    assert np.shape(kd.curves["test_accuracy_of_average"]) == (2, 2)
    average = results.average("kd")
    assert average and average.mean == pytest.approx(np.mean(kd.last("test_accuracy_of_average")))
    plain = small(data, teacher_state=teacher_state)
    assert plain.methods["kd"].curves["loss"] == kd.curves["loss"]


def test_a_network_that_is_there_already_is_left_as_it_is(data):
    network = Wide().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = Wide().state_dict()
    compare(lambda: network, Narrow, ALL, data, seeds=[0], epochs=1, teacher_state=state)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.plain
def test_a_network_that_does_not_fit_the_examples_is_told_by_its_role(data):
    with pytest.raises(ValueError, match="student: Linear fails in the forward pass: mat1 and"):
        compare(Wide, partial(nn.Linear, 3, 2), ALL, data)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"numbers": {"kd.wieght": 1.0}}, "numbers: hyperparameter 'kd.wieght' is not known"),
        ({"numbers": {"lr": -1.0}}, "numbers: lr must be zero or more"),
        ({"teacher_epochs": 0}, "teacher_epochs: teacher_epochs must be a whole number"),
        (
            {"teacher_epochs": 3, "schedules": {"lr": schedules.cosine(8)}},
            "schedules: they are made for one length of training, but the students train 2",
        ),
    ],
)
def test_numbers_and_lengths_that_make_no_sense_are_refused(data, options, message):
    with pytest.raises(ValueError, match=message):
        small(data, **options)
