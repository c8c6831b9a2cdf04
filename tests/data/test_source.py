"""What every source says of its examples: one digest, which changes with them alone."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from fkd._random import Key
from fkd.data import Batch, Flip, Resident, Streamed
from fkd.data._source import apart, show

IMAGES = torch.randint(256, (11, 3, 2, 2), generator=torch.Generator().manual_seed(0)).byte()
LABELS = torch.arange(11) % 4


KEY = Key(torch.tensor(3), torch.tensor(5), first=2)


def test_what_draws_from_one_key_draws_numbers_of_its_own():
    """Otherwise the part of an image that is cut would say how much of it is mixed."""
    keys = [KEY, apart(KEY, 1), apart(KEY, 2)]
    assert len({int(key.seed) for key in keys}) == 3
    assert {(int(key.step), key.first) for key in keys} == {(5, 2)}


class Seen:
    """An augmentation, a transform and a mix at once, that notes its keys' seeds."""

    def __init__(self):
        self.seeds: list[int] = []

    def transform(self, inputs: Tensor, key: Key | None) -> Tensor:
        assert key is not None
        self.seeds.append(int(key.seed))
        return inputs

    def mix(self, inputs: Tensor, targets: Any, key: Key) -> tuple[Tensor, Any]:
        return self.transform(inputs, key), targets


def test_a_batch_is_augmented_transformed_and_mixed_by_three_keys():
    seen, batch = Seen(), Batch(torch.ones(2, 1), {})
    show(batch, KEY, seen.transform, seen.transform, seen.mix)
    assert len(set(seen.seeds)) == 3 and seen.seeds[1] == 3  # the transform's is the step's own


class Mapped(Dataset):
    """Images and labels by number; `read` holds the numbers that were asked for."""

    def __init__(self):
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        self.read.append(number)
        return IMAGES[number], LABELS[number]


class Stream(IterableDataset):
    def __iter__(self):
        raise AssertionError("read")


def test_a_residents_digest_is_of_every_byte_of_the_examples_and_of_nothing_else():
    inputs, labels = {"a": torch.arange(6.0).reshape(3, 2)}, torch.tensor([0, 1, 0])
    source = Resident(inputs, {"labels": labels}, batch_size=2)
    shown = [source.batched(3), source.augmented(lambda x, key: x), source.subset(torch.arange(3))]
    assert {source.digest()} == {one.digest() for one in shown}
    others = [
        Resident({"a": inputs["a"] + torch.eye(3, 2) * 1e-6}, source.targets),
        Resident({"b": inputs["a"]}, source.targets),
        Resident({"a": inputs["a"].double()}, source.targets),
        Resident(inputs, {"labels": labels.flip(0) + 1}),
        Resident(inputs, {"tags": labels}),
        source.subset(torch.tensor([0, 2, 1])),
    ]
    assert len({source.digest(), *(one.digest() for one in others)}) == 7


class Drawing(Mapped):
    """The same examples, but for a number that is drawn each time."""

    def __init__(self, draw: Callable[[], float]):
        super().__init__()
        self.draw = draw

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        image, label = super().__getitem__(number)
        return image + self.draw(), label


class Sized(Mapped):
    """A data set that says what its examples are."""

    def digest(self) -> str:
        return "mine"


def test_the_digest_is_of_what_the_data_set_says_or_of_the_first_and_the_last_example():
    source = Streamed(DataLoader(Mapped(), batch_size=3))
    own = source.digest()
    assert own == source.batched(5).augmented(Flip()).to("meta").digest() and len(own) == 64
    images = [IMAGES, IMAGES.clone(), IMAGES.clone()]
    images[1][0, 0, 0, 0] += 1
    images[2][-1, -1, -1, -1] += 1
    tensors = [TensorDataset(x, LABELS) for x in images]
    tensors += [TensorDataset(IMAGES[:-1], LABELS[:-1]), TensorDataset(IMAGES, LABELS + 1)]
    digests = [Streamed(DataLoader(one, batch_size=3)).digest() for one in tensors]
    assert digests[0] == own and len(set(digests)) == 5
    sized = Streamed(DataLoader(Sized(), batch_size=3))
    parts = [one.subset(torch.tensor(rows)) for one in (source, sized) for rows in ([0, 2], [0, 3])]
    assert len({own, sized.digest(), *(part.digest() for part in parts)}) == 6
    examples: Any = sized.loader.dataset
    assert examples.read == []


def test_what_is_drawn_in_reading_leaves_the_digest_alone():
    state, numbers = torch.get_rng_state(), np.random.default_rng(0)
    for draw in (np.random.rand, random.random, lambda: float(torch.rand(()))):
        source = Streamed(DataLoader(Drawing(draw), batch_size=3))
        assert source.digest() == source.digest()
    # Of a generator of its own nothing is known: the form of the examples counts.
    own = {
        Streamed(DataLoader(Drawing(draw), batch_size=3)).digest()
        for draw in (numbers.random, numbers.random, numbers.normal)
    }
    assert len(own) == 1
    assert torch.equal(state, torch.get_rng_state())


def test_of_a_stream_the_digest_reads_nothing():
    one, other = (Streamed(DataLoader(Stream(), 2), examples=n) for n in (5, 4))
    assert one.digest() == one.batched(3).digest() != other.digest()
