"""DDP on two processes, the tutorial's loop on one and fkd do the same work."""

from dataclasses import replace

import pytest

from benchmarks.ddp.command import losses
from benchmarks.ddp.loops import LOOPS, Side, live, order
from fkd.distributed import Mesh

pytestmark = pytest.mark.plain
ALONE = Side("tutorial", 1, members=2, batch=8, compiled=False, dropout=False)
STEPS = 5
# Losses are sums of float32 of about 4; Adam's first steps are ±lr whatever the gradient's size.
BOUND = 1e-4


@pytest.fixture(scope="module")
def alone() -> list[float]:
    return LOOPS["tutorial"](ALONE, Mesh())(STEPS)


def test_ddp_on_two_processes_is_one_process(alone):
    assert losses(replace(ALONE, ranks=2), STEPS) == pytest.approx(alone, abs=BOUND)
    assert abs(alone[0] - alone[1]) > 10 * BOUND  # two seeds are two students


def test_fkd_is_the_tutorials_loop(alone):
    take = LOOPS["fkd"](replace(ALONE, loop="fkd"), Mesh())
    take(STEPS - 1)
    assert take(1) == pytest.approx(alone, abs=BOUND)


def test_all_sides_read_one_order_again_and_again():
    side = replace(ALONE, batch=1000)
    batches = order(side)
    epoch = [next(batches) for _ in range(3)]
    assert sorted(number for batch in epoch for number in batch.tolist()) == list(range(2048))
    assert next(batches).equal(epoch[0]) and next(order(side)).equal(epoch[0])


@pytest.mark.slow
def test_a_live_teacher_answers_each_ranks_part():
    inputs, labels, logits = next(live(replace(ALONE, live=True), Mesh(1, 2, 1)))
    assert (inputs.shape, labels.shape, logits.shape) == ((4, 3, 32, 32), (4,), (4, 10))
