"""The files of a record: whole or not at all, and refused where they hold something else."""

import json
import os

import pytest

from fkd.compare import _record_file

WHAT = "the results of something"


def test_a_structure_is_read_back_and_a_text_is_as_it_is(tmp_path):
    path = tmp_path / "one.json"
    _record_file.write(path, {"a": [1.5, None], "b": "ü"})
    assert _record_file.read("here", path, WHAT, lambda entry: entry["a"]) == [1.5, None]
    _record_file.write(tmp_path / "one.md", "ü\ud800\n")
    assert (tmp_path / "one.md").read_bytes() == "ü\\ud800\n".encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        _record_file.write(path, {"a": float("nan")})
    assert json.loads(path.read_text())["b"] == "ü" and len(os.listdir(tmp_path)) == 2


def test_what_is_no_record_is_refused(tmp_path):
    def asked(path):
        return _record_file.read("here", path, WHAT, lambda entry: entry["a"])

    with pytest.raises(ValueError, match=f"here: there is no file .*; give a folder with {WHAT}"):
        asked(tmp_path / "gone.json")
    with pytest.raises(ValueError, match=r"here: .* cannot be read: Is a directory"):
        asked(tmp_path)
    for text, why in (("{}", "KeyError: 'a'"), ("[1]", "TypeError"), ("{", "JSONDecodeError")):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(ValueError, match=f"other.json must hold {WHAT}, but {why}"):
            asked(tmp_path / "other.json")
