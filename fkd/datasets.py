"""Where data sets come from: scikit-learn's digits, torchvision's downloads, a folder of images."""

import hashlib
import os
import urllib.error
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor
from torchvision import datasets as tv
from torchvision.datasets.folder import IMG_EXTENSIONS, default_loader
from torchvision.transforms.v2 import functional as tvf

from fkd import _check, checkpoint
from fkd.data import Data

SIDE = 32  # every image is resized to 32x32, for which the tutorial's models are made


def cache_dir() -> Path:
    """Where downloads and decoded images go: `$FKD_CACHE`, else `$XDG_CACHE_HOME/fkd`, else
    `~/.cache/fkd`."""
    if given := os.environ.get("FKD_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fkd"


def load(name: str, root: str | Path | None = None) -> Data:
    """The data set `name`: one of `DATASETS`.

    `root` is where torchvision's data sets are downloaded to on first use (by default the cache
    directory), or, for `folder`, the folder of images. Raises ValueError for an unknown name, a
    download that failed, or a folder that does not fit (see `folder`).

    >>> load("digits").train_images.shape
    torch.Size([898, 3, 32, 32])
    """
    _check.known("load", "data set", name, DATASETS)
    return DATASETS[name](None if root is None else Path(root).expanduser())


def digits(root: Path | None = None) -> Data:
    """scikit-learn's 1,797 8x8 digits, split in two halves with the classes' shares kept.

    Half is held out for testing, more than is usual, so that an accuracy there is known to about
    0.1 %. Needs scikit-learn and no download.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ValueError(
            'the digits come with scikit-learn, which is not installed: pip install "fkd[compare]"'
        ) from error
    bunch: Any = load_digits()  # intensities 0 to 16
    images = _to_side(torch.from_numpy(bunch.images).float().unsqueeze(1) * (255 / 16))
    labels = torch.from_numpy(bunch.target).long()
    train, test = train_test_split(
        range(len(labels)), test_size=0.5, stratify=bunch.target, random_state=0
    )
    classes = tuple(str(name) for name in bunch.target_names)
    return Data("digits", classes, images[train], labels[train], images[test], labels[test])


def _to_side(images: Tensor) -> Tensor:
    """Float images [n, 1 or 3, h, w] in [0, 255] as uint8 [n, 3, 32, 32]."""
    images = F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True)
    if images.shape[1] == 1:
        images = repeat(images, "n 1 h w -> n 3 h w")
    return images.round().clamp(0, 255).byte().contiguous()


def _torchvision(name: str, kind: Callable[..., Any]) -> Callable[[Path | None], Data]:
    def load_or_download(root: Path | None = None) -> Data:
        root = root or cache_dir() / "torchvision"
        try:
            train, test = (kind(str(root), train=train, download=True) for train in (True, False))
        # torchvision raises any of these for a download that failed or came broken
        except (urllib.error.URLError, OSError, RuntimeError) as error:
            source = getattr(kind, "url", None) or ", ".join(getattr(kind, "mirrors", []))
            raise ValueError(
                f"{name} could not be downloaded into {root}: {error}. Without a network, fetch it "
                f"elsewhere from {source} and put the files there as torchvision does (its data "
                f"set {kind.__name__}), or give the folder that holds them with --root; "
                "--dataset digits needs no download"
            ) from error
        return Data(name, tuple(train.classes), *_tensors(train), *_tensors(test))

    return load_or_download


def _tensors(dataset: Any) -> tuple[Tensor, Tensor]:
    images, labels = torch.as_tensor(dataset.data), torch.as_tensor(dataset.targets).long()
    if images.ndim == 3:  # grey [n, h, w]
        images = images.unsqueeze(-1)
    images = images.permute(0, 3, 1, 2).contiguous()
    if images.shape[1:] != (3, SIDE, SIDE):
        images = _to_side(images.float())
    return images, labels


def folder(root: Path | None = None) -> Data:
    """Any `ROOT/train/<class>/*` and `ROOT/test/<class>/*` of images, resized to 32x32.

    Decoded once; the tensors are kept in `cache_dir()`, never beside the images, and decoded anew
    when a file was added, removed or changed. Raises ValueError for a missing or empty folder, for
    classes that differ between the splits, and for images that cannot be read, by name.
    """
    if root is None:
        raise ValueError("folder: which folder? give it with --root; it holds train/ and test/")
    name, root = root.name, root.resolve()
    splits = {split: _split(root, split) for split in ("train", "test")}
    classes = {split: tuple(found.classes) for split, found in splits.items()}
    if classes["train"] != classes["test"]:
        only = {
            a: sorted(set(classes[a]) - set(classes[b]))
            for a, b in (("train", "test"), ("test", "train"))
        }
        raise ValueError(
            f"folder: {root} must hold the same classes in train/ and test/, but "
            f"{only['train'] or 'none'} are only in train and {only['test'] or 'none'} only in test"
        )
    key = hashlib.sha256(str(root).encode()).hexdigest()[:16]
    cached = cache_dir() / "folder" / f"{key}-{_fingerprint(splits)}.pt"
    try:
        tensors = checkpoint.read(cached)
    except ValueError:  # there is none, or a broken one
        tensors = _decode(splits)
        _keep(cached, tensors, stale=f"{key}-*.pt")
    names = ("train_images", "train_labels", "test_images", "test_labels")
    return Data(name or "folder", classes["train"], *(tensors[key] for key in names))


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


def _fingerprint(splits: dict[str, tv.ImageFolder]) -> str:
    digest = hashlib.sha256(f"{SIDE}".encode())
    for found in splits.values():
        for path, label in found.samples:
            status = os.stat(path)
            digest.update(f"{path}\0{label}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _decode(splits: dict[str, tv.ImageFolder]) -> dict[str, Tensor]:
    tensors, unreadable = {}, []
    with ThreadPoolExecutor() as pool:
        for split, found in splits.items():
            images = list(pool.map(_read_image, [path for path, _ in found.samples]))
            unreadable += [image for image in images if isinstance(image, str)]
            if not unreadable:
                tensors[f"{split}_images"] = torch.stack(images)  # type: ignore[arg-type]
                tensors[f"{split}_labels"] = torch.tensor(found.targets)
    if unreadable:
        shown = "\n  ".join(unreadable[:10])
        more = f"\n  and {len(unreadable) - 10} more" if len(unreadable) > 10 else ""
        raise ValueError(
            f"folder: {len(unreadable)} images cannot be read; mend or remove them:\n  "
            f"{shown}{more}"
        )
    return tensors


def _read_image(path: str) -> Tensor | str:
    """The image [3, 32, 32], or why it cannot be read."""
    try:
        image = tvf.pil_to_tensor(default_loader(path))
    except (OSError, SyntaxError, ValueError) as error:  # whatever PIL's decoders raise
        return f"{path}: {error}"
    if image.shape[1:] == (SIDE, SIDE):
        return image
    return tvf.resize(image, [SIDE, SIDE], antialias=True)


def _keep(cached: Path, tensors: dict[str, Tensor], stale: str) -> None:
    """Write the cache and drop what it replaces; a cache that cannot be written costs only time."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.save(cached, tensors)
        for old in cached.parent.glob(stale):
            if old != cached:
                old.unlink()
    except (OSError, RuntimeError) as error:
        warnings.warn(
            f"the decoded images could not be cached ({error}); they will be decoded again next "
            "time. Set FKD_CACHE to a folder that can be written",
            stacklevel=2,
        )


DATASETS: dict[str, Callable[[Path | None], Data]] = {
    "digits": digits,
    "cifar10": _torchvision("cifar10", tv.CIFAR10),
    "cifar100": _torchvision("cifar100", tv.CIFAR100),
    "fashion-mnist": _torchvision("fashion-mnist", tv.FashionMNIST),
    "folder": folder,
}
