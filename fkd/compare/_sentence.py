"""What may be concluded, in one or two sentences."""

import math
from collections.abc import Mapping, Sequence

from fkd.compare._counted import counted
from fkd.compare._difference import Difference
from fkd.compare.results import LARGEST, Results
from fkd.compare.vary import TEACHER

MANY = 12  # methods more than which are counted where a table beside names them


def words(results: Results, differences: Mapping[str, Difference], best: Sequence[str]) -> str:
    """The sentence of results whose methods differ like this from the baseline in accuracy, and of
    which these cannot be told from the best."""
    if TEACHER in results.failed:
        return "The teacher failed, so no student was trained, and nothing can be concluded."
    if not results.methods:
        return "No method has results, so nothing can be concluded."
    if results.factorial:
        return "The members share seeds, so no interval over them holds: see what varies instead."
    clauses = _against(results, differences)
    among = len(best) < len(results.methods)  # where all are, it says nothing
    if results.seeds > 1 and len(best) == 1 and among:
        clauses.append(f"{listed(best)} alone is the best")
    elif results.seeds > 1 and best and among:
        who = listed(best) if len(best) <= MANY else f"{len(best)} methods"
        clauses.append(f"{who} cannot be told from the best")
    clauses += missing(results.waiting, list(results.failed))
    return "; ".join(clauses) + "."


def missing(waiting: Sequence[str], failed: Sequence[str], where: str = "") -> list[str]:
    """Who has no results, and why, in clauses.

    >>> missing(["at", "sp"], ["kd"], " with all teachers")
    ['at and sp are not trained yet with all teachers', 'kd failed']
    """
    clauses = []
    if waiting:
        be = "are" if waiting[1:] else "is"
        clauses.append(f"{listed(waiting)} {be} not trained yet{where}")
    if failed:
        one = "a teacher" if where else "the teacher"
        names = [one if name == TEACHER else name for name in failed]
        clauses.append(f"{listed(names)} failed")
    return clauses


def _against(results: Results, differences: Mapping[str, Difference]) -> list[str]:
    """Who can be told from the baseline, and who cannot, in clauses."""
    base, seeds = listed([results.baseline]), results.seeds
    if results.baseline not in results.methods:
        return [f"{base}, from which differences are taken, has no results"]
    if not differences:
        return [f"{base} alone has results, and there is nothing to tell it from"]
    if seeds < 2:
        return [f"One seed cannot tell {listed(list(differences))} from {base}"]
    told = {name: one for name, one in differences.items() if one.told}
    lost = [name for name, one in differences.items() if math.isnan(one.mean)]
    rest = [name for name in differences if name not in told and name not in lost]
    ordered = sorted(told, key=lambda name: -abs(told[name].mean))
    joint = " simultaneously" if len(differences) - len(lost) > 1 else ""
    clauses = []
    for sign, where in ((1, "above"), (-1, "below")):
        names = [name for name in ordered if sign * told[name].mean > 0]
        if names:
            one, (low, high) = told[names[0]], _bounds(told[names[0]])
            who, others = listed(names[:1]), [_short(name, told[name]) for name in names[1:]]
            clause = f"{who} is {points(one.mean)} points {where} {base}, between {low} and {high}"
            clauses.append(clause + joint + (f", and {joined(others)}" if others else ""))
            joint = ""
    if rest:
        if len(rest) == len(differences) > 1:
            who = "No method can"
        elif len(rest) > MANY and not lost:
            who = f"the other {len(rest)} methods cannot"
        else:
            who = f"{listed(rest)} cannot"
        clauses.append(f"{who} be told from {base} by {counted(seeds, 'seed')}")
    if lost:
        values = results.methods[results.baseline].last("test_accuracy")
        known = all(abs(value) <= LARGEST for value in values)
        whose = listed(lost) if known else f"{base}, the baseline,"
        the = "the" if clauses else "The"
        clauses.append(f"{the} accuracies of {whose} are not all finite")
    return clauses


def _short(name: str, one: Difference) -> str:
    """`pkt 1.3 (0.8 to 1.8)`."""
    low, high = _bounds(one)
    return f"{listed([name])} {points(one.mean)} ({low} to {high})"


def _bounds(one: Difference) -> list[str]:
    """The bounds for all methods at once by their distance from zero, the nearer first."""
    assert one.joint_low is not None and one.joint_high is not None
    return [points(bound) for bound in sorted((one.joint_low, one.joint_high), key=abs)]


def points(share: float) -> str:
    """A share's size in points: to a tenth, or to one figure where that is less.

    >>> points(-0.0235), points(0.00042)
    ('2.4', '0.04')
    """
    size = 100 * abs(share)
    return f"{size:.1f}" if size >= 0.1 or not size else f"{size:.1g}"


def line(name: str) -> str:
    """A name in one line.

    >>> line("mine\\nand yours")
    'mine and yours'
    """
    return " ".join(name.split())


def listed(names: Sequence[str]) -> str:
    """Names, each in one line, in a line: `a`, `a and b`, `a, b and c`.

    >>> listed(["kd", "a\\nb", "dist"]), listed([])
    ('kd, a b and dist', '')
    """
    return joined([line(name) for name in names])


def joined(parts: Sequence[str]) -> str:
    """Parts in a line, as `listed` has names."""
    *most, last = parts or [""]
    return f"{', '.join(most)} and {last}" if most else last
