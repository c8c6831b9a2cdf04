"""A module of the user's own whose code has changed is seen, and one whose comments have is not."""

import sys
from functools import partial

import pytest
import torch
from compare.small_comparisons import ALL, EAGER, Narrow, Wide, vectors

from fkd.compare import Comparison
from fkd.compare._store.own_code import own_code

OWN = """
from fkd import losses, methods

def far(a, b):
    return {by} * losses.squared_error(a, b)

def mine():
    return {{"far": methods.Term(far)}}
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes the module, and says what is known of a run with its method."""
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "userown_far.py"
    file.write_text(OWN.format(by=1))
    import userown_far  # pyright: ignore[reportMissingImports]

    one = Comparison(Wide, Narrow, ALL | {"mine": userown_far.mine()}, vectors(), plan=EAGER)

    def write(text: str) -> dict[str, str]:
        file.write_text(text)
        return own_code(one._run.task)

    yield write
    del sys.modules["userown_far"]


def test_what_changes_in_the_code_alone_is_seen(written):
    then = written(OWN.format(by=1))
    # The networks and data are those of a file of the tests' own.
    assert set(then) == {"userown_far", "compare.small_comparisons"}
    assert written("# a comment\n" + OWN.format(by=1)) == then
    now = written(OWN.format(by=100))
    assert {name for name in then if now[name] != then[name]} == {"userown_far"}


def test_what_cannot_be_read_is_left_out(written):
    assert "userown_far" not in written("def (")
    assert "userown_far" not in written(f"x = {'-' * 1000}1")  # deeper than Python goes


def test_nothing_of_an_installed_package_is_looked_at():
    linear = partial(torch.nn.Linear, 4, 2)
    built = Comparison(linear, linear, ALL, vectors(), plan=EAGER)
    assert own_code(built._run.task) == {}
