"""A teacher is what its module says in evaluation, whatever is asked, and moves nothing."""

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from fkd import methods, optim
from fkd.data import Batch, Resident
from fkd.distillation import average_of, distill, step
from fkd.ensemble import Order
from fkd.execution import Plan
from fkd.execution._plan import Compile
from fkd.model import functional
from fkd.teachers import Ask, Renormalize, Several, Teacher, module_of, teacher_of_module
from fkd.train import Students, train


class Normed(nn.Module):
    """A network whose outputs depend on its mode: BatchNorm and dropout, and a buffer that is in no
    state_dict."""

    scale: Tensor

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.5)
        self.register_buffer("scale", torch.tensor(2.0), persistent=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.drop(self.norm(self.conv(x))).mean((-2, -1))
        return {"logits": self.scale * hidden, "hidden": hidden}


def trained() -> Normed:
    """A network in training mode, whose running statistics have moved."""
    torch.manual_seed(0)
    module = Normed()
    for _ in range(3):
        module(3 + 2 * torch.randn(8, 2, 4, 4))
    return module


def images(number: int = 8) -> Tensor:
    return torch.randn(number, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def test_it_is_the_module_evaluated_without_gradient():
    module, x = trained(), images()
    teacher = teacher_of_module(module)
    outputs = teacher(x)
    expected = copy.deepcopy(module).eval()(x)
    assert list(outputs) == ["logits", "hidden"]
    for name, output in outputs.items():
        assert torch.equal(output, expected[name]) and not output.requires_grad
    one = teacher_of_module(module, names=["hidden"])
    assert list(one(x)) == ["hidden"]


def test_a_module_is_copied_and_left_alone():
    module = trained()
    module.norm.eval()
    seen: list[nn.Module] = []
    handle = module.drop.register_forward_hook(lambda part, *_: seen.append(part))
    before = copy.deepcopy(module.state_dict())
    teacher = teacher_of_module(module)
    outputs = teacher(images())
    assert module.training and not module.norm.training and module.drop.training
    assert handle.id in module.drop._forward_hooks
    assert all(part is not module.drop for part in seen)
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    with torch.no_grad():  # what becomes of the module later is not the teacher's
        module.conv.weight.zero_()
        module.scale.zero_()
    assert torch.equal(teacher(images())["logits"], outputs["logits"])
    own = module_of(teacher)
    own.requires_grad_(True)
    with torch.no_grad():
        own.get_parameter("conv.weight").zero_()
    assert torch.equal(teacher(images())["logits"], outputs["logits"])
    assert torch.equal(module_of(teacher).get_parameter("conv.weight"), before["conv.weight"])


def test_a_module_of_it_has_its_tensors_and_is_frozen():
    module = trained()
    teacher = teacher_of_module(module)
    teacher.buffers["scale"].fill_(3.0)
    own = module_of(teacher)
    assert not own.training and not any(p.requires_grad for p in own.parameters())
    assert torch.equal(own(images())["logits"], teacher(images())["logits"])
    shared = functional(lambda: module)
    module_of(Teacher(shared, *shared.init(0)))
    assert module.training and all(p.requires_grad for p in module.parameters())


def test_a_parametrized_module_is_a_teacher():
    torch.manual_seed(0)
    module = parametrizations.weight_norm(nn.Linear(2, 3))
    x = torch.randn(4, 2)
    assert torch.equal(teacher_of_module(module)(x)["logits"], module(x).detach())


def test_each_teacher_has_its_own_statistics():
    module, x = trained().eval(), images()
    own = Renormalize((0.5, 0.4), (0.2, 0.3), (0.1, 0.2), (0.4, 0.5))
    teacher = teacher_of_module(module, transform=own)
    images_in_one = x * torch.tensor([0.2, 0.3])[:, None, None]
    images_in_one += torch.tensor([0.5, 0.4])[:, None, None]
    theirs = (images_in_one - torch.tensor([0.1, 0.2])[:, None, None]) / torch.tensor([0.4, 0.5])[
        :, None, None
    ]
    torch.testing.assert_close(teacher(x)["logits"], module(theirs)["logits"].detach())


def student() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(32, 3))


def run(
    source: Resident, teacher: Ask, compile: Compile, order: Order = "shared"
) -> dict[str, Tensor]:
    example = source.read(torch.arange(2))
    batch = Batch(example.inputs, example.targets | {"logits": torch.zeros(2, 3)})
    rule = distill(functional(student), methods.kd(), optim.sgd(0.1), batch)
    plan = Plan("loop", compile=compile)
    training = train(
        {"kd": Students(rule, [0, 1])}, source, epochs=2, plan=plan, teacher=teacher, order=order
    )
    *_, at = training
    return at.states["kd"].params["student"]


def labelled() -> Resident:
    return Resident(images(), {"labels": torch.arange(8) % 3}, batch_size=4)


@pytest.mark.parametrize("order", ["shared", "own"])
def test_statistics_do_not_move_in_training(order):
    module = trained()
    assert module.training
    teacher = teacher_of_module(module)
    before = {name: value.clone() for name, value in teacher.buffers.items()}
    run(labelled(), teacher, "none", order)
    for name, value in teacher.buffers.items():
        assert torch.equal(value, before[name])
    assert teacher.buffers["norm.num_batches_tracked"] == 3


def test_a_running_average_of_weights_is_a_teacher():
    torch.manual_seed(0)
    inputs, labels = torch.randn(6, 3, dtype=torch.float64), torch.arange(6) % 2
    model = functional(partial(nn.Linear, 3, 2, dtype=torch.float64))
    optimizer = optim.averaged(optim.sgd(0.5), decay=0.5)
    run = distill(model, methods.ce(), optimizer, Batch(inputs, {"labels": labels}))
    state, weights = run.init(0), []
    for _ in range(3):
        state, _ = step(run, state, Batch(inputs, {"labels": labels}))
        weights.append(state.params["student"]["weight"])
    outputs = Teacher(model, *average_of(state))(inputs)["logits"]
    weight = 0.25 * weights[0] + 0.25 * weights[1] + 0.5 * weights[2]
    bias = average_of(state)[0]["bias"]
    torch.testing.assert_close(outputs, inputs @ weight.T + bias, rtol=0, atol=1e-12)


@pytest.mark.plain
def test_several_teachers_are_compiled_inside_the_step():
    own = Renormalize((0.0, 0.0), (1.0, 1.0), (0.1, 0.2), (0.5, 0.5))
    one, other = teacher_of_module(trained(), transform=own), teacher_of_module(Normed().eval())
    teacher = Several([one, other], "geometric", temperature=2.0)
    eager, compiled = run(labelled(), teacher, "none"), run(labelled(), teacher, "step")
    for name, value in eager.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-4, atol=1e-6)
    ask = torch.compile(Several({"a": one, "b": other}, None), fullgraph=True, backend="aot_eager")
    assert sorted(ask(images())) == ["a.hidden", "a.logits", "b.hidden", "b.logits"]


@pytest.mark.plain
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: teacher_of_module(Normed), "must be an nn.Module, but it is a type"),  # type: ignore
        (partial(teacher_of_module, nn.Linear(1, 1), names="logits"), "names must be a sequence"),
        (partial(teacher_of_module, nn.Linear(1, 1), names=[]), "at least one output's name"),
        (
            lambda: teacher_of_module(nn.Linear(1, 1), names=["hidden"])(torch.zeros(1, 1)),
            "Teacher: output 'hidden' is not known; choose from logits",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
