"""A module's copies are like it, and it is left alone."""

import pytest
import torch
from torch import Tensor, nn

from fkd.model import Key, functional
from fkd.model._module import plain_tensors, skeletons
from fkd.teachers import teacher_of_module


def test_tensors_beside_the_state_are_told_by_name():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.alias = [self.linear.weight]
            self.table = {"a": torch.ones(1)}
            self.recurrent = nn.LSTM(2, 2)
            self.register_buffer("own", torch.ones(1))

    assert list(plain_tensors(Net())) == ["table"]


def test_skeletons_hold_no_numbers_and_leave_the_module_alone():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).train()
    module[1].eval()
    evaluating, training = skeletons(module)
    for skeleton in (evaluating, training):
        assert all(tensor.is_meta for tensor in skeleton.state_dict().values())
    assert not any(part.training for part in evaluating.modules())
    assert [part.training for part in training.children()] == [True, False]
    assert [part.training for part in module] == [True, False]
    assert not any(tensor.is_meta for tensor in module.state_dict().values())


class Asleep(nn.Module):
    """A network whose own `train` keeps its norm in evaluation, as object detectors do."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.drop = nn.Sequential(nn.Dropout(0.5), nn.ReLU())

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.norm(x))


@pytest.mark.parametrize("whole", [True, False])
def test_a_train_of_the_modules_own_is_called(whole):
    module = nn.Sequential(Asleep(), nn.Dropout(0.5))
    module.get_submodule("0.drop.0").train(whole)
    evaluating, training = skeletons(module)
    awake = {name: part.training for name, part in training.named_modules()}
    assert awake.pop("0.norm") is False
    assert awake.pop("0.drop.0") is whole
    assert all(awake.values())
    assert not any(part.training for part in evaluating.modules())


@pytest.mark.parametrize("where", ["functional", "teacher_of_module"])
@pytest.mark.plain
def test_what_is_computed_from_parameters_is_no_state(where):
    def normed() -> nn.Module:
        with pytest.warns(FutureWarning):
            return nn.utils.weight_norm(nn.Linear(3, 2))

    with pytest.raises(ValueError, match=rf"{where}: .* 'weight' is one; .*parametrizations"):
        functional(normed) if where == "functional" else teacher_of_module(normed())


def constant(module: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> Tensor:
    return torch.full_like(outputs, 7.0)


def hooked() -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    net[1].register_forward_hook(constant)
    return net


def test_a_hook_on_a_dropout_layer_is_run():
    model = functional(hooked)
    key = Key(torch.tensor(0), torch.tensor(0))
    outputs, _ = model.apply(*model.init(0), torch.ones(4, 3), train=True, key=key)
    assert outputs["logits"].eq(7).all()
