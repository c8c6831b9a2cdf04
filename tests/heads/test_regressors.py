"""Heads of the student alone: what shapes they join, and what a classifier reads."""

from collections import OrderedDict
from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from timm.layers.classifier import ClassifierHead
from torch import Tensor, nn

from fkd import heads

SMALL, LARGE = torch.Size([4, 6, 6]), torch.Size([8, 6, 6])


@pytest.mark.parametrize(
    "build",
    [
        heads.convolution_regressor,
        heads.pointwise,
        heads.pointwise_where_needed,
        heads.connector,
        heads.projector,
        heads.generator,
        heads.rectified_connector,
    ],
)
def test_plain_heads_join_the_channels(build):
    assert build(SMALL, LARGE)(torch.randn(3, *SMALL)).shape == (3, *LARGE)
    with pytest.raises(ValueError, match=r"it joins feature maps .* the student's is \(10,\)"):
        build(torch.Size([10]), LARGE)


@pytest.mark.parametrize(
    ("student", "target"), [([4], [6]), ([10, 4], [10, 6])], ids=["vectors", "tokens"]
)
def test_the_regressor_of_vectors_and_tokens_is_a_linear_map_of_each(student, target):
    head = heads.convolution_regressor(torch.Size(student), torch.Size(target))
    assert isinstance(head, nn.Linear)
    x = torch.randn(3, *student)
    expected = torch.einsum("b...i,oi->b...o", x, head.weight) + head.bias
    torch.testing.assert_close(head(x), expected)


def test_a_linear_head_joins_vectors_alone():
    head = heads.linear(torch.Size([4]), torch.Size([6]))
    assert head(torch.randn(3, 4)).shape == (3, 6)
    assert len(list(head.parameters())) == 1
    with pytest.raises(ValueError, match=r"it joins vectors \[width\], but .* is \(4, 6, 6\)"):
        heads.linear(SMALL, torch.Size([6]))


@pytest.mark.plain
def test_the_regressor_joins_no_different_numbers_of_tokens():
    with pytest.raises(ValueError, match=r"the student's is \(10, 4\) .* `heads.align` makes maps"):
        heads.convolution_regressor(torch.Size([10, 4]), torch.Size([9, 4]))


def test_masked_channels_are_zero_and_the_others_as_they_were():
    torch.manual_seed(0)
    maps = torch.rand(200, 50, 2, 2) + 1
    masked = heads.Masked(0.25)(maps)
    kept = (masked != 0).all((2, 3))
    assert torch.equal((masked != 0).any((2, 3)), kept)  # a channel goes as a whole
    torch.testing.assert_close(masked[kept], maps[kept])
    # of 10,000 draws the share has a deviation of 0.0043
    assert abs(kept.double().mean().item() - 0.75) < 5 * 0.0043
    assert torch.equal(heads.Masked(0.25).eval()(maps), maps)


def test_a_generator_of_as_many_channels_has_no_convolution_before_its_mask():
    alike, wider = (heads.generator(SMALL, target) for target in (SMALL, LARGE))
    layers = [type(layer).__name__ for layer in alike.children()]
    assert layers == ["Masked", "Conv2d", "ReLU", "Conv2d"]
    assert [type(layer).__name__ for layer in wider.children()] == ["Conv2d", *layers]


@pytest.mark.plain
def test_a_share_of_all_channels_is_refused():
    with pytest.raises(ValueError, match=r"Masked: share must lie in \[0, 1\), but it is 1.0"):
        heads.Masked(1.0)


def _convnext() -> tuple[nn.Module, nn.Module]:
    """torchvision's, whose classifier reads an average of one position, and what makes its map."""
    setting = torchvision.models.convnext.CNBlockConfig(8, None, 2)
    net = torchvision.models.ConvNeXt([setting], num_classes=3)
    return net, net.features


def _timm_convnext() -> tuple[nn.Module, nn.Module]:
    """timm's, whose head averages inside."""
    net = timm.models.ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8), num_classes=3)
    return net, nn.Sequential(net.stem, net.stages)


def _mobilenet() -> tuple[nn.Module, nn.Module]:
    """torchvision's, whose classifier has two linear layers behind the average."""
    net = torchvision.models.mobilenet_v3_small(num_classes=3)
    return net, net.features


def _densenet() -> tuple[nn.Module, nn.Module]:
    """torchvision's, which rectifies its last map outside of all its layers."""
    net = torchvision.models.DenseNet(4, (1, 1, 1, 1), 8, 2, num_classes=3)
    return net, net.features


def _densenet_rectified() -> tuple[nn.Module, nn.Module]:
    """The same with its map from behind the ReLU."""
    net, body = _densenet()
    return net, nn.Sequential(body, nn.ReLU())


class _Small(nn.Module):
    """Ends in a ReLU, and in what an average or a flatten makes of its map."""

    def __init__(self, average: bool, relu: Callable[[Tensor], Tensor]):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 8, stride=8), nn.BatchNorm2d(8))
        self.relu, self.average = relu, average
        self.fc = nn.Linear(8 if average else 8 * 64, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.body(x))
        return self.fc(x.mean((2, 3)) if self.average else x.flatten(1))


def _rectified_by_a_layer() -> tuple[nn.Module, nn.Module]:
    net = _Small(True, nn.ReLU())
    return net, net.body


def _rectified_by_a_function() -> tuple[nn.Module, nn.Module]:
    net = _Small(False, F.relu)
    return net, net.body


def _ending(head: nn.Module) -> tuple[nn.Module, nn.Module]:
    """A network of a map and a head that reads it by itself."""
    body = nn.Conv2d(3, 8, 8, stride=8)
    return nn.Sequential(OrderedDict(body=body, head=head)), body


def _with_largest() -> tuple[nn.Module, nn.Module]:
    """A head of timm's that takes the largest position and not the average."""
    return _ending(ClassifierHead(8, 3, pool_type="max"))


def _with_convolution() -> tuple[nn.Module, nn.Module]:
    """A head whose first layer is a convolution."""
    average = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return _ending(nn.Sequential(nn.Conv2d(8, 5, 1), nn.ReLU(), average, nn.Linear(5, 3)))


def _with_flatten() -> tuple[nn.Module, nn.Module]:
    """A head that flattens the map."""
    return _ending(nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(8 * 8 * 8, 3)))


@pytest.mark.parametrize(
    "network",
    [
        _convnext,
        _timm_convnext,
        _mobilenet,
        _densenet,
        _densenet_rectified,
        _rectified_by_a_layer,
        _rectified_by_a_function,
        _with_largest,
        _with_convolution,
        _with_flatten,
    ],
)
def test_a_classifier_makes_the_teachers_own_logits_of_its_last_map(network):
    torch.manual_seed(0)
    net, body = (module.double().eval() for module in network())
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected, map = net(images), body(images)
        logits = heads.classifier_of(net, map.shape[1:]).eval()(map)
    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12)
    assert expected.std() > 0


@pytest.mark.plain
def test_a_classifier_that_reads_no_form_of_the_map_is_refused():
    flattening, _ = _with_flatten()
    told = (
        r"the teacher's head, a Sequential whose first linear layer takes 512 features, gives "
        r"logits .* of none of these: the map \(8, 6, 6\) .* flattened \(288,\); name the layer"
    )
    with pytest.raises(ValueError, match=told):
        heads.classifier_of(flattening, LARGE)
    # Channels that stand last are no map's height, though the head takes this one size of it.
    last = nn.Module()
    last.head = ClassifierHead(8, 3, input_fmt="NHWC")
    for map in (LARGE, torch.Size([6, 6, 8])):
        with pytest.raises(ValueError, match=r"a ClassifierHead whose .* with its channels first"):
            heads.classifier_of(last, map)
    idle = nn.Module()
    idle.fc = nn.Identity()
    with pytest.raises(ValueError, match="has no layer `classifier`, `fc` or `head` with param"):
        heads.classifier_of(idle, LARGE)
