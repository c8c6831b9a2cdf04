"""A student that ends in its teacher's classifier: what it gives, and what stays as it was."""

import copy

import torch
from torch import nn

from fkd import heads, methods, optim
from fkd.data import Batch
from fkd.distillation import distill, step, student_of
from fkd.model import Key, functional, state_dict
from fkd.models import DeepNN, LightNN, ReusedClassifier


def test_the_logits_are_the_classifiers_and_only_the_rest_is_trained():
    torch.manual_seed(0)
    teacher = DeepNN(3).eval()
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        batch = Batch(images, teacher(images))

    def build() -> nn.Module:
        classifier = nn.Sequential(nn.Flatten(), copy.deepcopy(teacher.classifier))
        student = LightNN(3)
        projector = heads.projector(torch.Size([16, 8, 8]), torch.Size([32, 8, 8]))
        return ReusedClassifier(student, projector, classifier)

    model = functional(build)
    rule = distill(model, methods.simkd(), optim.adam(1e-2), batch)
    state, values = rule.init(0), []
    for _ in range(10):
        state, metrics = step(rule, state, batch)
        values.append(float(metrics["simkd"]))
    assert values[-1] < values[0]
    params, buffers = student_of(state)
    outputs, _ = model.apply(params, buffers, images, train=False)
    with torch.no_grad():
        expected = teacher.classifier(outputs["projected"].flatten(1))
    torch.testing.assert_close(outputs["logits"], expected)
    module = build()
    module.load_state_dict(state_dict(params, buffers))
    torch.testing.assert_close(module.eval()(images)["logits"], outputs["logits"])


def test_nothing_moves_in_the_teachers_classifier_while_the_rest_trains():
    def build() -> ReusedClassifier:
        classifier = nn.Sequential(
            nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(256, 3)
        )
        return ReusedClassifier(LightNN(3), nn.Conv2d(16, 4, 1), classifier)

    torch.manual_seed(0)
    model, images = functional(build), torch.randn(4, 3, 32, 32)
    params, before = model.init(0)
    key = Key(torch.tensor(0), torch.tensor(0))
    training, after = model.apply(params, before, images, train=True, key=key)
    for name, value in before.items():
        assert torch.equal(after[name], value)
    module = build()
    module.load_state_dict(state_dict(params, before))
    expected = module.classifier(training["projected"])
    torch.testing.assert_close(training["logits"], expected)


def test_a_student_that_was_made_for_evaluation_is_trained_as_a_whole():
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(2, 3))

    def asleep(student: nn.Module) -> list[bool]:
        whole = ReusedClassifier(student, nn.Identity(), classifier)
        assert not any(part.training for part in whole.classifier.modules())
        return [not part.training for part in whole.student.modules()]

    pretrained = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2)).eval()
    assert asleep(pretrained) == [False, False, False]
    # A part of a student that is trained stays as its author has it.
    frozen = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2).eval())
    assert asleep(frozen) == [False, False, True]
