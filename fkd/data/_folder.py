"""A folder of images by class, decoded when they are asked for."""

import os
import unicodedata
from collections.abc import Mapping, Sequence, Set
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from fkd import _check
from fkd._digest import digest
from fkd.data._decode import MODES, Header, decode, header
from fkd.data._files import contents, of_each
from fkd.data._tree import EXTENSIONS, Tree, check_folder, check_readable, listed, shown, tree

SPLITS = ("train", "test")
REMEDY = "it holds train/<class>/* and test/<class>/*"


class Images(Dataset):
    """The images of one split, decoded when they are asked for: (uint8 [channels, side, side],
    class). Raises ValueError that names the file for one that cannot be read.

    `skipped` are the files that were passed over (see `Tree`).
    """

    def __init__(self, folder: Path, tree: Tree, side: int, channels: int):
        self.folder = folder
        self.paths = tree.files
        self.targets = torch.tensor(tree.labels)
        self.classes = tree.classes
        self.skipped = tree.skipped
        self.shape = (channels, side, side)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[UInt8[Tensor, "channels side side"], Tensor]:
        try:
            return decode(self.paths[number], *self.shape[:2]), self.targets[number]
        except ValueError as error:
            raise ValueError(f"root: {error}; mend or remove it") from error

    @property
    def names(self) -> bytes:
        """The files' paths within the split's folder, as the disk has them."""
        return os.fsencode("\0".join(map(self.within, self.paths)))

    def within(self, path: str) -> str:
        """A path of this folder, from it on."""
        return path[len(str(self.folder)) + 1 :]

    def digest(self) -> str:
        """The SHA-256 of the classes, the images' shape, and each file's name, label, size and
        first and last 4,096 bytes. What changes in the middle of a longer file is not seen.

        Raises ValueError that names the files that cannot be read.
        """
        ends = contents(self.paths, whole=False)
        return digest((self.classes, self.shape, self.names, self.targets, ends)).hex()


def splits(root: Path, side: int, channels: int) -> dict[str, Images]:
    """The images in ROOT/train/<class>/* and ROOT/test/<class>/*, however deep.

    Raises ValueError for what is no folder, holds no images or what `tree` refuses, and for classes
    that differ.
    """
    _check.known("folder", "number of channels", str(channels), map(str, MODES))
    check_folder("root", root, REMEDY)
    root = root.resolve()
    trees = {split: _split(root, split) for split in SPLITS}
    if os.path.samefile(root / "train", root / "test"):
        raise ValueError(f"folder: train/ and test/ in {shown(root)} must be two folders, not one")
    check_readable([reason for one in trees.values() for reason in one.refused])
    train, test = (set(one.classes) for one in trees.values())
    if train != test:
        raise ValueError(
            f"folder: {shown(root)} must hold the same classes in train/ and test/, but "
            f"{shown(listed(sorted(train - test))) or 'none'} are only in train and "
            f"{shown(listed(sorted(test - train))) or 'none'} only in test"
            f"{_alike(train - test, test - train)}"
        )
    return {split: Images(root / split, one, side, channels) for split, one in trees.items()}


def _split(root: Path, split: str) -> Tree:
    where = root / split
    check_folder(f"{split}/ in root", where, REMEDY)
    found = tree(where, root)
    full = set(found.labels)
    empty = [name for label, name in enumerate(found.classes) if label not in full]
    if not found.refused and (empty or not found.classes):
        reason = f"none are in {shown(listed(empty))}" if empty else "it holds no folder"
        raise ValueError(
            f"folder: {shown(where)} must hold a folder of images for each class "
            f"(of {', '.join(EXTENSIONS)}), but {reason}"
        )
    return found


def _alike(train: Set[str], test: Set[str]) -> str:
    """Which names of the two splits differ in what hardly shows, and in what."""
    others = {_look(name): name for name in test}
    alike = [name for name in sorted(train) if _look(name) in others]
    if not alike:
        return ""
    pairs = listed([f"{name!a} and {others[_look(name)]!a}" for name in alike])
    return f"; {pairs} differ in case, blanks or how accents are encoded: rename one of each"


def _look(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()


def headers(images: Mapping[str, Images]) -> dict[str, list[Header]]:
    """What the images say of themselves before they are decoded, by split.

    Raises ValueError that names those which cannot be read or are refused.
    """
    found = iter(of_each(header, [path for one in images.values() for path in one.paths]))
    return {split: list(islice(found, len(one))) for split, one in images.items()}


def notes(images: Mapping[str, Images], frames: Mapping[str, Sequence[bool]]) -> tuple[str, ...]:
    """What a user should know: which files are passed over, and of which only a part is taken."""
    skipped, several = [], []
    for split, one in images.items():
        skipped += [f"{split}/{shown(one.within(path))}" for path in one.skipped]
        more = [path for path, more in zip(one.paths, frames[split], strict=True) if more]
        several += [f"{split}/{shown(one.within(path))}" for path in more]
    told = []
    if skipped:
        told.append(
            f"{len(skipped)} files or folders are passed over, for they are hidden, no images by "
            f"their names or in no class: {listed(skipped)}"
        )
    if several:
        told.append(
            f"{len(several)} images hold several frames, of which the first is taken: "
            f"{listed(several)}"
        )
    return tuple(told)
