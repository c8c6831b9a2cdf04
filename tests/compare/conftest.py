"""What whole runs of the command line need: a folder of their own, images and a teacher."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fkd import checkpoint
from fkd.models import DeepNN


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    return tmp_path


@pytest.fixture
def images(tmp_path) -> Path:
    """Forty images of two classes that a student can tell apart: dark and bright."""
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for label, base in (("dark", 0), ("light", 128)):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            for i in range(10):
                pixels = base + random.integers(0, 128, (32, 32, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "images"


@pytest.fixture
def teacher(tmp_path) -> Path:
    torch.manual_seed(0)
    checkpoint.save(tmp_path / "deep.pt", DeepNN(2).state_dict())
    return tmp_path / "deep.pt"
