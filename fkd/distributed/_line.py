"""Questions over a socket, one at a time: a server that many ask, and a line to it."""

import hmac
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from fkd import _check
from fkd.distributed._wire import (
    Message,
    WireError,
    endpoint,
    is_local,
    packed,
    proof,
    received,
    seconds_left,
)

PAUSE = 0.05  # seconds between two attempts to reach a server


@dataclass(frozen=True)
class Terms:
    """What both sides of a line hold each other to; `where` names the caller in errors.

    `secret` is what both must know, and is never sent; a message takes at most `limit` bytes; a
    message that was begun is there within `timeout` seconds.
    """

    where: str
    secret: str | None
    limit: int
    timeout: float

    def __post_init__(self) -> None:
        if self.secret is not None:
            _check.text(self.where, secret=self.secret)
        _check.count(self.where, limit=self.limit)
        _check.plain(self.where, timeout=self.timeout)
        _check.positive(self.where, timeout=self.timeout)


class Line:
    """A line to a server, which is made when it is first needed, and anew where it broke.

    One question at a time, from whatever thread. A server that has not answered after the terms'
    timeout is a ConnectionError, and the next question looks for it again. Until then a line that
    breaks asks again what it was asking: a question must do no harm twice.
    """

    def __init__(self, address: str, terms: Terms):
        self._address, self._endpoint = address, endpoint(terms.where, address)
        self._terms = terms
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def ask(self, message: bytes) -> Message:
        """The answer to a message of `packed`. Raises ValueError where the server refuses it."""
        with self._lock:
            answer = self._answer(message)
        if "error" in answer.words:
            raise ValueError(f"{self._terms.where}: {answer.words['error']}")
        return answer

    def close(self) -> None:
        """Hang up. The next question makes the line anew."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _answer(self, message: bytes) -> Message:
        deadline = time.monotonic() + self._terms.timeout
        while True:
            try:
                if self._socket is None:
                    self._socket = self._greeted(deadline)
                self._socket.settimeout(seconds_left(deadline))
                self._socket.sendall(message)
                return received(self._socket, self._terms.limit, deadline)
            except OSError as error:
                self.close()
                if time.monotonic() + PAUSE >= deadline:
                    raise ConnectionError(
                        f"{self._terms.where}: {self._address} has not answered within "
                        f"{self._terms.timeout:g} seconds ({error}); see that the server is at "
                        "work there, and that this machine reaches it"
                    ) from error
                time.sleep(PAUSE)
            except WireError as error:
                self.close()
                raise ValueError(
                    f"{self._terms.where}: {self._address} is no server of members: {error}"
                ) from error
            except BaseException:  # an answer that comes later would be taken for the next one
                self.close()
                raise

    def _greeted(self, deadline: float) -> socket.socket:
        """A connection, after each side has shown that it knows the secret."""
        peer = socket.create_connection(self._endpoint, seconds_left(deadline))
        try:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            greeting, nonce = received(peer, 0, deadline).words, secrets.token_hex(32)
            if greeting.get("secret") is not (self._terms.secret is not None):
                raise WireError("only one side has a secret; give both the same")
            secret = self._terms.secret or ""
            shown = proof(secret, "caller", str(greeting.get("nonce")))
            peer.sendall(packed({"nonce": nonce, "proof": shown}))
            theirs = received(peer, 0, deadline).words
            known = proof(secret, "server", nonce)
            if not hmac.compare_digest(str(theirs.get("proof")).encode(), known.encode()):
                raise WireError(str(theirs.get("error", "it does not know the secret")))
        except BaseException:
            peer.close()
            raise
        return peer


@contextmanager
def served(answer: Callable[[Message], bytes], address: str, terms: Terms) -> Iterator[str]:
    """Have `answer` answer whoever asks at `address`, each caller in a thread of its own.

    It gives the address, with the port that was taken where 0 was asked for. A ValueError of
    `answer` is the caller's; at another error the caller is hung up on, and it is raised at the
    end. At the end all callers are hung up on.

    Raises ValueError for an address that cannot be had, and for one that others reach without a
    secret.
    """
    host, port = endpoint(terms.where, address)
    if terms.secret is None and not is_local(host):
        raise ValueError(
            f"{terms.where}: others reach {address}, so it wants a secret that they know; give "
            "secret=..., or listen at 127.0.0.1"
        )
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ValueError(
            f"{terms.where}: nothing can listen at {address} ({error}); end what does, or choose "
            "another address"
        ) from error
    shown = f"[{host}]" if ":" in host else host
    calls = _Calls(answer, terms)
    thread = threading.Thread(target=calls.take, args=(listener,), daemon=True)
    thread.start()
    try:
        yield f"{shown}:{listener.getsockname()[1]}"
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # which wakes the thread that accepts
        listener.close()
        thread.join()
        calls.end()


class _Calls:
    """The callers of a server, and what was wrong with its answers."""

    def __init__(self, answer: Callable[[Message], bytes], terms: Terms):
        self._answer, self._terms = answer, terms
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._errors: list[Exception] = []

    def take(self, listener: socket.socket) -> None:
        """Take callers until the listener is closed."""
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._talk, args=(peer,), daemon=True)
            with self._lock:
                self._open[thread] = peer
            thread.start()

    def end(self) -> None:
        """Hang up on all callers, and raise what was wrong."""
        with self._lock:
            callers = dict(self._open)
        for thread, peer in callers.items():
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _talk(self, peer: socket.socket) -> None:
        try:
            self._greet(peer)
            while True:
                peer.settimeout(None)  # a worker may compute for long before it asks
                first = peer.recv(1)
                if not first:
                    return
                message = self._rest(peer, first, self._terms.limit)
                peer.sendall(self._answered(message))
        except WireError as error:
            with suppress(OSError):
                peer.sendall(packed({"error": str(error)}))
        except OSError:
            pass  # the caller is gone, or as good as gone
        except Exception as error:
            self._errors.append(error)
        finally:
            with self._lock:
                self._open.pop(threading.current_thread(), None)
            peer.close()

    def _answered(self, message: Message) -> bytes:
        try:
            return self._answer(message)
        except ValueError as error:
            return packed({"error": str(error)})

    def _greet(self, peer: socket.socket) -> None:
        nonce, secret = secrets.token_hex(32), self._terms.secret or ""
        peer.settimeout(self._terms.timeout)
        peer.sendall(packed({"nonce": nonce, "secret": self._terms.secret is not None}))
        theirs = self._rest(peer, b"", 0).words
        shown = str(theirs.get("proof")).encode()
        if not hmac.compare_digest(shown, proof(secret, "caller", nonce).encode()):
            raise WireError("the secret is another; give the one that the server was given")
        peer.sendall(packed({"proof": proof(secret, "server", str(theirs.get("nonce")))}))

    def _rest(self, peer: socket.socket, first: bytes, limit: int) -> Message:
        return received(peer, limit, time.monotonic() + self._terms.timeout, first)
