"""What files hold: every byte, or their ends, and what is told of those that cannot be read."""

import hashlib

import pytest

from fkd.data._files import contents, of_each


def test_every_byte_counts_or_the_ends_of_a_longer_file(tmp_path):
    path = tmp_path / "x"
    data = bytes(range(256)) * 40  # 10,240 bytes, of which 8,192 are at the ends
    path.write_bytes(data)
    assert contents([str(path)], whole=True) == hashlib.sha256(b"10240 " + data).hexdigest()
    ends = data[:4096] + data[-4096:]
    assert contents([str(path)], whole=False) == hashlib.sha256(b"10240 " + ends).hexdigest()
    path.write_bytes(data[:8000])
    expected = hashlib.sha256(b"8000 " + data[:8000]).hexdigest()
    assert contents([str(path)] * 2, whole=False) == expected * 2


def test_all_that_cannot_be_read_are_counted_and_the_first_named(tmp_path):
    paths = [str(tmp_path / f"{number:02}") for number in range(12)]
    with pytest.raises(ValueError) as error:
        contents(paths, whole=True)
    lines = str(error.value).split("\n")
    assert lines[0].startswith("root: 12 images or folders cannot be read; mend or remove them:")
    assert [line.strip() for line in lines[1:11]] == [
        f"{path}: No such file or directory" for path in paths[:10]
    ]
    assert lines[11].strip() == "and 2 more"


def test_what_is_said_of_each_comes_in_order():
    assert of_each(len, ["a", "bbb", "cc"]) == [1, 3, 2]
