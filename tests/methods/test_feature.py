"""Methods of layers: the tutorial's weights, and others'."""

import torch
import torch.nn.functional as F

from fkd import methods
from methods.total import total


def test_the_tutorials_weights_are_the_defaults():
    for name, method in (("cosine", methods.cosine()), ("hint", methods.hint())):
        assert {key: term.weight for key, term in method.items()} == {name: 0.25, "ce": 0.75}


def test_logits_has_the_zoos_weight_of_the_mean_over_elements():
    student, teacher = torch.randn(2, 6, 3)
    value = total(methods.logits(), student, teacher)
    torch.testing.assert_close(value, 0.1 * F.mse_loss(student, teacher))
