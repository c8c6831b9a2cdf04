"""How far a comparison is, as whoever runs it follows it."""

from dataclasses import dataclass

from fkd.compare._job.standing import Standing
from fkd.compare.results import Results


@dataclass(frozen=True)
class Progress:
    """How far a comparison is: of what is going on now, `step` of `steps` steps are taken.

    `compiling` is True while the step that compiles is under way. `results` is the comparison's
    record, which holds all that is known. `standing` is that of the students in training, from
    which the training can go on, valid until the next step. `left` is the seconds to the end of the
    whole comparison, once the pace of a method's students and the number of seeds are known. `save`
    and `stop` are what all ranks agreed on at this step: to save where training stands, and the
    number of a signal that ends the run.
    """

    what: str
    step: int
    steps: int
    compiling: bool
    results: Results
    standing: Standing | None = None
    left: float | None = None
    save: bool = False
    stop: int | None = None
