"""How the steps of a comparison were taken, in words."""

from fkd.compare._sentence import listed
from fkd.compare.results import Results
from fkd.compare.vary import TEACHER
from fkd.execution import Plan


def is_compiled(results: Results) -> bool:
    """Whether a training of a method's students was compiled; of results from before that was kept,
    whether any training was to be."""
    each = [plan for one in results.methods.values() for plan in one.plans]
    return any(plan.compile == "step" for plan in each) if each else results.compiled


def steps(results: Results) -> str:
    """`loop, compiled (ce and teacher); loop, not compiled (kd)`, without names where all are
    alike; nothing of results from before it was kept."""
    plans = {name: one.plans for name, one in results.methods.items()}
    if results.teacher is not None and TEACHER not in plans:
        plans[TEACHER] = results.teacher.plans
    ways: dict[str, list[str]] = {}
    for name, each in plans.items():
        if each:
            ways.setdefault(" and ".join(map(in_words, each)), []).append(name)
    if len(ways) == 1:
        return next(iter(ways))
    return "; ".join(f"{way} ({listed(names)})" for way, names in ways.items())


def in_words(plan: Plan) -> str:
    """A plan with nothing left to choose.

    >>> in_words(Plan("vmap", chunk=8, compile="step", graph=16))
    'vmap, 8 at once, compiled, 16 steps a CUDA graph'
    >>> in_words(Plan("loop", compile="none", graph=0))
    'loop, not compiled'
    """
    told = [plan.layout]
    if plan.layout == "vmap" and plan.chunk is not None:
        told.append(f"{plan.chunk} at once")
    told.append("compiled" if plan.compile == "step" else "not compiled")
    if plan.graph:
        told.append(f"{plan.graph} steps a CUDA graph")
    return ", ".join(told)
