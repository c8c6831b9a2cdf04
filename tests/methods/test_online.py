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
            value = sum(F.cross_entropy(own, labels).detach() for own in logits)
            torch.testing.assert_close(metrics["ce"][k], value, rtol=1e-12, atol=0)
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


def test_both_masks_are_the_methods_and_a_part_of_a_batch_needs_no_other():
    method = methods.dml(weight=2.0, ce=0.25, mask="kept")
    assert {name: term.weight for name, term in method.items()} == {"dml": 2.0, "ce": 0.25}
    assert {term.mask for term in method.values()} == {"kept"}
    assert method["dml"].targets == () and not any(term.is_whole for term in method.values())


def test_the_weight_of_the_labels_is_one_number_for_the_student_and_its_peer():
    batch = batches(1)[0]
    method = methods.dml()
    net = functional(methods.wrapped(network, method, Context()))
    swept = ensemble(distill(net, method, optim.sgd(0.25), batch))
    state = swept.init([3, 3], {"ce.weight": [1.0, 0.25]})
    state, _ = step(swept, state, batch)
    built = distill(net, methods.dml(ce=0.25), optim.sgd(0.25), batch)
    alone, _ = step(built, built.init(3), batch)
    for name, value in alone.params["student"].items():
        torch.testing.assert_close(state.params["student"][name][1], value, rtol=1e-12, atol=1e-15)
    for side in ("student", "peer"):
        other, own = state.params["student"][f"{side}.3.weight"]
        assert not torch.equal(other, own)


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


def of_a_class(logits: Tensor, labels: list[int], kept: list[bool] | None = None) -> Tensor:
    """CS-KD's mean KL at T = 4 in torch's functions: each row from the next one of its label."""
    places = [k for k in range(len(labels)) if kept is None or kept[k]]
    values = []
    for k in places:
        alike = [j for j in places if labels[j] == labels[k]]
        other = alike[(alike.index(k) + 1) % len(alike)]
        if other != k:
            target = (logits[other].detach() / 4).softmax(-1)
            values.append(16 * F.kl_div((logits[k] / 4).log_softmax(-1), target, reduction="sum"))
    return torch.stack(values).mean() if values else 0 * logits.sum()


CLASS_WISE = [0, 2, 0, 4, 2, 0, 1, 2]  # two of them are alone


@pytest.mark.parametrize("layout", ["vmap", "loop"])
def test_answers_about_a_class_are_a_loop_over_its_examples(layout):
    method, steps = methods.cs_kd(weight=1.5, ce=0.5), batches(3)
    for k, batch in enumerate(steps):
        batch.targets["labels"] = torch.tensor(CLASS_WISE).roll(k)
    net = functional(network)
    one = distill(net, method, optim.sgd(0.25, momentum=0.875), steps[0])
    state, advance = ensemble(one).init(SEEDS), lay(one, Plan(layout, compile="none"))
    metrics = [advance(state, batch) for batch in steps]
    for k, seed in enumerate(SEEDS):
        module = network()
        module.load_state_dict(state_dict(*net.init(seed)))
        optimizer = torch.optim.SGD(module.parameters(), 0.25, momentum=0.875)
        for told, batch in zip(metrics, steps, strict=True):
            labels, logits = batch.targets["labels"], module(batch.inputs)
            value = of_a_class(logits, labels.tolist())
            optimizer.zero_grad()
            (1.5 * value + 0.5 * F.cross_entropy(logits, labels)).backward()
            optimizer.step()
            torch.testing.assert_close(told["cs-kd"][k], value.detach(), rtol=1e-12, atol=0)
        own = member(state, k)
        trained = state_dict(own.params["student"], own.buffers["student"])
        torch.testing.assert_close(trained, dict(module.state_dict()), rtol=1e-12, atol=1e-12)


def test_members_with_an_order_each_have_partners_of_their_own():
    batch = batches(1)[0]
    labels = torch.stack([torch.tensor(CLASS_WISE), torch.tensor(CLASS_WISE).flip(0)])
    inputs = torch.stack([batch.inputs, batch.inputs.roll(1, 0)])
    one = distill(functional(network), methods.cs_kd(), optim.sgd(0.25), batch)
    own = Batch(inputs, {"labels": labels})
    gradient = ensemble(one, order="own").gradient(ensemble(one).init(SEEDS), own)
    for k, seed in enumerate(SEEDS):
        alone = one.gradient(one.init(seed), Batch(inputs[k], {"labels": labels[k]}))
        torch.testing.assert_close(gradient.metrics["cs-kd"][k], alone.metrics["cs-kd"])


@pytest.mark.parametrize("kept", [[1] * 8, [1, 1, 0, 1, 0, 1, 1, 1], [0] * 8])
def test_a_partner_is_kept_and_the_mean_is_over_those_that_have_one(kept):
    logits = torch.randn(8, CLASSES, dtype=torch.float64)
    mask, labels = torch.tensor(kept).bool(), torch.tensor(CLASS_WISE)
    term = methods.cs_kd(mask="kept")["cs-kd"]
    filled = logits.masked_fill(~mask[:, None], torch.nan)
    tokens = {"labels": labels.where(mask, -100), "kept": mask}
    expected = of_a_class(logits, CLASS_WISE, mask.tolist())

    def mean(x: Tensor, shape: tuple[int, ...]) -> Tensor:
        targets = {name: target.reshape(shape) for name, target in tokens.items()}
        return term.values({"logits": x.reshape(*shape, -1)}, targets, term.hyper, None).mean()

    for shape in ((8,), (2, 4)):
        gradient, value = torch.func.grad_and_value(mean)(filled, shape)
        torch.testing.assert_close(value, expected)
        assert gradient.isfinite().all() and (gradient[~mask] == 0).all()


def test_where_each_is_alone_of_its_class_there_is_nothing_to_learn():
    logits = torch.randn(4, CLASSES)
    term = methods.cs_kd()["cs-kd"]

    def mean(x: Tensor) -> Tensor:
        targets = {"labels": torch.tensor([3, 0, 4, 1])}
        return term.values({"logits": x}, targets, term.hyper, None).mean()

    gradient, value = torch.func.grad_and_value(mean)(logits)
    assert value == 0 and (gradient == 0).all()


@pytest.mark.plain
def test_labels_without_a_class_are_refused_by_cs_kd():
    batch = batches(1)[0]
    mixed = {"labels": F.one_hot(batch.targets["labels"], CLASSES).double()}
    with pytest.raises(ValueError, match=r"term 'cs-kd': cs-kd: labels .* leave MixUp and CutMix"):
        distill(functional(network), methods.cs_kd(), optim.sgd(), Batch(batch.inputs, mixed))
    with pytest.raises(ValueError, match="cs-kd: temperature must be above zero"):
        methods.cs_kd(temperature=0.0)


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


@pytest.mark.parametrize("method", [methods.ps_kd(), methods.cs_kd()], ids=["ps-kd", "cs-kd"])
def test_a_split_batch_is_trained_as_the_whole(method):
    steps = [read(rows) for epoch in ORDERS for rows in epoch]
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
