"""Members who each read their own batches, against each that reads alone with its own key."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from data.test_resident import NoneMade
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader, TensorDataset

from fkd._random import Key
from fkd.data import (
    Crop,
    CutMix,
    Cutout,
    Flip,
    Mix,
    MixUp,
    Normalize,
    OneOf,
    RandAugment,
    Resident,
    ResizedCrop,
    Source,
    Streamed,
    Transform,
    chain,
)
from fkd.data._members import mapped, member_feeds, member_reader, one_by_one
from fkd.ensemble import stack

IMAGES = torch.randint(256, (10, 3, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
LABELS = torch.arange(10) % 4
NORMALIZE = Normalize((0.5,) * 3, (0.2,) * 3)
SEEDS, STEP = torch.tensor([3, 2**32 - 1, 0]), torch.tensor(5)
EVERY = chain(Crop(1), Flip(), Cutout(2), ResizedCrop(), RandAugment())


def resident(augment: Transform, mix: Mix | None = None) -> Resident:
    plain = Resident(IMAGES, {"labels": LABELS}, batch_size=4, transform=NORMALIZE)
    return plain.augmented(augment, mix)


def streamed(augment: Transform, mix: Mix | None = None) -> Streamed:
    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=4)
    return Streamed(loader, transform=NORMALIZE).augmented(augment, mix)


def feeds_of(source: Source, step: int) -> list[Any]:
    return [next(source.feeds(int(seed), 0, step)) for seed in SEEDS]


def check_each_reads_as_alone(source: Source, way: Callable) -> Any:
    """All members' batches in two steps, bit for bit those that each reads alone, by the way that
    the first two members' first feeds have settled."""
    first = stack(feeds_of(source, 0)[:2])
    before = tree_map(torch.clone, first)
    read = member_reader(source, first, Key(SEEDS[:2], torch.tensor(0)))
    assert all(map(torch.equal, tree_leaves(first), tree_leaves(before)))
    assert read.func is way
    batches = None
    for number in (0, 1):
        step = torch.tensor(number)
        batches = read(stack(feeds_of(source, number)), Key(SEEDS, step))
        for k, feed in enumerate(feeds_of(source, number)):
            alone = source.read(feed, Key(SEEDS[k], step))
            for members, one in zip(tree_leaves(batches), tree_leaves(alone), strict=True):
                assert torch.equal(members[k], one) and members.dtype == one.dtype
    return batches


@pytest.mark.parametrize("source", [resident(Flip()), streamed(Flip())])
def test_the_feeds_of_members_are_those_of_each(source):
    together = list(member_feeds(source, SEEDS.tolist(), epoch=2, start=1))
    each = [list(source.feeds(seed, 2, 1)) for seed in SEEDS.tolist()]
    assert len(together) == 2
    for number, feeds in enumerate(together):
        for k, feed in enumerate(each):
            of_member = [leaf[k] for leaf in tree_leaves(feeds)]
            assert all(map(torch.equal, of_member, tree_leaves(feed[number])))


class AtOnce(Resident):
    """A source of one's own, which counts how often all members were fed at once."""

    asked = 0

    def feeds(self, seed: int, epoch: int, start: int = 0):
        return (rows.flip(0) for rows in super().feeds(seed, epoch, start))

    def member_feeds(self, seeds, epoch: int, start: int = 0):
        AtOnce.asked += 1
        return (rows.flip(1) for rows in super().member_feeds(seeds, epoch, start))


class Backwards(Resident):
    """One with other feeds, which says nothing of many members."""

    def feeds(self, seed: int, epoch: int, start: int = 0):
        return (rows.flip(0) for rows in Resident.feeds(self, seed, epoch, start))


class Lacking(Resident):
    def member_feeds(self, seeds, epoch: int, start: int = 0):
        return super().member_feeds(seeds[:-1], epoch, start)


@pytest.mark.parametrize(("kind", "times"), [(AtOnce, 1), (Backwards, 0)])
def test_a_source_of_ones_own_may_feed_all_members_at_once(kind, times):
    AtOnce.asked, source = 0, kind(IMAGES, {"labels": LABELS}, batch_size=4)
    together = list(member_feeds(source, SEEDS.tolist(), epoch=1, start=1))
    assert AtOnce.asked == times
    plain = resident(Flip())
    for k, seed in enumerate(SEEDS.tolist()):
        for feeds, rows in zip(together, plain.feeds(seed, 1, 1), strict=True):
            assert torch.equal(feeds[k], rows.flip(0))


def test_feeds_of_other_members_are_refused():
    source = Lacking(IMAGES, {"labels": LABELS}, batch_size=4)
    with pytest.raises(ValueError, match=r"member_feeds must give leaves \[3 members, .*\(2, 4\)"):
        next(member_feeds(source, SEEDS.tolist(), epoch=0, start=0))


@pytest.mark.parametrize("make", [resident, streamed])
@pytest.mark.parametrize("mix", [None, MixUp(4), CutMix(4), OneOf((MixUp(4), CutMix(4)))])
def test_each_member_reads_what_it_reads_alone(make, mix):
    batches = check_each_reads_as_alone(make(EVERY, mix), mapped)
    # Each member's images are in memory as the transform leaves them, channels last.
    assert mix or batches.inputs[1].is_contiguous(memory_format=torch.channels_last)


def test_of_one_batch_two_seeds_make_two():
    source, rows = resident(chain(Crop(2), Flip()), MixUp(4)), torch.arange(4).expand(2, 4)
    read = member_reader(source, rows, Key(SEEDS[:2], STEP))
    batches = read(rows, Key(SEEDS[:2], STEP))
    assert not torch.equal(*batches.inputs)
    assert not torch.equal(*batches.targets["labels"])  # of weights that differ
    alike = read(rows, Key(SEEDS[:1].expand(2), STEP))
    assert torch.equal(*alike.inputs) and torch.equal(*alike.targets["labels"])


def by_generator(inputs: Tensor, key: Key | None = None) -> Tensor:
    """Noise of torch's own, which writes into what it is given, and which vmap cannot run."""
    if key is None:
        return inputs
    inputs.bitwise_xor_(1)
    generator = torch.Generator().manual_seed(int(key.seed) + int(key.step))
    return inputs ^ torch.randint(4, inputs.shape, generator=generator).byte()


def in_new_memory(inputs: Tensor, key: Key | None = None) -> Tensor:
    """Which vmap refuses, and a graph holds."""
    new = torch.empty(inputs.shape, dtype=inputs.dtype, device=inputs.device)
    return new.copy_(inputs if key is None else inputs ^ (key.seed + key.step & 3).byte())


def less_the_mean(inputs: Tensor, key: Key | None = None) -> Tensor:
    """Which takes the first axis for that of examples."""
    return inputs - inputs.float().mean(0)


def halved(inputs: Tensor, key: Key | None = None) -> Tensor:
    """Which writes over what it is given, and which vmap can run."""
    return inputs.div_(2, rounding_mode="floor")


def by_generator_from_step_1(inputs: Tensor, key: Key | None = None) -> Tensor:
    """Of which the first step alone does not show that vmap cannot run it."""
    return by_generator(inputs, key) if key is not None and key.step > 0 else inputs


def labels_by_key(
    inputs: Tensor, targets: dict[str, Tensor], key: Key
) -> tuple[Tensor, dict[str, Tensor]]:
    return inputs, targets | {"labels": (targets["labels"] + key.seed) % 4}


@pytest.mark.parametrize("make", [resident, streamed])
@pytest.mark.parametrize(
    ("recipe", "way"),
    [
        ((by_generator,), one_by_one),
        ((by_generator_from_step_1,), one_by_one),
        ((in_new_memory,), one_by_one),
        ((by_generator, labels_by_key), one_by_one),
        ((chain(), labels_by_key), mapped),
        ((halved, labels_by_key), mapped),
    ],
)
def test_functions_of_your_own_need_not_know_of_members(make: Callable, recipe: Any, way: Callable):
    check_each_reads_as_alone(make(*recipe), way)


def test_a_transform_of_your_own_sees_one_members_examples():
    source = Resident(IMAGES, {"labels": LABELS}, batch_size=4, transform=less_the_mean)
    check_each_reads_as_alone(source, mapped)


def test_a_step_copies_no_feed():
    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=4)
    source = Streamed(loader)
    feeds, key = stack(feeds_of(source, 0)), Key(SEEDS, STEP)
    batches = member_reader(source, feeds, key)(feeds, key)
    assert batches.inputs.data_ptr() == feeds.inputs.data_ptr()


def broken(inputs: Tensor, key: Key | None = None) -> Tensor:
    return inputs @ torch.ones(3, 3) if key else inputs


def test_an_error_of_the_sources_own_is_told_as_it_is_without_members():
    source, rows, key = resident(broken), torch.arange(4).expand(3, 4), Key(SEEDS, STEP)
    with pytest.raises(RuntimeError) as alone:
        source.read(rows[0], Key(SEEDS[0], STEP))
    read = member_reader(source, rows, key)
    with pytest.raises(RuntimeError) as each:
        read(rows, key)
    assert str(each.value) == str(alone.value)


def test_it_copies_nothing_from_the_cpu_which_no_graph_could_hold():
    source, rows = resident(EVERY, OneOf((MixUp(4), CutMix(4)))), torch.arange(6).reshape(3, 2)
    read = member_reader(source, rows, Key(SEEDS, STEP))
    with NoneMade():
        read(rows, Key(SEEDS, STEP))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("augment", "way"), [(EVERY, mapped), (in_new_memory, one_by_one)])
def test_it_is_captured_in_a_graph(augment: Transform, way: Callable):
    source = resident(augment, OneOf((MixUp(4), CutMix(4)))).to("cuda")
    rows, key = torch.arange(6, device="cuda").reshape(3, 2), Key(SEEDS.cuda(), STEP.cuda())
    read = member_reader(source, rows, key)
    assert read.func is way
    read(rows, key)  # what is loaded late is loaded before the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        batches = read(rows, key)
    key.step.add_(1)
    graph.replay()
    leaves = zip(tree_leaves(batches), tree_leaves(read(rows, key)), strict=True)
    assert all(torch.equal(*pair) for pair in leaves)


@pytest.mark.plain
def test_it_is_compiled_whole():
    source, rows, key = resident(Flip()), torch.arange(8).reshape(2, 4), Key(SEEDS[:2], STEP)
    read = member_reader(source, rows, key)
    whole = torch.compile(read, fullgraph=True, backend="eager")
    assert torch.equal(whole(rows, key).inputs, read(rows, key).inputs)
