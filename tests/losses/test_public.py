"""Losses stand alone, and each says what a user has to know."""

import re
import subprocess
import sys

import pytest

from fkd import losses


@pytest.mark.plain
def test_importing_losses_loads_nothing_else():
    script = (
        "import sys; from fkd import losses; "
        "ours = {m for m in sys.modules if m.startswith('fkd') and 'fkd.losses' not in m}; "
        "assert ours == {'fkd', 'fkd._check'}, ours; "
        "assert not {'sklearn', 'scipy', 'matplotlib', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)


def test_what_losses_are_computed_from_is_public_and_no_loss():
    for name in losses.HELPERS:
        assert name not in losses.__all__
        assert getattr(losses, name).__doc__
    public = {name for name, x in vars(losses).items() if callable(x)}
    assert public == {*losses.__all__, *losses.HELPERS}


@pytest.mark.parametrize("name", losses.__all__)
def test_a_docstring_says_what_it_has_to(name):
    text = " ".join(getattr(losses, name).__doc__.split())
    for wanted in ("gradient", "Raises ValueError", "Memory:", ">>>"):
        assert wanted in text
    assert re.search(r"\((19|20)\d\d\)|PyTorch's knowledge distillation tutorial", text)
