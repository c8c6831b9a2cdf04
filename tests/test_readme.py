"""The README's examples run, and its table lists every loss."""

import re
from pathlib import Path

import pytest
import torch
from test_laws import CASES

from fkd import losses
from fkd.methods import METHODS

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_run(example, capsys):
    torch.manual_seed(0)
    exec(compile(example, "README.md", "exec"), {})


ROWS = {
    cells[0].strip("`"): cells
    for line in README.splitlines()
    if line.startswith("| `")
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}


def test_the_table_lists_every_loss():
    assert sorted(ROWS) == sorted(losses.__all__)


@pytest.mark.parametrize("name", CASES)
def test_the_range_is_that_of_the_laws(name):
    low, bounds = CASES[name].low, ROWS[name][3]
    assert bounds == "any" if low is None else bounds.startswith(("≥ 0", "[0, "))
    assert (CASES[name].high is None) == (not bounds.startswith("["))


@pytest.mark.parametrize("method", METHODS)
def test_a_method_stands_beside_a_loss_that_it_uses(method):
    terms = METHODS[method](**({"examples": 9} if method == "crd" else {})).values()
    beside = [name for name, cells in ROWS.items() if f"`{method}`" in cells[4]]
    # two methods sum losses in a function of their own
    own = {"ft": ["factor_transfer"], "review": ["hierarchical_context"]}
    used = [t.loss.__name__ for t in terms if method == "ce" or t.loss is not losses.cross_entropy]
    assert beside
    assert set(beside) <= set(own.get(method, used))
