"""How long a comparison will go on, by the pace of what was done so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# A forward pass is a third of a step: the backward pass computes two gradients of each product.
FORWARD = 1 / 3

Seconds = Mapping[str, float]  # of `first_step`, `steps` and `evaluation`, as a record holds them


@dataclass(frozen=True)
class Cost:
    """What trainings took in seconds: `once` each, whatever its members, for the first steps, which
    compile, and `member` for each of its members."""

    once: float
    member: float


@dataclass
class Pace:
    """How fast a training goes, from what a record says of its seconds at some of its steps.

    It has `epochs` of `steps`, and `evaluation` is how many steps' worth of examples are evaluated
    after each. Only what was seen here counts, so a training that was gone on with may have been
    slower or faster before.
    """

    steps: int
    epochs: int
    evaluation: float
    members: int
    _seen: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def see(self, step: int, seconds: Seconds) -> None:
        """Take in the seconds after so many steps: first of all where the training begins.

        Where they are what they were, nothing was measured, for a GPU runs behind Python.
        """
        if self._seen and self._seen[-1][1] == seconds:
            return
        # The beginning, the first steps and the last: what lies between is not needed.
        self._seen[2:] = []
        self._seen.append((step, dict(seconds)))

    @property
    def known(self) -> bool:
        """Whether a step was taken behind the first ones."""
        return len(self._seen) == 3

    @property
    def left(self) -> float:
        """The seconds from the last step seen to the training's end, once the pace is known."""
        a_step, an_evaluation = self._seconds
        done = self._seen[-1][0]
        steps, epochs = self.steps * self.epochs - done, self.epochs - done // self.steps
        return steps * a_step + epochs * an_evaluation

    @property
    def cost(self) -> Cost:
        """What such a training takes from beginning to end, once the pace is known."""
        a_step, an_evaluation = self._seconds
        once = self._seen[1][1]["first_step"] - self._seen[0][1]["first_step"]
        return Cost(once, self.epochs * (self.steps * a_step + an_evaluation) / self.members)

    @property
    def _seconds(self) -> tuple[float, float]:
        """Of a step and of an evaluation, which before the first one is a forward pass."""
        (start, before), (first, then), (last, now) = self._seen
        a_step = (now["steps"] - then["steps"]) / (last - first)
        evaluations = last // self.steps - start // self.steps
        if not evaluations:
            return a_step, a_step * self.evaluation * FORWARD
        return a_step, (now["evaluation"] - before["evaluation"]) / evaluations


def cost_of(seconds: Seconds, members: int, trainings: int = 1) -> Cost:
    """What a training took that has ended, or each of several."""
    rest = seconds["steps"] + seconds["evaluation"]
    return Cost(seconds["first_step"] / trainings, rest / members)


def left_of(members: Sequence[int], known: Sequence[Cost]) -> float:
    """The seconds of trainings to come, one after the other, of so many members each: each member
    costs the mean of those known.

    >>> left_of([8, 16], [Cost(once=2.0, member=1.0), Cost(once=4.0, member=3.0)])
    54.0
    """
    once = sum(cost.once for cost in known) / len(known)
    member = sum(cost.member for cost in known) / len(known)
    return len(members) * once + sum(members) * member
