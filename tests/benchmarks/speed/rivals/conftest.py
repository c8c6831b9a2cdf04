"""Few images, and a teacher to learn from."""

from collections.abc import Iterator

import pytest
import torch
from rival_students import EXAMPLES, normalize
from torch import Tensor

from fkd.models import DeepNN


@pytest.fixture
def double() -> Iterator[None]:
    """Models, normalised images and steps are in float64, where equality is meant to hold."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def images() -> Tensor:
    shape = (EXAMPLES, 3, 32, 32)
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def labels() -> Tensor:
    return torch.arange(EXAMPLES) % 10


@pytest.fixture
def teacher() -> DeepNN:
    """In the default dtype: ask for `double` before."""
    torch.manual_seed(0)
    return DeepNN().eval()


@pytest.fixture
def outputs(teacher: DeepNN, images: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        return teacher(normalize(images))
