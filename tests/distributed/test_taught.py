"""Students whom a teacher in another process has taught ahead are those whom it taught live."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from fkd import methods, optim
from fkd._random import Key
from fkd.data import Batch, Crop, Resident, Source
from fkd.distillation import distill
from fkd.distributed import RemoteTeacher, Served, Taught, serve_teacher
from fkd.ensemble import Order
from fkd.execution import Plan
from fkd.model import functional
from fkd.teachers import Ask, Teacher, teacher_of_module
from fkd.train import At, Students, train


def teacher() -> Teacher:
    torch.manual_seed(0)
    return teacher_of_module(nn.Sequential(nn.Flatten(), nn.Linear(27, 3)))


def student() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(27, 3))


def images(number: int = 10) -> Tensor:
    return torch.randn(number, 3, 3, 3, generator=torch.Generator().manual_seed(1))


def source() -> Resident:
    labelled = Resident(images(), {"labels": torch.arange(10) % 3}, batch_size=3)
    return labelled.augmented(Crop(padding=1))


@contextmanager
def served(ask: Ask) -> Iterator[tuple[RemoteTeacher, list[Served]]]:
    """A teacher that a thread serves, and what that has done."""
    server = serve_teacher(ask)
    address, done, ended = next(server).address, [], threading.Event()

    def serve() -> None:
        while not ended.is_set():
            done.append(next(server))
        server.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with RemoteTeacher(address) as remote:
        try:
            yield remote, done
        finally:
            ended.set()
            # Which wakes it, so that it sees the end, unless it has seen it after the last answer.
            with RemoteTeacher(address, timeout=1) as again, suppress(OSError):
                again(images(1))
            thread.join(60)


def steps(
    source: Source, ask: Ask | None = None, start: At | None = None, order: Order = "shared"
) -> Iterator[At]:
    batch = Batch(images(2), {"labels": torch.arange(2), "logits": torch.zeros(2, 3)})
    rule = distill(functional(student), methods.kd(), optim.sgd(0.1), batch)
    plan = Plan("loop", compile="none")
    students = {"kd": Students(rule, [0, 1])}
    return train(students, source, epochs=2, plan=plan, teacher=ask, start=start, order=order)


def params(at: At) -> list[Tensor]:
    return [x.clone() for x in at.states["kd"].params["student"].values()]


@pytest.mark.parametrize("ahead", [1, 5])
def test_students_are_those_of_the_teacher_that_is_asked_live(ahead):
    live = [params(at) for at in steps(source(), teacher())]
    with served(teacher()) as (remote, done):
        early = [params(at) for at in steps(Taught(source(), remote, ahead))]
        over_the_wire = [params(at) for at in steps(source(), remote)]
    assert len(live) == len(early) == len(over_the_wire) == 8
    for one, other, third in zip(live, early, over_the_wire, strict=True):
        assert all(map(torch.equal, one, other))
        assert all(map(torch.equal, one, third))
    assert sum(one.requests for one in done) == 8 + 8 + 1  # and no batch twice


def test_members_who_each_read_their_own_are_augmented_as_by_the_teacher_that_is_asked_live():
    *_, live = steps(source(), teacher(), order="own")
    with served(teacher()) as (remote, _):
        *_, early = steps(Taught(source(), remote), order="own")
    # The live teacher is shown both members' batches as one, which rounds otherwise.
    torch.testing.assert_close(params(early), params(live), rtol=0, atol=1e-5)


def test_it_goes_on_in_the_middle_of_an_epoch():
    *_, last = steps(source(), teacher())
    with served(teacher()) as (remote, _):
        taught = Taught(source(), remote)
        begun = steps(taught)
        at = next(at for at in begun if at.step == 2)
        *_, end = steps(taught, start=at)
    assert all(map(torch.equal, params(end), params(last)))


def test_it_asks_ahead_and_gives_the_batches_of_its_source_in_order():
    plain = Resident(images(), {"labels": torch.arange(10) % 3}, batch_size=3)
    with served(teacher()) as (remote, _):
        taught = Taught(plain, remote, ahead=3)
        assert isinstance(taught, Source)
        assert taught.digest() == plain.digest() and taught.examples == 10
        assert taught.batched(5).batch_size == 5 and taught.to("cpu").device == plain.device
        for batch, own in zip(taught.in_order(4), plain.in_order(4), strict=True):
            assert torch.equal(batch.inputs, own.inputs)
            assert torch.equal(batch.targets["labels"], own.targets["labels"])
            assert torch.equal(batch.targets["logits"], teacher()(own.inputs)["logits"])


def test_a_batch_is_augmented_by_the_seed_of_its_order_and_the_number_of_its_step():
    with served(teacher()) as (remote, _):
        feeds = list(Taught(source(), remote).feeds(seed=7, epoch=1))  # of four steps each
    for step, (rows, feed) in enumerate(zip(source().feeds(7, 1), feeds, strict=True), start=4):
        batch = source().read(rows, Key(torch.tensor(7), torch.tensor(step)))
        assert torch.equal(feed.inputs, batch.inputs)


@pytest.mark.plain
def test_what_makes_no_sense_is_refused():
    with RemoteTeacher("localhost:1") as remote:
        for call, message in (
            (lambda: Taught(None, remote), "source must be a Source"),  # type: ignore
            (lambda: Taught(source(), teacher()), "teacher must be a RemoteTeacher"),  # type: ignore
            (partial(Taught, source(), remote, 0), "ahead must be a whole number"),
        ):
            with pytest.raises(ValueError, match=message):
                call()
