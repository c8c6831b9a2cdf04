"""A folder of images, decoded one by one, or all at once into tensors that are kept."""

import hashlib
import os
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import datasets as tv
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2 import functional as tvf

from fkd import _check, checkpoint

MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # PIL's, by the number of channels
# A colour has 8 bits in all of PIL's modes but these, which it would cut off at 255.
TOO_DEEP = ("I", "F")


class Images(Dataset):
    """The images of one split, decoded when they are asked for: (uint8 [channels, side, side],
    class). Raises ValueError that names the file for one that cannot be read."""

    def __init__(self, images: tv.ImageFolder, side: int, channels: int):
        self.paths = [path for path, _ in images.samples]
        self.targets = torch.tensor(images.targets)
        self.classes = tuple(images.classes)
        self.shape = (channels, side, side)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[UInt8[Tensor, "channels side side"], Tensor]:
        return decode(self.paths[number], *self.shape[:2]), self.targets[number]


def decode(path: str, channels: int, side: int) -> UInt8[Tensor, "channels side side"]:
    """The image in a file. Raises ValueError that names the file where it cannot be read."""
    try:
        with Image.open(path) as file:
            if file.mode.startswith(TOO_DEEP):
                raise ValueError(f"it has more than 8 bits a colour (mode {file.mode})")
            image = tvf.pil_to_tensor(file.convert(MODES[channels]))
    except (OSError, SyntaxError, ValueError) as error:  # whatever PIL's decoders raise
        raise ValueError(f"{path}: {error}") from error
    if image.shape[1:] == (side, side):
        return image
    return tvf.resize(image, [side, side], antialias=True)


def splits(root: Path, side: int, channels: int) -> dict[str, Images]:
    """The images in ROOT/train/<class>/* and ROOT/test/<class>/*.

    Raises ValueError for a missing or empty folder, and for classes that differ.
    """
    _check.known("folder", "number of channels", str(channels), map(str, MODES))
    root = root.resolve()
    images = {split: Images(_split(root, split), side, channels) for split in ("train", "test")}
    train, test = (set(one.classes) for one in images.values())
    if train != test:
        raise ValueError(
            f"folder: {root} must hold the same classes in train/ and test/, but "
            f"{sorted(train - test) or 'none'} are only in train and "
            f"{sorted(test - train) or 'none'} only in test"
        )
    return images


def _split(root: Path, split: str) -> tv.ImageFolder:
    where = root / split
    if not where.is_dir():
        raise ValueError(
            f"folder: {where} is missing; {root} must hold train/<class>/ and test/<class>/"
        )
    try:
        return tv.ImageFolder(str(where))
    except FileNotFoundError as error:
        raise ValueError(
            f"folder: {where} must hold a folder of images for each class "
            f"(of {', '.join(IMG_EXTENSIONS)}): {error}"
        ) from error


def tensors(root: Path, images: Mapping[str, Images], cache: Path) -> dict[str, Tensor]:
    """All images of each split, uint8 [examples, channels, side, side], by the split's name.

    They are kept in the folder `cache`, and decoded anew when a file was added, removed or changed.
    Raises ValueError for images that cannot be read, by name.
    """
    shape = next(iter(images.values())).shape
    key = hashlib.sha256(f"{root.resolve()}\0{shape}".encode()).hexdigest()[:16]
    file = cache / f"{key}-{_fingerprint(images)}.pt"
    try:
        return checkpoint.read(file)
    except ValueError:  # there is none, or a broken one
        decoded = _decode(images)
    _keep(file, decoded, stale=f"{key}-*.pt")
    return decoded


def _fingerprint(images: Mapping[str, Images]) -> str:
    digest = hashlib.sha256()
    for split in images.values():
        for path, label in zip(split.paths, split.targets.tolist(), strict=True):
            status = os.stat(path)
            digest.update(f"{path}\0{label}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _decode(images: Mapping[str, Images]) -> dict[str, Tensor]:
    """Every image once, straight into the tensor that it is for."""
    decoded: dict[str, Tensor] = {}
    unreadable: list[str] = []
    with ThreadPoolExecutor() as pool:
        for split, one in images.items():
            decoded[split] = torch.empty(len(one), *one.shape, dtype=torch.uint8)
            errors = pool.map(partial(_decode_into, decoded[split], one), range(len(one)))
            unreadable += [error for error in errors if error]
    if unreadable:
        few = "\n  ".join(unreadable[:10])
        more = f"\n  and {len(unreadable) - 10} more" if len(unreadable) > 10 else ""
        raise ValueError(
            f"folder: {len(unreadable)} images cannot be read; mend or remove them:\n  {few}{more}"
        )
    return decoded


def _decode_into(whole: Tensor, images: Images, number: int) -> str | None:
    """Put one image where it belongs, or say why it cannot be read."""
    try:
        whole[number] = images[number][0]
    except ValueError as error:
        return str(error)
    return None


def _keep(file: Path, decoded: dict[str, Tensor], stale: str) -> None:
    """Write the cache and drop what it replaces; a cache that cannot be written costs only time."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.save(file, decoded)
        for old in file.parent.glob(stale):
            if old != file:
                old.unlink()
    except (OSError, RuntimeError) as error:
        warnings.warn(
            f"the decoded images could not be cached ({error}); they will be decoded again next "
            "time. Set FKD_CACHE to a folder that can be written",
            stacklevel=2,
        )
