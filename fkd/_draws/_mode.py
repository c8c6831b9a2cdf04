"""The function mode: which function of torch is answered by which of ours."""

import inspect
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fkd._draws import _attention, _dropout, _numbers, _recurrent
from fkd._draws._stream import Stream
from fkd._random import Key


class Draws(TorchFunctionMode):
    """Within it every random call is a pure function of the key, the call's number and positions.

    It holds for one forward pass, over `examples` examples. What it does not answer goes on to the
    next mode. Without a key a random call raises ValueError.

    >>> key = Key(torch.tensor(0), torch.tensor(0))
    >>> with Draws(key, examples=4):
    ...     torch.rand(4)
    tensor([0.5606, 0.5325, 0.3509, 0.0784])
    """

    def __init__(self, key: Key | None, examples: int):
        super().__init__()
        self.stream = Stream(key, examples)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        answer = _ANSWERS.get(func)
        if answer is None:
            return func(*args, **(kwargs or {}))
        return answer(self.stream, *args, **(kwargs or {}))


def _fresh(func: Callable[..., Tensor], stream: Stream, *args: Any, **kwargs: Any) -> Tensor:
    """A tensor without contents is each member's own, so that random numbers can be written in."""
    tensor = func(*args, **kwargs)
    if stream.key is None:
        return tensor
    always = stream.key.seed == stream.key.seed
    return torch.where(always.to(tensor.device), tensor, tensor)


_ANSWERS: dict[Any, Callable[..., Any]] = {
    F.dropout: _dropout.dropout,
    torch.dropout: _dropout.dropout,
    torch.dropout_: _dropout.dropout_,
    torch.native_dropout: _dropout.native_dropout,
    F.dropout1d: _dropout.dropout1d,
    F.dropout2d: _dropout.feature_dropout,
    F.dropout3d: _dropout.dropout3d,
    torch.feature_dropout: _dropout.feature_dropout,
    torch.feature_dropout_: _dropout.feature_dropout_,
    F.alpha_dropout: _dropout.alpha_dropout,
    torch.alpha_dropout: _dropout.alpha_dropout,
    torch.alpha_dropout_: _dropout.alpha_dropout_,
    F.feature_alpha_dropout: _dropout.feature_alpha_dropout,
    torch.feature_alpha_dropout: _dropout.feature_alpha_dropout,
    torch.feature_alpha_dropout_: _dropout.feature_alpha_dropout_,
    F.rrelu: _dropout.rrelu,
    torch.rrelu: _dropout.rrelu,
    torch.rrelu_: _dropout.rrelu_,
    F.scaled_dot_product_attention: _attention.scaled_dot_product_attention,
    F.multi_head_attention_forward: _attention.multi_head_attention_forward,
    torch.lstm: partial(_recurrent.layered, torch.lstm),
    torch.gru: partial(_recurrent.layered, torch.gru),
    torch.rnn_tanh: partial(_recurrent.layered, torch.rnn_tanh),
    torch.rnn_relu: partial(_recurrent.layered, torch.rnn_relu),
    F.gumbel_softmax: _numbers.gumbel_softmax,
    torch.rand: _numbers.rand,
    torch.randn: _numbers.randn,
    torch.randint: _numbers.randint,
    torch.randperm: _numbers.randperm,
    torch.rand_like: _numbers.rand_like,
    torch.randn_like: _numbers.randn_like,
    torch.randint_like: _numbers.randint_like,
    torch.normal: _numbers.normal,
    torch.bernoulli: _numbers.bernoulli,
    torch.multinomial: _numbers.multinomial,
    torch.Tensor.bernoulli: _numbers.bernoulli,
    torch.Tensor.multinomial: _numbers.multinomial,
    torch.Tensor.bernoulli_: _numbers.bernoulli_,
    torch.Tensor.uniform_: _numbers.uniform_,
    torch.Tensor.normal_: _numbers.normal_,
    torch.Tensor.log_normal_: _numbers.log_normal_,
    torch.Tensor.exponential_: _numbers.exponential_,
    torch.Tensor.geometric_: _numbers.geometric_,
    torch.Tensor.cauchy_: _numbers.cauchy_,
    torch.Tensor.random_: _numbers.random_,
    torch.empty: partial(_fresh, torch.empty),
    torch.empty_like: partial(_fresh, torch.empty_like),
    torch.empty_strided: partial(_fresh, torch.empty_strided),
    torch.Tensor.new_empty: partial(_fresh, torch.Tensor.new_empty),
    torch.Tensor.new_empty_strided: partial(_fresh, torch.Tensor.new_empty_strided),
}


def _show_to_the_compiler(functions: Iterable[Any]) -> None:
    """Let torch.compile hand these functions to a function mode, as torch does without it.

    It asks the list in torch.overrides, which leaves out a few (torch.rand_like, torch.normal,
    torch.dropout_); compiled, they would draw from torch's generator without a word.
    """
    known = torch.overrides.get_overridable_functions()[torch]
    known.extend(function for function in functions if function not in known)
    compiler = sys.modules.get("torch._dynamo.variables.torch")
    if compiler is not None:  # something was compiled before, and the list read
        compiler.get_overridable_functions.cache_clear()


_show_to_the_compiler(function for function in _ANSWERS if inspect.isbuiltin(function))
