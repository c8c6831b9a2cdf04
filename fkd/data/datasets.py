"""The data sets by name: scikit-learn's digits, torchvision's downloads, a folder of images.

All are square images in uint8 on the CPU, by default [3, 32, 32], for which the tutorial's networks
are made, and normalised by ImageNet's statistics as there.
"""

import os
import urllib.error
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fkd import _check
from fkd.data import _folder
from fkd.data._data import Data
from fkd.data._decoded import decoded
from fkd.data._resident import Resident
from fkd.data._resize import resize_then, resized, with_channels
from fkd.data._source import Source
from fkd.data._streamed import Streamed
from fkd.data._transforms import Normalize

# ImageNet's, which the tutorial applies to CIFAR-10, in [0, 1] by channel.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Form:
    """How images are to come: squares of `side` pixels, in so many channels, normalised.

    Where they would take more than `memory` GiB, they are not all held at that size; `workers`
    processes then decode those that lie in files.
    """

    side: int = 32
    channels: int = 3
    memory: float = 4.0
    workers: int = 2
    normalize: Normalize = Normalize(MEAN, STD)  # noqa: RUF009, for it is frozen too

    def fits(self, examples: int) -> bool:
        """Whether so many images may lie in memory."""
        return examples * self.channels * self.side**2 <= self.memory * 2**30


def cache_dir() -> Path:
    """Where downloads and decoded images go: `$FKD_CACHE`, else `$XDG_CACHE_HOME/fkd`, else
    `~/.cache/fkd`."""
    if folder := os.environ.get("FKD_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fkd"


def load(
    name: str,
    root: str | Path | None = None,
    *,
    image_size: int = 32,
    memory: float = 4.0,
    channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    workers: int = 2,
) -> Data[Any]:
    """The data set `name`: one of `DATASETS`.

    `root` is where torchvision's data sets are downloaded to on first use (by default the cache
    directory), or, for `folder`, the folder of images. Images are resized to `image_size` pixels a
    side, whatever part of either axis that stretches. A grey image is repeated in all `channels`;
    images of a folder are converted to as many, 1 (grey), 3 (RGB) or 4 (RGBA).

    A channel in [0, 1] is normalised by its `mean` and `std`: by default ImageNet's for three
    channels, and 0.5 for any other number. Where the images of both splits would take more than
    `memory` GiB, those of a folder are decoded when they are read (a `Streamed` source), by
    `workers` processes, and others are held as they come and resized within the step. The batches
    are the same.

    Raises ValueError for an unknown name, a download that failed, a folder that does not fit (see
    `folder`), images of another number of channels, and a `mean` and `std` of another number.

    >>> load("digits").train.examples
    898
    """
    _check.known("load", "data set", name, DATASETS)
    if root is not None:
        _check.kind("load", (str, Path), root=root)
    _check.count("load", image_size=image_size, channels=channels)
    _check.count("load", least=0, workers=workers)
    _check.plain("load", memory=memory)
    _check.not_negative("load", memory=memory)
    for argument, constants in (("mean", mean), ("std", std)):
        if constants is not None:
            _check.sequence("load", **{argument: constants})
    normalize = _normalize(channels, mean, std)
    form = Form(image_size, channels, memory, workers, normalize)
    return DATASETS[name](None if root is None else _path(root), form)


def _path(root: str | Path) -> Path:
    """The path that `root` means. Raises ValueError for what means none."""
    text = str(root)
    if not isinstance(root, str | Path) or not text or "\0" in text:
        raise ValueError(f"load: root must be the path of a folder, but it is {root!r:.100}")
    try:
        text.encode()
        return Path(root).expanduser()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"load: root must be written in UTF-8, but it is {root!r:.300}; give a link to it by "
            "another name"
        ) from error
    except RuntimeError as error:
        raise ValueError(
            f"load: root must begin with a home that there is, but {root!r:.100} does not: {error}"
        ) from error


def _normalize(
    channels: int, mean: Sequence[float] | None, std: Sequence[float] | None
) -> Normalize:
    usual = (MEAN, STD) if channels == len(MEAN) else ((0.5,) * channels,) * 2
    normalize = Normalize(
        usual[0] if mean is None else tuple(mean), usual[1] if std is None else tuple(std)
    )
    if len(normalize.mean) != channels:
        raise ValueError(
            f"load: mean and std must hold one number for each of the {channels} channels, but "
            f"they hold {len(normalize.mean)}"
        )
    return normalize


def digits(root: Path | None, form: Form) -> Data[Resident]:
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
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) * (255 / 16)
    labels = torch.from_numpy(bunch.target).long()
    train, test = train_test_split(
        range(len(labels)), test_size=0.5, stratify=bunch.target, random_state=0
    )
    classes = tuple(str(name) for name in bunch.target_names)
    splits = {"train": (images[train], labels[train]), "test": (images[test], labels[test])}
    return _held("digits", classes, splits, form)


def folder(root: Path | None, form: Form) -> Data[Any]:
    """Any `ROOT/train/<class>/*` and `ROOT/test/<class>/*` of images.

    | an image's file holds | what becomes of it |
    |---|---|
    | EXIF's orientation | it is turned upright |
    | several frames | the first is taken |
    | 16 bits a colour, or 12 in TIFF | the 8 highest bits: of 0 to 65,535 are made 0 to 255 |
    | floating point in [0, 1] | 255 times it, rounded |
    | other floating point, whole numbers of 32 bits | refused: their range is not known |
    | 1 bit | 0 and 255 |
    | a palette | its colours |
    | alpha, a transparent colour | the fourth of 4 channels; else it is laid on black |
    | no alpha, where there are to be 4 channels | the fourth is 255 |
    | CMYK, YCbCr, LAB | RGB as PIL makes it, without the file's colour profile |
    | colour, where there is to be 1 channel | 0.299 R + 0.587 G + 0.114 B |
    | grey, where there are to be 3 or 4 | the same in each colour |
    | another size than `image_size` squared | linear interpolation with antialiasing |
    | more pixels than `PIL.Image.MAX_IMAGE_PIXELS` | refused; by default that is 89,478,485 |

    Files are JPEG, PNG, PPM, BMP, TIFF, WebP and GIF, whichever of these their names say. Where
    they fit into memory they are
    decoded once; the tensors are kept in `cache_dir()`, never beside the images, and decoded anew
    when a file was added, removed or changed. Otherwise their headers are read, and each worker
    decodes one image at a time. Files that are hidden, no images by their names (`EXTENSIONS`) or
    in no class are passed over, and told in the data's `notes`, as are images of several frames.

    Raises ValueError, with the first ten names and their number, for a root that is no folder that
    can be read, for links that lead nowhere or to an ancestor, pipes, sockets and devices, for a
    class without images, for classes that differ between the splits, and for images that cannot be
    read or are refused: before any work where they are held. Where they are not, what the header
    does not show is found when the image is read.
    """
    if root is None:
        raise ValueError("folder: which folder? give it as root=; it holds train/ and test/")
    images = _folder.splits(root, form.side, form.channels)
    if form.fits(sum(map(len, images.values()))):
        held = decoded(images, cache_dir() / "folder")
        frames = {split: one.frames.tolist() for split, one in held.items()}
        sources: dict[str, Source] = {
            split: Resident(one.images, {"labels": images[split].targets}, transform=form.normalize)
            for split, one in held.items()
        }
    else:
        headers = _folder.headers(images)
        frames = {split: [one.frames for one in of] for split, of in headers.items()}
        sources = {
            split: Streamed(
                DataLoader(images[split], batch_size=128, num_workers=form.workers),
                transform=form.normalize,
            )
            for split in images
        }
    name = root.resolve().name or "folder"
    notes = _folder.notes(images, frames)
    return Data(name, images["train"].classes, **sources, notes=notes)


def _of_torchvision(name: str, called: str, root: Path | None, form: Form) -> Data[Resident]:
    from torchvision import datasets  # late, for it takes a second

    return _torchvision(name, getattr(datasets, called), root, form)


def _torchvision(
    name: str, kind: Callable[..., Any], root: Path | None, form: Form
) -> Data[Resident]:
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
    splits = {"train": _tensors(train), "test": _tensors(test)}
    return _held(name, tuple(train.classes), splits, form)


def _tensors(dataset: Any) -> tuple[Tensor, Tensor]:
    images, labels = torch.as_tensor(dataset.data), torch.as_tensor(dataset.targets).long()
    if images.ndim == 3:  # grey [n, h, w]
        images = images.unsqueeze(-1)
    return images.permute(0, 3, 1, 2).contiguous(), labels


def _held(
    name: str, classes: tuple[str, ...], splits: dict[str, tuple[Tensor, Tensor]], form: Form
) -> Data[Resident]:
    """Images as they come, which are resized now if they fit into memory, or else in the step."""
    fits = form.fits(sum(len(labels) for _, labels in splits.values()))
    transform = form.normalize if fits else partial(resize_then, form.side, form.normalize)
    sources = {}
    for split, (images, labels) in splits.items():
        held = with_channels(name, resized(images, form.side) if fits else images, form.channels)
        sources[split] = Resident(held, {"labels": labels}, transform=transform)
    return Data(name, classes, **sources)


DATASETS: dict[str, Callable[[Path | None, Form], Data[Any]]] = {
    "digits": digits,
    "cifar10": partial(_of_torchvision, "cifar10", "CIFAR10"),
    "cifar100": partial(_of_torchvision, "cifar100", "CIFAR100"),
    "fashion-mnist": partial(_of_torchvision, "fashion-mnist", "FashionMNIST"),
    "folder": folder,
}
