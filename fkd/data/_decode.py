"""One image file as a tensor: what is read, by which rule, and what is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from fkd.data._tree import shown

# PIL's formats for the names of images; others would start programs, or are hardly images.
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # PIL's, by the number of channels
RULES = 2  # counts the changes of the rules, by which the same file gives other pixels
BACKGROUND = "black"

# TIFF's tags
BITS, PHOTOMETRIC = 258, 262
WHITE_IS_ZERO = 0


class Header(NamedTuple):
    """What a file says of itself before it is decoded."""

    pixels: int
    frames: bool  # whether there are several


def header(path: str) -> Header:
    """What can be known of an image file without decoding it.

    Raises ValueError, which names the file, for one that is no image, or is too large.
    """
    with _opened(path) as file:
        return Header(file.width * file.height, getattr(file, "is_animated", False))


def decode(path: str, channels: int, side: int) -> UInt8[Tensor, "channels side side"]:
    """The image in a file, of any of `FORMATS` whatever its name says, by the rules that
    `fkd.data.datasets.folder` states.

    Raises ValueError, which names the file, where it cannot be read or is refused.
    """
    image = _pixels(path, channels)
    if image.shape[1:] == (side, side):
        return image
    from torchvision.transforms.v2 import functional as tvf  # late, for it takes a second

    return tvf.resize(image, [side, side], antialias=True)


def _pixels(path: str, channels: int) -> UInt8[Tensor, "channels height width"]:
    from torchvision.transforms.v2 import functional as tvf  # late, as above

    with _opened(path) as file:
        return tvf.pil_to_tensor(_converted(file, MODES[channels]))


@contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    """The image in a file, of which only the header is read."""
    try:
        with Image.open(path, formats=FORMATS) as file:
            _check_size(file)
            yield file
    except Exception as error:  # PIL's decoders raise anything on bytes that are no image
        raise ValueError(f"{shown(path)}: {_reason(error)}") from error


def _check_size(file: Image.Image) -> None:
    pixels, most = file.width * file.height, Image.MAX_IMAGE_PIXELS
    if pixels == 0:
        raise ValueError("it has no pixels")
    if most is not None and pixels > most:
        raise Image.DecompressionBombError


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"it is no image of {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return (
            f"it unpacks to more than {Image.MAX_IMAGE_PIXELS:,} pixels; if it is meant to, set "
            "PIL.Image.MAX_IMAGE_PIXELS higher"
        )
    if isinstance(error, MemoryError):
        return "there is not memory enough to decode it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip().split("\n")[0] or type(error).__name__


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """The image upright, in 8 bits a colour and of a mode."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):
        image = _in_eight_bits(image)
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        if mode != "RGBA":
            image = _laid(image)
    return image if image.mode == mode else image.convert(mode)


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """A grey image of 16 bits, or in floating point. Raises ValueError where its range is not
    known."""
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    if "transparency" in image.info:
        raise ValueError("it has a transparent grey of more than 8 bits")
    if image.mode == "F":
        levels = np.asarray(image)
        if not (levels.min() >= 0 and levels.max() <= 1):  # which is so of what is no number
            raise ValueError(
                f"its numbers must lie in [0, 1], but they reach from {levels.min():g} to "
                f"{levels.max():g}"
            )
        levels = np.rint(levels * 255)
    elif image.mode == "I" and tags:
        raise ValueError("its whole numbers are of 16 bits with a sign, or of 32: scale it")
    else:
        levels = np.asarray(image) >> (tags.get(BITS, (16,))[0] - 8)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # which PIL leaves so
        levels = 255 - levels
    return Image.fromarray(levels.astype(np.uint8))


def _laid(image: Image.Image) -> Image.Image:
    """An image with alpha laid on the background."""
    laid = Image.new("RGB", image.size, BACKGROUND)
    laid.paste(image, mask=image.getchannel("A"))
    return laid
