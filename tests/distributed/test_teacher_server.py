"""A teacher that several processes ask: their requests are one batch, and strangers are left."""

import socket
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fkd.distributed import RemoteTeacher, serve_teacher
from fkd.distributed._wire import HEAD, MAGIC, packed
from fkd.teachers import Teacher, teacher_of_module


def teacher(seed: int = 0) -> Teacher:
    torch.manual_seed(seed)
    return teacher_of_module(nn.Linear(2, 3, dtype=torch.float64))


def numbers(examples: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(examples, 2, dtype=torch.float64, generator=generator)


def test_requests_of_several_clients_are_one_batch_and_each_gets_its_own():
    whole = teacher()
    server = serve_teacher(whole, most_examples=7, wait=60.0)  # it waits until it is full
    address = next(server).address
    with RemoteTeacher(address) as one, RemoteTeacher(address) as other:
        for few, many in ((3, 4), (5, 2)):
            answers = [one.submit(numbers(few, 1)), other.submit(numbers(many, 2))]
            assert next(server) == (address, 2, 7, "")
            for answer, x in zip(answers, (numbers(few, 1), numbers(many, 2)), strict=True):
                expected = whole(x)["logits"]
                torch.testing.assert_close(answer.result()["logits"], expected, rtol=0, atol=1e-12)
    server.close()


def test_answers_come_in_the_order_of_the_questions():
    server = serve_teacher(lambda x: {"logits": 10 * x, "hidden": -x})
    with RemoteTeacher(next(server).address, names=["hidden"]) as ask:
        answers = [ask.submit(torch.full((2, 1), n)) for n in range(5)]
        for _ in answers:
            next(server)
        for n, answer in enumerate(answers):
            assert list(answer.result()) == ["hidden"]
            assert answer.result()["hidden"].tolist() == [[-n], [-n]]
    server.close()


def test_what_is_not_alike_is_not_put_together():
    shapes: list[tuple[int, ...]] = []

    def noted(x: Tensor) -> dict[str, Tensor]:
        shapes.append(tuple(x.shape))
        return {"logits": x}

    server = serve_teacher(noted, most_examples=4, wait=60.0)
    address = next(server).address
    with RemoteTeacher(address) as one, RemoteTeacher(address) as other:
        answers = [one.submit(torch.ones(4, 2)), other.submit(torch.ones(4, 3))]
        done = [next(server), next(server)]
        assert {tuple(answer.result()["logits"].shape) for answer in answers} == {(4, 2), (4, 3)}
    assert [(one.requests, one.examples) for one in done] == [(1, 4), (1, 4)]
    assert sorted(shapes) == [(4, 2), (4, 3)]
    server.close()


def test_inputs_are_trees_and_answers_have_any_dtype():
    def ask(inputs: Any) -> dict[str, Tensor]:
        ids, (mask, more) = inputs["ids"], inputs["rest"]
        return {"whole": ids + more[0], "mask": ~mask, "half": ids.bfloat16(), "none": ids[:, :0]}

    inputs = {"ids": torch.arange(6).reshape(3, 2).t(), "rest": (torch.ones(2).bool(), [1j])}
    inputs["rest"] = (torch.ones(2).bool(), [torch.arange(2)[:, None]])
    server = serve_teacher(ask)
    with RemoteTeacher(next(server).address) as remote:
        answer = remote.submit(inputs)
        inputs["ids"] = inputs["ids"].clone()
        next(server)
        expected = ask(inputs)
        assert list(answer.result()) == list(expected)
        for name, x in answer.result().items():
            assert x.dtype == expected[name].dtype and torch.equal(x, expected[name])
    server.close()


def test_a_request_that_the_teacher_cannot_take_hurts_no_other():
    def sound(x: Tensor) -> dict[str, Tensor]:
        if bool((x < 0).any()):
            raise RuntimeError("a number below zero")
        return {"logits": x}

    server = serve_teacher(sound, most_examples=4, wait=60.0)
    address = next(server).address
    with RemoteTeacher(address) as one, RemoteTeacher(address) as other:
        good, bad = one.submit(torch.ones(2, 2)), other.submit(-torch.ones(2, 2))
        assert next(server).error == "RuntimeError: a number below zero"
        assert torch.equal(good.result()["logits"], torch.ones(2, 2))
        with pytest.raises(ValueError, match="refuses: RuntimeError: a number below zero"):
            bad.result()
    server.close()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({}, "must be a torch.Tensor|no Mapping|a Mapping|refuses"),
        ({"hidden": torch.ones(2)}, "output 'logits' is not known; choose from hidden"),
        ({"logits": torch.ones(3)}, "must lead with an axis of the 2 examples"),
        ({"logits": torch.tensor(1.0)}, "must lead with an axis of the 2 examples"),
    ],
)
@pytest.mark.plain
def test_outputs_that_do_not_fit_are_told(answer, message):
    server = serve_teacher(lambda x: answer)
    with RemoteTeacher(next(server).address, names=["logits"]) as ask:
        told = ask.submit(torch.ones(2, 2))
        next(server)
        with pytest.raises(ValueError, match=message):
            told.result()
    server.close()


@pytest.mark.plain
@pytest.mark.parametrize(
    "says",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        HEAD.pack(MAGIC, 2, 2**62),
        packed({"nonce": ""}) + packed({"inputs": 0}),
        packed({"nonce": ""}) + packed({"inputs": {"tuple": [0, 0]}}, {"0": torch.ones(2)}),
        packed({"nonce": ""}) + packed({"inputs": 0, "names": "x"}, {"0": torch.ones(2)}),
        packed({"nonce": ""}) + HEAD.pack(MAGIC, 2, 9) + b"{}" + b"cbuiltins",
        packed({"nonce": ""}) + HEAD.pack(MAGIC, 2**16, 0) + b"[" * 2**16,
    ],
)
def test_a_client_who_says_rubbish_is_told_and_left(says):
    server = serve_teacher(lambda x: {"logits": x})
    address = next(server).address
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(says)
        heard = b""
        while piece := client.recv(2**16):
            heard += piece
        assert b'{"error": ' in heard
    with RemoteTeacher(address) as ask:
        answer = ask.submit(torch.ones(1))
        next(server)
        assert answer.result()["logits"].tolist() == [1]
    server.close()


def test_a_client_who_ends_in_the_middle_is_left():
    server = serve_teacher(lambda x: {"logits": x}, timeout=0.5)
    address = next(server).address
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(packed({"nonce": ""}) + HEAD.pack(MAGIC, 2, 9))
        while client.recv(2**16):
            pass  # until the server has closed it
    server.close()


@pytest.mark.plain
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: serve_teacher(None), "teacher must be a function"),  # type: ignore
        (partial(serve_teacher, dict, "localhost"), "address must be host:port"),
        (partial(serve_teacher, dict, "0.0.0.0:0"), "wants a secret that they know"),
        (partial(serve_teacher, dict, "[::]:0"), "wants a secret that they know"),
        (lambda: next(serve_teacher(dict, "192.0.2.1:0", secret="x")), "nothing can listen at"),
        (partial(serve_teacher, dict, wait=-1.0), "wait must be zero or more"),
        (partial(serve_teacher, dict, secret=""), "secret must be a name"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
