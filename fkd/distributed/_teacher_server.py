"""A teacher that answers other processes, several of their requests as one batch."""

import asyncio
import hmac
import queue
import secrets
import socket
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from fkd import _check
from fkd._digest import digest
from fkd.data._source import check_device
from fkd.distributed._wire import (
    HEAD,
    LONGEST,
    Message,
    WireError,
    check_timeout,
    described,
    endpoint,
    is_local,
    lengths,
    packed,
    proof,
    rebuilt,
    unpacked,
)
from fkd.evaluate import Ask
from fkd.teachers._teacher import chosen

AHEAD = 2**24  # bytes of a request that are read before they are looked at


class Served(NamedTuple):
    """What a server has done: it listens at `address`, and has answered `requests` as one batch of
    `examples`; `error` is what the teacher raised, which the clients are told too."""

    address: str
    requests: int = 0
    examples: int = 0
    error: str = ""


@dataclass(frozen=True)
class _Terms:
    """What a server holds its clients to."""

    identity: str
    secret: str | None
    limit: int
    timeout: float


@dataclass(frozen=True, eq=False)
class _Request:
    inputs: Any
    examples: int
    kind: str  # requests of one kind can be put together
    names: Sequence[str] | None
    answer: "Future[bytes]"


def serve_teacher(
    teacher: Ask,
    address: str = "127.0.0.1:0",
    *,
    secret: str | None = None,
    most_examples: int = 1024,
    wait: float = 0.0,
    limit: int = 2**30,
    timeout: float = 60.0,
    device: torch.device | str = "cpu",
) -> Generator[Served, None, None]:
    """Answer every `RemoteTeacher` that asks at `address`, "host:port", while it is iterated.

    It says first where it listens (port 0 is any that is free), and then of each batch what it was;
    closed, it listens no more. The teacher is asked in the caller's thread, with inputs on
    `device`, while another thread reads and writes. Requests that came meanwhile, of whichever
    client, are one batch where their inputs are alike, up to `most_examples`; the first waits up to
    `wait` seconds for others to fill it. So the teacher must hold each example apart. A request
    that raises is answered with its error, alone, and the others are not hurt.

    By default it listens to this machine alone. An address that others reach is taken only with a
    `secret`, which both sides prove to know (HMAC-SHA-256 of a fresh number) and which is never
    sent; what is said then is neither hidden nor sealed, so across networks that are not yours let
    it go through ssh. A message is JSON and safetensors of at most `limit` bytes, which run no
    code; a client that is slower than `timeout` seconds with one that it began is left.

    `torch.distributed.rpc` is not what carries it: it unpickles what it is sent, it is deprecated,
    and a worker that died is an error for ever there, for nothing comes back under its name (torch
    2.11 and 2.14, in groups of both kinds).

    Raises ValueError for arguments of another kind and an open address without a secret, and in its
    first step for an address that cannot be had.

    >>> server = serve_teacher(lambda x: {"logits": 2 * x})
    >>> next(server).address.startswith("127.0.0.1:")
    True
    >>> server.close()
    """
    _check.function("serve_teacher", teacher=teacher)
    host, port = endpoint("serve_teacher", address)
    if secret is not None:
        _check.text("serve_teacher", secret=secret)
    elif not is_local(host):
        raise ValueError(
            f"serve_teacher: others reach {address}, so it wants a secret that they know; give "
            "secret=..., or listen at 127.0.0.1"
        )
    _check.count("serve_teacher", most_examples=most_examples, limit=limit)
    _check.plain("serve_teacher", wait=wait)
    _check.not_negative("serve_teacher", wait=wait)
    _check.between("serve_teacher", 0, LONGEST, wait=wait)
    check_timeout("serve_teacher", timeout)
    check_device("serve_teacher", device)
    terms = _Terms(_identity(teacher), secret, limit, timeout)
    return _serve(teacher, host, port, terms, most_examples, wait, torch.device(device))


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ValueError(
            f"serve_teacher: nothing can listen at port {port} of {host} ({error}); end what does, "
            "or choose another address"
        ) from error


def _identity(teacher: Ask) -> str:
    """What a teacher is, by its content; "" of one that has no description."""
    try:
        return digest(teacher).hex()
    except ValueError:
        return ""


def _serve(
    teacher: Ask,
    host: str,
    port: int,
    terms: _Terms,
    most: int,
    wait: float,
    device: torch.device,
) -> Generator[Served, None, None]:
    listener = _listener(host, port)
    shown = f"[{host}]" if ":" in host else host
    address = f"{shown}:{listener.getsockname()[1]}"
    requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    listening = partial(asyncio.run, _listen(listener, requests, terms, started))
    thread = threading.Thread(target=listening, name="serve_teacher", daemon=True)
    thread.start()
    loop, ended = started.result()
    waiting: list[_Request] = []
    try:
        yield Served(address)
        while True:
            batch = _batch(requests, waiting, most, wait)
            error = _answer(teacher, batch, device)
            yield Served(address, len(batch), sum(one.examples for one in batch), error)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


def _batch(
    requests: "queue.SimpleQueue[_Request]", waiting: list[_Request], most: int, wait: float
) -> list[_Request]:
    """The next requests that go together, taken out of those that are waiting, in their order."""
    if not waiting:
        waiting.append(requests.get())
    deadline = time.monotonic() + wait
    while sum(one.examples for one in waiting if one.kind == waiting[0].kind) < most:
        try:
            waiting.append(requests.get(timeout=max(deadline - time.monotonic(), 0)))
        except queue.Empty:
            break
    batch: list[_Request] = []
    examples = 0
    for one in list(waiting):
        if one.kind == waiting[0].kind and (not batch or examples + one.examples <= most):
            batch.append(one)
            examples += one.examples
    waiting[:] = [one for one in waiting if one not in batch]
    return batch


def _answer(teacher: Ask, batch: list[_Request], device: torch.device) -> str:
    """Answer the requests; what the teacher raised, or ""."""
    try:
        answers = _asked(teacher, batch, device)
    except Exception as error:  # a network raises anything
        if len(batch) > 1:  # one of them may be at fault, and not the others
            errors = [_answer(teacher, [one], device) for one in batch]
            return next(filter(None, errors), "")
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:1000]}"
        batch[0].answer.set_result(packed({"error": reason}))
        return reason
    for one, answer in zip(batch, answers, strict=True):
        one.answer.set_result(answer)
    return ""


@torch.no_grad()
def _asked(teacher: Ask, batch: list[_Request], device: torch.device) -> list[bytes]:
    """The messages that answer the requests."""
    columns = zip(*(tree_leaves(one.inputs) for one in batch), strict=True)
    _, structure = tree_flatten(batch[0].inputs)
    inputs = tree_unflatten([torch.cat(column).to(device) for column in columns], structure)
    outputs = teacher(inputs)
    _check.mapping("teacher", outputs=outputs)
    examples = [one.examples for one in batch]
    answers, first = [], 0
    for one in batch:
        own = chosen("teacher", outputs, one.names)
        for name, x in own.items():
            _check.tensor("teacher", **{f"output {name!r}": x})
            if not x.ndim or len(x) != sum(examples):
                raise ValueError(
                    f"teacher: output {name!r} must lead with an axis of the {sum(examples)} "
                    f"examples that were shown, but it is {tuple(x.shape)}; leave it out of names"
                )
        rows = slice(first, first + one.examples)
        tensors = {str(n): x[rows] for n, x in enumerate(own.values())}
        answers.append(packed({"names": list(own)}, tensors))
        first += one.examples
    return answers


async def _listen(
    listener: socket.socket,
    requests: "queue.SimpleQueue[_Request]",
    terms: _Terms,
    started: "Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]",
) -> None:
    ended = asyncio.Event()
    clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
    accept = partial(_accept, clients, requests, terms)
    server = await asyncio.start_server(accept, sock=listener, limit=AHEAD)
    started.set_result((asyncio.get_running_loop(), ended))
    await ended.wait()
    # Nobody more is let in, and who has been is made known: a server that is closed loses them.
    with suppress(NotImplementedError):  # on Windows
        asyncio.get_running_loop().remove_reader(listener)
    for _ in range(3):
        await asyncio.sleep(0)
    server.close()
    writers = list(clients.values())
    for conversation in clients:
        conversation.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    for writer in writers:  # also of who came so late that no conversation had begun
        writer.transport.abort()
    await asyncio.sleep(0)  # in which the sockets are closed


def _accept(
    clients: dict[asyncio.Task[None], asyncio.StreamWriter],
    requests: "queue.SimpleQueue[_Request]",
    terms: _Terms,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Begin a conversation with a client, who is known until it has ended."""
    conversation = asyncio.create_task(_attend(requests, terms, reader, writer))
    clients[conversation] = writer
    conversation.add_done_callback(clients.pop)


async def _attend(
    requests: "queue.SimpleQueue[_Request]",
    terms: _Terms,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """A conversation with one client, to its end."""
    try:
        await _greet(terms, reader, writer)
        while True:
            # A student may think for long before it asks, but not while it does.
            head = await reader.readexactly(HEAD.size)
            request = _request(await _rest(reader, head, terms.limit, terms.timeout))
            requests.put(request)
            await _write(writer, await asyncio.wrap_future(request.answer), terms.timeout)
    except WireError as error:
        with suppress(OSError, TimeoutError):
            await _write(writer, packed({"error": str(error)}), terms.timeout)
    except (OSError, EOFError, TimeoutError, asyncio.CancelledError):
        pass  # the client is gone, or as good as gone, or the server ends
    finally:
        writer.close()


async def _greet(terms: _Terms, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Tell a client what teacher this is, and let each side prove that it knows the secret."""
    nonce = secrets.token_hex(32)
    greeting = {"teacher": terms.identity, "limit": terms.limit, "nonce": nonce}
    greeting["secret"] = terms.secret is not None
    await _write(writer, packed(greeting), terms.timeout)
    async with asyncio.timeout(terms.timeout):
        head = await reader.readexactly(HEAD.size)
    words, _ = await _rest(reader, head, 0, terms.timeout)
    theirs, shown = str(words.get("nonce", "")), str(words.get("proof", ""))
    secret = terms.secret or ""
    if terms.secret and not hmac.compare_digest(shown, proof(secret, "student", nonce)):
        raise WireError("the secret is another; give the one that serve_teacher was given")
    await _write(writer, packed({"proof": proof(secret, "teacher", theirs)}), terms.timeout)


async def _rest(reader: asyncio.StreamReader, head: bytes, limit: int, timeout: float) -> Message:
    """The message behind a head."""
    words, tensors = lengths(head, limit)
    async with asyncio.timeout(timeout):
        return unpacked(await reader.readexactly(words), await reader.readexactly(tensors))


async def _write(writer: asyncio.StreamWriter, message: bytes, timeout: float) -> None:
    writer.write(message)
    async with asyncio.timeout(timeout):
        await writer.drain()


def _request(message: Message) -> _Request:
    """What a client asks. Raises WireError for a message that asks nothing."""
    names = message.words.get("names")
    leaves: list[Tensor] = []
    try:
        inputs = rebuilt(message.words.get("inputs"), message.tensors)
        form = described(inputs, leaves)
    except RecursionError as error:
        raise WireError("a message's inputs are too deep") from error
    if len(leaves) != len(message.tensors):
        raise WireError("a message's inputs are not its tensors, each once")
    examples = {len(leaf) if leaf.ndim else 0 for leaf in leaves}
    if len(examples) != 1 or not min(examples):
        raise WireError("all inputs must lead with one number of examples, at least one")
    if names is not None and not (
        isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    ):
        raise WireError("names must be a list of outputs' names")
    kind = repr((form, [(leaf.shape[1:], leaf.dtype) for leaf in leaves]))
    return _Request(inputs, min(examples), kind, names, Future())
