"""A checksum is of a name, a dtype, a shape and bytes, and of nothing else."""

import hashlib

import numpy as np
import pytest
import torch

from fkd.checkpoint import checksum


def test_it_is_the_sha_256_that_hashlib_gives():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    parts = [b"a", b"torch.float32", b"(2, 3)", x.tobytes()]
    expected = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
    assert checksum("a", torch.from_numpy(x)) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.arange(6.0).reshape(2, 3).T, torch.tensor([[0.0, 3], [1, 4], [2, 5]])),
        (torch.tensor([1 + 1j]).conj(), torch.tensor([1 - 1j])),
        (torch.ones(1).expand(3), torch.ones(3)),
        (torch.ones(3, 5)[:, 2:3][1:2], torch.ones(1, 1)),
        (torch.empty(0).as_strided((0,), (0,)), torch.empty(0)),
        (torch.nn.Parameter(torch.ones(2)), torch.ones(2)),
    ],
)
def test_how_a_tensor_lies_does_not_count(one, other):
    assert checksum("a", one) == checksum("a", other)


def test_all_else_does():
    x = torch.ones(2, 2)
    others = [
        checksum("a", x),
        checksum("b", x),
        checksum("a", x.reshape(4)),
        checksum("a", x.view(torch.int32)),
        checksum("a", x.reshape(2, 2, 1)),
        checksum("a", torch.zeros(0)),
        checksum("a", torch.zeros(0, 2)),
        checksum("a", torch.zeros(())),
        checksum("a", -torch.zeros(())),
    ]
    assert len(set(others)) == len(others)


def test_pieces_of_any_size_give_one_checksum(monkeypatch):
    x = torch.arange(100.0)
    expected = checksum("a", x)
    monkeypatch.setattr("fkd.checkpoint._checksum.PIECE", 7)
    assert checksum("a", x) == expected
