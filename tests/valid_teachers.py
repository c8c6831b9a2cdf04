"""Valid calls of teachers in other processes."""

from collections.abc import Generator

from broken import (
    Argument,
    Call,
    function,
    listed,
    number,
    one,
    optional,
    strangers,
    to_break,
    whole,
)
from hypothesis import strategies as st
from valid_students import SOURCE, ask

from fkd.distributed import RemoteTeacher, Served, Taught, serve_teacher

_NO_ADDRESSES = st.sampled_from(["localhost", "host:port", ":29600", "a/b:29600", "host:99999"])
_ADDRESS = Argument(
    "127.0.0.1:0", st.one_of(strangers("word"), to_break("no address", _NO_ADDRESSES))
)
_SECRET = optional(Argument("secret", strangers("word")))


def _place(server: Generator[Served, None, None]) -> str:
    """The host at which a server listens, which listens no more."""
    host = next(server).address.rpartition(":")[0]
    server.close()
    return host


TEACHERS = {
    "distributed.RemoteTeacher": Call(
        RemoteTeacher,
        {
            "address": _ADDRESS,
            "names": optional(listed(["logits"], "logits")),
            "secret": _SECRET,
            "timeout": number(60.0),
            "limit": whole(1000),
        },
        probe=lambda teacher: (teacher.address, list(teacher.names or [])),
    ),
    "distributed.serve_teacher": Call(
        serve_teacher,
        {
            "teacher": function(ask),
            "address": _ADDRESS,
            "secret": _SECRET,
            "most_examples": whole(8),
            "wait": number(0.0),
            "limit": whole(1000),
            "timeout": number(60.0),
            "device": Argument("cpu", strangers("word")),
        },
        probe=_place,
    ),
    "distributed.Taught": Call(
        Taught,
        {
            "source": one(SOURCE),
            "teacher": one(RemoteTeacher("127.0.0.1:1")),
            "ahead": whole(2),
        },
        probe=lambda source: source.batch_size,
    ),
}
