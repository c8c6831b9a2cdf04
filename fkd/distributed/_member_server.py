"""A server that keeps members' states, for more members than the devices hold at once.

Workers take members in turn, train them for a while and put them back. It is what a parameter
server is for a model's parameters; nothing is averaged, for a member is one worker's at a time.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map, tree_structure, tree_unflatten

from fkd import _check
from fkd.checkpoint._tree import flat, refuse
from fkd.distillation import State
from fkd.distributed._line import Line, Terms, served
from fkd.distributed._wire import Message, packed
from fkd.ensemble import member, size, stack

PAUSE = 0.1  # seconds until a worker asks again, where all members are with others


class Taken(NamedTuple):
    """A member that a worker has taken: its number, its state, and how often it was put back."""

    member: int
    state: State
    version: int


class StaleError(ValueError):
    """A member was put back that another worker has put back meanwhile."""


class Members:
    """What `serve_members` keeps: it listens at `address`."""

    def __init__(self, state: State, rounds: int, lease: float):
        self.address = ""
        self._rounds, self._lease = rounds, lease
        self._like = tree_map(torch.clone, member(state, 0))  # a view would keep all members
        rows = [flat(member(state, k)) for k in range(size(state))]
        # Each member is a dict that is replaced and never changed, so it may be sent meanwhile.
        self._rows = [{way: x.detach().cpu().clone() for way, x in row.items()} for row in rows]
        self._versions = [0] * len(rows)
        self._until = [0.0] * len(rows)  # when a member that is with a worker is handed out again
        self._marks = [""] * len(rows)  # of the question by which each was put back last
        self._changed = threading.Condition()

    @property
    def versions(self) -> list[int]:
        """How often each member was put back."""
        with self._changed:
            return list(self._versions)

    def states(self) -> State:
        """The members' states as they are now, stacked, where the given ones were."""
        with self._changed:
            rows = list(self._rows)
        places = {way: leaf.device for way, leaf in flat(self._like).items()}
        return stack(
            [_tree({way: x.to(places[way]) for way, x in row.items()}, self._like) for row in rows]
        )

    def wait(self, timeout: float) -> bool:
        """Wait until every member was put back `rounds` times; False after `timeout` seconds."""
        _check.plain("wait", timeout=timeout)
        _check.not_negative("wait", timeout=timeout)
        with self._changed:
            return self._changed.wait_for(self._are_done, timeout)

    def _are_done(self) -> bool:
        return min(self._versions) >= self._rounds

    def _answer(self, message: Message) -> bytes:
        words = message.words
        if "put" in words:
            return self._put(words["put"], words.get("version"), words.get("mark"), message.tensors)
        with self._changed:
            k = words.get("take")
            if k is None:
                if self._are_done():
                    return packed({"done": True})
                k = self._next()
                if k is None:
                    return packed({"wait": True})
            self._check_member(k)
            self._until[k] = time.monotonic() + self._lease
            row, version = self._rows[k], self._versions[k]
        return packed({"member": k, "version": version}, row)

    def _next(self) -> int | None:
        """The member that is the furthest behind of those that nobody has, and is not done."""
        now = time.monotonic()
        free = [k for k, until in enumerate(self._until) if until <= now]
        k = min(free, key=self._versions.__getitem__, default=None)
        return None if k is None or self._versions[k] >= self._rounds else k

    def _put(self, k: Any, version: Any, mark: Any, tensors: dict[str, Tensor]) -> bytes:
        with self._changed:
            self._check_member(k)
            like = self._rows[k]
        _check_fit(tensors, like)
        with self._changed:
            if mark != self._marks[k]:  # else its answer was lost, and it is put back already
                if version != self._versions[k]:
                    return packed({"stale": self._versions[k]})
                self._rows[k] = {way: tensors[way] for way in like}
                self._versions[k] += 1
                self._until[k], self._marks[k] = 0.0, mark
                self._changed.notify_all()
            return packed({"version": self._versions[k]})

    def _check_member(self, k: Any) -> None:
        _check.count("members", 0, len(self._rows) - 1, member=k)


@contextmanager
def serve_members(
    state: State,
    rounds: int,
    address: str = "127.0.0.1:0",
    *,
    lease: float = 600.0,
    secret: str | None = None,
    limit: int = 2**34,
    timeout: float = 60.0,
) -> Iterator[Members]:
    """Keep the members of a stacked `state` for workers, until each was put back `rounds` times.

    Within the block a thread of its own answers every `MemberServer` that asks at `address`,
    "host:port" (port 0 is any that is free). A worker that has not put its member back after
    `lease` seconds is taken for lost, and the member is handed out again, as it was. Members lie
    in this process's memory; `Members.states()` gives them back, and saves nothing by itself.

    By default it listens to this machine alone. An address that others reach is taken only with a
    `secret`, which both sides prove to know and which is never sent; what is said then is neither
    hidden nor sealed, so across networks that are not yours let it go through ssh. A message is
    JSON and safetensors of at most `limit` bytes, which run no code, where `torch.distributed.rpc`
    unpickles what it is sent.

    Raises ValueError for one student's state, arguments of another kind, an address that cannot be
    had, and an open one without a secret.

    >>> one = torch.zeros(1)
    >>> with serve_members(State({"w": one}, {}, (), {}, one, one), rounds=1) as members:
    ...     with MemberServer(members.address, like=member(members.states(), 0)) as server:
    ...         taken = server.take()
    ...         _ = server.put(taken.member, taken.state, taken.version)
    ...         print(server.take(), members.versions)
    None [1]
    """
    size(state)
    _check.count("serve_members", rounds=rounds)
    _check.plain("serve_members", lease=lease)
    _check.positive("serve_members", lease=lease)
    members = Members(state, rounds, lease)
    terms = Terms("serve_members", secret, limit, timeout)
    with served(members._answer, address, terms) as members.address:
        yield members


class MemberServer:
    """The members that `serve_members` keeps at `address`, to take and to put back.

    A worker trains each for as long as it likes; here a round is an epoch:

        with MemberServer(address, like=distillation.init(0)) as server:
            while (taken := server.take()) is not None:
                state = epoch(taken.state)
                with suppress(StaleError):  # another has trained it, for this worker was slow
                    server.put(taken.member, state, taken.version)

    `like` is a member's state: it gives the structure and the devices. Where an epoch's batches and
    random numbers follow from the state, as in fkd they do, a member's result does not depend on
    who trained it, nor on how many workers there were or were lost.

    A server that does not answer within `timeout` seconds is a ConnectionError; until then it is
    tried anew, so that one that was restarted is found again. Raises ValueError for arguments of
    another kind, another secret, a peer that is no such server, and members that do not fit `like`.
    """

    def __init__(
        self,
        address: str,
        like: State,
        *,
        secret: str | None = None,
        limit: int = 2**34,
        timeout: float = 60.0,
    ):
        _check.kind("MemberServer", State, like=like)
        self._like = like
        self._line = Line(address, Terms("MemberServer", secret, limit, timeout))

    def take(self, member: int | None = None) -> Taken | None:
        """The member of that number, whoever has it; or that of the fewest rounds that nobody has.

        Without a number it waits while all members are with other workers, at most until the first
        of them is taken for lost, and is None once every member has had its rounds.
        """
        if member is not None:
            _check.count("take", least=0, member=member)
        while True:
            answer = self._line.ask(packed({"take": member}))
            if "done" in answer.words:
                return None
            if "wait" not in answer.words:
                break
            time.sleep(PAUSE)
        _check_fit(answer.tensors, flat(self._like))
        places = {way: x.device for way, x in flat(self._like).items()}
        here = {way: answer.tensors[way].to(device) for way, device in places.items()}
        return Taken(answer.words["member"], _tree(here, self._like), answer.words["version"])

    def put(self, member: int, state: State, version: int) -> int:
        """Put a member back that was taken at `version`; gives its new one.

        Raises StaleError where it was put back meanwhile, by another worker to whom it was handed
        after this one's lease had ended: that one's counts, and what there is to do is `take`.
        """
        _check.count("put", least=0, member=member, version=version)
        _check.kind("put", State, state=state)
        row = flat(state)
        _check_fit(row, flat(self._like))
        words = {"put": member, "version": version, "mark": secrets.token_hex(8)}
        answer = self._line.ask(packed(words, row)).words
        if "stale" in answer:
            raise StaleError(
                f"put: member {member} was taken at version {version}, but another worker has put "
                f"it back since, and it is at {answer['stale']}; take it anew, or another"
            )
        return answer["version"]

    def close(self) -> None:
        """End the connection; another question makes a new one."""
        self._line.close()

    def __enter__(self) -> "MemberServer":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _check_fit(row: dict[str, Tensor], like: dict[str, Tensor]) -> None:
    """Raise where a member's tensors are not of another's names, shapes and dtypes."""
    wrong = [f"{way} is missing" for way in like if way not in row]
    wrong += [f"{way} is not wanted" for way in row if way not in like]
    wrong += [
        f"{way} must be {tuple(x.shape)} of {x.dtype}, but is {tuple(row[way].shape)} of "
        f"{row[way].dtype}"
        for way, x in like.items()
        if way in row and (row[way].shape, row[way].dtype) != (x.shape, x.dtype)
    ]
    refuse("member", wrong)


def _tree(row: dict[str, Tensor], like: State) -> State:
    return tree_unflatten([row[way] for way in flat(like)], tree_structure(like))
