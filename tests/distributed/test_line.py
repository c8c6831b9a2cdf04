"""Who asks is answered, refused in words, or told within the time that nobody answers."""

import socket
import threading
import time

import pytest
import torch

from fkd.distributed._line import Line, Terms, served
from fkd.distributed._wire import HEAD, MAGIC, Message, packed

HERE = "127.0.0.1:0"
TERMS = Terms("test", None, 2**20, 10.0)


def within(timeout: float) -> Terms:
    return Terms("test", None, 2**20, timeout)


def doubled(message: Message) -> bytes:
    if message.words.get("refuse"):
        raise ValueError("refuse must be absent")
    return packed(message.words, {name: 2 * x for name, x in message.tensors.items()})


def broken(message: Message) -> bytes:
    raise RuntimeError("a fault of the server's own")


def test_a_question_is_answered_and_the_line_goes_on_after_a_refusal():
    with served(doubled, HERE, TERMS) as address:
        line = Line(address, TERMS)
        answer = line.ask(packed({"a": 1}, {"x": torch.tensor([1.5, 2.0])}))
        assert answer.words == {"a": 1}
        torch.testing.assert_close(answer.tensors["x"], torch.tensor([3.0, 4.0]), rtol=0, atol=0)
        with pytest.raises(ValueError, match="test: refuse must be absent"):
            line.ask(packed({"refuse": True}))
        assert line.ask(packed({"b": 2})).words == {"b": 2}
        line.close()


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n" * 9, HEAD.pack(MAGIC, 2**30, 0)])
def test_a_stranger_is_hung_up_on_and_others_are_answered(sent):
    with served(doubled, HERE, TERMS) as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), 10) as stranger:
            stranger.sendall(sent)
            stranger.settimeout(10)
            try:
                while stranger.recv(2**10):
                    pass
            except ConnectionResetError:
                pass  # where it had more to say
        line = Line(address, TERMS)
        assert line.ask(packed({"a": 1})).words == {"a": 1}
        line.close()


def test_a_message_above_the_limit_is_refused_and_not_read():
    with served(doubled, HERE, Terms("test", None, 100, 10.0)) as address:
        line = Line(address, TERMS)
        with pytest.raises(ValueError, match="more than the limit of 100"):
            line.ask(packed({}, {"x": torch.zeros(100)}))
        line.close()


@pytest.mark.parametrize(
    ("own", "theirs", "told"),
    [
        ("one", "another", "the secret is another"),
        (None, "one", "only one side has a secret"),
        ("one", None, "only one side has a secret"),
    ],
)
def test_another_secret_is_refused(own, theirs, told):
    with (
        served(doubled, HERE, Terms("test", theirs, 2**20, 10.0)) as address,
        pytest.raises(ValueError, match=f"test: .*{told}"),
    ):
        Line(address, Terms("test", own, 2**20, 10.0)).ask(packed({}))


def test_one_secret_opens_an_address_that_others_reach():
    terms = Terms("test", "one", 2**20, 10.0)
    with served(doubled, "0.0.0.0:0", terms) as address:
        line = Line(address.replace("0.0.0.0", "127.0.0.1"), terms)
        assert line.ask(packed({"a": 1})).words == {"a": 1}
        line.close()


def test_an_address_that_others_reach_wants_a_secret():
    with (
        pytest.raises(ValueError, match=r"test: others reach 0\.0\.0\.0:0, so it wants a secret"),
        served(doubled, "0.0.0.0:0", TERMS),
    ):
        pass


def test_a_taken_address_is_refused():
    with (
        served(doubled, HERE, TERMS) as address,
        pytest.raises(ValueError, match=f"test: nothing can listen at {address}"),
        served(doubled, address, TERMS),
    ):
        pass


def test_a_fault_of_the_servers_is_raised_where_it_is_served():
    with (
        pytest.raises(RuntimeError, match="of the server's own"),
        served(broken, HERE, TERMS) as address,
        pytest.raises(ConnectionError, match="hung up"),
    ):
        Line(address, within(0.3)).ask(packed({}))


def ask_five(address: str, first: int, answers: dict[int, list[int]]) -> None:
    line = Line(address, TERMS)
    asked = [packed({}, {"x": torch.tensor(first + n)}) for n in range(5)]
    answers[first] = [int(line.ask(message).tensors["x"]) for message in asked]
    line.close()


def test_many_callers_at_once_are_each_answered():
    answers: dict[int, list[int]] = {}
    with served(doubled, HERE, TERMS) as address:
        callers = [
            threading.Thread(target=ask_five, args=(address, 10 * k, answers)) for k in range(8)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(30)
    assert answers == {10 * k: [2 * (10 * k + n) for n in range(5)] for k in range(8)}


def test_a_server_that_was_started_anew_is_found():
    with served(doubled, HERE, TERMS) as address:
        line = Line(address, TERMS)
        line.ask(packed({}))
    with served(doubled, address, TERMS):
        assert line.ask(packed({"a": 1})).words == {"a": 1}
        line.close()


def test_a_dead_or_a_silent_server_is_an_error_within_the_time():
    before = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        line = Line(f"127.0.0.1:{silent.getsockname()[1]}", within(0.3))
        with pytest.raises(ConnectionError, match=r"test: 127.* has not answered within 0\.3 s"):
            line.ask(packed({}))
    with pytest.raises(ConnectionError, match="refused"):
        line.ask(packed({}))
    assert time.monotonic() - before < 30


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"secret": ""}, "secret"), ({"limit": 0}, "limit"), ({"timeout": 0.0}, "timeout")],
)
def test_terms_that_are_none_are_refused(changed, told):
    with pytest.raises(ValueError, match=f"test: {told} must be"):
        Terms(**{"where": "test", "secret": None, "limit": 1, "timeout": 1.0, **changed})
