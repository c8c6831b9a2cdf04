"""The chains against torch.optim and NumPy, over thirty steps in float64."""

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from fkd import optim

STEPS = 30
ADAM = {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}
NESTEROV = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}
DAMPENED = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1, "dampening": 0.3}


def _start(seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    student = {"fc.weight": draw(3, 2), "fc.bias": draw(3), "empty": draw(0, 2)}
    return {"student": student, "heads": {"hint": {"0.weight": draw(2, 3), "0.bias": draw(2)}}}


def _gradient(params: dict[str, Any]) -> dict[str, Any]:
    """That of a function in which every leaf depends on every other."""

    def loss(params: dict[str, Any]) -> Tensor:
        leaves = tree_leaves(params)
        return (
            torch.stack([leaf.sin().sum() for leaf in leaves]).sum() ** 2
            + torch.stack([(leaf**4).sum() for leaf in leaves]).sum()
        )

    return torch.func.grad(loss)(params)


def _numbers(optimizer: optim.Optimizer, dtype=torch.float64) -> dict[str, Tensor]:
    return {name: torch.tensor(value, dtype=dtype) for name, value in optimizer.hyper.items()}


def _train(optimizer: optim.Optimizer, params: Any, hyper: dict[str, Tensor], steps: int) -> Any:
    state = optimizer.init(params)
    for _ in range(steps):
        params, state = optimizer.update(_gradient(params), state, params, hyper)
    return params


def _is_head(name: str, _: Tensor | None = None) -> bool:
    return name.startswith("heads.")


def _is_student(name: str, _: Tensor | None = None) -> bool:
    return name.startswith("student.")


def _is_weight(name: str, _: Tensor | None = None) -> bool:
    return name.endswith("weight")


def _by_name(params: dict[str, Any]) -> dict[str, Tensor]:
    student = {f"student.{name}": leaf for name, leaf in params["student"].items()}
    heads = {f"heads.hint.{name}": leaf for name, leaf in params["heads"]["hint"].items()}
    return student | heads


def _chosen(named: dict[str, Tensor], where: Callable[[str], bool]) -> list[Tensor]:
    return [leaf for name, leaf in named.items() if where(name)]


class Theirs(NamedTuple):
    """torch's way of the same: an optimizer of the named leaves, and what clips the gradient."""

    make: Callable[[dict[str, Tensor]], torch.optim.Optimizer]
    clip: Callable[[dict[str, Tensor]], Any] = lambda named: None


def _all(make: Callable[..., torch.optim.Optimizer], **options: Any) -> Theirs:
    return Theirs(lambda named: make(named.values(), **options))


def _decay_weights_only(named: dict[str, Tensor]) -> torch.optim.Optimizer:
    weights = {"params": _chosen(named, _is_weight), "weight_decay": 0.1}
    others = {"params": _chosen(named, lambda name: not _is_weight(name)), "weight_decay": 0.0}
    return torch.optim.AdamW([weights, others], lr=0.01)


def _l2_of_weights_only(named: dict[str, Tensor]) -> torch.optim.Optimizer:
    weights = {"params": _chosen(named, _is_weight), "weight_decay": 0.1}
    others = {"params": _chosen(named, lambda name: not _is_weight(name)), "weight_decay": 0.0}
    return torch.optim.SGD([weights, others], lr=0.01, momentum=0.9)


def _heads_faster(named: dict[str, Tensor]) -> torch.optim.Optimizer:
    heads = {"params": _chosen(named, _is_head), "lr": 0.05, "weight_decay": 0.2}
    student = {"params": _chosen(named, _is_student), "lr": 0.01, "weight_decay": 0.1}
    return torch.optim.AdamW([student, heads])


def _clip_norm(named: dict[str, Tensor]) -> None:
    torch.nn.utils.clip_grad_norm_(named.values(), 1.5)


CASES: dict[str, tuple[Callable[[], optim.Optimizer], Theirs]] = {
    "adam": (partial(optim.adam, 0.01), _all(torch.optim.Adam, lr=0.01)),
    "adam, decay": (partial(optim.adam, **ADAM), _all(torch.optim.Adam, **ADAM)),
    "adam, no first beta": (
        partial(optim.adam, 0.01, betas=(0.0, 0.9)),
        _all(torch.optim.Adam, lr=0.01, betas=(0.0, 0.9)),
    ),
    "adamw": (partial(optim.adamw, **ADAM), _all(torch.optim.AdamW, **ADAM)),
    "adamw, defaults": (optim.adamw, _all(torch.optim.AdamW)),
    "sgd": (partial(optim.sgd, 0.01), _all(torch.optim.SGD, lr=0.01)),
    "sgd, decay": (
        partial(optim.sgd, 0.01, weight_decay=0.1),
        _all(torch.optim.SGD, lr=0.01, weight_decay=0.1),
    ),
    "sgd, momentum": (
        partial(optim.sgd, 0.01, momentum=0.9),
        _all(torch.optim.SGD, lr=0.01, momentum=0.9),
    ),
    "sgd, nesterov": (partial(optim.sgd, **NESTEROV), _all(torch.optim.SGD, **NESTEROV)),
    "sgd, dampening": (partial(optim.sgd, **DAMPENED), _all(torch.optim.SGD, **DAMPENED)),
    "clip by norm": (
        lambda: optim.chain(optim.clip_by_norm(1.5), optim.adamw(**ADAM)),
        Theirs(lambda named: torch.optim.AdamW(named.values(), **ADAM), _clip_norm),
    ),
    "clip by value": (
        lambda: optim.chain(optim.clip_by_value(0.5), optim.sgd(0.05)),
        Theirs(
            lambda named: torch.optim.SGD(named.values(), lr=0.05),
            lambda named: torch.nn.utils.clip_grad_value_(named.values(), 0.5),
        ),
    ),
    "clip the heads": (
        lambda: optim.chain(optim.masked(optim.clip_by_norm(0.5), _is_head), optim.sgd(0.05)),
        Theirs(
            lambda named: torch.optim.SGD(named.values(), lr=0.05),
            lambda named: torch.nn.utils.clip_grad_norm_(_chosen(named, _is_head), 0.5),
        ),
    ),
    "decay of weights only": (
        lambda: optim.chain(
            optim.scale_by_adam(),
            optim.masked(optim.add_decay(0.1), _is_weight),
            optim.scale_by_learning_rate(0.01),
        ),
        Theirs(_decay_weights_only),
    ),
    "decay of matrices only": (
        partial(optim.adamw, 0.01, weight_decay=0.1, decayed=optim.is_matrix),
        Theirs(_decay_weights_only),
    ),
    "L2 decay of weights only": (
        partial(optim.sgd, 0.01, momentum=0.9, weight_decay=0.1, decayed=_is_weight),
        Theirs(_l2_of_weights_only),
    ),
    "two optimizers": (
        lambda: optim.chain(
            optim.clip_by_norm(1.5),
            optim.masked(optim.adamw(0.01, weight_decay=0.1), _is_student),
            optim.masked(optim.chain(optim.adamw(0.05, weight_decay=0.2), name="heads"), _is_head),
        ),
        Theirs(_heads_faster, _clip_norm),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_thirty_steps_are_torchs(name):
    ours, theirs = CASES[name]
    params, optimizer = _start(), ours()
    twins = tree_map(lambda leaf: leaf.clone().requires_grad_(), params)
    reference = theirs.make(_by_name(twins))
    for _ in range(STEPS):
        gradient = _by_name(_gradient(tree_map(torch.detach, twins)))
        for path, twin in _by_name(twins).items():
            twin.grad = gradient[path]
        theirs.clip(_by_name(twins))
        reference.step()
    params = _train(optimizer, params, _numbers(optimizer), STEPS)
    expected = tree_map(torch.detach, twins)
    # A rounding is 1e-16; each of 30 steps makes some, and this loss does not amplify them.
    torch.testing.assert_close(params, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_members_with_numbers_of_their_own_are_those_alone(name):
    optimizer = CASES[name][0]()
    starts = [_start(0), _start(1)]
    first = _numbers(optimizer)
    numbers = [first, {name: value / (2 + i) for i, (name, value) in enumerate(first.items())}]
    alone = [_train(optimizer, *pair, 3) for pair in zip(starts, numbers, strict=True)]

    together = tree_map(lambda a, b: torch.stack([a, b]), *starts)
    hyper = tree_map(lambda a, b: torch.stack([a, b]), *numbers)
    both = torch.func.vmap(lambda params, own: _train(optimizer, params, own, 3))(together, hyper)
    for k, expected in enumerate(alone):
        member = tree_map(lambda leaf, k=k: leaf[k], both)
        torch.testing.assert_close(member, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_an_optimizer_is_data(name):
    """Its state holds nothing but tensors, and it goes through a pickle."""
    optimizer = CASES[name][0]()
    assert all(isinstance(leaf, Tensor) for leaf in tree_leaves(optimizer.init(_start())))
    again = pickle.loads(pickle.dumps(optimizer))
    hyper = _numbers(optimizer)
    expected = _train(optimizer, _start(), hyper, 2)
    torch.testing.assert_close(_train(again, _start(), hyper, 2), expected, rtol=0, atol=0)


@pytest.mark.plain
def test_a_chain_with_masks_compiles_whole():
    optimizer = CASES["two optimizers"][0]()
    params = tree_map(lambda leaf: leaf.expand(2, *leaf.shape), _start())
    hyper = {name: value.repeat(2) for name, value in _numbers(optimizer).items()}
    gradient = torch.func.vmap(_gradient)(params)
    state = torch.func.vmap(optimizer.init)(params)
    update = torch.func.vmap(optimizer.update)
    compiled = torch.compile(update, fullgraph=True, backend="aot_eager")
    expected = update(gradient, state, params, hyper)
    torch.testing.assert_close(compiled(gradient, state, params, hyper), expected)


def test_lamb_is_its_formula():
    rate, decay, (beta1, beta2), eps = 0.01, 0.1, (0.8, 0.95), 1e-6
    optimizer = optim.lamb(rate, betas=(beta1, beta2), eps=eps, weight_decay=decay)
    params = {"a": torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)}
    params["zero"] = torch.zeros(3, dtype=torch.float64)
    expected = {name: leaf.numpy().copy() for name, leaf in params.items()}
    mean = {name: np.zeros(3) for name in params}
    square = {name: np.zeros(3) for name in params}
    state, draw = optimizer.init(params), np.random.default_rng(0)
    for step in range(1, STEPS + 1):
        gradient = {name: draw.normal(size=3) for name in params}
        if step == 1:
            gradient["zero"] = np.zeros(3)  # neither norm is above zero
        for name, g in gradient.items():
            mean[name] = beta1 * mean[name] + (1 - beta1) * g
            square[name] = beta2 * square[name] + (1 - beta2) * g**2
            root = np.sqrt(square[name] / (1 - beta2**step))
            u = mean[name] / (1 - beta1**step) / (root + eps) + decay * expected[name]
            size, weight = np.linalg.norm(u), np.linalg.norm(expected[name])
            trust = weight / size if size > 0 and weight > 0 else 1.0
            expected[name] = expected[name] - rate * trust * u
        ours = {name: torch.from_numpy(g) for name, g in gradient.items()}
        params, state = optimizer.update(ours, state, params, _numbers(optimizer))
    for name, value in expected.items():
        np.testing.assert_allclose(params[name].numpy(), value, rtol=1e-12, atol=1e-13)


def test_complex_parameters_are_right_or_refused():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(4, dtype=torch.complex128, generator=generator)
    twin = start.clone().requires_grad_()
    reference = torch.optim.SGD([twin], lr=0.1, momentum=0.9, weight_decay=0.1)
    optimizer = optim.chain(optim.clip_by_norm(0.5), optim.sgd(0.1, momentum=0.9, weight_decay=0.1))
    params = {"a": start}
    state = optimizer.init(params)
    for _ in range(STEPS):
        twin.grad = 2 * twin.detach() + 1j
        torch.nn.utils.clip_grad_norm_([twin], 0.5)
        reference.step()
        gradient = {"a": 2 * params["a"] + 1j}
        params, state = optimizer.update(gradient, state, params, _numbers(optimizer))
    torch.testing.assert_close(params["a"], twin.detach(), rtol=1e-12, atol=1e-12)

    for refusing in (optim.adam(), optim.chain(optim.clip_by_value(1.0))):
        with pytest.raises(ValueError, match=r"must be real, but student\.fc is torch\.complex128"):
            refusing.init({"student": {"fc": start}})


def test_corrections_hold_in_half_precision():
    """After 1,000 steps in bfloat16, which cannot count them, the correction of m is one."""
    optimizer = optim.adam(1.0, betas=(0.9, 0.0), eps=1e-8)
    params = {"a": torch.zeros(1, dtype=torch.bfloat16)}
    one = {"a": torch.ones(1, dtype=torch.bfloat16)}
    thousand = optim.AdamState(torch.tensor(999), one, one)
    hyper = _numbers(optimizer, torch.float32)
    moved, _ = optimizer.update(one, ((), thousand, ()), params, hyper)
    assert moved["a"].dtype == torch.bfloat16
    assert float(moved["a"]) == pytest.approx(-1.0, abs=2**-7)


def test_a_mask_that_chooses_nothing_changes_nothing():
    link = optim.masked(optim.adam(0.5), lambda name, leaf: False)
    params = _start()
    state = link.init(params)
    assert tree_leaves(state) == []  # no counter on a device of its own
    updates, state = link.update(params, state, params, {})
    assert updates is params


def test_a_mask_is_asked_once_and_by_path():
    names = []

    def where(name: str, leaf: Tensor) -> bool:
        names.append(name)
        return name.endswith("bias")

    optimizer = optim.chain(optim.masked(optim.clip_by_norm(1.0), where))
    params = {"heads": [{"0.bias": torch.ones(1)}], "student": {"fc.weight": torch.ones(1)}}
    state = optimizer.init(params)
    optimizer.update(params, state, params, _numbers(optimizer, torch.float32))
    assert names == ["heads.0.0.bias", "student.fc.weight"]
    assert list(state[0].names) == ["heads.0.0.bias"]


def test_no_parameters_are_no_error():
    for make, _ in CASES.values():
        optimizer = make()
        params, _ = optimizer.update({}, optimizer.init({}), {}, _numbers(optimizer))
        assert params == {}


def test_numbers_are_listed_in_one_order():
    assert optim.adam().hyper == {"lr": 0.001, "weight_decay": 0.0}
    assert optim.adamw().hyper == {"lr": 0.001, "weight_decay": 0.01}
    assert list(optim.sgd(momentum=0.9).hyper) == ["lr", "weight_decay", "momentum"]
    assert list(optim.sgd().hyper) == list(optim.lamb().hyper) == ["lr", "weight_decay"]
    two = CASES["two optimizers"][0]().hyper
    assert list(two) == ["max_norm", "lr", "weight_decay", "heads.lr", "heads.weight_decay"]
    renamed = optim.chain(optim.scale_by_learning_rate(0.1, name="rate"), name="a").hyper
    assert renamed == {"a.rate": 0.1}


def _twice() -> optim.Optimizer:
    return optim.chain(optim.adam(), optim.scale_by_learning_rate(0.1))


def _by_hand() -> optim.Optimizer:
    return optim.Optimizer({}, lambda params: (), lambda g, state, params, hyper: (params, state))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.adam(-1.0), "adam: lr must be zero or more"),
        (lambda: optim.adam(betas=(0.9, 1.0)), "scale_by_adam: beta2 must lie in"),
        (lambda: optim.adam(eps=0.0), "scale_by_adam: eps must be above zero"),
        (lambda: optim.adamw(weight_decay=-1.0), "adamw: weight_decay must be zero or more"),
        (lambda: optim.lamb(float("nan")), "lamb: lr must be zero or more"),
        (lambda: optim.sgd(0.1, momentum=-0.5), "sgd: momentum must be zero or more"),
        (lambda: optim.sgd(0.1, nesterov=True), "sgd: nesterov needs momentum"),
        (lambda: optim.sgd(0.1, dampening=0.5), "sgd: dampening needs momentum"),
        (lambda: optim.sgd(**NESTEROV, dampening=0.5), "nesterov has no dampening.*leave one out"),
        (lambda: optim.sgd(0.1, momentum=0.9, dampening=2.0), "dampening must lie in"),
        (lambda: optim.clip_by_norm(-1.0), "clip_by_norm: max_norm must be zero or more"),
        (lambda: optim.clip_by_value(-1.0), "clip_by_value: max_value must be zero or more"),
        (lambda: optim.chain(), "chain: a link is missing"),
        (_twice, "two links have a number 'lr'; give one of them a name of its own with name="),
        (lambda: optim.chain(_by_hand()), "chain: this optimizer has no transform"),
        (lambda: optim.masked(_by_hand(), _is_head), "masked: this optimizer has no transform"),
        (
            lambda: optim.masked(optim.adam(), _is_head).init(
                {"a.b": torch.ones(1), "a": {"b": torch.ones(1)}}
            ),
            "masked: two parameters have one name",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.plain
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(optim.adam, **{"betas": 0.9}), "betas must be a list or a tuple"),
        (partial(optim.adam, **{"betas": (0.9,)}), "betas must be two numbers"),
        (partial(optim.clip_by_norm, 1.0, **{"name": 3}), "clip_by_norm: name"),
    ],
)
def test_what_is_of_another_type_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.plain
def test_a_function_that_was_not_called_is_no_link():
    with pytest.raises(
        ValueError, match=r"chain: a link must be a Transform or an Optimizer.*call"
    ):
        optim.chain(optim.adam)  # pyright: ignore[reportArgumentType]
