"""The README's tables of losses and methods, made from the code: `python tests/readme_tables.py`.

A paper and a range are told once, in a docstring; what a loss takes is in its signature, and which
methods use it in their terms.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import module_kinds
from test_laws import CASES

from fkd import losses
from fkd.methods import METHODS, Term

README = Path(__file__).parents[1] / "README.md"
# The files of losses in the order of the table, and what the losses in each compare.
FAMILIES = {
    "_response": "logits",
    "_divergence": "logits",
    "_transformed": "logits",
    "_decoupled": "logits",
    "_transport": "logits",
    "_correlation": "logits",
    "_feature": "features",
    "_map": "maps",
    "_pooled": "maps",
    "_singular": "maps",
    "_relation": "relations",
    "_contrastive": "contrasts",
}
TUTORIAL = "PyTorch's tutorial"


def paragraphs(function: Callable[..., Any]) -> list[str]:
    """A docstring's paragraphs, each on one line."""
    return [" ".join(text.split()) for text in (inspect.getdoc(function) or "").split("\n\n")]


def paper(function: Callable[..., Any]) -> str:
    """The paper that a docstring names, as authors and year."""
    for text in paragraphs(function):
        if reference := re.match(r'(.+?), "[^"]+" \((\d{4})\)', text):
            authors, year = reference.groups()
            return f"{authors[0].upper()}{authors[1:]} {year}"
    told = " ".join(paragraphs(function)[1:])
    return TUTORIAL if re.search(r"PyTorch's (knowledge distillation )?tutorial", told) else ""


def bounds(name: str) -> str:
    """The range of a loss: the interval of its docstring, or what its row of laws has below."""
    text = " ".join(paragraphs(getattr(losses, name)))
    if interval := re.search(r"value(?:,[^.]*,)? lies in (\[[^\])]+[\])])", text):
        return interval[1]
    return "any" if CASES[name].low is None else "≥ 0"


def named_in(code: CodeType) -> Iterator[str]:
    """The names that a function uses, and those that functions within it use."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from named_in(constant)


def losses_of(term: Term) -> set[str]:
    """The public losses that a term computes, by itself or in a function of its family's."""
    name = term.loss.__name__
    if name in losses.__all__:
        return {name}
    return set(named_in(inspect.unwrap(term.loss).__code__)) & set(losses.__all__)


def methods_by_loss() -> dict[str, list[str]]:
    """The methods that use each loss. The labels, which stand beside most, count where a
    method has nothing else."""
    users: dict[str, list[str]] = {name: [] for name in losses.__all__}
    for method, build in METHODS.items():
        used = set().union(*(losses_of(term) for term in build().values()))
        for name in used - {"cross_entropy"} or used:
            users[name].append(method)
    return users


def in_order() -> list[str]:
    """The losses as their files define them."""
    names = []
    for family in FAMILIES:
        module = getattr(losses, family)
        names += [name for name in vars(module) if name in losses.__all__ and name not in names]
    return names


def losses_table() -> str:
    """A row a loss: what it compares, the paper, the range, the methods."""
    users = methods_by_loss()
    rows = ["| loss | of | paper | range | methods |", "|---|---|---|---|---|"]
    for name in in_order():
        loss = getattr(losses, name)
        kind = FAMILIES[loss.__module__.rpartition(".")[2]]
        if "labels" in inspect.signature(loss).parameters:
            kind += ", labels"
        methods = ", ".join(f"`{method}`" for method in users[name])
        rows.append(f"| `{name}` | {kind} | {paper(loss)} | {bounds(name)} | {methods} |")
    return "\n".join(rows)


def methods_table() -> str:
    """A row a method: what it matches, the paper."""
    rows = ["| method | matches | paper |", "|---|---|---|"]
    for name, build in METHODS.items():
        first = re.split(r"[.;](?:\s|$)", paragraphs(build)[0])[0]
        rows.append(f"| `{name}` | {first} | {paper(build)} |")
    return "\n".join(rows)


TABLES = {"losses": losses_table, "methods": methods_table, "modules": module_kinds.table}


def rewrite(text: str) -> str:
    """The README with its tables as the code has them, each between its two markers."""
    for name, table in TABLES.items():
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, marker, rest = text.partition(start)
        _, end_marker, after = rest.partition(end)
        if not marker or not end_marker:
            raise ValueError(f"README.md: the table {name} must stand between {start} and {end}")
        text = f"{before}{start}\n\n{table()}\n\n{end}{after}"
    return text


if __name__ == "__main__":
    README.write_text(rewrite(README.read_text()))
