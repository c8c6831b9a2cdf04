"""What is sent, by numbers that were worked with pencil."""

from benchmarks.scalings.hand import by_hand
from benchmarks.scalings.sides import Side


def test_members_send_nothing():
    assert by_hand(Side("lightnn", 8, 128, member_ranks=2)) == []


def test_a_gradient_and_its_metrics():
    # 267,738 parameters, and loss, ce and kd, of eight members in four bytes each.
    (call,) = by_hand(Side("lightnn", 8, 128, data_ranks=2))
    assert call == ("all_reduce", 8 * 267_741 * 4)


def test_a_batch_norm_sums_its_moments_forward_and_backward():
    calls = by_hand(Side("resnet8", 2, 4, data_ranks=2))
    # Nine layers: 16 channels in the stem and in two of a block, and then 32 and 64 in three each,
    # with that of the shortcut. Of each two moments for each of two ranks.
    channels = [16] * 3 + [32] * 3 + [64] * 3
    norms = [4 * 2 * 2 * c for c in channels for _ in range(2 * 2)]
    assert [call.bytes for call in calls[:-1]] == sorted(norms)
    assert calls[-1].bytes == 2 * (78_042 + 3) * 4


def test_of_a_mesh_a_rank_sends_what_its_members_do():
    calls = by_hand(Side("resnet8", 4, 4, member_ranks=2, data_ranks=2))
    assert calls == by_hand(Side("resnet8", 2, 4, data_ranks=2))
