"""Methods of maps: the authors' weights."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fkd import methods
from methods.total import total


def test_ickd_has_its_authors_weight_and_normalised_embedding():
    student, teacher = torch.randn(2, 4, 6, 3, 3)
    g_s, g_t = (F.normalize(x.flatten(2) @ x.flatten(2).mT, dim=2) for x in (student, teacher))
    value = total(methods.ickd(), student, teacher)
    torch.testing.assert_close(value, 2.5 * (g_s - g_t).square().sum() / (6 * 4))
    head = methods.ickd()["ickd"].head
    assert head is not None
    built = head(torch.Size([3, 3, 3]), torch.Size([6, 3, 3]))
    assert isinstance(built, nn.Sequential)
    convolution, norm = built
    assert isinstance(convolution, nn.Conv2d) and convolution.bias is None
    assert isinstance(norm, nn.BatchNorm2d)


@pytest.mark.parametrize("name", ["cwd", "pkd"])
def test_channels_of_one_number_are_compared_each_with_its_own(name):
    """As in the authors' code, of logits' channels and of a feature pyramid's."""
    head = getattr(methods, name)()[name].head
    assert isinstance(head(torch.Size([6, 3, 3]), torch.Size([6, 3, 3])), nn.Identity)
    joined = head(torch.Size([3, 3, 3]), torch.Size([6, 3, 3]))
    assert isinstance(joined, nn.Conv2d) and joined.kernel_size == (1, 1)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("method", "layers", "teacher_layers", "message"),
    [
        (methods.fsp, ["a", "b", "c"], None, "fsp: it takes two layers, but they are a, b, c"),
        (methods.fsp, "ab", None, "fsp: it takes several layers, but they are 'ab'"),
        (methods.review, ["a"], "b", "review: it takes several layers, but they are 'b'"),
        (methods.review, ["a", "b"], ["c"], "review: each layer .* but they are a, b and c"),
    ],
)
def test_layers_come_in_pairs(method, layers, teacher_layers, message):
    with pytest.raises(ValueError, match=message):
        method(layers=layers, teacher_layers=teacher_layers)


def test_layers_are_a_sequence_for_each_side():
    term = methods.review(layers=["a", "b", "c"])["review"]
    assert term.students == term.targets == ("a", "b", "c")
    term = methods.fsp(layers=["a", "b"], teacher_layers=("c", "d"))["fsp"]
    assert (term.students, term.targets) == (("a", "b"), ("c", "d"))
