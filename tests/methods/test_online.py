"""Peers and one's own answers, against modules, optimizers and loops of torch's."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from fkd import methods, optim
from fkd.data import Batch
from fkd.distillation import State, distill, step
from fkd.ensemble import ensemble, member
from fkd.execution import Plan, lay
from fkd.methods import Context
from fkd.model import functional, state_dict
from fkd.split import Split, together

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


EPOCHS = 2
# Which of eight examples each step of an epoch reads: two are left out in the first.
ORDERS = [[[0, 1, 2], [3, 4, 5]], [[7, 2, 0], [6, 5, 3]]]
REFINED = Context(examples=EXAMPLES, epochs=EPOCHS, steps_per_epoch=2)


def read(rows: list[int], tokens: tuple[int, ...] = ()) -> Batch:
    """Examples, of which each is the same whenever it is read; some of their tokens count."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(EXAMPLES, *tokens, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (EXAMPLES, *tokens), generator=generator)
    kept = torch.rand(EXAMPLES, *tokens, generator=generator) < 0.6
    targets = {"labels": labels.where(kept, -100) if tokens else labels, "kept": kept}
    targets["index"] = torch.arange(EXAMPLES)
    return Batch(inputs[rows], {name: x[rows] for name, x in targets.items()})


def refined(module: nn.Module, seen: dict[int, Tensor], batch: Batch, alpha: float) -> Tensor:
    """The paper's loss and what is remembered, example by example and token by token."""
    logits = module(batch.inputs)
    values = []
    for k, number in enumerate(batch.targets["index"].tolist()):
        labels = batch.targets["labels"][k].reshape(-1)
        old = seen.get(number)
        seen[number] = logits[k].detach().softmax(-1).reshape(-1, CLASSES)
        for place, (row, label) in enumerate(
            zip(logits[k].reshape(-1, CLASSES), labels, strict=True)
        ):
            if label < 0:
                continue
            y = F.one_hot(label, CLASSES)
            target = y if old is None else (1 - alpha) * y + alpha * old[place]
            values.append(-(target * row.log_softmax(-1)).sum())
    return torch.stack(values).mean()


def tokenwise() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, CLASSES)).double()


@pytest.mark.parametrize("tokens", [(), (3,)])
def test_ones_own_answers_are_a_loop_over_two_epochs(tokens):
    build, mask = (tokenwise, "kept") if tokens else (network, None)
    method = methods.ps_kd(alpha=0.75, mask=mask)
    steps = [read(rows, tokens) for epoch in ORDERS for rows in epoch]
    net, sgd = functional(build), optim.sgd(0.25, momentum=0.875)
    one = distill(net, method, sgd, steps[0], context=REFINED)
    state, advance = ensemble(one).init(SEEDS), lay(one, Plan("vmap", compile="none"))
    metrics = [advance(state, batch) for batch in steps]
    for k, seed in enumerate(SEEDS):
        module, seen = build(), {}
        module.load_state_dict(state_dict(*net.init(seed)))
        optimizer = torch.optim.SGD(module.parameters(), 0.25, momentum=0.875)
        for number, batch in enumerate(steps):
            alpha = 0.75 * (number // 2 + 1) / EPOCHS
            loss = refined(module, seen, batch, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            torch.testing.assert_close(
                metrics[number]["ps-kd"][k], loss.detach(), rtol=1e-12, atol=0
            )
        own = member(state, k)
        trained = state_dict(own.params["student"], own.buffers["student"])
        torch.testing.assert_close(trained, dict(module.state_dict()), rtol=1e-12, atol=1e-12)
        answers = own.buffers["heads"]["ps-kd"]["answers"]
        expected = torch.stack([seen[row].reshape(*tokens, -1) for row in range(EXAMPLES)])
        torch.testing.assert_close(answers, expected, rtol=1e-12, atol=1e-12)


def test_the_memory_of_a_split_batch_is_that_of_the_whole():
    method, steps = methods.ps_kd(), [read(rows) for epoch in ORDERS for rows in epoch]
    lock = threading.Lock()  # modules are built by torch's own generators, one after the other

    def taken(split: Split | None) -> list[Tensor]:
        with lock:
            net = functional(network)
            one = distill(net, method, optim.sgd(0.5), steps[0], context=REFINED, split=split)
            state = one.init(0)
        for batch in steps:
            state, _ = step(one, state, batch)
        return tree_leaves(state)

    whole = taken(None)
    for leaves in together(2, taken):
        torch.testing.assert_close(leaves, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("context", "told"),
    [
        (Context(), r"term 'ps-kd': examples is needed of the context"),
        (Context(examples=8), r"epochs is needed of the context, but was not given: pass context"),
        (Context(examples=8, epochs=2), r"steps_per_epoch is needed of the context, but was not"),
    ],
)
def test_without_the_lengths_of_training_there_is_no_refinement(context, told):
    with pytest.raises(ValueError, match=told):
        distill(functional(network), methods.ps_kd(), optim.sgd(), read([0, 1]), context=context)


@pytest.mark.plain
def test_labels_of_mixed_examples_are_refused():
    batch = read([0, 1])
    mixed = batch.targets | {"labels": F.one_hot(batch.targets["labels"], CLASSES).double()}
    told = r"term 'ps-kd': Answers: labels must hold whole numbers, .* leave MixUp and CutMix out"
    with pytest.raises(ValueError, match=told):
        distill(
            functional(network),
            methods.ps_kd(),
            optim.sgd(),
            Batch(batch.inputs, mixed),
            context=REFINED,
        )
    with pytest.raises(ValueError, match=r"ps-kd: alpha must lie in \[0, 1\]"):
        methods.ps_kd(alpha=1.5)
