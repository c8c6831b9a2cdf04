"""Two networks side by side: each has its own of everything, and the first is the one alone."""

from collections.abc import Callable

import pytest
import torch
from small import small
from torch import Tensor, nn

from fkd.export import exported, member_state_dict
from fkd.model import Key, check, functional, state_dict
from fkd.models import cohort, features

KEY = Key(torch.tensor(3), torch.tensor(0))


def test_the_first_is_the_network_alone_whatever_it_draws():
    images = torch.randn(6, 3, 4, 4, dtype=torch.float64)
    alone, two = functional(small), functional(cohort(small))
    own, both = alone.init(5), two.init(5)
    for one, pair in zip(own, both, strict=True):
        assert {f"{who}.{name}" for who in ("student", "peer") for name in one} == pair.keys()
        for name, value in one.items():
            assert torch.equal(pair[f"student.{name}"], value)
    outputs, buffers = alone.apply(*own, images, train=True, key=KEY)
    beside, after = two.apply(*both, images, train=True, key=KEY)
    assert beside.keys() == {*outputs, "peer_logits"}
    for name, value in outputs.items():
        assert torch.equal(beside[name], value)
    for name, value in buffers.items():
        assert torch.equal(after[f"student.{name}"], value)
    assert not torch.equal(after["peer.norm.running_mean"], after["student.norm.running_mean"])
    tested, _ = two.apply(*both, images, train=False)
    expected, _ = alone.apply(*own, images, train=False)
    assert tested.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(tested[name], value)


class Dropped(nn.Module):
    """A weight for each class, and dropout behind it."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(64) + 1)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(x * self.weight)


def test_each_drops_units_of_its_own():
    model = functional(cohort(Dropped))
    outputs, _ = model.apply(*model.init(0), torch.ones(4, 64), train=True, key=KEY)
    kept, of_peer = outputs["logits"] != 0, outputs["peer_logits"] != 0
    # Of 256 units two fair streams agree about half: 0.3 to 0.7 is six deviations.
    assert 0.3 < (kept == of_peer).double().mean() < 0.7


SHARED = nn.Linear(4, 4)


def test_the_two_share_no_layer_that_was_there_before():
    module = cohort(lambda: nn.Sequential(SHARED, nn.Linear(4, 3)))()
    params = dict(module.named_parameters())
    assert len(params) == 8
    assert torch.equal(params["student.0.weight"], params["peer.0.weight"])
    assert params["student.0.weight"].data_ptr() != params["peer.0.weight"].data_ptr()


class Tied(nn.Module):
    """A language model whose embedding is its last layer, and that is given its inputs by name."""

    def __init__(self):
        super().__init__()
        self.embedding, self.last = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
        self.last.weight = self.embedding.weight

    def forward(self, tokens: Tensor, scale: Tensor) -> dict[str, Tensor]:
        hidden = self.embedding(tokens) * scale[:, None, None]
        return {"logits": self.last(hidden), "hidden": hidden}


def test_weights_that_are_tied_stay_so_in_each_and_inputs_go_by_name():
    build = cohort(features(Tied, {"scaled": "mul"}))
    model, inputs = functional(build), {"tokens": torch.arange(6).reshape(2, 3) % 5}
    inputs["scale"] = torch.ones(2)
    params, buffers = model.init(0)
    assert params.keys() == {"student.embedding.weight", "peer.embedding.weight"}
    check(model, inputs)
    outputs, _ = model.apply(params, buffers, inputs, train=True, key=KEY)
    assert outputs.keys() == {"logits", "hidden", "scaled", "peer_logits"}
    own = member_state_dict(build, params, buffers)
    student = {name.removeprefix("student."): x for name, x in own.items() if "student" in name}
    alone = Tied()
    alone.load_state_dict(student)
    assert torch.equal(alone(**inputs)["logits"], outputs["logits"])
    program = exported(build, own, inputs).module()
    assert torch.equal(program(**inputs)["logits"], outputs["logits"])


def _asleep() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)).eval()


def test_a_network_that_comes_in_evaluation_is_trained_as_a_whole():
    model = functional(cohort(_asleep))
    params, buffers = model.init(0)
    _, after = model.apply(params, buffers, torch.randn(8, 4) + 1, train=True)
    for who in ("student", "peer"):
        assert after[f"{who}.0.running_mean"].abs().min() > 0
    module = cohort(_asleep)()
    module.load_state_dict(state_dict(params, buffers))
    assert module(torch.ones(1, 4)).keys() == {"logits"}


def _weighed() -> nn.Module:
    return nn.utils.weight_norm(nn.Linear(2, 2))


def _given(**outputs: nn.Module) -> Callable[[], nn.Module]:
    class Given(nn.Module):
        """These outputs of these layers."""

        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleDict(outputs)
            self.own = nn.Parameter(torch.randn(3))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {name: layer(x) + self.own for name, layer in self.layers.items()}

    return Given


@pytest.mark.plain
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_what_is_no_pair_of_networks_is_refused():
    there = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"cohort: build\(\) must make a module with weights of"):
        cohort(lambda: there)()
    with pytest.raises(ValueError, match=r"cohort: what build\(\) makes must keep no tensor that"):
        cohort(_weighed)()
    layer = nn.Linear(2, 3)
    with pytest.raises(ValueError, match=r"must not give an output 'peer_logits' itself"):
        cohort(_given(logits=layer, peer_logits=layer))()(torch.ones(1, 2))
    with pytest.raises(ValueError, match=r"cohort: output 'logits' is not known; choose from map"):
        cohort(_given(map=layer))()(torch.ones(1, 2))
