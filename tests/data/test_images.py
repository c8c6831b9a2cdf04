"""What every augmentation promises: in parts of a batch, for members, mapped and compiled."""

from typing import Any

import pytest
import torch
from torch.func import vmap

from fkd._draws._stream import Stream
from fkd._random import Key
from fkd.data import Augmentation, Crop, Cutout, Flip, RandAugment, ResizedCrop, chain
from fkd.data._images import draws
from fkd.data._mix import _draws

ALL = (
    Crop(padding=2),
    Flip(),
    Cutout(4),
    ResizedCrop(),
    RandAugment(operations=3),
    chain(Crop(padding=2), Flip(), Cutout(4)),
)
every = pytest.mark.parametrize("augment", ALL, ids=lambda augment: type(augment).__name__)
IMAGES = torch.randint(256, (12, 3, 9, 8), generator=torch.Generator().manual_seed(0)).byte()


def key(step: int = 5, first: Any = 0, seed: int = 3) -> Key:
    return Key(torch.tensor(seed), torch.tensor(step), first)


@every
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
def test_shape_and_dtype_stay_and_the_images_given_are_left_alone(augment, dtype):
    images = IMAGES if dtype == torch.uint8 else (IMAGES / 255).to(dtype)
    before = images.clone()
    shown = augment(images, key())
    assert (shown.shape, shown.dtype) == (images.shape, dtype)
    assert not torch.equal(shown, images)
    assert torch.equal(images, before)
    assert shown.min() >= 0 and shown.max() <= (255 if dtype == torch.uint8 else 1)


@every
def test_without_a_key_nothing_changes(augment):
    assert torch.equal(augment(IMAGES), IMAGES)
    assert torch.equal(augment(IMAGES, None), IMAGES)


@every
def test_the_key_alone_says_what_is_shown(augment):
    shown = augment(IMAGES, key())
    assert torch.equal(augment(IMAGES, key()), shown)
    assert not torch.equal(augment(IMAGES, key(step=6)), shown)
    assert not torch.equal(augment(IMAGES, key(seed=4)), shown)


@every
@pytest.mark.parametrize("first", [0, 5, torch.tensor(7)])
def test_a_part_of_a_batch_is_shown_as_in_the_whole(augment, first):
    part = augment(IMAGES[first:], key(first=first))
    assert torch.equal(part, augment(IMAGES, key())[first:])


@every
def test_members_are_shown_what_they_are_shown_alone(augment):
    orders = torch.stack(
        [torch.randperm(12, generator=torch.Generator().manual_seed(k)) for k in (0, 1)]
    )
    together = augment(IMAGES[orders], key())
    mapped = vmap(augment, in_dims=(0, None))(IMAGES[orders], key())
    keys = Key(torch.tensor([3, 8]), torch.tensor([5, 5]), torch.tensor([0, 0]))
    own = vmap(augment)(IMAGES[orders], keys)
    for member, order in enumerate(orders):
        alone = augment(IMAGES[order], key())
        assert torch.equal(together[member], alone)
        assert torch.equal(mapped[member], alone)
        assert torch.equal(own[member], augment(IMAGES[order], key(seed=int(keys.seed[member]))))


# Each once: a graph of all, or of three operations in a row, takes much longer to compile.
ONCE = (*ALL[:4], RandAugment(operations=1))


@pytest.mark.plain
def test_it_is_compiled_whole():
    augment, members = chain(*ONCE, ALL[-1]), IMAGES.unflatten(0, (2, 6))
    compiled = torch.compile(augment, fullgraph=True, backend="eager")
    assert torch.equal(compiled(members, key()), augment(members, key()))


@pytest.mark.slow
@pytest.mark.parametrize("augment", ONCE, ids=lambda augment: type(augment).__name__)
def test_the_compiler_changes_no_pixel(augment):
    compiled = torch.compile(augment, fullgraph=True)
    for step in range(15):
        assert torch.equal(compiled(IMAGES, key(step)), augment(IMAGES, key(step)))


@every
def test_its_draws_are_not_those_of_what_stands_beside_it(augment):
    twice = chain(augment, augment)
    assert not torch.equal(twice(IMAGES, key()), augment(augment(IMAGES, key()), key()))


def test_its_draws_are_not_those_of_a_student_of_the_same_seed_nor_of_a_mix():
    streams = (Stream(key(), 12), draws(key(), IMAGES), _draws("MixUp", key()))
    numbers = {tuple(stream.bits((12,)).tolist()) for stream in streams}
    assert len(numbers) == 3


@pytest.mark.plain
@every
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 4, 4), r"must be \[... batch channels height width\], but it is \(3, 4"),
        (torch.zeros(2, 3, 4, 4).long(), "uint8 or floating-point, but their dtype is torch.int64"),
        (torch.zeros(2, 3, 0, 4), r"images must have pixels, but they are \(2, 3, 0, 4\)"),
        ({"pixels": torch.zeros(2, 3, 4, 4)}, "one tensor of images, but they are a dict; give"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(augment, images, message):
    with pytest.raises(ValueError, match=message):
        augment(images, key())
    with pytest.raises(ValueError, match=message):
        augment.check(images, {})


@pytest.mark.parametrize("kind", [Crop, Cutout, RandAugment])
def test_a_fill_that_the_images_cannot_hold_is_refused(kind):
    sizes = {"size": 2} if kind is Cutout else {}
    with pytest.raises(ValueError, match="for each of the 3 channels, but it holds 2"):
        kind(fill=(1, 2), **sizes)(IMAGES, key())
    for fill in (256, -1, 0.5):
        with pytest.raises(ValueError, match=r"fill must be a whole number in \[0, 255\]"):
            kind(fill=fill, **sizes)(IMAGES, key())


def test_one_of_your_own_is_a_function_of_images_and_a_key():
    class Shifted(Augmentation):
        def augment(self, images, key):
            return images + key.step

    assert torch.equal(Shifted()(torch.zeros(1, 1, 2, 2), key()), torch.full((1, 1, 2, 2), 5.0))
