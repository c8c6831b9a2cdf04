"""A folder of images as tensors, decoded once."""

import hashlib
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor
from torchvision import datasets as tv
from torchvision.datasets.folder import IMG_EXTENSIONS, default_loader
from torchvision.transforms.v2 import functional as tvf

from fkd import checkpoint


def read(root: Path, side: int, cache: Path) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """The classes, and `train_images`, `train_labels`, `test_images` and `test_labels`.

    The tensors are kept in the folder `cache`, and decoded anew when a file was added, removed or
    changed. Raises ValueError for a missing or empty folder, for classes that differ between the
    splits, and for images that cannot be read, by name.
    """
    root = root.resolve()
    splits = {split: _split(root, split) for split in ("train", "test")}
    _check_classes(root, splits)
    key = hashlib.sha256(str(root).encode()).hexdigest()[:16]
    file = cache / f"{key}-{_fingerprint(splits, side)}.pt"
    try:
        tensors = checkpoint.read(file)
    except ValueError:  # there is none, or a broken one
        tensors = _decode(splits, side)
        _keep(file, tensors, stale=f"{key}-*.pt")
    return tuple(splits["train"].classes), tensors


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


def _check_classes(root: Path, splits: dict[str, tv.ImageFolder]) -> None:
    train, test = (set(splits[split].classes) for split in ("train", "test"))
    if train != test:
        raise ValueError(
            f"folder: {root} must hold the same classes in train/ and test/, but "
            f"{sorted(train - test) or 'none'} are only in train and "
            f"{sorted(test - train) or 'none'} only in test"
        )


def _fingerprint(splits: dict[str, tv.ImageFolder], side: int) -> str:
    digest = hashlib.sha256(f"{side}".encode())
    for images in splits.values():
        for path, label in images.samples:
            status = os.stat(path)
            digest.update(f"{path}\0{label}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _decode(splits: dict[str, tv.ImageFolder], side: int) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    unreadable: list[str] = []
    with ThreadPoolExecutor() as pool:
        for split, images in splits.items():
            paths = [path for path, _ in images.samples]
            results = list(pool.map(_read_image, paths, [side] * len(paths)))
            unreadable += [result for result in results if isinstance(result, str)]
            if not unreadable:
                tensors[f"{split}_images"] = torch.stack(results)  # type: ignore[arg-type]
                tensors[f"{split}_labels"] = torch.tensor(images.targets)
    if unreadable:
        few = "\n  ".join(unreadable[:10])
        more = f"\n  and {len(unreadable) - 10} more" if len(unreadable) > 10 else ""
        raise ValueError(
            f"folder: {len(unreadable)} images cannot be read; mend or remove them:\n  {few}{more}"
        )
    return tensors


def _read_image(path: str, side: int) -> Tensor | str:
    """The image [3, side, side], or why it cannot be read."""
    try:
        image = tvf.pil_to_tensor(default_loader(path))
    except (OSError, SyntaxError, ValueError) as error:  # whatever PIL's decoders raise
        return f"{path}: {error}"
    if image.shape[1:] == (side, side):
        return image
    return tvf.resize(image, [side, side], antialias=True)


def _keep(file: Path, tensors: dict[str, Tensor], stale: str) -> None:
    """Write the cache and drop what it replaces; a cache that cannot be written costs only time."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.save(file, tensors)
        for old in file.parent.glob(stale):
            if old != file:
                old.unlink()
    except (OSError, RuntimeError) as error:
        warnings.warn(
            f"the decoded images could not be cached ({error}); they will be decoded again next "
            "time. Set FKD_CACHE to a folder that can be written",
            stacklevel=2,
        )
