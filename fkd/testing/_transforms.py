"""Laws of what PyTorch makes of a loss: gradients, members by vmap, autocast, compilation."""

import torch
from hypothesis import assume
from hypothesis import strategies as st

from fkd.testing._case import Case, Loss, batched, cast, draw, draw_hyper, require

GOLDEN = (3 - 5**0.5) / 2


def inputs_are_untouched(loss: Loss, case: Case, data: st.DataObject) -> None:
    """The loss and its gradient leave their arguments as they are."""
    loss, arguments = draw(loss, case, data)
    before = [x.clone() for x in arguments]
    torch.func.grad(lambda s: loss(s, *arguments[1:]).sum())(arguments[0])
    for x, y in zip(arguments, before, strict=True):
        require(torch.equal(x, y), f"the argument {y} is now {x}")


def the_gradient_is_that_of_the_value(loss: Loss, case: Case, data: st.DataObject) -> None:
    """The gradients to all arguments are those of finite differences; so are second ones."""
    loss, arguments = draw(loss, case, data)
    # a row near zero or a row near another may stand at a kink, where no finite difference holds
    flat = [x.flatten(1) for x in batched(case, arguments) if x.is_floating_point()]
    assume(all(x.norm(dim=-1).min() > 0.5 for x in flat))
    inputs = [x.clone().requires_grad_(x.is_floating_point()) for x in arguments]
    require(torch.autograd.gradcheck(loss, inputs, atol=1e-4, rtol=1e-3), "gradcheck fails")
    if case.smooth > 1:
        second = torch.autograd.gradgradcheck(loss, inputs, atol=1e-3, rtol=1e-2)
        require(second, "gradgradcheck fails")


def vmap_equals_a_loop(loss: Loss, case: Case, data: st.DataObject) -> None:
    """Under vmap each of several students has its own value, with a shared target or its own."""
    loss, (student, *others) = draw(loss, case, data)
    students = torch.stack([student, student + 1, student * 2])
    looped = torch.stack([loss(each, *others) for each in students])
    shared = torch.func.vmap(loss, in_dims=(0, *[None] * len(others)))(students, *others)
    own = torch.func.vmap(loss)(students, *(torch.stack([x] * 3) for x in others))
    torch.testing.assert_close(shared, looped)
    torch.testing.assert_close(own, looped)


def hyperparameters_may_be_leaves(loss: Loss, case: Case, data: st.DataObject) -> None:
    """A hyperparameter may be a tensor, with an axis of members under vmap."""
    arguments, hyper = data.draw(case.inputs, "arguments"), draw_hyper(case, data)
    leaves = {
        name: torch.tensor([value, value], dtype=torch.float64) for name, value in hyper.items()
    }
    both = torch.func.vmap(lambda leaf: loss(*arguments, **leaf))(leaves)
    torch.testing.assert_close(both[1], loss(*arguments, **hyper))


def hyperparameters_have_a_gradient(loss: Loss, case: Case, data: st.DataObject) -> None:
    """The gradients to hyperparameters are finite, and those of finite differences."""
    arguments = data.draw(case.inputs, "arguments")
    first, second = draw_hyper(case, data), draw_hyper(case, data)
    of_sum = torch.func.grad(lambda leaves: loss(*arguments, **leaves).sum())
    for name, gradient in of_sum(_leaves(first)).items():
        require(gradient.isfinite(), f"the gradient to {name} is {gradient} at {first[name]}")
    # Between two numbers that a loss takes it takes all, where one alone may be at the end of them.
    # Of whole numbers, at which a loss may jump, none lies at this share of the way.
    between = {name: first[name] + GOLDEN * (second[name] - first[name]) for name in first}
    if case.smooth and all(first[name] != second[name] for name in first):
        leaves = [leaf.requires_grad_() for leaf in _leaves(between).values()]
        require(
            torch.autograd.gradcheck(
                lambda *numbers: loss(*arguments, **dict(zip(between, numbers, strict=True))),
                leaves,
                atol=1e-4,
                rtol=1e-3,
            ),
            "gradcheck fails",
        )


def _leaves(hyper: dict[str, float]) -> dict[str, torch.Tensor]:
    """Hyperparameters as tensors."""
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in hyper.items()}


def autocast_runs(loss: Loss, case: Case, data: st.DataObject) -> None:
    """Under bfloat16 autocast the value is finite."""
    loss, arguments = draw(loss, case, data)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(*cast(arguments, torch.float32))
    require(value.isfinite().all(), f"the value is {value}")


def unremarkable(case: Case, data: st.DataObject) -> tuple[torch.Tensor, ...]:
    """Arguments of the shapes drawn, and normally distributed where they have a batch axis."""
    arguments = data.draw(case.inputs, "arguments")
    generator = torch.Generator().manual_seed(0)
    first = batched(case, arguments)
    normal = (
        torch.randn(x.shape, generator=generator, dtype=x.dtype) if x.is_floating_point() else x
        for x in first
    )
    return (*normal, *arguments[len(first) :])


def compiled_in_one_graph_equals_eager(loss: Loss, case: Case, data: st.DataObject) -> None:
    """Compiled with its gradient, in one graph, the loss is what it is uncompiled."""
    arguments = unremarkable(case, data)
    both = torch.func.grad_and_value(lambda *x: loss(*x).sum())
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(both, fullgraph=True)(*arguments), both(*arguments))
