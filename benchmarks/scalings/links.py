"""Published speeds of links between GPUs, and the time that a sum over ranks takes by them.

Speeds are vendors' data sheets, each way. Latencies are those by which NCCL itself chooses between
its algorithms (NVIDIA/nccl, src/graph/tuning.cc, protocol LL, which is for small messages).
"""

import math
from dataclasses import dataclass

RING_BASE, TREE_BASE = 6.6e-6, 6.8e-6  # seconds of any sum


@dataclass(frozen=True)
class Link:
    """Bytes a second each way, and the seconds of a hop in a ring and in a tree."""

    name: str
    bandwidth: float
    ring_hop: float
    tree_hop: float
    source: str


NVLINK = Link(
    "NVLink 4", 450e9, 0.6e-6, 0.6e-6, "NVIDIA H100 data sheet: 900 GB/s, both ways together"
)
INFINIBAND = Link(
    "NDR InfiniBand",
    50e9,
    2.7e-6,
    5.0e-6,
    "NVIDIA ConnectX-7 data sheet: 400 Gb/s; DGX H100 data sheet: one a GPU",
)
PCIE = Link(
    "PCIe 5 x16", 64e9, 1.0e-6, 1.0e-6, "NVIDIA H100 data sheet: 128 GB/s, both ways together"
)
ETHERNET = Link("100 GbE", 12.5e9, 2.7e-6, 5.0e-6, "IEEE 802.3: 100 Gb/s")


@dataclass(frozen=True)
class Cluster:
    """Nodes of so many GPUs, and the links in a node and between two."""

    node: int
    inside: Link
    between: Link

    def __str__(self) -> str:
        return f"{self.inside.name} and {self.between.name}"


HGX = Cluster(8, NVLINK, INFINIBAND)
PLAIN = Cluster(8, PCIE, ETHERNET)


def ring(payload: float, ranks: int, cluster: Cluster) -> float:
    """Seconds of a sum of so many bytes in one ring: 2 (n − 1) hops, of which 2 (nodes − 1) lead to
    another node, and 2 (n − 1) / n of the bytes through the slowest link."""
    nodes = math.ceil(ranks / cluster.node)
    between = 2 * (nodes - 1)
    inside = 2 * (ranks - 1) - between
    hops = inside * cluster.inside.ring_hop + between * cluster.between.ring_hop
    return RING_BASE + hops + 2 * (ranks - 1) / ranks * payload / _slowest(nodes, cluster)


def tree(payload: float, ranks: int, cluster: Cluster) -> float:
    """Seconds of a sum in a tree of nodes, each a chain: up and down, with all of the bytes."""
    nodes = math.ceil(ranks / cluster.node)
    chain = math.ceil(ranks / nodes) - 1
    up = chain * cluster.inside.tree_hop + math.ceil(math.log2(nodes)) * cluster.between.tree_hop
    return TREE_BASE + 2 * up + 2 * payload / _slowest(nodes, cluster)


def summed(payload: float, ranks: int, cluster: Cluster) -> float:
    """Seconds of a sum by the faster of the two; a rank alone sends nothing."""
    if ranks == 1:
        return 0.0
    return min(ring(payload, ranks, cluster), tree(payload, ranks, cluster))


def _slowest(nodes: int, cluster: Cluster) -> float:
    if nodes == 1:
        return cluster.inside.bandwidth
    return min(cluster.inside.bandwidth, cluster.between.bandwidth)
