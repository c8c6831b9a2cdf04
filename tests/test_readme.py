"""The README's examples run, and its table lists every loss."""

import re
from pathlib import Path

import pytest
import torch

from fkd import losses

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_run(example, capsys):
    torch.manual_seed(0)
    exec(compile(example, "README.md", "exec"), {})


def test_the_table_lists_every_loss():
    assert sorted(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)) == sorted(losses.__all__)
