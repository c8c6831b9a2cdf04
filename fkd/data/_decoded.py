"""All images of a folder decoded into tensors, which are kept in a cache by their content."""

import hashlib
import os
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import PIL
import torch
import torchvision
from jaxtyping import Bool, UInt8
from torch import Tensor

from fkd import checkpoint
from fkd._digest import digest
from fkd.data._decode import RULES, Header, decode
from fkd.data._files import contents, of_each
from fkd.data._folder import Images, headers
from fkd.data._threads import Room, each
from fkd.data._tree import check_readable, shown

WHOLE = 2**32  # bytes of images that are all read to see whether one has changed
PIXELS = 2**25  # that are decoded at once, of about 10 bytes each
ABANDONED = 3600  # seconds after which a file that is written no more is a killed writer's


class Decoded(NamedTuple):
    """All images of a split, and which of their files hold several frames."""

    images: UInt8[Tensor, "examples channels side side"]
    frames: Bool[Tensor, " examples"]


def decoded(images: Mapping[str, Images], cache: Path) -> dict[str, Decoded]:
    """All images of each split, by its name.

    They are kept in the folder `cache`, in a file that goes by the folder of images and their
    content: names, labels, sizes and every byte of up to 4 GiB of images. Of more the first and
    last 4,096 bytes of each count, and when it was last written and changed. What is read from the
    cache is what was written there, by its names, shapes, dtypes and checksums; anything else is
    decoded anew and replaced, as is the cache of what the folder held before. Two processes that do
    so at once write the same file, each whole.

    At most 2²⁵ pixels are decoded at once, or one image of more: about 10 bytes each, so 0.3 GiB,
    or 0.8 for an image of 9,000 x 9,000.

    Raises ValueError that names the images that cannot be read.
    """
    place, key = _place(images), _key(images)
    file = cache / f"{place}-{key}.pt"
    kept = _read(file, key, images)
    if kept is not None:
        return kept
    result = _decode(images, headers(images))
    if _key(images) == key:  # else an image was changed meanwhile
        _keep(file, key, result, stale=f"{place}-*")
    return result


def _place(images: Mapping[str, Images]) -> str:
    """The folder and the form of the images: what is decoded anew replaces what was of them."""
    train = images["train"]
    where = f"{train.folder}\0{train.shape}".encode(errors="surrogateescape")
    return hashlib.sha256(where).hexdigest()[:16]


def _key(images: Mapping[str, Images]) -> str:
    """All that the pixels come from, in the same words in every process."""
    every = [path for one in images.values() for path in one.paths]
    statuses = of_each(_status, every)
    whole = sum(status.st_size for status in statuses) <= WHOLE
    # A file's owner may set at will when it was written, but not when it was changed.
    times = [] if whole else [(status.st_mtime_ns, status.st_ctime_ns) for status in statuses]
    parts = {s: (one.classes, one.shape, one.targets, one.names) for s, one in images.items()}
    libraries = (RULES, PIL.__version__, torchvision.__version__)
    return digest((libraries, parts, str(times), contents(every, whole))).hex()


def _status(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise ValueError(f"{shown(path)}: {error.strerror}") from error


def _read(file: Path, key: str, images: Mapping[str, Images]) -> dict[str, Decoded] | None:
    """What was kept, or None where there is nothing, or not what was written for these images."""
    try:
        tensors, about = checkpoint.read(file), checkpoint.about(file)
    except ValueError:
        return None
    forms = {name: (x.dtype, tuple(x.shape)) for name, x in tensors.items()}
    expected = {}
    for split, one in images.items():
        expected[f"{split}.images"] = (torch.uint8, (len(one), *one.shape))
        expected[f"{split}.frames"] = (torch.bool, (len(one),))
    if forms != expected or about.get("key") != key:
        return None
    return {
        split: Decoded(tensors[f"{split}.images"], tensors[f"{split}.frames"]) for split in images
    }


def _decode(images: Mapping[str, Images], of: Mapping[str, Sequence[Header]]) -> dict[str, Decoded]:
    """Every image once, straight into the tensor that it is for."""
    result, unreadable, room = {}, [], Room(PIXELS)
    for split, one in images.items():
        whole = torch.empty(len(one), *one.shape, dtype=torch.uint8)
        into = partial(_decode_into, whole, one, of[split], room)
        # A thread keeps the memory that it has once asked for: what is large is left to this one.
        large = {number for number, header in enumerate(of[split]) if header.pixels > PIXELS // 2}
        small = [number for number in range(len(one)) if number not in large]
        unreadable += [
            error for error in chain(each(into, small), map(into, sorted(large))) if error
        ]
        frames = torch.tensor([header.frames for header in of[split]])
        result[split] = Decoded(whole, frames)
    check_readable(unreadable)
    return result


def _decode_into(
    whole: Tensor, images: Images, of: Sequence[Header], room: Room, number: int
) -> str | None:
    """Put one image where it belongs, or say why it cannot be read."""
    with room.of(of[number].pixels):
        try:
            whole[number] = decode(images.paths[number], *images.shape[:2])
        except ValueError as error:
            return str(error)
    return None


def _keep(file: Path, key: str, result: dict[str, Decoded], stale: str) -> None:
    """Write the cache and drop what it replaces; a cache that cannot be written costs only time."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _drop_abandoned(file.parent)
        checkpoint.save(file, result, {"key": key})
        for old in file.parent.glob(stale):
            if old != file:
                old.unlink(missing_ok=True)  # another process may be faster
    except (OSError, ValueError) as error:
        warnings.warn(
            f"the decoded images could not be cached ({error}); they will be decoded again next "
            "time. Set FKD_CACHE to a folder that can be written",
            stacklevel=2,
        )


def _drop_abandoned(cache: Path) -> None:
    """Remove what writers that were killed have left: hidden, and not yet whole. `checkpoint.whole`
    writes in a folder, and knows of the file's own name alone."""
    for left in cache.glob(".*"):
        try:
            if time.time() - left.stat().st_mtime <= ABANDONED:
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()
        except FileNotFoundError:  # it is whole now, or another process was faster
            continue
