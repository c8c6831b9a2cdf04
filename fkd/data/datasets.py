"""The data sets by name: scikit-learn's digits, torchvision's downloads, a folder of images.

All are images [3, 32, 32] on the CPU, in uint8, normalised by ImageNet's statistics as in the
tutorial whose networks they are for.
"""

import os
import urllib.error
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor
from torchvision import datasets as tv

from fkd import _check
from fkd.data import _folder
from fkd.data._data import Data
from fkd.data._resident import Resident
from fkd.data._transforms import Normalize

SIDE = 32  # every image is resized to 32x32, for which the tutorial's models are made
# ImageNet's, which the tutorial applies to CIFAR-10, in [0, 1] by channel.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def cache_dir() -> Path:
    """Where downloads and decoded images go: `$FKD_CACHE`, else `$XDG_CACHE_HOME/fkd`, else
    `~/.cache/fkd`."""
    if folder := os.environ.get("FKD_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fkd"


def load(name: str, root: str | Path | None = None) -> Data[Resident]:
    """The data set `name`: one of `DATASETS`.

    `root` is where torchvision's data sets are downloaded to on first use (by default the cache
    directory), or, for `folder`, the folder of images. Raises ValueError for an unknown name, a
    download that failed, or a folder that does not fit (see `folder`).

    >>> load("digits").train.examples
    898
    """
    _check.known("load", "data set", name, DATASETS)
    return DATASETS[name](None if root is None else Path(root).expanduser())


def digits(root: Path | None = None) -> Data[Resident]:
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
    return Data(
        "digits",
        classes,
        train=_source(images[train], labels[train]),
        test=_source(images[test], labels[test]),
    )


def folder(root: Path | None = None) -> Data[Resident]:
    """Any `ROOT/train/<class>/*` and `ROOT/test/<class>/*` of images, resized to 32x32.

    Decoded once; the tensors are kept in `cache_dir()`, never beside the images, and decoded anew
    when a file was added, removed or changed. Raises ValueError for a missing or empty folder, for
    classes that differ between the splits, and for images that cannot be read, by name.
    """
    if root is None:
        raise ValueError("folder: which folder? give it as root=; it holds train/ and test/")
    classes, tensors = _folder.read(root, SIDE, cache_dir() / "folder")
    return Data(
        root.name or "folder",
        classes,
        train=_source(tensors["train_images"], tensors["train_labels"]),
        test=_source(tensors["test_images"], tensors["test_labels"]),
    )


def _torchvision(name: str, kind: Callable[..., Any], root: Path | None = None) -> Data[Resident]:
    root = root or cache_dir() / "torchvision"
    try:
        train, test = (kind(str(root), train=train, download=True) for train in (True, False))
    # torchvision raises any of these for a download that failed or came broken
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        source = getattr(kind, "url", None) or ", ".join(getattr(kind, "mirrors", []))
        raise ValueError(
            f"{name} could not be downloaded into {root}: {error}. Without a network, fetch it "
            f"elsewhere from {source} and put the files there as torchvision does (its data set "
            f"{kind.__name__}), or give the folder that holds them as root=; the data set 'digits' "
            "needs no download"
        ) from error
    return Data(
        name, tuple(train.classes), train=_source(*_tensors(train)), test=_source(*_tensors(test))
    )


def _tensors(dataset: Any) -> tuple[Tensor, Tensor]:
    images, labels = torch.as_tensor(dataset.data), torch.as_tensor(dataset.targets).long()
    if images.ndim == 3:  # grey [n, h, w]
        images = images.unsqueeze(-1)
    images = images.permute(0, 3, 1, 2).contiguous()
    if images.shape[1:] != (3, SIDE, SIDE):
        images = _to_side(images.float())
    return images, labels


def _to_side(images: Tensor) -> Tensor:
    """Float images [n, 1 or 3, h, w] in [0, 255] as uint8 [n, 3, 32, 32]."""
    images = F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True)
    if images.shape[1] == 1:
        images = repeat(images, "n 1 h w -> n 3 h w")
    return images.round().clamp(0, 255).byte().contiguous()


def _source(images: Tensor, labels: Tensor) -> Resident:
    return Resident(images, {"labels": labels}, transform=Normalize(MEAN, STD))


DATASETS: dict[str, Callable[[Path | None], Data[Resident]]] = {
    "digits": digits,
    "cifar10": partial(_torchvision, "cifar10", tv.CIFAR10),
    "cifar100": partial(_torchvision, "cifar100", tv.CIFAR100),
    "fashion-mnist": partial(_torchvision, "fashion-mnist", tv.FashionMNIST),
    "folder": folder,
}
