"""Which seeds of which method are trained when: all in one round, or a pilot's and then those that
it asks for, in rounds of no more seeds than the pilot's."""

from collections.abc import Mapping, Sequence

from fkd.compare._accord import Accord
from fkd.compare._counted import counted
from fkd.compare._job.forecast import Cost, Size, cost_of, left_of
from fkd.compare._setup.stages import duration, first_seeds, in_words, joined, needed
from fkd.compare._setup.task import Task
from fkd.compare.failure import Failure
from fkd.compare.results import MethodResults, Results
from fkd.ensemble import Seed


class Rounds:
    """The rounds of a task, and what of them has ended, which its results say.

    `ends` are the numbers of seeds that each method has at the end of each round, as far as they
    are `decided`, which is when the pilot of all methods has ended. `work` is that of a step of one
    student of each method.
    """

    def __init__(self, task: Task, results: Results, work: Mapping[str, float]):
        self.task, self.results, self.work = task, results, work
        self.ends = [len(task.seeds)]
        self.decided = task.resolution is None

    @property
    def measured(self) -> dict[str, MethodResults]:
        """What was measured of each method, also of one that failed when new seeds joined."""
        known = self.results.methods | self.results.unfinished
        return {name: known[name] for name in self.task.methods if name in known}

    def lacking(self, name: str, number: int = -1) -> list[Seed]:
        """The seeds of a method that are to be trained until the end of a round, by default of the
        last that is known; none of a method that failed."""
        if name in self.results.failed:
            return []
        return first_seeds(self.task.seeds, self.ends[number])[self.trained(name) :]

    def has_ended(self, name: str) -> bool:
        """Whether a method was trained to its end, as far as that is known, or failed."""
        return not self.lacking(name)

    def have_ended(self, seeds: Mapping[str, list[Seed]]) -> bool:
        """Whether a training of these seeds by method has ended for one of them."""
        known = self.results.methods
        return any(
            name in self.results.failed or (name in known and set(own) & set(known[name].seeds))
            for name, own in seeds.items()
        )

    def put(self, ended: Mapping[str, MethodResults], failed: Mapping[str, Failure]) -> None:
        """Put what a training gave into the results: new seeds join those before, and those that
        are known stay. Of a method that failed, what was measured before is kept apart, so that no
        seed is trained twice."""
        results = self.results
        known = dict(results.methods)
        for name, one in ended.items():
            if name in known and set(one.seeds) <= set(known[name].seeds):
                continue
            known[name] = joined(known[name], one) if name in known else one
        for name in failed:
            if name in known:
                results.unfinished[name] = known.pop(name)
        results.methods = {name: known[name] for name in self.task.methods if name in known}
        results.failed |= failed

    def decide(self, accord: Accord) -> list[str]:
        """Once the pilot has ended, how many seeds its differences ask for, told in a line."""
        task, results, pilot = self.task, self.results, len(self.task.seeds)
        if self.decided or not all(map(self.has_ended, task.methods)):
            return []
        assert task.resolution is not None
        self.decided = True
        asked = needed(self.measured, results.baseline, pilot, task.resolution)
        # The same on every rank, whatever its processor makes of a deviation.
        total = accord.share("how many seeds", asked.seeds if asked else pilot)[0]
        if total > pilot:
            self.ends += [*range(2 * pilot, total, pilot), total]
        cost, sizes = "", self.to_come({})
        if sizes:
            seeds = counted(total - pilot, "more seed")
            methods = counted(len(task.methods) - len(results.failed), "method")
            time = duration(left_of(sizes, self.costs()))
            cost = f"{seeds} of {methods}, {time}"
        return [in_words(asked, pilot, task.resolution, results.baseline, cost)]

    def size(self, members: Mapping[str, int]) -> Size:
        """That of a training of so many students of each method, or of the teacher alone."""
        work = sum(count * self.work.get(name, 1.0) for name, count in members.items())
        return Size(sum(members.values()), work)

    def to_come(self, under_way: Mapping[str, int]) -> list[Size]:
        """How much each training is that is to come behind those under way, which are of so many
        seeds by method."""
        sizes = []
        for name in self.task.methods:
            trained = self.trained(name) + under_way.get(name, 0)
            for end in self.ends:
                if name not in self.results.failed and end > trained:
                    new = self.task.members([name]) if trained == 0 else end - trained
                    sizes.append(self.size({name: new}))
                    trained = end
        return sizes

    def costs(self) -> list[Cost]:
        """What the trainings took that have ended, by method."""
        costs = []
        for name, one in self.measured.items():
            trainings = sum(end <= len(one.seeds) for end in self.ends)
            new = len(one.seeds) - len(self.task.seeds)  # of which none is swept
            size = self.size({name: self.task.members([name]) + new})
            costs.append(cost_of(one.seconds, size, trainings))
        return costs

    def place(self, seeds: Sequence[Seed]) -> int:
        """The number of the first of these seeds among all of a method."""
        return first_seeds(self.task.seeds, self.ends[-1]).index(seeds[0])

    def trained(self, name: str) -> int:
        """How many seeds of a method have ended their training."""
        known = self.results.methods.get(name)
        return len(known.seeds) if known else 0
