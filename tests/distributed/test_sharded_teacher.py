"""A teacher in parts on two ranks says what it says whole, and no rank is left waiting."""

import re
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from benchmarks._launched import launched
from fkd import checkpoint, methods, optim
from fkd.data import Batch, Resident
from fkd.distillation import distill
from fkd.distributed import Mesh, sharded_teacher, started
from fkd.distributed._sharded_teacher import Hollow
from fkd.ensemble import Order
from fkd.execution import Plan
from fkd.model import functional
from fkd.split import Split
from fkd.teachers import Ask, teacher_of_module
from fkd.train import Students, train

WORDS, WIDTH, BLOCKS = 7, 6, 3


class Block(nn.Module):
    """A part that is dealt for itself, of rows that two ranks do not share evenly."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, 5), nn.Linear(5, WIDTH)
        self.norm, self.drop = nn.BatchNorm1d(WIDTH), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.norm(x + self.down(self.up(x).relu())))


class Net(nn.Module):
    """Tied weights, a scalar parameter, and buffers of all kinds, one of which moves when asked."""

    positions: Tensor
    asked: Tensor

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.head = nn.Linear(WIDTH, WORDS, bias=False)
        self.head.weight = self.embed.weight
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("positions", torch.linspace(0, 1, WIDTH), persistent=False)
        self.register_buffer("asked", torch.zeros(()))
        self.double()

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        hidden = self.embed(tokens).mean(1) + self.positions
        for block in self.blocks:
            hidden = block(hidden)
        self.asked += 1
        return {"logits": self.scale * self.head(hidden), "hidden": hidden, "asked": self.asked}


class Rolled(nn.Module):
    """A network that draws random numbers in evaluation too."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + torch.rand(())


class Bare(nn.Module):
    """A network that returns a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.layer(x), "weight": self.layer.weight}


class Lazy(Mapping[str, Tensor]):
    """Weights that are read when they are asked for, and how many are in memory at most."""

    def __init__(self, weights: Mapping[str, Tensor]):
        self.weights, self.read, self.most = weights, [], 0

    def __getitem__(self, name: str) -> Tensor:
        x = self.weights[name].clone()
        self.read.append(weakref.ref(x))
        self.most = max(self.most, sum(one() is not None for one in self.read))
        return x

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)


def trained() -> Net:
    torch.manual_seed(0)
    net = Net()
    for _ in range(3):
        net(tokens(16))
    return net


def tokens(number: int, seed: int = 1) -> Tensor:
    return torch.randint(WORDS, (number, 4), generator=torch.Generator().manual_seed(seed))


def student() -> nn.Module:
    return nn.Sequential(nn.Embedding(WORDS, 4), nn.Flatten(), nn.Linear(16, WORDS)).double()


def taught(
    teacher: Ask, seeds: list[int], order: Order = "shared", split: Split | None = None
) -> list[Tensor]:
    """The parameters of students that a teacher has taught."""
    source = Resident(tokens(12), {"labels": torch.arange(12) % WORDS}, batch_size=5)
    batch = Batch(tokens(2), {"labels": torch.arange(2), "logits": torch.zeros(2, WORDS).double()})
    rule = distill(functional(student), methods.kd(), optim.sgd(0.1), batch, split=split)
    steps = train(
        {"kd": Students(rule, seeds)},
        source,
        epochs=1,
        plan=Plan("loop", compile="none"),
        teacher=teacher,
        order=order,
    )
    *_, at = steps
    return list(at.states["kd"].params["student"].values())


def farthest(ones: Any, others: Any) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(ones, others, strict=True))


def refusal(call: Callable[[], Any]) -> str:
    try:
        call()
    except (ValueError, TimeoutError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def on_a_rank(folder: str) -> dict[str, Any]:
    """All that is asked of one rank, by name."""
    with started(data_ranks=2, timeout=120.0) as mesh:
        return checks(Path(folder), mesh)


def checks(folder: Path, mesh: Mesh) -> dict[str, Any]:
    rank = mesh.rank
    net = trained()
    whole = teacher_of_module(net, names=["logits", "hidden"])
    lazy = Lazy(net.state_dict())
    mine = lazy if rank == 0 else None
    names = ["logits", "hidden"]
    split = sharded_teacher(Net, mine, names=names)
    each = sharded_teacher(
        Net,
        str(folder / "net.safetensors"),
        names=names,
        blocks=["blocks.0", "blocks.0.up"],
        split=False,
    )
    found: dict[str, Any] = {}
    for number in (8, 5, 1):
        expected = whole(tokens(number))
        for name, ask in (("split", split), ("each", each)):
            answers = ask(tokens(number))
            found[f"{name} {number}"] = farthest(answers.values(), expected.values())
    found["read"], found["most"] = len(lazy.read), lazy.most
    found["names"] = list(split(tokens(2)))
    found["other batches"] = farthest(
        each(tokens(3 + rank, rank)).values(), whole(tokens(3 + rank, rank)).values()
    )
    found["asked"] = int(split.module.get_buffer("asked"))
    found["buffers"] = farthest(split.module.buffers(), net.buffers())
    found["frozen"] = not any(x.requires_grad for x in split.module.parameters())
    found["bytes"] = held_bytes(split.module)
    found["tied"] = split.module.get_parameter("head.weight") is split.module.get_parameter(
        "embed.weight"
    )
    for name, ask in (("split", split), ("each", each)):
        found[f"train {name}"] = farthest(taught(ask, [rank]), taught(whole, [rank]))
    found["train rows"] = farthest(taught(split, [0], split=mesh.split), taught(whole, [0]))
    found["train own"] = farthest(taught(each, [rank], "own"), taught(whole, [rank], "own"))
    found |= {f"refused: {name}": refusal(call) for name, call in refused(folder, rank, split)}
    found["late"] = late(rank)
    return found


def held_bytes(module: nn.Module) -> int:
    """The bytes of the parameters that this rank holds."""
    own = (x.to_local() if isinstance(x, DTensor) else x for x in module.parameters())
    return sum(x.nbytes for x in own)


def refused(folder: Path, rank: int, split: Any) -> list[tuple[str, Callable[[], Any]]]:
    weights = trained().state_dict()
    untied = weights | {"head.weight": weights["head.weight"] + 1}
    wrong = {name: x for name, x in weights.items() if name != "blocks.1.up.bias"} | {"more": 0}  # type: ignore
    rolled = sharded_teacher(Rolled, Rolled().state_dict())
    bare = sharded_teacher(Bare, Bare().state_dict())
    return [
        ("other batches", lambda: split(tokens(4, seed=rank))),
        ("other sizes", lambda: split(tokens(4 + rank))),
        ("output", lambda: sharded_teacher(Net, weights)(tokens(4))),
        ("nothing", lambda: split(tokens(0))),
        ("missing", lambda: sharded_teacher(Net, {"more": torch.zeros(1)})),
        ("no tensor", lambda: sharded_teacher(Net, wrong)),  # type: ignore
        ("shape", lambda: sharded_teacher(Net, weights | {"scale": torch.zeros(2)})),
        ("untied", lambda: sharded_teacher(Net, untied)),
        ("damaged", lambda: sharded_teacher(Net, folder / "damaged.safetensors")),
        ("no weights", lambda: sharded_teacher(Net, None)),
        ("block", lambda: sharded_teacher(Net, weights, blocks=["head"])),
        ("ranks", lambda: sharded_teacher(Net, weights, ranks=[0, 0])),
        ("parameter", lambda: bare(torch.zeros(4, 2))),
        ("draws", lambda: rolled(torch.zeros(2, 2))),
    ]


def late(rank: int) -> str:
    """What a rank is told that asks once more than the other."""
    net = trained()
    ask = sharded_teacher(Net, net.state_dict(), names=["logits"], timeout=2.0)
    ask(tokens(2))
    told = "" if rank else refusal(lambda: ask(tokens(2)))
    dist.barrier()
    return told


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two ranks found, by rank."""
    folder = tmp_path_factory.mktemp("weights")
    weights = trained().state_dict()
    checkpoint.write(folder / "net.safetensors", weights)
    damaged = bytearray((folder / "net.safetensors").read_bytes())
    damaged[-1] ^= 1
    (folder / "damaged.safetensors").write_bytes(damaged)
    return launched(on_a_rank, 2, str(folder))


WORKS = [f"{way} {number}" for way in ("split", "each") for number in (8, 5, 1)]
TRAINS = ["train split", "train each", "train rows", "train own"]


@pytest.mark.plain
@pytest.mark.parametrize("name", [*WORKS, "other batches", "buffers", *TRAINS])
def test_it_says_what_the_teacher_says_whole(found, name):
    for rank in found:
        assert rank[name] <= 1e-12


@pytest.mark.plain
def test_it_is_evaluated_and_frozen_and_its_weights_stay_tied(found):
    for rank in found:
        assert rank["names"] == ["logits", "hidden"]
        assert rank["frozen"] and rank["tied"]


@pytest.mark.plain
def test_each_rank_holds_its_part(found):
    """Rows of a tensor go to two ranks as ceil(rows / 2) and the rest; a scalar lies on both."""
    rows = [7] + BLOCKS * [5, 5, 6, 6, 6, 6]  # of embed, and of up, down and norm, each with a bias
    widths = [WIDTH] + BLOCKS * [WIDTH, 1, 5, 1, 1, 1]
    first = sum(-(-n // 2) * width for n, width in zip(rows, widths, strict=True))
    whole = sum(n * width for n, width in zip(rows, widths, strict=True))
    assert [rank["bytes"] for rank in found] == [8 * (first + 1), 8 * (whole - first + 1)]


@pytest.mark.plain
def test_no_rank_has_more_than_a_tensor_of_the_weights(found):
    assert found[0]["most"] == 2  # of the two that are tied
    assert found[1]["read"] == 0


@pytest.mark.plain
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other batches", r"the ranks must ask about one batch.*of \[4, 4\] examples by rank"),
        ("other sizes", r"the ranks must ask about one batch.*of \[4, 5\] examples by rank"),
        ("output", "output 'asked' must lead with an axis of the 2 examples"),
        ("nothing", "lead with one number of examples, at least one"),
        ("missing", "more is not wanted(?s:.*)blocks.0.norm.running_mean is missing"),
        ("no tensor", "more must be a torch.Tensor"),
        ("shape", r"scale must be \(\), but is \(2,\)"),
        ("untied", "embed.weight and head.weight different values"),
        ("damaged", "is damaged, for its checksum is another"),
        ("no weights", "weights must be a Mapping"),
        ("block", "block 'head' must be a part of the network that shares no parameter"),
        ("ranks", "ranks must name each rank once"),
        ("parameter", "output 'weight' is a parameter, which no rank keeps whole"),
        ("draws", "draws random numbers"),
    ],
)
def test_what_makes_no_sense_is_refused_on_every_rank(found, name, message):
    for rank in found:
        assert re.search("^ValueError: .*" + message, rank[f"refused: {name}"], re.DOTALL)


@pytest.mark.plain
def test_a_rank_that_asks_once_more_is_an_error_within_the_timeout(found):
    message = "TimeoutError: sharded_teacher: not all 2 ranks have asked within 2 seconds"
    assert found[0]["late"].startswith(message)
    assert found[1]["late"] == ""


@pytest.mark.plain
def test_without_a_process_group_it_is_refused():
    with pytest.raises(ValueError, match="sharded_teacher: there is no process group"):
        sharded_teacher(Net, {})


def test_a_network_of_any_size_is_built_without_memory():
    with Hollow():
        layer = nn.Linear(2**20, 2**20)  # of 4 TiB
        norm = nn.BatchNorm1d(3)
    assert layer.weight.is_meta and layer.bias.is_meta
    assert norm.running_var is not None and norm.running_var.tolist() == [1, 1, 1]
