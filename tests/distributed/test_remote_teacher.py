"""A teacher in another process says what it says here, dies with an error, and is found again."""

import gc
import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks._forked import forked
from fkd.distributed import RemoteTeacher, serve_teacher
from fkd.distributed._wire import HEAD, MAGIC, packed, proof, received
from fkd.teachers import Teacher, teacher_of_module


def teacher(seed: int = 0) -> Teacher:
    torch.manual_seed(seed)
    return teacher_of_module(nn.Linear(2, 3, dtype=torch.float64))


def numbers(examples: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(examples, 2, dtype=torch.float64, generator=generator)


def serve(address: str, told: Connection) -> None:
    warnings.simplefilter("error")
    for served in serve_teacher(teacher(), address):
        told.send(served.address)


@contextmanager
def process(address: str) -> Iterator[tuple[ForkServerProcess, str]]:
    """A process that serves a teacher, and its address."""
    here, there = forked().Pipe(duplex=False)
    server = forked().Process(target=serve, args=(address, there))
    server.start()
    try:
        assert here.poll(60)
        yield server, here.recv()
    finally:
        server.kill()
        server.join()


@pytest.mark.slow
@pytest.mark.plain
def test_a_teacher_that_was_killed_is_an_error_and_is_found_again():
    whole = teacher()
    with process("127.0.0.1:0") as (server, address), RemoteTeacher(address, timeout=1.0) as ask:
        ask.timeout = 60.0
        assert torch.equal(ask(numbers(4))["logits"], whole(numbers(4))["logits"])
        server.kill()
        server.join()
        ask.timeout = 1.0
        with pytest.raises(ConnectionError, match=f"no teacher at {address}, for 1 seconds"):
            ask(numbers(4))
        ask.timeout = 120.0
        early = ask.submit(numbers(5))  # while nobody is there
        with process(address) as (other, again):
            assert again == address
            assert torch.equal(early.result()["logits"], whole(numbers(5))["logits"])
            assert other.pid is not None
            os.kill(other.pid, signal.SIGSTOP)  # it lives, and says nothing
            ask.timeout = 1.0
            with pytest.raises(TimeoutError, match="has not answered within 1 seconds"):
                ask(numbers(4))
            os.kill(other.pid, signal.SIGCONT)
            ask.timeout = 60.0
            assert torch.equal(ask(numbers(3))["logits"], whole(numbers(3))["logits"])


def test_another_teacher_at_the_same_address_is_refused():
    server = serve_teacher(teacher())
    address = next(server).address
    with RemoteTeacher(address, timeout=60.0) as ask:
        answer = ask.submit(numbers(2))
        next(server)
        answer.result()
        server.close()
        other = serve_teacher(teacher(seed=1), address)
        next(other)
        with pytest.raises(ValueError, match="another teacher than before"):
            ask(numbers(2))
        other.close()


@pytest.mark.plain
def test_a_secret_is_shown_by_both_sides():
    server = serve_teacher(lambda x: {"logits": x}, secret="right")
    open_to_all = serve_teacher(lambda x: {"logits": x})
    address, other = next(server).address, next(open_to_all).address
    with RemoteTeacher(address, secret="right") as ask:
        answer = ask.submit(torch.ones(1))
        next(server)
        assert answer.result()["logits"].tolist() == [1]
    for where, secret, message in (
        (address, "wrong", "the secret is another"),
        (address, None, "wants a secret"),
        (other, "right", "knows no secret"),
    ):
        with (
            RemoteTeacher(where, secret=secret) as ask,
            pytest.raises(ValueError, match=message),
        ):
            ask(torch.ones(1))
    server.close()
    open_to_all.close()


@contextmanager
def stranger(*says: bytes) -> Iterator[str]:
    """Somebody else at an address, who says this, a part of it after each thing that he hears."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            peer, _ = listener.accept()
            with peer:
                for part in says:
                    peer.sendall(part)
                    with suppress(OSError):
                        peer.recv(2**20)

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join(60)


GREETING = packed({"teacher": "", "limit": 2**20, "nonce": "", "secret": False})


@pytest.mark.plain
@pytest.mark.parametrize(
    ("says", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no message of fkd's"),
        (HEAD.pack(MAGIC, 2, 2**62), "more than the limit"),
        (HEAD.pack(MAGIC, 2**31, 0), "more than the limit"),
        (HEAD.pack(MAGIC, 2, 0) + b"{]", "cannot be read"),
        (packed({"hello": 1}), "its greeting is another's"),
    ],
)
def test_a_stranger_at_the_address_is_refused(says, message):
    with stranger(says) as address, RemoteTeacher(address) as ask:
        with pytest.raises(ValueError, match=message):
            ask(torch.ones(2))
        ask.close()


@pytest.mark.plain
def test_a_teacher_who_does_not_prove_the_secret_is_refused():
    says = packed({"teacher": "", "limit": 2**20, "nonce": "n", "secret": True})
    with (
        stranger(says, packed({"proof": "x"})) as address,
        RemoteTeacher(address, secret="right") as ask,
    ):
        with pytest.raises(ValueError, match="does not know the secret"):
            ask(torch.ones(2))
        ask.close()


@contextmanager
def impostor(*answers: bytes) -> Iterator[str]:
    """One who greets as a teacher, and gives these answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(GREETING)
                deadline = time.monotonic() + 60
                nonce = received(peer, 2**20, deadline).words["nonce"]
                peer.sendall(packed({"proof": proof("", "teacher", nonce)}))
                for answer in answers:
                    received(peer, 2**20, deadline)
                    peer.sendall(answer)

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join(60)


def answer(name: str, *shape: int, **more: Any) -> bytes:
    return packed({"names": [name], **more}, {"0": torch.ones(shape)})


@pytest.mark.plain
@pytest.mark.parametrize(
    ("second", "message"),
    [
        (answer("hidden", 2, 3), "has outputs .'hidden'., but it was asked for .'logits'."),
        (answer("logits", 2, 4), r"before it was {'logits': \(\(3,\), torch.float32\)}"),
        (answer("logits", 3, 3), r"for 2 examples has 'logits' of \(3, 3\)"),
        (answer("logits", 2, 3, names=["logits", "logits"]), "has no names"),
        (answer("logits", 2, 3, names="x"), "has no names"),
        (packed({"names": []}), "has no names"),
        (HEAD.pack(MAGIC, 2, 2**40) + b"{}", "more than the limit"),
        (HEAD.pack(MAGIC, 2, 9) + b"{}cbuiltins", "cannot be read"),
    ],
)
def test_a_wrong_answer_is_refused(second, message):
    with (
        impostor(answer("logits", 2, 3), second) as address,
        RemoteTeacher(address, names=["logits"]) as ask,
    ):
        assert ask(torch.ones(2, 1))["logits"].shape == (2, 3)
        with pytest.raises(ValueError, match=message):
            ask(torch.ones(2, 1))
        ask.close()


@pytest.mark.plain
@pytest.mark.parametrize("says", [(), (GREETING[:7],), (GREETING,)], ids=["nothing", "half", "all"])
def test_a_peer_that_says_no_more_is_an_error_in_time(says):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with RemoteTeacher(address, timeout=0.5) as ask:
            answer = ask.submit(torch.ones(2))
            peer, _ = listener.accept()
            for part in says:
                peer.sendall(part)
            with peer, pytest.raises(TimeoutError, match=r"has not answered within 0\.5 seconds"):
                answer.result()


@pytest.mark.plain
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(RemoteTeacher, "host:port"), "address must be host:port"),
        (partial(RemoteTeacher, "host:1", names="logits"), "names must be a sequence"),
        (partial(RemoteTeacher, "host:1", timeout=0.0), "timeout must be above zero"),
        (lambda: RemoteTeacher("host:1")({"x": 1}), "among them is a int"),
        (lambda: RemoteTeacher("host:1")(torch.tensor(1)), "one number of examples"),
        (lambda: RemoteTeacher("host:1")([torch.ones(1), torch.ones(2)]), "one number of examples"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.plain
def test_what_is_closed_has_no_more_answers():
    server = serve_teacher(lambda x: {"logits": x})
    ask = RemoteTeacher(next(server).address)
    waiting = [ask.submit(torch.ones(1)) for _ in range(2)]
    ask.close()  # at once, though nobody has answered
    assert all(one.cancelled() or isinstance(one.exception(), ConnectionError) for one in waiting)
    with pytest.raises(ValueError, match="it was closed"):
        ask(torch.ones(1))
    server.close()


@pytest.mark.plain
def test_a_server_that_ends_as_a_client_comes_leaves_no_socket_open():
    for _ in range(200):
        server = serve_teacher(lambda x: {"logits": x})
        ask = RemoteTeacher(next(server).address)
        ask.submit(torch.ones(1))
        ask.close()
        server.close()
    gc.collect()  # an open socket warns, which is an error


@pytest.mark.plain
def test_what_is_too_large_for_the_server_is_not_sent():
    server = serve_teacher(lambda x: {"logits": x}, limit=1000)
    with RemoteTeacher(next(server).address) as ask, pytest.raises(ValueError, match="1,000; take"):
        ask(torch.ones(1000))
    server.close()
