"""Recurrent networks whose dropout between layers is a hash: torch draws it in their own inside.

Zaremba, Sutskever and Vinyals, "Recurrent Neural Network Regularization" (2014), section 3.2.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fkd._draws._dropout import dropout
from fkd._draws._stream import Stream


def layered(
    run: Callable[..., tuple[Tensor, ...]], stream: Stream, *args: Any
) -> tuple[Tensor, ...]:
    """torch.lstm, gru, rnn_tanh or rnn_relu, as nn.LSTM and its kin call it: one layer after the
    other, with dropout between them; torch's own where nothing is dropped.

    Of padded sequences the arguments are (input, hidden, weights, biases, layers, dropout, train,
    bidirectional, batch_first), of packed ones (data, batch_sizes, hidden, weights, ...), where the
    rows are no examples' own and a mask is one draw for all.
    """
    packed = isinstance(args[1], Tensor) and not isinstance(args[3], bool)
    first, (hidden, weights, biases, layers, p, train, both_ways, *rest) = (
        (args[:2], args[2:]) if packed else (args[:1], args[1:])
    )
    if not train or p == 0 or layers == 1:
        return run(*args)
    each = len(weights) // layers
    x, ends = first[0], []
    for layer in range(layers):
        if layer:
            x = _dropped(stream, x, p, packed, batch_first=bool(rest and rest[0]))
        own = weights[layer * each : (layer + 1) * each]
        start = _of_layer(hidden, layer, 2 if both_ways else 1)
        x, *end = run(x, *first[1:], start, own, biases, 1, 0.0, train, both_ways, *rest)
        ends.append(end)
    return x, *(torch.cat(parts) for parts in zip(*ends, strict=True))


def _of_layer(hidden: Tensor | Sequence[Tensor], layer: int, ways: int) -> Any:
    """The hidden state [layers · ways, ...] of a layer, and its cell's where there is one."""
    rows = slice(layer * ways, (layer + 1) * ways)
    return hidden[rows] if isinstance(hidden, Tensor) else tuple(part[rows] for part in hidden)


def _dropped(stream: Stream, x: Tensor, p: float, packed: bool, batch_first: bool) -> Tensor:
    """[batch, length, width], [length, batch, width], or packed [rows, width], with one mask for
    all examples, which a first axis of one is."""
    if packed:
        return dropout(stream, x[None], p)[0]
    if batch_first:
        return dropout(stream, x, p)
    return dropout(stream, x.transpose(0, 1), p).transpose(0, 1)
