"""Methods are data: every one of them trains, and a user's own has the same rights."""

import pytest
import torch
from small import assert_same
from torch import nn

from fkd import losses, methods, optim
from fkd.data import Batch
from fkd.distillation import Distillation, distill, step
from fkd.ensemble import ensemble
from fkd.execution import Plan, lay
from fkd.methods import METHODS, Context, Term
from fkd.model import functional
from fkd.models import DeepNN, LightNN

EXAMPLES = 64


def teacher() -> nn.Module:
    torch.manual_seed(0)
    return DeepNN(3).double().eval()


@pytest.fixture(scope="module")
def batch() -> Batch:
    torch.manual_seed(0)
    images = torch.randn(6, 3, 32, 32, dtype=torch.float64)
    labels, index = torch.tensor([0, 1, 2, 0, 1, 2]), torch.arange(6)
    with torch.no_grad():
        outputs = teacher()(images)
    return Batch(images, {"labels": labels, "index": index, **outputs})


def student() -> nn.Module:
    return LightNN(3).double()


def rule(method: methods.Method, batch: Batch) -> Distillation:
    with torch.no_grad():
        outputs = student()(batch.inputs)
    context = Context(
        examples=EXAMPLES,
        steps_per_epoch=1,
        epochs=2,
        teacher=teacher(),
        outputs={name: output.shape[1:] for name, output in outputs.items()},
        targets={name: target.shape[1:] for name, target in batch.targets.items()},
    )
    net = functional(methods.wrapped(student, method, context))
    return distill(net, method, optim.sgd(1e-4), batch, context=context)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_steps_alike_in_either_layout(name, batch):
    one = rule(METHODS[name](), batch)
    states = [ensemble(one).init([0, 1]) for _ in range(2)]
    for _ in range(2):
        metrics = [
            lay(one, Plan(layout, compile="none"))(state, batch)
            for layout, state in zip(("vmap", "loop"), states, strict=True)
        ]
        assert metrics[0]["loss"].isfinite().all()
        torch.testing.assert_close(metrics[0], metrics[1], rtol=1e-7, atol=1e-9)


@pytest.mark.plain
@pytest.mark.slow
def test_a_step_of_many_whose_arguments_are_looked_at_compiles_in_one_graph(batch):
    # All in one step: most of what is traced is the student and its gradient, the same for each.
    names = ("crd", "cs-kd", "ctkd", "dkd", "dml", "kdsvd", "ofd", "ps-kd", "review", "vid")
    every = {key: term for name in names for key, term in METHODS[name]().items()}
    assert every.keys() == {*names, "ce"}
    many = ensemble(rule(every, batch))
    state = many.init([0, 1])
    torch._dynamo.reset()
    compiled = torch.compile(many.gradient, fullgraph=True, backend="eager")
    torch.testing.assert_close(
        compiled(state, batch).metrics, many.gradient(state, batch).metrics, rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize("name", METHODS)
def test_all_parameters_of_a_methods_heads_are_trained(name, batch):
    one = rule(METHODS[name](), batch)
    gradient = one.gradient(one.init(0), batch)
    for term, head in gradient.params["heads"].items():
        for parameter, value in head.items():
            assert value.abs().max() > 0, f"{term}.{parameter} has no gradient"


def test_methods_are_what_the_families_export():
    assert next(iter(METHODS)) == "ce"
    assert METHODS["reverse-kd"] is methods.reverse_kd


def test_methods_compose():
    both = methods.kd() | methods.hint(weight=0.1)
    assert list(both) == ["kd", "ce", "hint"]
    assert both["hint"].weight == 0.1


def test_the_two_sides_may_name_different_layers(batch):
    assert methods.cosine(layer="x")["cosine"].target == "x"
    term = methods.hint(layer="early_map", teacher_layer="feature_map")["hint"]
    assert (term.student, term.target) == ("early_map", "feature_map")
    pooled = Term(
        losses.squared_error,
        "early_map",
        "feature_map",
        head=lambda s, t: nn.Conv2d(s[0], t[0], 2, stride=2),
    )
    one = rule({"x": pooled}, batch)
    assert step(one, one.init(0), batch)[1]["x"] > 0


def test_a_users_own_method_has_what_it_needs_of_the_context(batch):
    class Reminder(nn.Module):
        """A head that keeps a number for each example, and a copy of the teacher's last layer."""

        def __init__(self, student, target, *, examples, teacher):
            super().__init__()
            self.register_buffer("seen", torch.zeros(examples))
            self.last = teacher.classifier[3].requires_grad_(False)
            self.map = nn.Linear(student[0], self.last.in_features)

        def forward(self, hidden):
            return self.last(self.map(hidden))

    term = Term(
        losses.squared_error, "hidden", "logits", head=Reminder, needs=("examples", "teacher")
    )
    state = rule({"own": term}, batch).init(0)
    assert state.buffers["heads"]["own"]["seen"].shape == (EXAMPLES,)
    assert sorted(state.params["heads"]["own"]) == ["map.bias", "map.weight"]
    with pytest.raises(ValueError, match=r"term 'own': examples is needed of the context"):
        distill(functional(student), {"own": term}, optim.sgd(), batch)


def test_wraps_are_put_around_the_student_one_in_the_other():
    wrap = lambda build, context: nn.Sequential(build(), nn.Flatten())  # noqa: E731
    method = {"a": Term(losses.squared_error, wrap=wrap), "b": Term(losses.squared_error)}
    assert isinstance(methods.wrapped(nn.Identity, method, Context())(), nn.Sequential)
    plain = methods.kd()
    assert methods.wrapped(nn.Identity, plain, Context()) is nn.Identity


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_bad_weights_are_refused(weight):
    with pytest.raises(ValueError, match="weight must be zero or more and finite"):
        methods.ce(weight)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"head_hyper": ("heat",)}, "head_hyper 'heat' is not known; choose from temperature"),
        ({"needs": ("time",)}, "need 'time' is not known; choose from examples, teacher"),
        ({"schedules": {"heat": None}}, "schedule of 'heat' is not known; choose from weight"),
    ],
)
def test_a_term_refuses_names_that_it_does_not_know(fields, message):
    with pytest.raises(ValueError, match=message):
        Term(losses.kl_divergence, hyper={"temperature": 1.0}, **fields)


def test_a_weight_warms_up_by_epochs_counted_from_one(batch):
    method = methods.dkd(weight=2.0, warmup=3, ce=0.0)
    context = Context(steps_per_epoch=2)
    one = distill(functional(student), method, optim.sgd(0.0), batch, context=context)
    state, shares = one.init(0), []
    for _ in range(8):
        state, metrics = step(one, state, batch)
        shares.append(metrics["loss"] / metrics["dkd"])
    expected = torch.tensor([2 / 3, 2 / 3, 4 / 3, 4 / 3, 2, 2, 2, 2], dtype=torch.float64)
    torch.testing.assert_close(torch.stack(shares), expected, rtol=1e-6, atol=0)  # a float32 factor
    assert_same(methods.dkd(warmup=0)["dkd"].schedules, {})
