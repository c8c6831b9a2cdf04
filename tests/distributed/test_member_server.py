"""Members that are taken in turn are the members that they would be on one device."""

import threading
import time
from contextlib import suppress

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from fkd import methods, optim
from fkd.data import Batch
from fkd.distillation import Distillation, State, distill, step
from fkd.distributed._member_server import (
    MemberServer,
    StaleError,
    Taken,
    serve_members,
)
from fkd.ensemble import ensemble, member
from fkd.model import functional

BATCH = Batch(torch.linspace(-1, 1, 24).view(6, 4), {"labels": torch.arange(6) % 3})
LONG = 60.0


def rule() -> Distillation:
    net = functional(lambda: nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.Linear(5, 3)))
    return distill(net, methods.ce(), optim.averaged(optim.adam(1e-2)), BATCH)


@pytest.fixture(scope="module")
def one() -> Distillation:
    return rule()


@pytest.fixture
def state(one) -> State:
    return ensemble(one).init([3, 4, 5], {"lr": [1e-2, 2e-2, 3e-2]})


def trained(one: Distillation, state: State, steps: int) -> State:
    for _ in range(steps):
        state, _ = step(one, state, BATCH)
    return state


def are_equal(a: State, b: State) -> bool:
    return all(map(torch.equal, tree_leaves(a), tree_leaves(b)))


def work(one: Distillation, address: str) -> None:
    """A worker's life: two steps of whichever member is next, until there is none."""
    with MemberServer(address, one.init(0)) as server:
        while (taken := server.take()) is not None:
            with suppress(StaleError):  # on a machine that is slower than the lease
                server.put(taken.member, trained(one, taken.state, 2), taken.version)


def took(server: MemberServer, number: int | None = None) -> Taken:
    taken = server.take(number)
    assert taken is not None
    return taken


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_train_members_as_one_device_would(one, state, workers):
    """A worker that took a member and was lost among them."""
    with serve_members(state, rounds=3, lease=0.5) as members:
        lost = MemberServer(members.address, one.init(0))
        assert took(lost).member == 0
        lost.close()
        # A model runs in one thread at a time, so each worker has its own.
        threads = [
            threading.Thread(target=work, args=(rule(), members.address)) for _ in range(workers)
        ]
        for thread in threads:
            thread.start()
        assert members.wait(LONG)
        for thread in threads:
            thread.join(LONG)
        assert members.versions == [3, 3, 3]
        after = members.states()
    for k in range(3):
        assert are_equal(member(after, k), trained(one, member(state, k), 6))


def test_the_given_states_are_left_alone(one, state):
    before = tree_map(torch.clone, state)
    with serve_members(state, rounds=1) as members:
        work(one, members.address)
        assert not are_equal(members.states(), state)
    assert are_equal(state, before)


def test_members_come_in_turn_those_behind_first(one, state):
    with (
        serve_members(state, rounds=2, lease=LONG) as members,
        MemberServer(members.address, one.init(0)) as server,
    ):
        first, second = took(server), took(server)
        assert [first.member, second.member] == [0, 1]
        assert server.put(0, first.state, first.version) == 1
        assert took(server).member == 2
        again = took(server)
        assert (again.member, again.version) == (0, 1)
        assert not members.wait(0)


def test_a_member_of_a_lost_worker_is_handed_out_again_and_the_first_put_counts(one, state):
    first = member(state, 0)
    with (
        serve_members(tree_map(lambda leaf: leaf[:1], state), rounds=9, lease=0.2) as members,
        MemberServer(members.address, one.init(0)) as slow,
        MemberServer(members.address, one.init(0)) as fast,
    ):
        late = took(slow)
        before = time.monotonic()
        taken = took(fast)  # waits for the end of the other's lease
        assert time.monotonic() - before < LONG
        assert taken.version == late.version == 0
        assert fast.put(0, trained(one, taken.state, 1), taken.version) == 1
        with pytest.raises(StaleError, match=r"put: member 0 was .* it is at 1"):
            slow.put(0, trained(one, late.state, 5), late.version)
        assert are_equal(took(slow, 0).state, trained(one, first, 1))


def test_a_put_whose_answer_was_lost_counts_once(one, state):
    """As the line asks again where it broke."""
    with serve_members(state, rounds=9) as members:
        row = {k: x for k, x in members._rows[1].items()}
        for _ in range(2):
            members._put(1, 0, "mark", row)
        assert members.versions == [0, 1, 0]


def test_a_member_by_its_number_is_given_whoever_has_it(one, state):
    with (
        serve_members(state, rounds=1, lease=LONG) as members,
        MemberServer(members.address, one.init(0)) as server,
    ):
        assert took(server, 2).member == took(server, 2).member == 2
        assert took(server).member == 0
        with pytest.raises(ValueError, match=r"MemberServer: members: member must be .* \[0, 2\]"):
            server.take(3)


def test_members_that_do_not_fit_are_refused_on_both_sides(one, state):
    wide = functional(lambda: nn.Linear(4, 3))
    other = distill(wide, methods.ce(), optim.adam(1e-2), BATCH).init(0)
    with (
        serve_members(state, rounds=1) as members,
        MemberServer(members.address, other) as stranger,
        MemberServer(members.address, one.init(0)) as server,
    ):
        with pytest.raises(ValueError, match=r"member: its tensors do not fit:\n  .* is missing"):
            stranger.take()
        with pytest.raises(ValueError, match="member: its tensors do not fit"):
            server.put(0, other, 0)
        with pytest.raises(ValueError, match="member: its tensors do not fit"):
            stranger.put(0, other, 0)  # which the server refuses
        narrow = tree_map(lambda leaf: leaf.half() if leaf.is_floating_point() else leaf, state)
        with pytest.raises(ValueError, match=r"must be \(5, 4\) of torch.float32, but is"):
            server.put(0, member(narrow, 0), 0)
        assert members.versions == [0, 0, 0]


@pytest.mark.plain
def test_what_a_stranger_puts_harms_nothing(one, state):
    from fkd.distributed._line import Line, Terms
    from fkd.distributed._wire import packed

    terms = Terms("test", None, 2**20, 10.0)
    with serve_members(state, rounds=1) as members:
        line = Line(members.address, terms)
        for words in ({"put": "0"}, {"put": -1}, {"take": [1]}, {"take": True}, {"put": None}):
            with pytest.raises(ValueError, match="member"):
                line.ask(packed(words))
        line.close()
        work(one, members.address)
        assert members.versions == [1, 1, 1]


@pytest.mark.plain
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"rounds": 0}, "rounds must be"),
        ({"lease": 0.0}, "lease must be"),
        ({"address": "nowhere"}, "address must be host:port"),
        ({"address": "0.0.0.0:0"}, "wants a secret"),
        ({"state": 3}, "state must be"),
    ],
)
def test_what_cannot_be_served_is_refused(state, changed, told):
    arguments = {"state": state, "rounds": 1, **changed}
    with pytest.raises(ValueError, match=told), serve_members(**arguments):
        pass


def test_a_state_without_members_is_refused(one):
    with (
        pytest.raises(ValueError, match="size: the state must be that of members"),
        serve_members(one.init(0), rounds=1),
    ):
        pass
