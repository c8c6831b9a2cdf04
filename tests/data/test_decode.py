"""One image file as a tensor: every kind by its rule, in pixels worked by hand."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from fkd.data._decode import MODES, decode, header

ORANGE = (200, 100, 50)


def saved(folder: Path, image: Image.Image, name: str = "x.png", **options: Any) -> str:
    path = folder / name
    image.save(path, **options)
    return str(path)


def pixels(path: str, channels: int = 3, side: int = 2) -> list[list[int]]:
    """Each pixel's channels, row by row."""
    return decode(path, channels, side).flatten(1).T.tolist()


def grey(levels: list[list[float]], dtype: Any) -> Image.Image:
    return Image.fromarray(np.array(levels, dtype=dtype))


def full(mode: str, colour: Any) -> Image.Image:
    return Image.new(mode, (2, 2), colour)


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.pgm"])
def test_of_16_bits_the_8_highest_count(tmp_path, name):
    deep = grey([[0, 255], [256, 65535]], np.uint16)
    assert pixels(saved(tmp_path, deep, name), 1) == [[0], [0], [1], [255]]


def test_of_12_bits_the_8_highest_count(tmp_path):
    # A TIFF by hand: 2 x 2 pixels of 12 bits, 0x000 0xfff 0x010 0x80f, each row in three bytes
    tags = [
        (256, 2),
        (257, 2),
        (258, 12),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, 2),
        (279, 6),
    ]
    data = b"II*\0" + (14).to_bytes(4, "little") + bytes.fromhex("000fff01080f")
    data += len(tags).to_bytes(2, "little")
    for tag, value in tags:
        data += b"".join(
            part.to_bytes(n, "little") for part, n in ((tag, 2), (4, 2), (1, 4), (value, 4))
        )
    (tmp_path / "x.tif").write_bytes(data + bytes(4))
    assert pixels(str(tmp_path / "x.tif"), 1) == [[0], [255], [1], [128]]


def test_floating_point_is_scaled_from_0_to_1(tmp_path):
    image = grey([[0, 0.25], [0.5, 1]], np.float32)
    assert pixels(saved(tmp_path, image, "x.tif"), 1) == [[0], [64], [128], [255]]


@pytest.mark.parametrize(("mode", "dtype"), [("I;16", np.uint16), ("F", np.float32)])
def test_a_deep_tiff_in_which_white_is_0_is_turned(tmp_path, mode, dtype):
    image = grey([[0, 0], [0, 65535 if mode == "I;16" else 1]], dtype)
    path = saved(tmp_path, image, "x.tif", tiffinfo={262: 0})
    with Image.open(path) as file:
        assert file.mode == mode and file.tag_v2[262] == 0  # type: ignore[attr-defined]
    assert pixels(path, 1) == [[255], [255], [255], [0]]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (grey([[0, 2], [0, 0]], np.float32), r"must lie in \[0, 1\], but they reach from 0 to 2"),
        (grey([[0, np.nan], [0, 0]], np.float32), r"must lie in \[0, 1\], .* from nan to nan"),
        (grey([[0, 2], [0, 0]], np.int32), "whole numbers are of 16 bits with a sign, or of 32"),
    ],
)
def test_a_range_that_is_not_known_is_refused(tmp_path, image, message):
    with pytest.raises(ValueError, match=rf"x.tif: .*{message}"):
        decode(saved(tmp_path, image, "x.tif"), 3, 2)


def test_a_deep_grey_with_a_transparent_level_is_refused(tmp_path):
    path = saved(tmp_path, grey([[0, 2], [0, 0]], np.uint16), transparency=2)
    with pytest.raises(ValueError, match="a transparent grey of more than 8 bits"):
        decode(path, 3, 2)


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.bmp", "x.gif"])
def test_one_bit_is_black_and_white(tmp_path, name):
    image = full("1", 0)
    image.putpixel((1, 0), 1)
    assert pixels(saved(tmp_path, image, name), 1) == [[0], [255], [0], [0]]


def palette() -> Image.Image:
    image = full("P", 0)
    image.putpalette([*ORANGE, 0, 0, 255])
    image.putpixel((1, 0), 1)
    return image


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.bmp", "x.gif"])
def test_a_palette_gives_its_colours(tmp_path, name):
    blue = [0, 0, 255]
    assert pixels(saved(tmp_path, palette(), name)) == [[*ORANGE], blue, [*ORANGE], [*ORANGE]]


@pytest.mark.parametrize("name", ["x.png", "x.gif"])
def test_a_transparent_colour_of_a_palette_is_laid_on_black(tmp_path, name):
    path = saved(tmp_path, palette(), name, transparency=0)
    assert pixels(path) == [[0, 0, 0], [0, 0, 255], [0, 0, 0], [0, 0, 0]]
    assert [pixel[3] for pixel in pixels(path, 4)] == [0, 255, 0, 0]


def test_a_transparent_colour_without_a_palette_is_laid_on_black(tmp_path):
    image = full("RGB", ORANGE)
    image.putpixel((1, 0), (0, 0, 255))
    path = saved(tmp_path, image, transparency=ORANGE)
    assert pixels(path) == [[0, 0, 0], [0, 0, 255], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("name", ["x.png", "x.webp", "x.tif"])
def test_alpha_is_the_fourth_channel_or_laid_on_black(tmp_path, name):
    options = {"lossless": True} if name == "x.webp" else {}
    path = saved(tmp_path, full("RGBA", (*ORANGE, 128)), name, **options)
    assert pixels(path, 4) == [[*ORANGE, 128]] * 4
    assert pixels(path) == [[100, 50, 25]] * 4  # 128/255 of each, rounded
    # 0.299 * 100 + 0.587 * 50 + 0.114 * 25 = 62.1
    assert pixels(path, 1) == [[62]] * 4


def test_alpha_beside_grey_is_laid_on_black(tmp_path):
    path = saved(tmp_path, full("LA", (100, 51)))  # a fifth of 255
    assert (pixels(path, 1), pixels(path)) == ([[20]] * 4, [[20, 20, 20]] * 4)
    assert pixels(path, 4) == [[100, 100, 100, 51]] * 4


def test_without_alpha_the_fourth_channel_is_opaque(tmp_path):
    assert pixels(saved(tmp_path, full("RGB", ORANGE)), 4) == [[*ORANGE, 255]] * 4
    assert pixels(saved(tmp_path, full("L", 7)), 4) == [[7, 7, 7, 255]] * 4


def test_grey_is_repeated_and_colour_is_weighted(tmp_path):
    assert pixels(saved(tmp_path, full("L", 7))) == [[7, 7, 7]] * 4
    # 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2
    assert pixels(saved(tmp_path, full("RGB", ORANGE)), 1) == [[124]] * 4


@pytest.mark.parametrize("name", ["x.jpg", "x.tif"])
def test_ink_is_light_that_is_taken_away(tmp_path, name):
    # (255 - ink) * (255 - black) / 255: of cyan nothing is left, of none 204, of half 127 * 0.8
    options = {"quality": 100} if name == "x.jpg" else {}
    path = saved(tmp_path, full("CMYK", (255, 0, 128, 51)), name, **options)
    assert pixels(path) == [[0, 204, 102]] * 4


@pytest.mark.parametrize("name", ["x.png", "x.gif", "x.webp", "x.tif"])
def test_of_several_frames_the_first_is_taken(tmp_path, name):
    options = {"lossless": True} if name == "x.webp" else {}
    frames = {"save_all": True, "append_images": [full("RGB", (0, 0, 255))]}
    path = saved(tmp_path, full("RGB", ORANGE), name, **options, **frames)
    assert pixels(path) == [[*ORANGE]] * 4
    assert header(path) == (4, True)
    assert header(saved(tmp_path, full("RGB", ORANGE), f"one-{name}", **options)) == (4, False)


# What EXIF's orientation says of the rows as they are stored: [[1, 2], [3, 4]] upright.
UPRIGHT = {
    1: [1, 2, 3, 4],
    2: [2, 1, 4, 3],  # mirrored from left to right
    3: [4, 3, 2, 1],  # upside down
    4: [3, 4, 1, 2],  # mirrored from top to bottom
    5: [1, 3, 2, 4],  # along the diagonal
    6: [3, 1, 4, 2],  # turned to the right
    7: [4, 2, 3, 1],  # along the other diagonal
    8: [2, 4, 1, 3],  # turned to the left
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(
    ("name", "dtype", "one"),
    [
        ("x.png", np.uint8, 50),
        ("x.webp", np.uint8, 50),
        ("x.tif", np.uint8, 50),
        ("x.png", np.uint16, 50 * 256),
        ("x.tif", np.uint16, 50 * 256),
        ("x.tif", np.float32, 50 / 255),
    ],
)
def test_an_image_is_turned_upright(tmp_path, orientation, name, dtype, one):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if name == "x.webp" else {}
    stored = grey([[one, 2 * one], [3 * one, 4 * one]], dtype)
    path = saved(tmp_path, stored, name, exif=exif, **options)
    assert [level[0] // 50 for level in pixels(path, 1)] == UPRIGHT[orientation]


def test_a_photograph_is_turned_before_it_is_made_square(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.new("L", (64, 16), 0)
    wide.paste(255, (0, 0, 32, 16))  # the left half is white; turned to the right, the upper one
    image = decode(saved(tmp_path, wide, "x.jpg", exif=exif, quality=100), 1, 2)
    assert (image[0] > 128).tolist() == [[True, True], [False, False]]


def test_the_name_may_be_of_another_format(tmp_path):
    image = full("RGB", ORANGE)
    assert pixels(saved(tmp_path, image, "x.jpg", format="PNG")) == [[*ORANGE]] * 4


@given(
    mode=st.sampled_from(["L", "LA", "RGB", "RGBA", "1"]),
    format=st.sampled_from(["PNG", "TIFF", "BMP", "WEBP", "PPM"]),
    side=st.integers(1, 9),
    channels=st.sampled_from(list(MODES)),
    data=st.data(),
)
def test_any_image_comes_back_as_it_was(tmp_path_factory, mode, format, side, channels, data):
    size = side, side
    bands = len(mode) if mode != "1" else 1
    values = data.draw(hnp.arrays(np.uint8, (*size, bands)))
    if mode == "1":
        values = (values > 127).astype(np.uint8) * 255
    image = Image.fromarray(values[..., 0] if bands == 1 else values)
    if mode == "1":
        image = image.convert("1")
    file = io.BytesIO()
    try:
        image.save(file, format, lossless=True, exact=True)
    except OSError:  # the format does not hold such images
        return
    stored = Image.open(file)
    if stored.mode != mode:  # BMP and PPM drop alpha, WebP has three colours
        return
    path = tmp_path_factory.mktemp("any") / "x.png"
    path.write_bytes(file.getvalue())
    colour = values[..., :1] if bands < 3 else values[..., :3]
    alpha = values[..., bands - 1 :] if bands in (2, 4) else np.full((*size, 1), 255, np.uint8)
    if channels == 4:
        expected = np.concatenate([np.broadcast_to(colour, (*size, 3)), alpha], axis=-1)
    else:
        laid = colour.astype(float) * alpha / 255
        if channels == 1 and bands > 2:
            laid = laid @ [[0.299], [0.587], [0.114]]
        expected = np.broadcast_to(laid, (*size, channels))
    ours = decode(str(path), channels, side)
    assert (ours.dtype, ours.shape) == (torch.uint8, (channels, side, side))
    # Rounded once, and once more where colours become grey.
    off = np.abs(ours.numpy() - expected.transpose(2, 0, 1).astype(float)).max()
    assert off <= (1.0 if channels == 1 and bands > 2 else 0.5)


def test_what_is_no_image_or_too_large_is_named(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_text("not an image")
    (tmp_path / "empty.png").touch()
    for name in ("x.png", "empty.png"):
        for read in (header, lambda path: decode(path, 3, 2)):
            with pytest.raises(ValueError, match=rf"{name}: it is no image of JPEG, PNG, PPM"):
                read(str(tmp_path / name))
    with pytest.raises(ValueError, match=r"none.png: No such file"):
        header(str(tmp_path / "none.png"))
    with monkeypatch.context() as patch, pytest.raises(ValueError, match=r"x.png: .* not memory"):
        patch.setattr(Image, "open", lambda *a, **k: (_ for _ in ()).throw(MemoryError))
        header(str(tmp_path / "x.png"))
    path = saved(tmp_path, Image.new("L", (5, 4)))
    for most in (19, 9):  # beyond the limit PIL warns, beyond twice the limit it refuses
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(ValueError, match=rf"x.png: it unpacks to more than {most} pixels"):
            header(path)
    for most in (20, None):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        assert header(path).pixels == 20


def test_a_small_file_that_unpacks_to_a_large_image_is_refused_unread(tmp_path):
    (tmp_path / "bomb.pgm").write_bytes(b"P5 50000 50000 255 ")
    with pytest.raises(ValueError, match=r"bomb.pgm: it unpacks to more than 89,478,485 pixels"):
        decode(str(tmp_path / "bomb.pgm"), 3, 32)


@given(
    format=st.sampled_from(["PNG", "TIFF", "BMP", "WEBP", "PPM", "GIF", "JPEG"]),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=6),
)
def test_a_damaged_file_is_read_or_refused_by_name(tmp_path_factory, format, cut, flips):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.effect_noise((9, 7), 80).save(file, format, exif=exif)
    data = bytearray(file.getvalue())
    for where, bits in flips:
        data[int(where * len(data))] ^= bits
    path = tmp_path_factory.mktemp("damaged") / "x.png"
    path.write_bytes(data[: int(cut * len(data)) + 1])
    for read in (header, lambda path: decode(path, 3, 4)):
        try:
            read(str(path))
        except ValueError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
