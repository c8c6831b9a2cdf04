"""Pictures of another size and number of channels, as pure functions of tensors."""

import torch.nn.functional as F
from einops import repeat
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from fkd._random import Key
from fkd.data._source import Transform


def resized(
    images: Shaped[Tensor, "*batch channels height width"], side: int
) -> UInt8[Tensor, "*batch channels side side"]:
    """Images in [0, 255] as squares of `side` pixels in uint8, by linear interpolation with
    antialiasing, whatever part of either axis that stretches."""
    if images.shape[-2:] == (side, side) and not images.is_floating_point():
        return images
    flat = images.reshape(-1, *images.shape[-3:]).float()
    squares = F.interpolate(flat, (side, side), mode="bilinear", antialias=True)
    return squares.round().clamp(0, 255).byte().reshape(*images.shape[:-2], side, side)


def resize_then(
    side: int,
    then: Transform,
    inputs: Shaped[Tensor, "*batch channels height width"],
    key: Key | None = None,
) -> Float[Tensor, "*batch channels side side"]:
    """A transform of images of `side` pixels, of images of any size, which are resized first."""
    return then(resized(inputs, side), key)


def with_channels(
    where: str, images: Shaped[Tensor, "n c h w"], channels: int
) -> Shaped[Tensor, "n channels h w"]:
    """The images with so many channels: those of one are repeated.

    Raises ValueError where they have another number.
    """
    if images.shape[1] == channels:
        return images
    if images.shape[1] == 1:
        return repeat(images, "n 1 h w -> n c h w", c=channels).contiguous()
    raise ValueError(
        f"{where}: its images have {images.shape[1]} channels, so channels must be that, but it is "
        f"{channels}"
    )
