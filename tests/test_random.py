"""The hash behind dropout: a plain-Python oracle, and the statistics of its bits."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fkd import _random


def _mix(x: int) -> int:
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) % 2**32
    x = ((x ^ (x >> 15)) * 0xD35A2D97) % 2**32
    return x ^ (x >> 15)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1))
def test_mix_is_the_hash_in_whole_numbers(numbers):
    assert _random.mix(torch.tensor(numbers)).tolist() == [_mix(n) for n in numbers]


@given(st.integers(-(2**40), 2**40), st.integers(0, 2**20))
def test_keys_stay_in_range_and_differ_with_the_data(seed, data):
    key = torch.tensor(seed)
    one, other = _random.fold(key, data), _random.fold(key, data + 1)
    assert 0 <= int(one) < 2**32
    assert int(one) != int(other)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_key_of_a_key_is_the_hash_of_both_hashes(key, data):
    """The two constants are the golden ratio's and MurmurHash3's; a run that goes on needs them."""
    total = _mix((data + 0x9E3779B9) % 2**32) + _mix((key + 0x85EBCA6B) % 2**32)
    for number in (data, torch.tensor(data)):
        assert int(_random.fold(torch.tensor(key), number)) == _mix(total % 2**32)


def test_bits_are_uniform():
    x = _random.bits(_random.fold(torch.tensor(7), 3), (200_000,)).double() / 2**32
    assert stats.kstest(x.numpy(), "uniform").pvalue > 1e-3


def test_bits_of_neighbouring_keys_and_positions_are_unrelated():
    rows = torch.stack(
        [_random.bits(_random.fold(torch.tensor(0), k), (20_000,)) for k in range(50)]
    )
    rows = rows.double()
    between = torch.corrcoef(rows).fill_diagonal_(0).abs().max()
    along = torch.corrcoef(torch.stack([rows[:, :-1].flatten(), rows[:, 1:].flatten()]))[0, 1].abs()
    assert between < 5 / 20_000**0.5  # five deviations of a correlation of unrelated rows
    assert along < 5 / rows.numel() ** 0.5


@given(
    st.integers(0, 2**40), st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(0, 9)
)
def test_bits_from_a_row_on_are_rows_of_all_bits(seed, shape, first):
    key = torch.tensor(seed)
    every = _random.bits(key, (first + shape[0], *shape[1:]))
    assert torch.equal(_random.bits(key, tuple(shape), first), every[first:])
    assert torch.equal(_random.bits(key, tuple(shape), torch.tensor(first)), every[first:])


def test_bits_are_two_rounds_of_the_hash_over_the_position():
    key = 12345
    expected = [_mix(_mix((n + key) % 2**32) ^ key) for n in range(6)]
    assert _random.bits(torch.tensor(key), (2, 3)).flatten().tolist() == expected
