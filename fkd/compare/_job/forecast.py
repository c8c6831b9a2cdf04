"""How long a comparison will go on, by the pace of what was done so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# A forward pass is a third of a step: the backward pass computes two gradients of each product.
FORWARD = 1 / 3

Seconds = Mapping[str, float]  # of `first_step`, `steps` and `evaluation`, as a record holds them


@dataclass(frozen=True)
class Size:
    """How much a training is: its `members`, and the `work` of a step of all of them, in whatever
    unit, for a step of one method may take many times as long as one of another."""

    members: int
    work: float


@dataclass(frozen=True)
class Cost:
    """What trainings of a `size` in all took, in seconds: `once` each, whatever its size, for the
    first steps, which compile; all together for the other `steps` and for `evaluation`."""

    once: float
    steps: float
    evaluation: float
    size: Size


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
    size: Size
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
        steps = self.epochs * self.steps * a_step
        return Cost(once, steps, self.epochs * an_evaluation, self.size)

    @property
    def _seconds(self) -> tuple[float, float]:
        """Of a step and of an evaluation, which before the first one is a forward pass."""
        (start, before), (first, then), (last, now) = self._seen
        a_step = (now["steps"] - then["steps"]) / (last - first)
        evaluations = last // self.steps - start // self.steps
        if not evaluations:
            return a_step, a_step * self.evaluation * FORWARD
        return a_step, (now["evaluation"] - before["evaluation"]) / evaluations


def cost_of(seconds: Seconds, size: Size, trainings: int = 1) -> Cost:
    """What a training took that has ended, or several of so much in all."""
    once = seconds["first_step"] / trainings
    return Cost(once, seconds["steps"], seconds["evaluation"], size)


def left_of(sizes: Sequence[Size], known: Sequence[Cost]) -> float:
    """The seconds of trainings to come, one after the other, of these sizes: a unit of work and the
    evaluation of a member each cost what they did over all that is known.

    >>> known = [Cost(2.0, 8.0, 1.0, Size(4, 4.0)), Cost(4.0, 12.0, 3.0, Size(4, 16.0))]
    >>> left_of([Size(members=8, work=10.0)], known)  # 3 + 10 * 20 / 20 + 8 * 4 / 8
    17.0
    """
    once = sum(cost.once for cost in known) / len(known)
    work = sum(cost.steps for cost in known) / sum(cost.size.work for cost in known)
    member = sum(cost.evaluation for cost in known) / sum(cost.size.members for cost in known)
    return sum(once + size.work * work + size.members * member for size in sizes)
