"""Networks by name: which one is built, with how many classes, and what is refused."""

import pickle
import sys

import pytest
import timm
import torch
import torchvision
from torch import nn

from fkd.models import MODELS, DeepNN, LightNN, ResNet, named

OWN = """
from torch import nn

def told(num_classes=10, width=4):
    return nn.Linear(width, num_classes)

def keyword(*, classes):
    return nn.Linear(4, classes)

def one(outputs):
    return nn.Linear(4, outputs)

def placed(outputs, /):
    return nn.Linear(4, outputs)

def fixed(pretrained=False):
    assert pretrained is False
    return nn.Linear(4, 10)

class Net(nn.Linear):
    def __init__(self, classes):
        super().__init__(4, classes)

def two(inputs, outputs):
    return nn.Linear(inputs, outputs)

def width(width, num_classes):
    return nn.Linear(width, num_classes)

def unread(num_classes):
    raise FileNotFoundError("weights.pt")

def number():
    return 3

module = nn.Linear(4, 10)
value = 3
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    (tmp_path / "my_networks.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield
    sys.modules.pop("my_networks", None)


def test_the_names_are_those_of_the_papers():
    assert list(MODELS) == [
        *("deepnn", "lightnn", "resnet8", "resnet14", "resnet20", "resnet32", "resnet44"),
        *("resnet56", "resnet110", "resnet8x4", "resnet32x4"),
        *("wrn-16-1", "wrn-16-2", "wrn-40-1", "wrn-40-2", "vgg8", "vgg13"),
    ]


def test_a_network_of_the_field_is_built_for_its_classes():
    assert isinstance(named("deepnn", 4)(), DeepNN)
    assert isinstance(named("lightnn", 4)(), LightNN)
    net = named("resnet14", 4)()
    assert isinstance(net, ResNet)
    assert net.fc.out_features == 4 and len(net.layer1) == 2


def test_torchvisions_and_timms_networks_are_built_for_their_classes():
    one, other = named("torchvision:resnet18", 7)(), named("timm:resnet18", 7)()
    assert type(one) is torchvision.models.ResNet and type(other) is timm.models.ResNet
    for net in (one, other):
        assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_no_weights_are_loaded():
    torch.manual_seed(0)
    state = named("torchvision:resnet18", 7)().state_dict()
    torch.manual_seed(0)
    fresh = torchvision.models.resnet18(num_classes=7).state_dict()
    assert all(torch.equal(state[name], fresh[name]) for name in fresh)


@pytest.mark.parametrize(
    ("name", "classes"),
    [("told", 7), ("keyword", 7), ("one", 7), ("placed", 7), ("Net", 7), ("fixed", 10)],
)
def test_a_users_own_function_is_told_the_classes_where_it_takes_them(name, classes):
    assert named(f"my_networks:{name}", 7)().out_features == classes


@pytest.mark.parametrize(
    "text", ["resnet8", "deepnn", "torchvision:resnet18", "timm:resnet18", "my_networks:one"]
)
def test_a_build_can_be_sent_to_another_process(text):
    build = pickle.loads(pickle.dumps(named(text, 7)))
    assert isinstance(build(), nn.Module)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resnet21", "model 'resnet21' is not known; choose from deepnn, .*vgg13, torchvision:res"),
        ("torchvision:resnet19", "torchvision's model 'resnet19' is not known; near it are .*18"),
        ("timm:resnet19", r"timm's model 'resnet19' is not known; near it are .*; there are \d+,"),
        ("timm:", "timm's model '' is not known; none is near it; there are"),
        ("nowhere_at_all:f", "named: nowhere_at_all:f cannot be imported"),
        ("my_networks:f", "named: my_networks:f cannot be imported"),
        ("my_networks:", "'my_networks:' names no object"),
        ("my_networks:value", "must be a function that makes an nn.Module, but it is a int"),
        ("my_networks:module", "must be a function that makes an nn.Module, but it is a Linear"),
        ("my_networks:two", "my_networks:two wants inputs, outputs, but it is given the number"),
        ("my_networks:width", "my_networks:width wants width, num_classes, but it is given"),
    ],
)
def test_what_is_not_there_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        named(text, 7)


def test_what_makes_no_module_is_refused():
    with pytest.raises(
        ValueError, match=r"number must return an nn\.Module, but it returned a int"
    ):
        named("my_networks:number", 7)()


def test_what_raises_is_told_by_its_name():
    with pytest.raises(
        ValueError, match=r"unread raised FileNotFoundError: weights\.pt; it is giv"
    ):
        named("my_networks:unread", 7)()


def test_no_classes_are_refused():
    with pytest.raises(
        ValueError, match="classes must be a whole number of at least 1, but it is 0"
    ):
        named("resnet8", 0)


def test_timm_is_asked_for_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"timm:resnet18 needs timm, .*; pip install timm"):
        named("timm:resnet18", 7)
