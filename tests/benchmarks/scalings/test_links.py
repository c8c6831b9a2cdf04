"""The time of a sum over ranks, worked by hand."""

import pytest

from benchmarks.scalings.links import HGX, PLAIN, Cluster, Link, ring, summed, tree

# Round numbers: a hop is 1 µs in a node and 10 µs between two; a byte 1 ns and 10 ns.
INSIDE = Link("inside", 1e9, 1e-6, 2e-6, "made up")
BETWEEN = Link("between", 1e8, 10e-6, 20e-6, "made up")
CLUSTER = Cluster(4, INSIDE, BETWEEN)


def test_a_ring_in_a_node():
    # 6 hops of 1 µs, and 3/2 of 1,000 bytes at 1 ns.
    assert ring(1000, 4, CLUSTER) == pytest.approx(6.6e-6 + 6e-6 + 1.5e-6)


def test_a_ring_over_two_nodes():
    # 14 hops, of which 2 lead to another node; 14/8 of 1,000 bytes at 10 ns.
    assert ring(1000, 8, CLUSTER) == pytest.approx(6.6e-6 + 12e-6 + 20e-6 + 17.5e-6)


def test_a_tree():
    # Up and down a chain of four: 2 · 3 hops of 2 µs, and all bytes twice.
    assert tree(1000, 4, CLUSTER) == pytest.approx(6.8e-6 + 12e-6 + 2e-6)
    # Of four nodes also 2 · 2 hops of 20 µs.
    assert tree(1000, 16, CLUSTER) == pytest.approx(6.8e-6 + 12e-6 + 80e-6 + 20e-6)


def test_the_faster_one_is_taken():
    assert summed(1000, 1, CLUSTER) == 0
    assert summed(1e9, 8, CLUSTER) == ring(1e9, 8, CLUSTER) < tree(1e9, 8, CLUSTER)
    assert summed(4, 64, CLUSTER) == tree(4, 64, CLUSTER) < ring(4, 64, CLUSTER)


def test_published_links():
    # 34 MB over the eight GPUs of a node: 14 hops of 0.6 µs, and 7/4 of the bytes at 450 GB/s.
    expected = 6.6e-6 + 14 * 0.6e-6 + 1.75 * 34e6 / 450e9
    assert summed(34e6, 8, HGX) == pytest.approx(expected)
    # Over two nodes all goes by the network's 50 GB/s, or 12.5.
    assert ring(1e12, 16, HGX) == pytest.approx(1.875 * 1e12 / 50e9, rel=1e-5)
    assert ring(1e12, 16, PLAIN) == pytest.approx(1.875 * 1e12 / 12.5e9, rel=1e-5)
