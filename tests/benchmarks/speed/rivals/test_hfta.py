"""Students fused by hand train as each would alone."""

import copy

import pytest
import torch
from rival_students import EXAMPLES, RATE, STEPS, assert_trained_alike, by_hand, light, normalize

from benchmarks.speed.rivals import hfta
from fkd.models import LightNN


def test_fused_students_train_as_each_by_hand(double, images, labels, outputs):
    students = [light(3), light(4)]
    start = [copy.deepcopy(student.state_dict()) for student in students]
    module = hfta.Fused(students)
    run = hfta.loop(
        images,
        labels,
        teacher_logits=outputs["logits"],
        seeds=[3, 4],
        device="cpu",
        batch_size=EXAMPLES,  # so that the order does not matter
        module=module,
        lr=RATE,
    )
    run(1)
    run(STEPS - 1)
    for number, student in enumerate(students):
        by_hand(student, outputs["logits"], images, labels)
        fused = {
            name: module.stacked[name.replace(".", "_")][number].detach() for name in start[number]
        }
        assert_trained_alike(fused, student.state_dict(), start[number])


def test_dropout_is_of_training_and_differs_between_students():
    torch.manual_seed(0)
    student = LightNN()
    module, x = hfta.Fused([student, student]), torch.randn(4, 3, 32, 32)
    one, other = module.train()(x)
    assert (one != other).any()
    one, other = module.eval()(x)
    torch.testing.assert_close(one, student.eval()(x)["logits"])
    assert torch.equal(one, other)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fused_students_lower_the_loss(precision, images, labels, outputs):
    module = hfta.Fused([light(3), light(4)])
    run = hfta.loop(
        images,
        labels,
        teacher_logits=outputs["logits"],
        seeds=[3, 4],
        device="cpu",
        batch_size=EXAMPLES,
        precision=precision,
        module=module,
    )

    def loss() -> torch.Tensor:
        return hfta.total(module(normalize(images)), outputs["logits"], labels)

    before = loss()
    run(10)
    assert loss() < before
