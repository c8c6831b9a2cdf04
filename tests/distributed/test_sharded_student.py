"""A student in shards is the student that it would be whole, and a rank holds its part of it."""

from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from more_ranks import MORE_RANKS
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils._pytree import tree_leaves, tree_map

from benchmarks._launched import launched
from fkd import checkpoint, methods, optim
from fkd.data import Batch
from fkd.distillation import Distillation, State, average_of, distill, step
from fkd.distributed import (
    Mesh,
    load_sharded,
    save_sharded,
    sharded,
    sharded_state,
    started,
    whole_state,
)
from fkd.ensemble import ensemble
from fkd.model import functional
from fkd.optim import Optimizer, Transform
from fkd.schedules import warmup_cosine
from fkd.split import Split

STEPS, EXAMPLES = 10, 7  # which two or four ranks cannot share evenly
BITS = 1e-12  # of numbers near one, in float64


class Odd(nn.Module):
    """A student with all that makes shards hard: leaves of one number, of fewer elements than
    ranks, of uneven parts, without a gradient and never reached; BatchNorm and dropout."""

    def __init__(self):
        super().__init__()
        # Without a bias: BatchNorm would take it out again, and Adam would scale its gradient,
        # which is rounding alone, to the size of any other.
        self.first = nn.Linear(4, 24, bias=False)
        self.norm = nn.BatchNorm1d(24)
        self.drop = nn.Dropout(0.3)
        self.last = nn.Linear(24, 3)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.shift = nn.Parameter(torch.zeros(1))
        self.unreached = nn.Parameter(torch.ones(9))
        self.frozen = nn.Parameter(torch.randn(5, 4), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.drop(self.norm(self.first(x) + (x @ self.frozen.T).sum(1, keepdim=True)))
        return self.last(hidden.relu()) * self.scale + self.shift


def odd() -> nn.Module:
    return Odd().double()


def by_size() -> Transform:
    """One of a user's own, which looks at whole leaves: u ← u / ‖u‖, and adds up the norms."""
    return Transform({}, partial(tree_map, torch.sum), _by_size)


def _by_size(updates: Any, state: Any, params: Any, hyper: Any) -> tuple[Any, Any]:
    sizes = tree_map(lambda u: u.square().sum().sqrt(), updates)
    scaled = tree_map(lambda u, size: u / (size + 1e-3), updates, sizes)
    return scaled, tree_map(torch.add, state, sizes)


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": optim.chain(
        optim.clip_by_value(0.1),
        optim.sgd(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    ),
    "adam": optim.adam(1e-2, weight_decay=0.1),
    "clipped": optim.averaged(
        optim.chain(
            optim.clip_by_norm(0.3), optim.adamw(1e-2, weight_decay=0.1, decayed=optim.is_matrix)
        ),
        decay=0.7,
    ),
    "own": optim.chain(by_size(), optim.lamb(1e-2, weight_decay=0.1)),
}


@cache
def batches() -> list[Batch]:
    generator = torch.Generator().manual_seed(0)

    def normal(width: int) -> Tensor:
        return torch.randn(EXAMPLES, width, generator=generator, dtype=torch.float64)

    return [
        Batch(normal(4), {"labels": torch.arange(EXAMPLES) % 3, "logits": normal(3)})
        for _ in range(STEPS)
    ]


def run_of(name: str, split: Split | None = None) -> Distillation:
    head = methods.hint(layer="logits", teacher_layer="logits")
    method = methods.kd(temperature=4.0) | head
    rate = {"lr": warmup_cosine(total=STEPS, warmup=2)}
    return distill(
        functional(odd), method, OPTIMIZERS[name], batches()[0], schedules=rate, split=split
    )


def after(run: Distillation, state: State, steps: slice = slice(None)) -> tuple[State, list[float]]:
    losses = []
    for batch in batches()[steps]:
        state, metrics = step(run, state, batch)
        losses.append(metrics["loss"].item())
    return state, losses


@cache
def alone(name: str) -> tuple[State, list[float]]:
    """The student on one device."""
    run = run_of(name)
    return after(run, run.init(3))


def path_of(folder: str, name: str, ranks: int) -> Path:
    return Path(folder) / f"{name}-{ranks}.safetensors"


def held(tree: Any) -> int:
    """The bytes of memory that a rank's leaves keep, and not those that they show."""
    return sum(leaf.untyped_storage().nbytes() for leaf in map(local, tree_leaves(tree)))


def local(leaf: Tensor) -> Tensor:
    return leaf.to_local() if isinstance(leaf, DTensor) else leaf


def in_full(leaf: Tensor) -> Tensor:
    return leaf.full_tensor() if isinstance(leaf, DTensor) else leaf


def said(function: Any, *arguments: Any) -> str:
    try:
        function(*arguments)
    except (ValueError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def on_ranks(folder: str, ranks: int) -> dict[str, Any]:
    """All that is looked at on several ranks, in one launch."""
    facts: dict[str, Any] = {}
    with started(data_ranks=ranks, timeout=60.0) as mesh:
        runs = {name: sharded(run_of(name, mesh.split), mesh) for name in OPTIMIZERS}
        for name, run in runs.items():
            state = run.init(3)
            facts[f"{name} held"] = [held(state), held(state.optimizer)]
            state, facts[f"{name} losses"] = after(run, state)
            facts[f"{name} held after"] = [held(state), held(state.optimizer)]
            save_sharded(path_of(folder, name, ranks), state, mesh)
            if name == "clipped":
                mean, _ = average_of(state)
                facts["mean"] = [in_full(x).tolist() for x in mean.values()]
        run = runs["adam"]
        state = run.init(3)
        if ranks == 4:  # goes on with what two ranks have saved
            state = load_sharded(path_of(folder, "half", 2), state)
        else:
            state, _ = after(run, state, slice(0, 5))
            save_sharded(path_of(folder, "half", ranks), state, mesh, {"step": 5})
            state = sharded_state(whole_state(state), mesh)
        facts["half held"] = [held(state), held(state.optimizer)]
        state, _ = after(run, state, slice(5, None))
        save_sharded(path_of(folder, "went on", ranks), state, mesh)
        facts |= refusals(folder, mesh, run, state)
        facts["by autograd"] = by_autograd(run, mesh)
    return facts


def refusals(folder: str, mesh: Mesh, run: Distillation, state: State) -> dict[str, str]:
    whole, plain, batch = run_of("adam"), run_of("adam", mesh.split), batches()[0]
    many = ensemble(run).init([0, 1])
    return {
        "not split": said(sharded, whole, mesh),
        "another reduce": said(sharded, plain._replace(reduce=lambda gradient: gradient), mesh),
        "a plain state": said(step, run, plain.init(0), batch),
        "an ensemble": said(step, ensemble(run), many, batch),
        "a state of many": said(step, run, many, batch),
        "cut a state of many": said(sharded_state, ensemble(plain).init([0, 1]), mesh),
        "nowhere to write": said(save_sharded, f"{folder}/none/x", state, mesh),
    }


def by_autograd(run: Distillation, mesh: Mesh) -> list[Any]:
    """The gradient of `loss` by the parameters in shards: the sum over ranks, in shards."""
    state, batch = run.init(3), batches()[0]
    leaves = [leaf.detach().requires_grad_() for leaf in tree_leaves(state.params["student"])]
    params = {
        "student": dict(zip(state.params["student"], leaves, strict=True)),
        "heads": state.params["heads"],
    }
    total, _ = run.loss(params, state, batch)
    gradients = torch.autograd.grad(total, leaves, materialize_grads=True)
    assert run.reduce is not None
    expected = run.reduce(run.gradient(state, batch)).params["student"]
    return [
        float((in_full(a) - in_full(b)).abs().max())
        for a, b in zip(gradients, expected.values(), strict=True)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def two(folder) -> list[dict[str, Any]]:
    return launched(on_ranks, 2, folder, 2)


@pytest.fixture(scope="module")
def four(folder, two) -> list[dict[str, Any]]:
    return launched(on_ranks, 4, folder, 4)


@pytest.fixture(params=[2, pytest.param(4, marks=MORE_RANKS)])
def facts(request) -> list[dict[str, Any]]:
    return request.getfixturevalue({2: "two", 4: "four"}[request.param])


def are_near(state: State, other: State) -> None:
    torch.testing.assert_close(tree_leaves(state), tree_leaves(other), rtol=BITS, atol=BITS)


pytestmark = pytest.mark.plain


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_student_in_shards_is_the_student_on_one_device(facts, folder, name):
    """The whole state of it after ten steps, as one process reads it."""
    state, losses = alone(name)
    saved = checkpoint.load(path_of(folder, name, len(facts)), like=state)
    are_near(saved, state)
    for fact in facts:
        torch.testing.assert_close(fact[f"{name} losses"], losses, rtol=BITS, atol=BITS)


def test_the_average_of_the_parameters_is_that_of_one_device(facts):
    mean, _ = average_of(alone("clipped")[0])
    for fact in facts:
        torch.testing.assert_close(
            fact["mean"], [x.tolist() for x in mean.values()], rtol=BITS, atol=BITS
        )


@pytest.mark.parametrize("name", ["sgd", "adam", "clipped"])
def test_a_rank_holds_its_part_of_the_state(facts, name):
    """Each leaf once on all ranks together, but for those too small for a part each."""
    state, _ = alone(name)
    ranks, whole = len(facts), held(state)
    small = sum(leaf.nbytes for leaf in tree_leaves(state) if not can_be_cut(leaf, ranks))
    for key in ("held", "held after"):
        each = [fact[f"{name} {key}"][0] for fact in facts]
        assert sum(each) == whole + (ranks - 1) * small
        assert max(each) - small <= 1.1 * (whole - small) / ranks


def can_be_cut(leaf: Tensor, ranks: int) -> bool:
    return any(len(leaf.chunk(ranks, axis)) == ranks for axis in range(leaf.ndim))


def test_a_student_goes_on_from_its_shards_whole_or_saved_on_fewer_ranks(facts, folder):
    """On two ranks from the whole state, on four from the file that two have written."""
    state, _ = alone("adam")
    are_near(checkpoint.load(path_of(folder, "went on", len(facts)), like=state), state)
    for fact in facts:
        assert fact["half held"] == fact["adam held"]


def test_what_was_saved_in_shards_is_read_by_one_process_and_says_what_it_is_about(two, folder):
    run = run_of("adam")
    saved = checkpoint.load(path_of(folder, "half", 2), like=run.init(0))
    are_near(saved, after(run, run.init(3), slice(0, 5))[0])
    assert checkpoint.about(path_of(folder, "half", 2)) == {"step": 5}
    are_near(load_sharded(path_of(folder, "half", 2), run.init(0)), saved)


def test_the_loss_has_a_gradient_by_parameters_in_shards(facts):
    for fact in facts:
        assert max(fact["by autograd"]) < 1e-12


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("not split", "sharded: the distillation must be split over the mesh's data ranks"),
        ("another reduce", "sharded: the distillation must be split over the mesh's data ranks"),
        ("a plain state", "gradient: the state must be in shards"),
        ("an ensemble", "gradient: the state must be in shards"),
        ("a state of many", "gradient: the state must be one student's"),
        ("cut a state of many", "sharded_state: the state must be one student's"),
    ],
)
def test_what_does_not_fit_is_refused_on_every_rank(two, what, told):
    for fact in two:
        assert fact[what].startswith(f"ValueError: {told}"), fact[what]


def test_where_a_file_cannot_be_written_every_rank_says_so(two):
    first, other = (fact["nowhere to write"] for fact in two)
    assert first.startswith("FileNotFoundError")
    assert other.startswith("OSError: save_sharded: the first rank could not write")


def test_members_that_are_dealt_lie_on_their_rank_alone():
    """ZeRO's saving for members needs no shards: no rank makes another's members."""
    run, seeds = ensemble(run_of("adam")), range(5)
    meshes = [Mesh(rank, member_ranks=2) for rank in range(2)]
    each = [held(run.init(seeds[mesh.members(5)])) for mesh in meshes]
    one = held(run.init(seeds)) // 5
    assert each == [3 * one, 2 * one]


def test_on_one_rank_everything_is_as_it_was(tmp_path):
    run, mesh = run_of("adam"), Mesh()
    assert sharded(run, mesh) is run
    state = run.init(3)
    assert sharded_state(state, mesh) is state
    are_near(whole_state(state), state)
    save_sharded(tmp_path / "one", state, mesh)
    are_near(load_sharded(tmp_path / "one", run.init(0)), state)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state._replace(hyper={}), "hyper.lr is not wanted"),
        (lambda state: state._replace(step=state.step[None]), r"step must be \(1,\), but is \(\)"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, change, told):
    state = run_of("adam").init(3)
    save_sharded(tmp_path / "one", state, Mesh())
    with pytest.raises(ValueError, match=f"its tensors do not fit:(.|\n)*{told}"):
        load_sharded(tmp_path / "one", change(state))
