"""A teacher in another process, or on another host, that is asked as any other."""

import hmac
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from fkd import _check
from fkd.distributed._wire import (
    Message,
    WireError,
    check_timeout,
    described,
    endpoint,
    packed,
    proof,
    received,
    seconds_left,
)
from fkd.model import Tensors
from fkd.teachers._teacher import check_names

PAUSE = 0.1  # seconds between two tries to reach a teacher


class RemoteTeacher:
    """The teacher that `serve_teacher` serves at `address`, "host:port".

    Called with a batch of inputs, tensors in tuples, lists and dicts, it gives the outputs by name,
    those of `names` or all, on the device of the inputs. `submit` asks ahead and gives a future;
    `Taught` does so for a source's batches. Requests are sent one after the other by a thread of
    its own.

    A teacher that does not answer within `timeout` seconds of a request's turn is an error that
    says so. Until then it is tried anew, so one that was restarted is found again, by this request
    or the next. It must be the same teacher: one of other content, as far as it has a description
    (`fkd.teachers.kept` needs the same), is refused, and so is an answer of other names, shapes,
    dtypes or examples than the first one of its kind.

    `secret` is what the server was given. Nothing that a server sends runs code, or takes more than
    `limit` bytes. `close()`, or a `with` block, ends the connection.

    A CUDA graph cannot hold the call: `train` wants `Plan(graph=0)` then, or a `Taught` source.

    Raises ValueError for arguments of another kind, for inputs that hold anything but tensors of
    one number of examples, for another secret, for a peer that is no teacher, and for what the
    teacher refuses; ConnectionError where nobody answers; TimeoutError where the answer is late.

    >>> from fkd.distributed import serve_teacher
    >>> server = serve_teacher(lambda x: {"logits": 2 * x})
    >>> with RemoteTeacher(next(server).address) as teacher:
    ...     answer = teacher.submit(torch.ones(1, 2))
    ...     print(next(server).examples, answer.result())
    1 {'logits': tensor([[2., 2.]])}
    >>> server.close()
    """

    def __init__(
        self,
        address: str,
        *,
        names: Sequence[str] | None = None,
        secret: str | None = None,
        timeout: float = 60.0,
        limit: int = 2**30,
    ):
        self._endpoint = endpoint("RemoteTeacher", address)
        check_names("RemoteTeacher", names)
        if secret is not None:
            _check.text("RemoteTeacher", secret=secret)
        check_timeout("RemoteTeacher", timeout)
        _check.count("RemoteTeacher", limit=limit)
        self.address, self.names, self.timeout = address, names, timeout
        self._secret, self._limit = secret, limit
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="RemoteTeacher")
        self._closed = threading.Event()
        self._socket: socket.socket | None = None
        self._identity, self._most = "", 0  # of the teacher: what it is, and the bytes it takes
        self._forms: dict[str, Any] = {}  # of answers by those of their inputs

    def __call__(self, inputs: Any) -> Tensors:
        return self.submit(inputs).result()

    def submit(self, inputs: Any) -> "Future[Tensors]":
        """Ask now, and wait for the answer later: what `result()` gives is what the call gives.

        The inputs are copied, so they may change meanwhile. Raises ValueError as the call.
        """
        if self._closed.is_set():
            raise ValueError("RemoteTeacher: it was closed, so it cannot be asked; make a new one")
        leaves: list[Tensor] = []
        form = described(inputs, leaves)
        examples = {len(leaf) if leaf.ndim else 0 for leaf in leaves}
        if len(examples) != 1 or not min(examples):
            raise ValueError(
                "RemoteTeacher: all inputs must lead with one number of examples, at least one, "
                f"but their shapes are {[tuple(leaf.shape) for leaf in leaves]}"
            )
        if leaves[0].is_cuda and torch.cuda.is_current_stream_capturing():
            raise ValueError(
                "RemoteTeacher: a CUDA graph cannot ask another process; use Plan(graph=0), or a "
                "source that is Taught by this teacher"
            )
        names = None if self.names is None else list(self.names)
        tensors = {str(number): leaf for number, leaf in enumerate(leaves)}
        message = packed({"inputs": form, "names": names}, tensors)
        kind = repr((form, [(leaf.shape[1:], leaf.dtype) for leaf in leaves]))
        return self._thread.submit(self._ask, message, kind, min(examples), leaves[0].device)

    def close(self) -> None:
        """End the connection, and with it the requests that have no answer yet."""
        self._closed.set()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # which wakes who waits for an answer
        self._thread.shutdown(cancel_futures=True)
        self._drop()

    def __enter__(self) -> "RemoteTeacher":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _ask(self, message: bytes, kind: str, examples: int, device: torch.device) -> Tensors:
        answer = self._answered(message)
        if "error" in answer.words:
            raise ValueError(f"RemoteTeacher: {self.address} refuses: {answer.words['error']}")
        try:
            outputs = self._checked(answer, kind, examples)
        except WireError as error:
            self._drop()
            raise self._stranger(error) from error
        return {name: x.to(device) for name, x in outputs.items()}

    def _answered(self, message: bytes) -> Message:
        """The answer to a message, from whoever is there within the time."""
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                peer = self._socket or self._connected(deadline)
                if len(message) > self._most:
                    raise ValueError(
                        f"RemoteTeacher: a request of {len(message):,} bytes is more than "
                        f"{self.address} takes, {self._most:,}; take smaller batches, or give "
                        "serve_teacher a higher limit"
                    )
                peer.settimeout(seconds_left(deadline))
                peer.sendall(message)
                return received(peer, self._limit, deadline)
            except TimeoutError as error:
                self._drop()
                raise TimeoutError(
                    f"RemoteTeacher: {self.address} has not answered within {self.timeout:g} "
                    "seconds; see whether the teacher there is at work, and give a longer timeout "
                    "if it is"
                ) from error
            except OSError as error:
                self._drop()
                if self._closed.wait(PAUSE):
                    raise ConnectionError(
                        "RemoteTeacher: it was closed before an answer"
                    ) from error
                if time.monotonic() > deadline:
                    raise ConnectionError(
                        f"RemoteTeacher: there is no teacher at {self.address}, for "
                        f"{self.timeout:g} seconds ({error}); start it there with serve_teacher, "
                        "and ask again: it is found by the next request"
                    ) from error
            except WireError as error:
                self._drop()
                raise self._stranger(error) from error

    def _connected(self, deadline: float) -> socket.socket:
        """A connection to the teacher, after both sides have shown who they are."""
        to = self._socket = socket.create_connection(self._endpoint, timeout=seconds_left(deadline))
        try:
            if self._closed.is_set():
                raise ConnectionError("it is closed")
            to.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            greeting = received(to, 0, deadline).words
            self._check_greeting(greeting)
            nonce, secret = secrets.token_hex(32), self._secret or ""
            shown = proof(secret, "student", greeting["nonce"])
            to.sendall(packed({"nonce": nonce, "proof": shown}))
            theirs = received(to, 0, deadline).words
            if "error" in theirs:
                raise ValueError(f"RemoteTeacher: {self.address} refuses: {theirs['error']}")
            known = proof(secret, "teacher", nonce)
            if not hmac.compare_digest(str(theirs.get("proof")).encode(), known.encode()):
                raise ValueError(
                    f"RemoteTeacher: {self.address} does not know the secret; give the one that "
                    "serve_teacher was given"
                )
        except BaseException:
            self._drop()
            raise
        self._identity = self._identity or greeting["teacher"]
        self._most = greeting["limit"]
        return to

    def _check_greeting(self, greeting: dict[str, Any]) -> None:
        teacher = greeting.get("teacher")
        said = teacher, greeting.get("nonce"), greeting.get("limit")
        if [type(word) for word in said] != [str, str, int]:
            raise WireError("its greeting is another's")
        if greeting.get("secret") and self._secret is None:
            raise ValueError(
                f"RemoteTeacher: {self.address} wants a secret; give the one that serve_teacher "
                "was given"
            )
        if self._secret is not None and not greeting.get("secret"):
            raise ValueError(
                f"RemoteTeacher: {self.address} knows no secret, so it may be anybody; give "
                "serve_teacher the secret"
            )
        if self._identity and teacher != self._identity:
            raise ValueError(
                f"RemoteTeacher: at {self.address} is another teacher than before; start the one "
                "that was there, or make a new RemoteTeacher if this one is meant"
            )

    def _checked(self, answer: Message, kind: str, examples: int) -> Tensors:
        names = answer.words.get("names")
        if not isinstance(names, list) or not names or len(names) != len(answer.tensors):
            raise WireError("its answer has no names")
        outputs = {str(name): answer.tensors.get(str(n)) for n, name in enumerate(names)}
        held = {name: x for name, x in outputs.items() if x is not None}
        if len(held) < len(names) or (self.names is not None and list(held) != list(self.names)):
            raise WireError(f"its answer has outputs {names}, but it was asked for {self.names}")
        for name, x in held.items():
            if not x.ndim or len(x) != examples:
                raise WireError(
                    f"its answer for {examples} examples has {name!r} of {tuple(x.shape)}"
                )
        form = {name: (tuple(x.shape[1:]), x.dtype) for name, x in held.items()}
        before = self._forms.setdefault(kind, form)
        if form != before:
            raise WireError(f"its answer is {form} by name, but before it was {before}")
        return held

    def _stranger(self, error: WireError) -> ValueError:
        return ValueError(f"RemoteTeacher: what {self.address} says is refused: {error}")

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
