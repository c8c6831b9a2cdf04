"""The floor: work counted as by hand and as by torch's own counter, and rates from known times."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed import floor
from fkd.models import LightNN


def small() -> nn.Module:
    """For images of 1x4x4: 2 channels, pooled to 2x2, then 3 classes; 47 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(8, 3),
    )


def test_layers_are_counted_as_by_hand():
    # each of the convolution's 2 * 16 outputs takes 9 multiplications, each logit takes 8
    expected = [(16, 32, 288), (32, 8, 0), (8, 3, 24)]
    assert floor.layers(small(), (1, 4, 4)) == expected


@pytest.mark.parametrize(("precision", "width"), [("fp32", 4), ("bf16", 2)])
def test_work_is_counted_as_by_hand(precision, width):
    step = floor.work(small(), 2, precision, image=(1, 4, 4))
    # twice the convolution, for the image needs no gradient, and three times the linear layer
    assert step.flops == 2 * 2 * (2 * 288 + 3 * 24)
    parameters = 10 * 4 * 47
    # the image; convolution twice, pooling twice, linear three times, inputs and outputs
    assert step.unfused == 2 * (16 + width * (16 + 2 * 48 + 2 * 40 + 3 * 11)) + parameters
    assert step.fused == 2 * (16 + width * (16 + 2 * (16 + 8) + 3 * 11)) + parameters


def test_a_layer_without_pooling_is_not_fused():
    plain = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 3))
    step = floor.work(plain, 1, "fp32", image=(1, 4, 4))
    numbers = 16 + 2 * (16 + 4) + 3 * (4 + 3)
    assert step.unfused == step.fused == 16 + 4 * numbers + 40 * (16 * 4 + 4 + 4 * 3 + 3)


def test_arithmetic_is_what_torch_counts():
    with FlopCounterMode(display=False) as counter:
        logits = LightNN()(torch.zeros(128, 3, 32, 32))["logits"]
        F.cross_entropy(logits, torch.zeros(128, dtype=torch.int64)).backward()
    assert floor.work(LightNN(), 128, "fp32").flops == counter.get_total_flops()


def test_a_students_step_is_what_is_known_of_it():
    steps = {precision: floor.work(LightNN(), 128, precision) for precision in ("fp32", "bf16")}
    assert round(steps["fp32"].flops / 1e9, 3) == 0.883
    # without the batch's bytes, which are read once
    batch = 128 * 3 * 32 * 32
    moved = [(step.unfused - batch, step.fused - batch) for step in steps.values()]
    assert [[round(n / 1e6) for n in pair] for pair in moved] == [[73, 30], [42, 20]]


def test_the_model_that_is_counted_stays_as_it_was():
    model = small()
    floor.work(model, 2, "fp32", image=(1, 4, 4))
    assert model(torch.zeros(1, 1, 4, 4)).device.type == "cpu"
    assert not any(module._forward_hooks for module in model.modules())


def test_rates_follow_from_times(monkeypatch):
    times = iter([0.5, 0.25, 2.0, 1.0, 4.0, 8.0])  # copy, triad; matmul, convolution; the same
    monkeypatch.setitem(floor.SIZES, "cpu", floor.Sizes(1000, 8, 2, channels=4, side=6))

    def fastest(run, device):
        run()
        return next(times)

    monkeypatch.setattr(floor, "fastest", fastest)
    monkeypatch.setattr(floor, "precisions", lambda device: ["fp32", "bf16"])
    rates = floor.machine("cpu")
    assert (rates["copy"], rates["triad"]) == (2 * 4000 / 0.5, 3 * 4000 / 0.25)
    assert rates["bytes_a_second"] == 48000
    product, convolution = 2 * 8**3, 2 * 9 * 4 * 4 * 2 * 6 * 6
    assert rates["matmul"] == {"fp32": product / 2, "bf16": product / 4}
    assert rates["convolution"] == {"fp32": convolution / 1, "bf16": convolution / 8}
    assert rates["flops_a_second"] == {"fp32": convolution / 1, "bf16": convolution / 8}


def test_the_first_run_is_not_timed(monkeypatch):
    clock, runs = [0.0], iter([100.0, 3.0, 2.0, *[5.0] * floor.REPEATS])
    monkeypatch.setattr(floor.time, "perf_counter", lambda: clock[0])

    def run():
        clock[0] += next(runs)

    assert floor.fastest(run, "cpu") == 2.0


def test_the_floor_is_the_slower_of_memory_and_arithmetic():
    step = floor.Work(flops=6_000, unfused=8_000, fused=1_000)
    rates = {"bytes_a_second": 1e6, "flops_a_second": {"bf16": 2e6}}
    assert floor.milliseconds(step, "bf16", rates) == {"unfused": 8.0, "fused": 3.0}
