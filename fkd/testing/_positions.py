"""Laws of losses of logits [..., classes]: any leading axes, and a mask over their positions."""

import math

import torch
from hypothesis import strategies as st
from torch import Tensor

from fkd.testing._case import Case, Loss, batched, draw, require
from fkd.testing.strategies import Arguments


def leading_axes_give_a_value_each(loss: Loss, case: Case, data: st.DataObject) -> None:
    """Two leading axes have the values of one that is flattened; a row without any has its own."""
    loss, arguments = draw(loss, case, data)
    first = batched(case, arguments)
    rest = arguments[len(first) :]
    pair = tuple(torch.stack([x, x.flip(0)]) for x in first)
    shape = pair[0].shape[:2]
    value, flat = loss(*pair, *rest), loss(*(x.flatten(0, 1) for x in pair), *rest)
    require(value.shape == shape, f"the value must be {shape}, but it is {tuple(value.shape)}")
    torch.testing.assert_close(value, flat.unflatten(0, shape))
    torch.testing.assert_close(loss(*(x[0] for x in first), *rest), flat[0])


def masked_positions_count_as_nothing(loss: Loss, case: Case, data: st.DataObject) -> None:
    """Where the mask is False value and gradient are zero, over NaN too; the rest is as ever."""
    loss, arguments = draw(loss, case, data)
    batch = len(arguments[0])
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=batch, max_size=batch), "mask"))
    bad = data.draw(st.sampled_from([math.nan, math.inf, -math.inf]), "what is masked")
    poisoned = tuple(_poisoned(x, mask, bad) for x in batched(case, arguments))
    poisoned += arguments[len(poisoned) :]
    value, *gradients = _value_and_gradients(loss, case, poisoned, mask)
    require((value[~mask] == 0).all(), f"the value must be zero where masked, but it is {value}")
    for x in gradients:
        require((x[~mask] == 0).all(), f"the gradient must be zero where masked, but it is {x}")
    plain = _value_and_gradients(loss, case, arguments, None)
    for x, expected in zip((value, *gradients), plain, strict=True):
        torch.testing.assert_close(x[mask], expected[mask])


def _poisoned(x: Tensor, mask: Tensor, bad: float) -> Tensor:
    """The argument with what must not count where the mask is False; labels there are −100."""
    x = x.clone()
    x[~mask] = bad if x.is_floating_point() else -100
    return x


def _value_and_gradients(
    loss: Loss, case: Case, arguments: Arguments, mask: Tensor | None
) -> Arguments:
    """The value, and its gradients to the floating-point arguments that have a batch axis."""
    leaves = tuple(x.clone().requires_grad_(x.is_floating_point()) for x in arguments)
    value = loss(*leaves) if mask is None else loss(*leaves, mask=mask)
    wanted = [x for x in batched(case, leaves) if x.requires_grad]
    # A loss need not reach all of them, as that of a teacher's likeliest class does not.
    return value.detach(), *torch.autograd.grad(value.sum(), wanted, materialize_grads=True)
