"""The step against a loop written by hand with autograd and torch.optim, and its door."""

import pytest
import torch
import torch.nn.functional as F
from small import assert_same, batches, rule, small
from torch import nn
from torch.utils._pytree import tree_leaves

from fkd import losses, methods, optim, schedules
from fkd.data import Batch
from fkd.distillation import Distillation, Gradient, distill, step, student_of
from fkd.methods import Context, Term
from fkd.model import functional

BATCH, CLASSES = 6, 3


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, CLASSES)

    def forward(self, x):
        feature_map = self.norm(self.conv(x)).relu()
        hidden = feature_map.mean((2, 3))
        return {"logits": self.fc(hidden), "feature_map": feature_map, "hidden": hidden}


def tiny() -> nn.Module:
    return Tiny().double()


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(BATCH, *shape, generator=generator, dtype=torch.float64)

    targets = {
        "labels": torch.tensor([0, 1, 2, 0, 1, 2]),
        "logits": normal(CLASSES),
        "hidden": normal(4),
        "feature_map": normal(7, 5, 5),
    }
    return Batch(normal(3, 5, 5), targets)


def by_hand(name: str, seed: int, steps: int) -> tuple[nn.Module, nn.Module | None, list[float]]:
    """The tutorial's way: a module, an optimizer object, and a loop."""
    images, targets = batch()
    torch.manual_seed(seed)
    model, head = tiny().train(), None
    if name == "hint":
        head = nn.Conv2d(4, 7, 3, padding=1).double()
        head.load_state_dict(distillation(name).init(seed).params["heads"]["hint"])
    parameters = [*model.parameters(), *(head.parameters() if head else ())]
    rate = torch.tensor(1e-2, dtype=torch.float32).item()  # a leaf of the state is float32
    optimizer = torch.optim.Adam(parameters, lr=rate)
    trail = []
    for _ in range(steps):
        out = model(images)
        ce = F.cross_entropy(out["logits"], targets["labels"])
        if name == "ce":
            loss = ce
        elif name == "kd":
            soft = F.softmax(targets["logits"] / 2, -1)
            matched = -4 * (soft * F.log_softmax(out["logits"] / 2, -1)).sum() / BATCH
            loss = 0.25 * matched + 0.75 * ce
        elif name == "cosine":
            ones = torch.ones(BATCH)
            matched = F.cosine_embedding_loss(out["hidden"], targets["hidden"], ones)
            loss = 0.25 * matched + 0.75 * ce
        else:
            assert head is not None
            matched = F.mse_loss(head(out["feature_map"]), targets["feature_map"])
            loss = 0.25 * matched + 0.75 * ce
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        trail.append(loss.item())
    return model, head, trail


def distillation(name: str) -> Distillation:
    return distill(functional(tiny), methods.METHODS[name](), optim.adam(1e-2), batch())


@pytest.mark.parametrize("name", ["ce", "kd", "cosine", "hint"])
def test_five_steps_are_the_tutorials_loop(name):
    examples = batch()
    run = distillation(name)
    state, trail = run.init(3), []
    for _ in range(5):
        state, metrics = step(run, state, examples)
        trail.append(float(metrics["loss"]))
    model, head, expected = by_hand(name, 3, 5)
    # Numbers are float32: a step of 1e-2 is known to some 1e-2 * 2**-23, and there are five.
    assert trail == pytest.approx(expected, rel=1e-6)
    params, buffers = student_of(state)
    expected_tensors = {name: value.detach() for name, value in model.state_dict().items()}
    torch.testing.assert_close(params | buffers, expected_tensors, rtol=1e-6, atol=1e-7)
    if head:
        twins = {name: value.detach() for name, value in head.named_parameters()}
        trained = state.params["heads"]["hint"]
        torch.testing.assert_close(trained, twins, rtol=1e-6, atol=1e-7)


def test_numbers_are_float32_where_the_parameters_are_not():
    state = distillation("kd").init(0, {"lr": 0.1})
    assert {leaf.dtype for leaf in state.params["student"].values()} == {torch.float64}
    assert {number.dtype for number in state.hyper.values()} == {torch.float32}
    assert float(state.hyper["lr"]) == 0.1 * (1 + 2**-26)


def test_metrics_are_the_terms_means_and_their_weighted_sum():
    examples = batch()
    run = distillation("kd")
    _, metrics = step(run, run.init(0), examples)
    assert sorted(metrics) == ["ce", "kd", "loss"]
    torch.testing.assert_close(metrics["loss"], 0.25 * metrics["kd"] + 0.75 * metrics["ce"])


def test_hyperparameters_are_leaves_that_init_can_replace():
    examples = batch()
    run = distillation("kd")
    assert {name: round(float(value), 6) for name, value in run.init(0).hyper.items()} == {
        "lr": 0.01,
        "weight_decay": 0.0,
        "kd.weight": 0.25,
        "kd.temperature": 2.0,
        "ce.weight": 0.75,
    }
    plain = distillation("ce")
    only_ce = {"kd.weight": 0.0, "ce.weight": 1.0, "lr": 0.01}
    mine, _ = step(run, run.init(0, only_ce), examples)
    theirs, _ = step(plain, plain.init(0), examples)
    for name, value in theirs.params["student"].items():
        torch.testing.assert_close(mine.params["student"][name], value)
    with pytest.raises(ValueError, match=r"hyperparameter 'kd.heat' is not known; choose from lr"):
        run.init(0, {"kd.heat": 1.0})
    for name, value in (("kd.weight", -1.0), ("kd.temperature", 0.0), ("lr", -0.1)):
        with pytest.raises(ValueError, match=rf"{name.rpartition('.')[2]} must be"):
            run.init(0, {name: value})


def test_terms_are_tried_anew_with_numbers_of_their_own_alone():
    calls = []

    def watched(student, teacher, *, temperature):
        calls.append(temperature)
        return losses.kl_divergence(student, teacher, temperature=temperature)

    method = {"kd": Term(watched, hyper={"temperature": 2.0})}
    run = distill(functional(tiny), method, optim.adam(), batch())
    calls.clear()
    for seed in (0, 1):
        run.init(seed, {"lr": 0.5, "weight_decay": 0.1})
    assert not calls  # an optimizer's number changes no term
    for seed in (0, 1):
        run.init(seed, {"lr": 0.5 - seed / 4, "kd.temperature": 3.0})
    assert calls == [3.0]


def test_a_head_is_the_same_in_whatever_company():
    examples = batch()
    both = methods.kd() | methods.hint()
    composed = distill(functional(tiny), both, optim.adam(), examples)
    one, other = composed.init(5), distillation("hint").init(5)
    for name, value in other.params["heads"]["hint"].items():
        assert torch.equal(one.params["heads"]["hint"][name], value)


def test_targets_receive_no_gradient():
    examples = batch()
    examples.targets["logits"].requires_grad_()
    run = distillation("kd")
    gradient = run.gradient(run.init(0), examples)
    assert not any(g.requires_grad for g in gradient.params["student"].values())


def test_reduce_stands_between_the_two_halves():
    examples = batch()
    run = distillation("ce")
    seen = []

    def reduce(gradient: Gradient) -> Gradient:
        seen.append(gradient)
        nothing = {name: torch.zeros_like(g) for name, g in gradient.params["student"].items()}
        return gradient._replace(params={"student": nothing, "heads": {}})

    start = run.init(0)
    state, _ = step(run._replace(reduce=reduce), start, examples)
    assert len(seen) == 1
    for name, value in start.params["student"].items():
        assert torch.equal(state.params["student"][name], value)


def test_a_step_changes_nothing_it_was_given():
    examples = batch()
    run = distillation("hint")
    state = run.init(0)
    before = run.init(0)
    step(run, state, examples)
    flat, same = (tree_leaves(s) for s in (state, before))
    assert all(torch.equal(a, b) for a, b in zip(flat, same, strict=True))


def _own_head(wide: int):
    return {"x": Term(losses.squared_error, "feature_map", "feature_map",
                      head=lambda s, t: nn.Conv2d(s[0], wide, 1))}  # fmt: skip


@pytest.mark.plain
@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({}, "the method has no terms"),
        (
            methods.cosine(layer="layer3"),
            "term 'cosine' wants student output 'layer3'; "
            "this model gives: feature_map, hidden, logits; where it goes by another, let a module "
            "around this one return it by that name; fkd.models.features names inner layers",
        ),
        (
            {"x": Term(losses.kl_divergence, target="answers")},
            "term 'x' wants target 'answers'; these are given: feature_map, hidden, labels, logits",
        ),
        (
            {"x": Term(losses.squared_error, "feature_map", "feature_map")},
            r"term 'x': squared_error: student and teacher must have one shape, but student is "
            r"\(6, 4, 5, 5\) and teacher is \(6, 7, 5, 5\)",
        ),
        (_own_head(5), r"term 'x': squared_error: .* student is \(6, 5, 5, 5\)"),
        (
            methods.hint(layer="hidden", teacher_layer="feature_map"),
            r"term 'hint': features: the student's output \(4,\) and the target \(7, 5, 5\) have "
            r"no form in common: .*; it joins student 'hidden' \(4,\) with target 'feature_map' "
            r"\(7, 5, 5\); "
            "what fits: student 'hidden' with target 'logits', student 'hidden' with target 'hid",
        ),
        (
            {"x": Term(losses.kl_divergence, hyper={"temperature": 0.0})},
            "term 'x': kl_divergence: temperature must be above zero and finite, but it is 0.0",
        ),
        (
            {"x": Term(F.mse_loss)},
            r"term 'x': a loss must return one floating-point value per example .* returned "
            r"\(\) of torch.float64; of torch's losses give reduction='none'",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(method, message):
    examples = batch()
    with pytest.raises(ValueError, match=message):
        distill(functional(tiny), method, optim.adam(), examples)


class Scaled(nn.Module):
    """A joint head: it gives the loss its arguments by name, one of them its own."""

    def __init__(self, student, target):
        super().__init__()
        assert tuple(student) == (CLASSES,) and [tuple(t) for t in target] == [(CLASSES,), ()]
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def forward(self, student, teacher, labels):
        temperature = self.log_temperature.exp()
        return {"student": student, "teacher": teacher, "temperature": temperature}


def test_a_joint_head_sees_both_sides_and_gives_the_losss_arguments():
    examples = batch()
    term = Term(losses.kl_divergence, target=("logits", "labels"), head=Scaled, joint=True)
    run = distill(functional(tiny), {"x": term}, optim.sgd(), examples)
    gradient = run.gradient(run.init(0), examples)
    assert gradient.params["heads"]["x"]["log_temperature"].abs() > 0
    outputs = functional(tiny)
    logits = outputs.apply(*outputs.init(0), examples.inputs, train=True)[0]["logits"]
    expected = losses.kl_divergence(logits, examples.targets["logits"], temperature=1.0).mean()
    torch.testing.assert_close(gradient.metrics["x"], expected)


def test_schedules_multiply_any_number_by_the_step():
    examples = batch()
    method = {"x": Term(losses.cross_entropy, target="labels", weight=2.0)}
    run = distill(
        functional(tiny),
        method,
        optim.sgd(0.5),
        examples,
        schedules={"lr": lambda step: (step < 2).float(), "x.weight": schedules.linear_warmup(4)},
    )
    state, shares, moved = run.init(0), [], []
    for _ in range(4):
        before = state.params["student"]["fc.weight"]
        state, metrics = step(run, state, examples)
        shares.append(float(metrics["loss"] / metrics["x"]))
        moved.append(not torch.equal(state.params["student"]["fc.weight"], before))
    assert shares == pytest.approx([0.5, 1.0, 1.5, 2.0], rel=1e-6)
    assert moved == [True, True, False, False]
    assert float(state.hyper["lr"]) == 0.5  # the leaf itself stays
    with pytest.raises(ValueError, match=r"schedule .x.heat. is not known"):
        distill(
            functional(tiny),
            method,
            optim.sgd(),
            examples,
            schedules={"x.heat": schedules.constant()},
        )


def test_a_schedule_of_ones_own_replaces_the_methods():
    examples = batch()
    one = distill(
        functional(tiny),
        methods.dkd(ce=0.0),
        optim.sgd(),
        examples,
        schedules={"dkd.weight": schedules.constant()},
        context=Context(steps_per_epoch=7),
    )
    _, metrics = step(one, one.init(0), examples)
    assert_same(metrics["loss"], metrics["dkd"])


@pytest.mark.plain
def test_a_schedule_of_more_than_one_number_is_refused():
    # it would be broadcast over the parameters
    vector, batch = {"lr": lambda step: torch.ones(3)}, next(batches(1))
    with pytest.raises(ValueError, match=r"the schedule of 'lr' must give a tensor .*\(3,\)"):
        distill(functional(small), methods.kd(), optim.sgd(0.1), batch, schedules=vector)


@pytest.mark.plain
def test_a_batch_of_another_form_is_told_in_our_words():
    run, batch = rule(), next(batches(1))
    with pytest.raises(ValueError, match="step: batch and state must be as distill was given"):
        step(run, run.init(0), Batch(batch.inputs[:, :2], batch.targets))


@pytest.mark.plain
def test_a_sparse_gradient_is_refused():
    model = functional(lambda: nn.Embedding(9, CLASSES, sparse=True))
    words = Batch(torch.arange(4), {"labels": torch.tensor([0, 1, 2, 0])})
    with pytest.raises(
        ValueError, match=r"gradient of student\.weight must be dense, .*sparse=True"
    ):
        distill(model, methods.ce(), optim.adam(), words)
