"""Peers that teach each other, against two modules and two optimizers of torch's."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fkd import methods, optim
from fkd.data import Batch
from fkd.distillation import State, distill, step
from fkd.ensemble import ensemble, member
from fkd.execution import Plan, lay
from fkd.methods import Context
from fkd.model import functional, state_dict

CLASSES, EXAMPLES, SEEDS = 5, 8, [3, 7]


def network() -> nn.Module:
    layers = nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, CLASSES)
    return nn.Sequential(*layers).double()


def batches(steps: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    return [
        Batch(
            torch.randn(EXAMPLES, 6, generator=generator, dtype=torch.float64),
            {"labels": torch.randint(CLASSES, (EXAMPLES,), generator=generator)},
        )
        for _ in range(steps)
    ]


def loaded(state: State, who: str) -> nn.Module:
    """One of a cohort as a module of torch's."""
    module, tensors = network(), state_dict(state.params["student"], state.buffers["student"])
    own = {x.removeprefix(f"{who}."): y for x, y in tensors.items() if x.startswith(who)}
    module.load_state_dict(own)
    return module


def mutual(here: Tensor, there: Tensor, labels: Tensor, weight: float, ce: float) -> Tensor:
    """The paper's equations 5 and 6, with their weights, in torch's functions."""
    target = there.detach().softmax(-1)
    mimicry = F.kl_div(here.log_softmax(-1), target, reduction="batchmean")
    return ce * F.cross_entropy(here, labels) + weight * mimicry


@pytest.mark.parametrize("layout", ["vmap", "loop"])
def test_mutual_learning_is_a_loop_over_two_networks_with_an_optimizer_each(layout):
    weight, ce, steps = 1.5, 0.5, batches(4)  # all numbers are ones that float32 has
    method = methods.dml(weight, ce)
    net = functional(methods.wrapped(network, method, Context()))
    one = distill(net, method, optim.sgd(0.25, momentum=0.875), steps[0])
    state = ensemble(one).init(SEEDS)
    cohorts = []
    for k, seed in enumerate(SEEDS):
        pair = [loaded(member(state, k), who) for who in ("student", "peer")]
        alone = state_dict(*functional(network).init(seed))
        torch.testing.assert_close(dict(pair[0].state_dict()), alone, rtol=0, atol=0)
        sides = [(x, torch.optim.SGD(x.parameters(), 0.25, momentum=0.875)) for x in pair]
        cohorts.append(sides)
    advance = lay(one, Plan(layout, compile="none"))
    for batch in steps:
        metrics = advance(state, batch)
        for k, sides in enumerate(cohorts):
            labels, logits = batch.targets["labels"], [x(batch.inputs) for x, _ in sides]
            for (_, optimizer), here, there in zip(sides, logits, logits[::-1], strict=True):
                optimizer.zero_grad()
                mutual(here, there, labels, weight, ce).backward()
                optimizer.step()
            for name, own in (("ce", logits[0]), ("dml-peer", logits[1])):
                value = F.cross_entropy(own, labels).detach()
                torch.testing.assert_close(metrics[name][k], value, rtol=1e-12, atol=0)
    for k, sides in enumerate(cohorts):
        for who, (module, _) in zip(("student", "peer"), sides, strict=True):
            trained = dict(loaded(member(state, k), who).state_dict())
            torch.testing.assert_close(trained, dict(module.state_dict()), rtol=1e-12, atol=1e-12)


def test_a_seed_has_the_peer_that_it_would_have_alone_and_no_others():
    method = methods.dml()
    net = functional(methods.wrapped(network, method, Context()))
    one = distill(net, method, optim.adam(), batches(1)[0])
    both, alone = ensemble(one).init(SEEDS), one.init(SEEDS[1])
    for name, value in alone.params["student"].items():
        assert torch.equal(both.params["student"][name][1], value)
    for side in ("student", "peer"):
        first, second = both.params["student"][f"{side}.0.weight"]
        assert not torch.equal(first, second)


def test_both_masks_are_the_methods_and_both_weights_of_labels_are_one():
    method = methods.dml(weight=2.0, ce=0.25, mask="kept")
    assert {name: term.weight for name, term in method.items()} == {
        "dml": 2.0,
        "ce": 0.25,
        "dml-peer": 0.25,
    }
    assert {term.mask for term in method.values()} == {"kept"}
    assert method["dml"].targets == () and not method["dml"].is_whole


@pytest.mark.plain
def test_a_student_without_its_peer_is_refused_with_what_builds_one():
    batch = batches(1)[0]
    with pytest.raises(ValueError, match=r"wants student output 'peer_logits'; .*methods\.wrapped"):
        distill(functional(network), methods.dml(), optim.sgd(), batch)
    with pytest.raises(ValueError, match="dml: ce must be zero or more and finite"):
        methods.dml(ce=-1.0)
    net = functional(methods.wrapped(network, methods.dml(), Context()))
    distillation = distill(net, methods.dml(), optim.sgd(0.1), batch)
    assert step(distillation, distillation.init(0), batch)[1]["dml"] > 0
