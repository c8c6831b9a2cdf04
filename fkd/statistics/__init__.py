"""What may be concluded: intervals and tests, for pairs and for many methods, on NumPy and SciPy.

Differences are paired by seed. Each function says what its level rests on.
"""

from fkd.statistics._chosen import Choice, Epochs, epoch_choice, setting_choice
from fkd.statistics._components import Component, components
from fkd.statistics._crossed import Bounds, Crossed, crossed
from fkd.statistics._many import Best, Many, against_baseline, best_set, holm
from fkd.statistics._pair import Interval, Paired, interval, paired
from fkd.statistics._ranks import Ranks, mean_ranks
from fkd.statistics._seeds import Intervals, seeds_needed, two_stage

__all__ = [
    "Best",
    "Bounds",
    "Choice",
    "Component",
    "Crossed",
    "Epochs",
    "Interval",
    "Intervals",
    "Many",
    "Paired",
    "Ranks",
    "against_baseline",
    "best_set",
    "components",
    "crossed",
    "epoch_choice",
    "holm",
    "interval",
    "mean_ranks",
    "paired",
    "seeds_needed",
    "setting_choice",
    "two_stage",
]
