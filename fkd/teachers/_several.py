"""Several teachers that are asked as one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fkd import _check
from fkd.evaluate import Ask
from fkd.model import Tensors
from fkd.model._module import check_ask
from fkd.teachers._teacher import check_names, chosen

Mean = Literal["arithmetic", "geometric"]


@dataclass(frozen=True, eq=False)
class Several:
    """Several teachers as one that is asked: the mean of what they say, or the words of each.

    With z_m [batch, classes] the logits of teacher m of M, p_m = softmax(z_m / T) and T the
    temperature, it gives `logits` whose softmax at T is

    - `"arithmetic"`: the mean of the probabilities, logits = T log (1/M) Σ_m p_m;
    - `"geometric"`: their geometric mean, renormalised, logits = T log softmax((1/M) Σ_m log p_m).

    With `mean=None`, `teachers` is a mapping, and the outputs of each go by its name: `a.logits`,
    `a.hidden`, `b.logits`. `names` chooses among them. Each teacher has its own transform.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 1, name
    both means of an ensemble's distributions.

    Raises ValueError for no teachers, a module in training mode, a mean that is not known, a
    temperature that is not above zero or that no mean takes, teachers without names where each has
    to be told apart, and, when it is asked, for a teacher without logits or with those of other
    classes.

    >>> sure, unsure = (lambda x: {"logits": torch.tensor([[0.8, 0.2]]).log()},
    ...                 lambda x: {"logits": torch.tensor([[0.4, 0.6]]).log()})
    >>> Several([sure, unsure])(None)["logits"].softmax(-1)
    tensor([[0.6000, 0.4000]])
    """

    teachers: Sequence[Ask] | Mapping[str, Ask]
    mean: Mean | None = "arithmetic"
    temperature: float = 1.0
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        check_names("Several", self.names)
        _check.plain("Several", temperature=self.temperature)
        _check.positive("Several", temperature=self.temperature)
        if isinstance(self.teachers, Mapping):
            _check.mapping("Several", teachers=self.teachers)
        else:
            _check.sequence("Several", teachers=self.teachers)
        asks = self.teachers
        for ask in asks.values() if isinstance(asks, Mapping) else asks:
            check_ask("Several", teacher=ask)
        if not self.teachers:
            raise ValueError("Several: there are no teachers; give at least one")
        if self.mean is None:
            if not isinstance(self.teachers, Mapping):
                raise ValueError(
                    "Several: without a mean, teachers must be a mapping from names, by which "
                    "their outputs are told apart; give {'a': one, 'b': other}, or a mean"
                )
            if self.temperature != 1:
                raise ValueError(
                    f"Several: temperature is that of a mean, but it is {self.temperature} where "
                    "mean is None; leave it out"
                )
        else:
            _check.known("Several", "mean", self.mean, ("arithmetic", "geometric"))
            if self.names is not None and list(self.names) != ["logits"]:
                raise ValueError(
                    f"Several: only logits are averaged, but names are {list(self.names)}; "
                    "mean=None gives all outputs of each teacher"
                )

    @torch.no_grad()
    def __call__(self, inputs: Any) -> Tensors:
        if isinstance(self.teachers, Mapping):
            outputs = {name: ask(inputs) for name, ask in self.teachers.items()}
        else:
            outputs = {str(place): ask(inputs) for place, ask in enumerate(self.teachers)}
        if self.mean is None:
            flat = {f"{a}.{b}": output for a, own in outputs.items() for b, output in own.items()}
            return chosen("Several", flat, self.names)
        logits = [chosen(f"teacher {a}", own, ["logits"])["logits"] for a, own in outputs.items()]
        return {"logits": _mean(logits, self.mean, self.temperature)}


def _mean(
    logits: Sequence[Float[Tensor, "*batch classes"]], mean: Mean, temperature: float
) -> Float[Tensor, "*batch classes"]:
    for other in logits[1:]:
        _check.same_shape("Several", logits=logits[0], other_logits=other)
    wide = torch.promote_types(logits[0].dtype, torch.float32)  # half would overflow in a sum
    each = torch.stack([(one.to(wide) / temperature).log_softmax(-1) for one in logits])
    if mean == "arithmetic":
        # log_softmax takes log M away
        return temperature * each.logsumexp(0).log_softmax(-1)
    return temperature * each.mean(0).log_softmax(-1)
