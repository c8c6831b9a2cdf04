"""What lies in a folder of classes: torchvision's order, what is passed over, what is refused."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from fkd.data import _tree
from fkd.data._tree import EXTENSIONS, Tree, check_folder, listed, shown, tree


def test_images_go_by_the_names_that_torchvision_knows_and_gifs():
    assert (*IMG_EXTENSIONS, ".gif") == EXTENSIONS


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.fixture
def root(tmp_path) -> Path:
    for name in ("cat/0.png", "cat/1.JPEG", "dog/0.gif", "dog/more/deep/0.webp"):
        touch(tmp_path / "root" / "train" / name)
    return tmp_path / "root"


def read(root: Path) -> Tree:
    return tree(root / "train", root)


def names(paths: list[str], root: Path) -> list[str]:
    return [os.path.relpath(path, root / "train") for path in paths]


def test_the_images_of_each_class_are_read_however_deep(root):
    found = read(root)
    assert found.classes == ("cat", "dog")
    files = ["cat/0.png", "cat/1.JPEG", "dog/0.gif", "dog/more/deep/0.webp"]
    assert names(found.files, root) == files
    assert found.labels == [0, 0, 1, 1]
    assert (found.skipped, found.refused) == ([], [])


PART = st.text("ab-._Z1é", min_size=1, max_size=3).filter(lambda part: part[0] != ".")
FILE = st.tuples(PART, st.lists(PART, max_size=2), PART)


@given(files=st.lists(FILE, min_size=1, max_size=12))
def test_the_order_is_torchvisions(tmp_path_factory, files):
    root = tmp_path_factory.mktemp("order")
    for label, folders, name in files:
        touch(root.joinpath("train", f"c{label}", *(f"d{part}" for part in folders), f"{name}.png"))
    found, theirs = read(root), ImageFolder(str(root / "train"), loader=str)
    assert list(found.classes) == theirs.classes
    assert list(zip(found.files, found.labels, strict=True)) == theirs.samples


def test_what_is_hidden_no_image_or_in_no_class_is_passed_over(root):
    for name in ("cat/.0.png", "cat/notes.txt", ".hidden/0.png", "loose.png", "labels.csv"):
        touch(root / "train" / name)
    (root / "train" / "cat" / ".#lock").symlink_to("nowhere")  # as an editor leaves it
    found = read(root)
    assert (len(found.files), found.classes, found.refused) == (4, ("cat", "dog"), [])
    assert sorted(names(found.skipped, root)) == [
        ".hidden", "cat/.#lock", "cat/.0.png", "cat/notes.txt", "labels.csv", "loose.png",
    ]  # fmt: skip


def test_links_to_files_and_folders_elsewhere_are_followed(root, tmp_path):
    touch(tmp_path / "else" / "9.png")
    (root / "train" / "cat" / "9.png").symlink_to(tmp_path / "else" / "9.png")
    (root / "train" / "dog" / "linked").symlink_to(tmp_path / "else")
    found = read(root)
    assert "cat/9.png" in names(found.files, root)
    assert "dog/linked/9.png" in names(found.files, root)
    assert found.refused == []


def a_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a link to an ancestor": (lambda path: path.symlink_to(".."), "it leads to .*/train once more"),
    "a link to the root": (lambda path: path.symlink_to("../.."), r"it leads to .*/root once more"),
    "a link to its folder": (lambda path: path.symlink_to("."), r"it leads to .*/cat once more"),
    "another class": (lambda path: path.symlink_to("../dog"), r"it leads to .*/dog once more"),
    "a dangling link": (lambda path: path.symlink_to("gone"), "a link to gone, which is not there"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "a link that leads back to itse"),
    "a pipe": (os.mkfifo, "a pipe"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "a socket": (a_socket, "a socket"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["x.png", "x"])
def test_what_cannot_be_read_is_refused_by_name(root, fault, name):
    make, reason = FAULTS[fault]
    make(root / "train" / "cat" / name)
    found = read(root)
    assert len(found.refused) == 1
    with pytest.raises(
        ValueError, match=rf"1 images or folders .*\n  .*/train/cat/{name}: {reason}"
    ):
        _tree.check_readable(found.refused)


def test_folders_that_lead_to_one_another_do_not_multiply(root):
    for level in range(20):  # each holds two links to the next: 2^20 ways
        folder = root / "levels" / str(level)
        folder.mkdir(parents=True)
        for name in "ab":
            (folder / name).symlink_to(f"../{level + 1}")
    (root / "levels" / "20").mkdir()
    (root / "train" / "cat" / "way").symlink_to(root / "levels" / "0")
    assert len(read(root).refused) == 20


def test_a_folder_without_permission_is_refused_and_not_passed_over(root, monkeypatch):
    # Tests may run as root, to whom all is permitted.
    listdir = os.listdir

    def denied(path: str) -> list[str]:
        if path.endswith("more"):
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", denied)
    (reason,) = read(root).refused
    assert reason.endswith("dog/more: not to be read, for you have no permission")


def test_names_that_are_not_in_utf_8_are_fine_for_images_and_refused_for_classes(root):
    with open(os.fsencode(root / "train" / "cat") + b"/\xe9.png", "wb"):
        pass
    assert len(read(root).files) == 5
    os.mkdir(os.fsencode(root / "train") + b"/\xe9")
    (reason,) = read(root).refused
    assert reason == rf"{root}/train/\udce9: its name is not in UTF-8"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "not there"),
        (Path.touch, "a file"),
        (os.mkfifo, "a pipe"),
        (a_socket, "a socket"),
        (lambda path: path.symlink_to("/dev/null"), "a device"),
        (
            lambda path: path.symlink_to("x"),
            "a link that leads back to itself, or on through too m.*",
        ),
        (lambda path: path.symlink_to("gone"), "a link to gone, which is not there"),
    ],
)
def test_what_is_no_folder_is_refused(tmp_path, make, reason):
    make(tmp_path / "x")
    with pytest.raises(
        ValueError, match=rf"folder: root must be a folder, but .*/x is {reason}; g"
    ):
        check_folder("root", tmp_path / "x", "give one")
    check_folder("root", tmp_path, "give one")


@pytest.mark.skipif(os.name != "posix", reason="of another user")
def test_a_folder_of_another_user_is_refused(tmp_path):
    tmp_path.chmod(0)
    own = os.geteuid()
    if own == 0:  # to whom all is permitted
        os.seteuid(65534)
    try:
        with pytest.raises(
            ValueError, match=r"is not to be read, for you have no permission; give"
        ):
            check_folder("root", tmp_path, "give one")
    finally:
        os.seteuid(own)
        tmp_path.chmod(0o700)


def test_a_path_that_is_too_long_or_leads_through_a_file_is_refused(tmp_path):
    touch(tmp_path / "x")
    with pytest.raises(ValueError, match=r"is a name of 300 signs in a path of .*: too long; give"):
        check_folder("root", tmp_path / ("n" * 300), "give one")
    with pytest.raises(ValueError, match="is not to be read: Not a directory; give"):
        check_folder("root", tmp_path / "x" / "y", "give one")


def test_names_are_told_as_they_can_be_printed_and_few_of_them():
    assert shown("a\nb\x1b[2J\udce9é") == r"a\nb\x1b[2J\udce9é"
    assert shown("x" * 1000) == "..." + "x" * 300
    assert listed(list("abc")) == "a, b, c"
    assert listed(["a"] * 13) == ", ".join(["a"] * 10) + ", and 3 more"
