"""What is kept beside the examples is what the teacher says of them, and reads as it would."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from small import assert_same
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fkd import methods, optim
from fkd._random import Key, bits
from fkd.data import Normalize, Resident, Streamed
from fkd.distillation import distill
from fkd.execution import Plan
from fkd.model import functional
from fkd.teachers import Several, cached, reads_alike, spread, teacher_of_module, top_k
from fkd.train import Students, train

CLASSES = 6


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.first(x).relu()
        return {"logits": self.last(hidden), "hidden": hidden, "place": hidden.argmax(-1)}


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return Net()


def vectors(number: int = 150, **options: Any) -> Resident:
    inputs = torch.randn(number, 4, generator=torch.Generator().manual_seed(0))
    return Resident(inputs, {"labels": torch.arange(number) % CLASSES}, **options)


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other.detach(), rtol=1e-5, atol=1e-6)


def doubled(inputs: Tensor, key: Key | None = None) -> Tensor:
    return 2 * inputs


def noisy(inputs: Tensor, key: Key | None = None) -> Tensor:
    """Moved now and then, and at no time with the keys that one would try first."""
    if key is None:
        return inputs
    return inputs + (bits(key.seed, inputs.shape[:1]) < 2**12)[:, None]


def scattered(inputs: Tensor, key: Key | None = None) -> Tensor:
    """Against the rules: it draws from torch's own generator."""
    return inputs + torch.rand(())


def test_it_is_what_the_module_says_of_each_example():
    module, source = net(), vectors(transform=doubled)
    taught = cached(teacher_of_module(module), source, ["logits", "hidden", "place"])
    expected = module(2 * source.inputs)
    for name, output in expected.items():
        close(taught.targets[name], output)
    assert list(source.targets) == ["labels"] and taught.expand is None
    rows = torch.tensor([[3, 149], [0, 3]])
    close(taught.read(rows).targets["logits"], expected["logits"][rows])


def test_each_example_is_shown_once():
    seen: list[int] = []

    def ask(inputs: Tensor) -> dict[str, Tensor]:
        seen.append(len(inputs))
        return {"logits": inputs}

    cached(ask, vectors(), ["logits"], top_k=2)
    assert sum(seen) == 150 and len(seen) > 1


def test_the_top_k_is_read_as_the_whole():
    module, source = net(), vectors(batch_size=10)
    teacher = teacher_of_module(module)
    whole = module(source.inputs)["logits"].detach()
    taught = cached(teacher, source, ["logits", "hidden"], top_k=2)
    assert sorted(taught.targets)[:2] == ["hidden", "labels"] and "logits" not in taught.targets
    assert taught.targets["logits.values"].shape == (150, 2)
    expected = spread(*top_k(whole, 2), CLASSES)
    rows = torch.tensor([[5, 0], [149, 5]])
    batch = taught.read(rows)
    assert sorted(batch.targets) == ["hidden", "index", "labels", "logits"]
    close(batch.targets["logits"], expected[rows])
    close(torch.cat([b.targets["logits"] for b in taught.in_order(64)]), expected)
    few = taught.subset(torch.tensor([7, 9])).to("cpu").batched(2)
    close(few.read(torch.arange(2)).targets["logits"], expected[[7, 9]])
    exact = cached(teacher, source, ["logits"], top_k=CLASSES - 1)
    close(exact.read(rows).targets["logits"].softmax(-1), whole[rows].softmax(-1))


def test_students_train_on_what_is_kept_as_on_what_is_said():
    source = vectors(30, batch_size=10)
    source = replace(source, inputs=source.inputs.double())
    teacher = teacher_of_module(net().double(), names=["logits"])
    rule = distill(
        functional(lambda: nn.Linear(4, CLASSES).double()),
        methods.kd(temperature=1.0),
        optim.sgd(0.1),
        cached(teacher, source, ["logits"]).read(torch.arange(2)),
    )
    ends = []
    for data, live in (
        (source, teacher),
        (cached(teacher, source, ["logits"]), None),
        (cached(teacher, source, ["logits"], top_k=CLASSES - 1), None),
    ):
        students = {"kd": Students(rule, [0, 1])}
        *_, at = train(students, data, epochs=2, plan=Plan(compile="none"), teacher=live)
        ends.append(at.states["kd"].params["student"])
    for end in ends[1:]:
        assert_same(end, ends[0])


@pytest.mark.plain
def test_the_top_k_is_read_inside_a_compiled_step():
    taught = cached(teacher_of_module(net()), vectors(), ["logits"], top_k=2, storage=torch.half)
    read = torch.compile(taught.read, fullgraph=True, backend="aot_eager")
    rows = torch.tensor([3, 0])
    assert torch.equal(read(rows).targets["logits"], taught.read(rows).targets["logits"])


def test_half_the_bits_take_half_the_room_and_read_in_float32():
    taught = cached(teacher_of_module(net()), vectors(), ["hidden", "place"], storage=torch.float16)
    assert taught.targets["hidden"].dtype == torch.float16
    assert taught.targets["place"].dtype == torch.int64
    hidden = taught.read(torch.arange(9)).targets["hidden"]
    expected = net()(vectors().inputs)["hidden"][:9]
    assert hidden.dtype == torch.float32
    torch.testing.assert_close(hidden, expected, rtol=2**-10, atol=1e-6)


def test_a_second_teacher_stands_beside_the_first_or_in_its_place():
    source, rows = vectors(), torch.arange(5)
    one, other = (net(seed)(source.inputs) for seed in (0, 1))
    first = cached(teacher_of_module(net(0)), source, ["logits"], top_k=2)
    beside = cached(teacher_of_module(net(1)), first, ["hidden"], storage=torch.bfloat16)
    targets = beside.read(rows).targets
    close(targets["logits"], spread(*top_k(one["logits"], 2), CLASSES)[:5])
    torch.testing.assert_close(targets["hidden"], other["hidden"][:5].detach(), rtol=0.01, atol=0)
    instead = cached(teacher_of_module(net(1)), beside, ["logits", "hidden"])
    assert instead.expand is None and sorted(instead.targets) == ["hidden", "labels", "logits"]
    close(instead.read(rows).targets["logits"], other["logits"][:5])
    again = cached(teacher_of_module(net(1)), first, ["logits"], top_k=3)
    close(again.read(rows).targets["logits"], spread(*top_k(other["logits"], 3), CLASSES)[:5])


def test_each_of_several_teachers_is_cut():
    source = vectors()
    pair = Several({"a": teacher_of_module(net(0)), "b": teacher_of_module(net(1))}, None)
    taught = cached(pair, source, ["a.logits", "b.hidden"], top_k=2)
    targets = taught.read(torch.arange(3)).targets
    close(targets["a.logits"], spread(*top_k(net(0)(source.inputs)["logits"], 2), CLASSES)[:3])
    close(targets["b.hidden"], net(1)(source.inputs)["hidden"][:3])


def test_whether_examples_read_alike():
    pictures = Resident(torch.zeros(2, 1, 2, 2).byte(), {}, transform=Normalize((0.5,), (0.5,)))
    for source in (vectors(), vectors(transform=doubled), pictures):
        assert reads_alike(source)
    for transform in (noisy, scattered):
        assert not reads_alike(vectors(transform=transform))
    assert not reads_alike(Streamed(DataLoader(TensorDataset(torch.zeros(2), torch.zeros(2)))))


@pytest.mark.plain
@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (vectors(transform=noisy), {}, "draws random numbers.*ask the teacher live"),
        (
            Streamed(DataLoader(TensorDataset(torch.zeros(2), torch.zeros(2)), batch_size=1)),
            {},
            "it is a Streamed and must be a Resident; ask the teacher live",
        ),
        (vectors(expand=dict), {}, "has an expand that is not a teacher's"),
        (vectors(), {"names": "logits"}, "names must be a sequence"),
        (vectors(), {"names": ["depth"]}, "output 'depth' is not known; choose from logits, hid"),
        (vectors(), {"names": ["hidden"], "top_k": 1}, r"top_k is of logits.*\['hidden'\]"),
        (vectors(), {"top_k": 0}, "top_k must be a whole number of at least 1"),
        (vectors(), {"top_k": 7}, r"k must be a whole number in \[1, 6\], but it is 7"),
        (
            vectors(),
            {"names": ["logits", "logits.tail"], "top_k": 1},
            "top_k needs the name 'logits.tail' itself",
        ),
        (vectors(), {"storage": torch.int8}, "storage must be a floating-point dtype"),
    ],
)
def test_what_cannot_be_kept_is_refused(source, options, message):
    with pytest.raises(ValueError, match=message):
        cached(teacher_of_module(net()), source, **{"names": ["logits"]} | options)
