"""What is named as `package.module:name`: the object itself, or why there is none."""

import math
import sys

import pytest

from fkd._imported import imported


def test_it_is_the_object_itself():
    assert imported("math:sqrt") is math.sqrt
    assert imported("math:pi") == math.pi
    assert imported("os.path:join").__name__ == "join"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with modules of the user's, at which Python does not look by itself."""
    (tmp_path / "mine_here.py").write_text("value = 3\n")
    (tmp_path / "mine_broken.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield
    sys.modules.pop("mine_here", None)


@pytest.mark.usefixtures("folder")
def test_the_current_folder_is_looked_at_too():
    assert imported("mine_here:value") == 3


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("math", "'math' names no object; write it as package.module:name"),
        ("math:", "'math:' names no object"),
        (":sqrt", "':sqrt' names no object"),
        ("math:root", r"math:root cannot be imported \(AttributeError: .*no attribute 'root'"),
        ("nowhere_at_all:f", r"cannot be imported \(ModuleNotFoundError: No module named 'nowher"),
        ("mine_broken:f", r"cannot be imported \(ZeroDivisionError: .*start where `import pack"),
    ],
)
def test_what_is_not_there_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        imported(text)
