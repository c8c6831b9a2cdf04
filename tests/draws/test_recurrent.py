"""Recurrent networks with dropout: one layer after the other, and each part of a batch its own."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from fkd._draws import Draws
from fkd._random import Key

KINDS = {
    "lstm": lambda width=3, **k: nn.LSTM(width, 4, **k),
    "lstm, projected": lambda width=3, **k: nn.LSTM(width, 4, proj_size=2, **k),
    "gru, no biases": lambda width=3, **k: nn.GRU(width, 4, bias=False, **k),
    "tanh": lambda width=3, **k: nn.RNN(width, 4, **k),
    "relu": lambda width=3, **k: nn.RNN(width, 4, nonlinearity="relu", **k),
}
LENGTHS = torch.tensor([3, 7, 2, 4, 7])


def _key(first: int = 0) -> Key:
    return Key(torch.tensor(3), torch.tensor(5), first)


def _states(hidden: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return hidden if isinstance(hidden, tuple) else (hidden,)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_layers_with_dropout_between_them_are_layers_of_torchs(
    kind, both_ways, batch_first, packed
):
    options = {"bidirectional": both_ways, "batch_first": batch_first}
    torch.manual_seed(0)
    both = KINDS[kind](num_layers=2, dropout=0.4, **options).double()
    weights = both.state_dict()
    first = KINDS[kind](**options).double()
    first.load_state_dict({k: v for k, v in weights.items() if "_l0" in k})
    ends = [k for k in weights if "_l1" in k]
    width = weights["weight_ih_l1"].shape[1]
    second = KINDS[kind](width, **options).double()
    second.load_state_dict({k.replace("_l1", "_l0"): weights[k] for k in ends})
    x = torch.randn(5, 7, 3, dtype=torch.float64)
    x = x if batch_first else x.transpose(0, 1)
    if packed:
        x = pack_padded_sequence(x, LENGTHS, batch_first=batch_first, enforce_sorted=False)
    with Draws(_key(), examples=5):
        outputs, hidden = both(x)
    with Draws(_key(), examples=5):
        middle, before = first(x)
        if packed:
            middle = middle._replace(data=F.dropout(middle.data[None], 0.4)[0])
        elif batch_first:
            middle = F.dropout(middle, 0.4)
        else:
            middle = F.dropout(middle.transpose(0, 1), 0.4).transpose(0, 1)
        expected, after = second(middle)
    if packed:
        outputs, expected = outputs.data, expected.data
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
    for whole, *parts in zip(_states(hidden), _states(before), _states(after), strict=True):
        torch.testing.assert_close(whole, torch.cat(parts), rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch_first", [False, True])
@given(st.integers(1, 4))
def test_the_parts_of_a_batch_drop_what_the_whole_drops(batch_first, cut):
    torch.manual_seed(0)
    net = nn.GRU(3, 4, num_layers=3, dropout=0.5, batch_first=batch_first).double()
    axis = 0 if batch_first else 1
    x = torch.randn(5, 5, 3, dtype=torch.float64)  # as long as there are examples
    with Draws(_key(), examples=5):
        whole, _ = net(x)
    parts = []
    for part, first in zip(x.split([cut, 5 - cut], axis), (0, cut), strict=True):
        with Draws(_key(first), examples=part.shape[axis]):
            parts.append(net(part)[0])
    torch.testing.assert_close(torch.cat(parts, axis), whole, rtol=0, atol=1e-12)


def test_in_evaluation_and_without_dropout_it_is_torchs_own():
    torch.manual_seed(0)
    net, x = nn.LSTM(3, 4, num_layers=2, dropout=0.5), torch.randn(2, 5, 3)
    with Draws(None, examples=2):
        outputs, _ = net.eval()(x)
    net.dropout = 0.0
    with Draws(None, examples=2):
        torch.testing.assert_close(net.train()(x)[0], outputs, rtol=0, atol=0)
    torch.testing.assert_close(net(x)[0], outputs, rtol=0, atol=0)
