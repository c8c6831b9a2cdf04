"""Images are unpacked, decoded and kept for who reads them next."""

import json
import tarfile

import pytest
from PIL import Image

from benchmarks.rehearsal import images


@pytest.mark.parametrize("packed", [False, True])
def test_images_are_counted_and_their_decoded_form_is_kept(packed, tmp_path, monkeypatch):
    monkeypatch.setenv("FKD_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "images"
    for split, count in (("train", 3), ("test", 2)):
        (root / split / "cat").mkdir(parents=True)
        for number in range(count):
            image = Image.new("RGB", (32, 32), (number, 0, 0))
            image.save(root / split / "cat" / f"{number}.png")
    if packed:
        with tarfile.open(tmp_path / "images.tar", "w") as archive:
            for split in ("train", "test"):
                archive.add(root / split, split)
        root = tmp_path / "images.tar"
    flags = ["--root", str(root), "--into", str(tmp_path / "into")]
    assert images.main([*flags, "--output", str(tmp_path / "out")]) == 0
    told = json.loads((tmp_path / "out" / "images.json").read_text())
    assert (told["train"], told["test"]) == (3, 2)
    assert ("unpacked" in told["seconds"]) == packed
    assert any((tmp_path / "cache").rglob("*.pt"))
