"""Whether a classifier reads what a ReLU gives, of networks that end in one way or another."""

import pytest
import torchvision
from torch import Tensor, nn

from fkd.models import features
from fkd.models._ending import rectified


class Ends(nn.Module):
    """Between its map and its classifier stands what it is given."""

    def __init__(self, between: nn.Module):
        super().__init__()
        self.body, self.between, self.fc = nn.Conv2d(3, 4, 3), between, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.between(self.body(x)))


def average() -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5)]


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        (nn.Sequential(nn.ReLU(), *average()), True),
        (nn.Sequential(nn.ReLU(), nn.Hardtanh(), *average()), False),
        (nn.Sequential(nn.GELU(), *average()), False),
        (nn.Sequential(*average(), nn.ReLU()), False),
        (nn.Sequential(*average()), False),
    ],
)
def test_a_relu_counts_where_an_average_alone_stands_behind_it_and_none_before(between, expected):
    net = Ends(between)
    modes = [layer.training for layer in net.modules()]
    assert rectified(net, "fc") is expected
    assert [layer.training for layer in net.modules()] == modes


def test_a_teacher_whose_layers_are_outputs_ends_as_it_does_without():
    build = features(
        lambda: torchvision.models.DenseNet(4, (1, 1, 1, 1), 8, 2), {"map": "features"}
    )
    assert rectified(build(), "classifier")


def test_what_torch_fx_cannot_read_and_what_has_no_such_layer_are_not_rectified():
    class Branching(Ends):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x if x.sum() > 0 else -x)

    assert not rectified(Branching(nn.Sequential(nn.ReLU(), *average())), "fc")
    assert not rectified(Ends(nn.Sequential(nn.ReLU(), *average())), "head")
    assert not rectified(nn.Linear(2, 3), "fc")
