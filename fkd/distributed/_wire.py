"""Tensors over a socket: what is said of them in JSON, and they in safetensors.

A message is MAGIC, the length of its words (4 bytes) and of its tensors (8 bytes), the words (a
dict in JSON) and the tensors (safetensors, by number). Both are read into plain data alone, so
bytes of a stranger run no code; lengths are looked at before anything is read.
"""

import hashlib
import hmac
import ipaddress
import json
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import safetensors
import torch
from safetensors import SafetensorError, TensorSpec
from safetensors.torch import load
from torch import Tensor

from fkd import _check
from fkd.checkpoint._file import DTYPES

MAGIC = b"fkd1"
HEAD = struct.Struct(">4sIQ")
MOST_WORDS = 2**20  # bytes
LONGEST = 10**6  # seconds, eleven days


class WireError(ValueError):
    """What came over a socket is no message."""


class Message(NamedTuple):
    words: dict[str, Any]
    tensors: dict[str, Tensor]


def packed(words: Mapping[str, Any], tensors: Mapping[str, Tensor] = {}) -> bytes:
    """A message's bytes."""
    plain = {}
    for name, x in tensors.items():
        if x.layout != torch.strided or x.dtype not in DTYPES:
            raise ValueError(
                "wire: a tensor must be dense and of a dtype that safetensors holds, but one is "
                f"{x.layout} of {x.dtype}; leave it out"
            )
        plain[name] = x.detach().resolve_conj().resolve_neg().cpu().contiguous()
    specs = {
        name: TensorSpec(
            dtype=str(x.dtype).removeprefix("torch."),
            shape=x.shape,
            data_ptr=x.data_ptr(),
            data_len=x.nbytes,
        )
        for name, x in plain.items()
    }
    text = json.dumps(dict(words)).encode()
    body = bytes(safetensors.serialize(specs)) if specs else b""
    return HEAD.pack(MAGIC, len(text), len(body)) + text + body


def lengths(head: bytes, limit: int) -> tuple[int, int]:
    """How many bytes of words and of tensors come behind a head. Raises WireError for what is no
    head, and for more than `limit` bytes of tensors."""
    magic, words, tensors = HEAD.unpack(head)
    if magic != MAGIC:
        raise WireError("what it says is no message of fkd's")
    if words > MOST_WORDS or tensors > limit:
        raise WireError(
            f"a message of {words + tensors:,} bytes is more than the limit of {limit:,}; take "
            "smaller batches, or raise limit on both sides"
        )
    return words, tensors


def unpacked(words: bytes, tensors: bytes) -> Message:
    """A message of its bytes. Raises WireError where they are none."""
    try:
        said = json.loads(words)
        held = load(tensors) if tensors else {}
    except (ValueError, RecursionError, SafetensorError, KeyError) as error:
        raise WireError(f"a message cannot be read ({error})") from error
    if not isinstance(said, dict):
        raise WireError("a message's words are no dict")
    return Message(said, held)


def described(tree: Any, leaves: list[Tensor]) -> Any:
    """A tree of tensors without them, in JSON's types; they are put to `leaves` in order."""
    if isinstance(tree, Tensor):
        leaves.append(tree)
        return len(leaves) - 1
    if type(tree) in (tuple, list):
        return {type(tree).__name__: [described(part, leaves) for part in tree]}
    if isinstance(tree, Mapping) and all(isinstance(key, str) for key in tree):
        return {"dict": {key: described(part, leaves) for key, part in tree.items()}}
    raise ValueError(
        "RemoteTeacher: inputs must be tensors, or tuples, lists and dicts of them, but among them "
        f"is a {type(tree).__name__}"
    )


def rebuilt(form: Any, leaves: Mapping[str, Tensor]) -> Any:
    """The tree that `described` described. Raises WireError for what it never says."""
    parts: Any
    match form:
        case int() if str(form) in leaves:
            return leaves[str(form)]
        case {"tuple": list(parts)}:
            return tuple(rebuilt(part, leaves) for part in parts)
        case {"list": list(parts)}:
            return [rebuilt(part, leaves) for part in parts]
        case {"dict": dict(parts)}:
            return {key: rebuilt(part, leaves) for key, part in parts.items()}
    raise WireError("a message's inputs are no tree of its tensors")


def proof(secret: str, side: str, nonce: str) -> str:
    """What only one who knows the secret can say about a nonce."""
    return hmac.new(secret.encode(), f"{side}:{nonce}".encode(), hashlib.sha256).hexdigest()


def endpoint(where: str, address: str) -> tuple[str, int]:
    """Host and port of "host:port", "[::1]:29600" among them. Raises ValueError for others."""
    _check.text(where, address=address)
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None or address.rpartition(":")[0].strip("[]") != host:
        raise ValueError(
            f"{where}: address must be host:port, as 127.0.0.1:29600, but it is "
            f"{_check.shown(address)}"
        )
    return host, port


def check_timeout(where: str, timeout: float) -> None:
    """Raise where a timeout is no number of seconds above zero, or more than clocks count to."""
    _check.plain(where, timeout=timeout)
    _check.positive(where, timeout=timeout)
    _check.between(where, 0, LONGEST, timeout=timeout)


def is_local(host: str) -> bool:
    """Whether nobody but this machine reaches a host's address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def received(peer: socket.socket, limit: int, deadline: float, first: bytes = b"") -> Message:
    """The next message of a peer, of which `first` is there."""
    head = first + _bytes(peer, HEAD.size - len(first), deadline)
    words, tensors = lengths(head, limit)
    return unpacked(_bytes(peer, words, deadline), _bytes(peer, tensors, deadline))


def _bytes(peer: socket.socket, count: int, deadline: float) -> bytes:
    """The next bytes of a peer, so many."""
    row = bytearray()
    while len(row) < count:  # it grows as they come, for a length is anybody's word
        peer.settimeout(seconds_left(deadline))
        piece = peer.recv(min(count - len(row), 2**20))
        if not piece:
            raise ConnectionError("it hung up")
        row += piece
    return bytes(row)


def seconds_left(deadline: float) -> float:
    """The seconds that are left. Raises TimeoutError where there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
