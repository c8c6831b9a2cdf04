"""What is true of a loss: the row that it has in the table of laws."""

from typing import NamedTuple

import strategies
from hypothesis import strategies as st


class Case(NamedTuple):
    """The laws that hold for one public loss, beside those that hold for all.

    `inputs` draws its positional arguments in float64 and `hyper` its keywords: first the student's
    tensors, then as many of the target's (`sides` is how many), then labels and the like, then
    those that have no batch axis (`unbatched` is how many).
    `low`, `high`: the bounds of its value, None where there is none.
    `divergence`: zero with a zero gradient where the target equals the student.
    `shift`: unchanged when a constant is added to all logits of an example, on either side.
    `scale`: unchanged when all features of one side are multiplied by a positive number.
    `rotation`: unchanged when all examples' embeddings are rotated, each side by its own rotation.
    `symmetric`: unchanged when student and target change places.
    `smooth`: how often it can be differentiated at the drawn inputs: 2 for gradgradcheck, 1 for
    gradcheck, 0 where it has kinks that the strategy cannot keep away from.
    `relation`: a value needs other examples, so a batch of one is refused.
    `per_class`: one value a class instead of one an example.
    """

    inputs: st.SearchStrategy[strategies.Arguments]
    hyper: dict[str, st.SearchStrategy[float]] = {}  # noqa: RUF012
    low: float | None = 0.0
    high: float | None = None
    divergence: bool = False
    shift: bool = False
    scale: bool = False
    rotation: bool = False
    symmetric: bool = False
    smooth: int = 2
    relation: bool = False
    per_class: bool = False
    sides: int = 1
    unbatched: int = 0
