"""Files become pixels by stated rules, and what no rule covers is refused."""

import base64
import contextlib
import io
import os
import struct
import zlib
from pathlib import Path

import numpy
import PIL
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize
from torchvision.transforms.functional import to_tensor

from pytest_robustness.errors import InputError
from pytest_robustness.images import (
    Reading,
    as_floats,
    as_jpeg,
    data_uri,
    fitted,
    item_pixels,
    read_image,
    read_overlay,
    read_pixels,
)
from pytest_robustness.preprocessing import Geometry

GREY_16, RGB_16, GREY_ALPHA_16, RGBA_16 = 0, 2, 4, 6
"""Colour types of a PNG with 16 bits a channel."""

WANTED = "expected 8 bits a channel and 3 channels (RGB), got"
CMYK = "or accept={'cmyk'} converts it without a colour profile"
ALPHA = "or accept={'alpha'} lays the image over white"
DEEP = "or accept={'16-bit'} keeps the upper 8 bits of colours and all 16 of grey"


def write_deep(path: Path, kind: int, values: numpy.ndarray) -> Path:
    """A PNG of 16 bits a channel, byte by byte: Pillow can't write one with colours. `values` are (h, w, channels)."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


def noise(*shape: int, high: int = 256, dtype: str = "uint8") -> numpy.ndarray:
    return numpy.random.default_rng(0).integers(0, high, shape).astype(dtype)


def saved(path: Path, values: numpy.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


def pixels(values: numpy.ndarray) -> torch.Tensor:
    """What (h, w, c) bytes are as (c, h, w) in [0, 1]."""
    return torch.from_numpy(values.transpose(2, 0, 1).astype("float32")) / 255


def test_rgb_pixels_are_the_bytes_of_the_file_divided_by_255(tmp_path: Path) -> None:
    values = noise(5, 7, 3)
    for name in ("a.png", "a.bmp", "a.tiff"):
        read = read_image(saved(tmp_path / name, values))
        assert read.dtype == torch.float32
        assert torch.equal(read, pixels(values))


def test_grey_is_copied_to_red_green_and_blue(tmp_path: Path) -> None:
    values = noise(5, 7)
    read = read_image(saved(tmp_path / "a.png", values), Reading(accept={"grey"}))
    assert torch.equal(read, pixels(numpy.stack([values] * 3, axis=2)))


def test_alpha_is_laid_over_white(tmp_path: Path) -> None:
    """Each of the 256 x 256 pairs of a colour and an opacity: (c * a + 255 * (255 - a)) / 255, to the nearest byte."""
    colour, opacity = numpy.meshgrid(numpy.arange(256), numpy.arange(256), indexing="ij")
    file = numpy.stack([colour, 255 - colour, colour, opacity], axis=2).astype("uint8")
    over_white = (file[..., :3].astype(int) * opacity[..., None] + 255 * (255 - opacity[..., None])) / 255
    read = read_image(saved(tmp_path / "a.png", file), Reading(accept={"alpha"}))
    assert torch.equal(read, pixels(numpy.rint(over_white)))


def test_grey_with_alpha_is_laid_over_white_and_copied(tmp_path: Path) -> None:
    file = numpy.array([[[0, 255], [0, 0], [100, 51]]], dtype="uint8")
    read = read_image(saved(tmp_path / "a.png", file), Reading(accept={"alpha"}))
    assert torch.equal(read, pixels(numpy.array([[[0] * 3, [255] * 3, [224] * 3]])))


def test_16_bit_grey_keeps_all_its_bits(tmp_path: Path) -> None:
    values = noise(5, 7, 1, high=65536, dtype="uint16")
    read = read_image(write_deep(tmp_path / "a.png", GREY_16, values), Reading(accept={"16-bit"}))
    expected = torch.from_numpy((values.transpose(2, 0, 1) / 65535).astype("float32"))
    assert torch.allclose(read, expected.expand(3, -1, -1), rtol=0, atol=1e-7)
    assert len(read.unique()) == len(numpy.unique(values))


def test_16_bit_colours_keep_their_upper_8_bits(tmp_path: Path) -> None:
    values = noise(5, 7, 3, high=65536, dtype="uint16")
    read = read_image(write_deep(tmp_path / "a.png", RGB_16, values), Reading(accept={"16-bit"}))
    assert torch.equal(read, pixels(values >> 8))


def test_16_bit_colours_with_alpha_are_laid_over_white_where_both_are_accepted(tmp_path: Path) -> None:
    file = write_deep(tmp_path / "a.png", RGBA_16, numpy.array([[[0xFF00, 0, 0, 0], [0xFF00, 0, 0, 0xFFFF]]]))
    expected = pixels(numpy.array([[[255, 255, 255], [255, 0, 0]]]))
    assert torch.equal(read_image(file, Reading(accept={"16-bit", "alpha"})), expected)
    file = write_deep(tmp_path / "b.png", GREY_ALPHA_16, numpy.array([[[0, 0], [0, 0xFFFF]]]))
    expected = pixels(numpy.array([[[255, 255, 255], [0, 0, 0]]]))
    assert torch.equal(read_image(file, Reading(accept={"16-bit", "alpha"})), expected)


@pytest.mark.parametrize("kind", [GREY_ALPHA_16, RGBA_16])
def test_alpha_is_not_dropped_where_only_16_bits_are_accepted(tmp_path: Path, kind: int) -> None:
    """Nothing is converted silently: a transparent pixel would come out in whatever colour lies under it."""
    path = write_deep(tmp_path / "a.png", kind, numpy.zeros((1, 1, 2 if kind == GREY_ALPHA_16 else 4)))
    with pytest.raises(InputError) as error:
        read_image(path, Reading(accept={"16-bit"}))
    # Pillow reads grey with alpha of 16 bits as RGBA.
    assert str(error.value) == f"{path}: {WANTED} an alpha channel; convert the file to RGB, {ALPHA}"


@pytest.mark.parametrize("size", [(37, 53), (53, 37), (31, 31), (64, 48), (101, 33), (33, 200), (29, 28)])
@pytest.mark.parametrize(
    ("resize", "crop"), [(32, 28), (31, 24), (33, 24), (24, 23), (28, 28), (40, 17), (32, None), (None, 28), (None, 19)]
)
def test_resize_and_crop_are_torchvisions_to_the_pixel(
    tmp_path: Path, size: tuple[int, int], resize: int | None, crop: int | None
) -> None:
    path = saved(tmp_path / "a.png", noise(size[1], size[0], 3))
    steps = ([Resize(resize)] if resize else []) + ([CenterCrop(crop)] if crop else [])
    with Image.open(path) as image:
        expected = to_tensor(Compose(steps)(image.convert("RGB")))
    assert torch.equal(read_image(path, Reading(geometry=Geometry(resize, crop))), expected)


def test_16_bits_with_alpha_are_refused_for_the_bits_first(tmp_path: Path) -> None:
    path = write_deep(tmp_path / "a.png", RGBA_16, numpy.zeros((1, 1, 4)))
    for accept in ((), ("alpha",)):
        with pytest.raises(InputError) as error:
            read_image(path, Reading(accept=accept))  # type: ignore[arg-type]
        assert str(error.value) == f"{path}: {WANTED} 16 bits a channel; convert the file to RGB, {DEEP}"


def test_16_bit_grey_is_resized_and_cropped_too(tmp_path: Path) -> None:
    values = numpy.full((6, 4, 1), 40_000)
    read = read_image(write_deep(tmp_path / "a.png", GREY_16, values), Reading({"16-bit"}, geometry=Geometry(8, 5)))
    assert torch.allclose(read, torch.full((3, 5, 5), 40_000 / 65535))


@pytest.mark.parametrize(
    ("mode", "got"),
    [
        ("LA", f"an alpha channel; convert the file to RGB, {ALPHA}"),
        ("RGBA", f"an alpha channel; convert the file to RGB, {ALPHA}"),
        ("I;16", f"16 bits a channel; convert the file to RGB, {DEEP}"),
    ],
)
def test_a_file_that_is_not_8_bit_rgb_is_refused_with_what_would_help(tmp_path: Path, mode: str, got: str) -> None:
    path = tmp_path / "a.png"
    Image.new(mode, (4, 4)).save(path)
    with pytest.raises(InputError) as error:
        read_image(path)
    assert str(error.value) == f"{path}: {WANTED} {got}"


@pytest.mark.parametrize("accept", [(), ("grey", "alpha", "16-bit")])
def test_cmyk_is_refused_unless_it_is_accepted(tmp_path: Path, accept: tuple[str, ...]) -> None:
    path = tmp_path / "a.jpg"
    Image.new("CMYK", (4, 4)).save(path)
    with pytest.raises(InputError) as error:
        read_image(path, Reading(accept=accept))  # type: ignore[arg-type]
    assert str(error.value) == f"{path}: {WANTED} the colours of a printer (CMYK); convert the file to RGB, {CMYK}"


def test_cmyk_of_16_bits_is_refused_whatever_is_accepted(tmp_path: Path) -> None:
    """A TIFF of one pixel, byte by byte: being 16-bit must not let another colour space through."""
    bits, strip = 8 + 2 + 9 * 12 + 4, 8 + 2 + 9 * 12 + 4 + 8
    tags = [
        (256, 3, 1, 1),
        (257, 3, 1, 1),
        (258, 3, 4, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 5),
        (273, 4, 1, strip),
        (277, 3, 1, 4),
        (278, 3, 1, 1),
        (279, 4, 1, 8),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    pixel = struct.pack("<4H", 16, 16, 16, 16) + struct.pack("<4H", 0xFFFF, 0, 0, 0)
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + pixel)
    with pytest.raises(InputError) as error:
        read_image(path, Reading(accept={"grey", "alpha", "16-bit", "cmyk"}))
    assert str(error.value) == f"{path}: {WANTED} mode 'CMYK' of 16 bits a channel; convert the file to RGB"


def test_16_bit_colours_are_refused_though_pillow_would_cut_them_silently(tmp_path: Path) -> None:
    path = write_deep(tmp_path / "a.png", RGB_16, noise(2, 2, 3, high=65536, dtype="uint16"))
    with Image.open(path) as image:
        assert image.mode == "RGB"
    with pytest.raises(InputError) as error:
        read_image(path, Reading(accept={"grey", "alpha"}))
    assert str(error.value) == f"{path}: {WANTED} 16 bits a channel; convert the file to RGB, {DEEP}"


@pytest.mark.parametrize("accepted", ["alpha", "16-bit"])
def test_accepting_one_kind_does_not_accept_another(tmp_path: Path, accepted: str) -> None:
    path = tmp_path / "a.jpg"
    Image.new("CMYK", (4, 4)).save(path)
    with pytest.raises(InputError) as error:
        read_image(path, Reading(accept={accepted}))  # type: ignore[arg-type]
    assert str(error.value) == f"{path}: {WANTED} the colours of a printer (CMYK); convert the file to RGB, {CMYK}"


@pytest.mark.parametrize("accept", [{"grey"}, {"alpha"}, {"16-bit"}, {"grey", "alpha", "16-bit"}], ids=sorted)
def test_rgb_is_the_same_whatever_is_accepted(tmp_path: Path, accept: set[str]) -> None:
    values = noise(3, 2, 3)
    read = read_image(saved(tmp_path / "a.png", values), Reading(accept=accept))  # type: ignore[arg-type]
    assert torch.equal(read, pixels(values))


def test_the_rules_are_checked_by_name() -> None:
    assert Reading(accept=["grey", "grey", "16-bit"]).accept == {"grey", "16-bit"}
    for settings, message in (
        ({"accept": ["gray"]}, "accept to be a set out of 'grey', 'alpha', '16-bit', 'cmyk', got ['gray']"),
        ({"accept": "grey"}, "accept to be a set out of 'grey', 'alpha', '16-bit', 'cmyk', got 'grey'"),
        (
            {"accept": {"grey", "hsv"}},
            "accept to be a set out of 'grey', 'alpha', '16-bit', 'cmyk', got ['grey', 'hsv']",
        ),
        ({"orientation": "exif"}, "orientation to be 'upright', as EXIF says, or 'stored', got 'exif'"),
        (
            {"background": "black"},
            "background to be (red, green, blue), each 0 to 255, got 'black'; white is (255, 255, 255)",
        ),
        (
            {"background": (0, 0, 256)},
            "background to be (red, green, blue), each 0 to 255, got (0, 0, 256); white is (255, 255, 255)",
        ),
    ):
        with pytest.raises(InputError) as error:
            Reading(**settings)  # type: ignore[arg-type]
        assert str(error.value) == f"expected {message}"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.png"
    with pytest.raises(InputError) as error:
        read_image(path)
    assert str(error.value) == f"{path}: expected an image file, found none; check the path"


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG"])
def test_a_file_that_is_not_an_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_image(path)
    assert str(error.value) == (
        f"{path}: expected an image, got {'a file in no format that Pillow reads' if content else 'an empty file'}; "
        "replace or remove it"
    )


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.jpg"])
def test_a_truncated_file_is_refused_not_filled_up(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, noise(40, 40, 3))
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(OSError, match="truncated") as raw, Image.open(path) as image:
        image.load()
    with pytest.raises(InputError) as error:
        read_image(path)
    assert str(error.value) == (
        f"{path}: expected a whole image, got one that can't be decoded ({raw.value}); replace or remove it"
    )


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_image(tmp_path)
    assert str(error.value) == f"{tmp_path}: expected an image file, got a folder; check the path"


def test_a_bitmap_of_16_bits_a_pixel_is_no_image_of_16_bits_a_channel(tmp_path: Path) -> None:
    """5-6-5 pixels: Pillow reads them as 8-bit RGB and loses nothing."""
    values = struct.pack("<2H", 0xF800, 0x001F)
    header = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, len(values), 0, 0, 0, 0)
    masks = struct.pack("<3I", 0xF800, 0x07E0, 0x001F)
    offset = 14 + len(header) + len(masks)
    path = tmp_path / "a.bmp"
    path.write_bytes(struct.pack("<2sIHHI", b"BM", offset + 4, 0, 0, offset) + header + masks + values)
    assert torch.equal(read_image(path), pixels(numpy.array([[[255, 0, 0], [0, 0, 255]]])))


def test_a_transparent_colour_is_alpha_too(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(numpy.array([[[1, 2, 3], [9, 9, 9]]], dtype=numpy.uint8)).save(path, transparency=(1, 2, 3))
    with pytest.raises(InputError) as error:
        read_image(path)
    assert str(error.value) == f"{path}: {WANTED} a transparent colour; convert the file to RGB, {ALPHA}"
    assert torch.equal(read_image(path, Reading(accept={"alpha"})), pixels(numpy.array([[[255, 255, 255], [9, 9, 9]]])))
    _, opacity = read_overlay(path)
    assert opacity.tolist() == [[[0.0, 1.0]]]


def test_an_image_resized_to_less_than_the_crop_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", noise(8, 8, 3))
    with pytest.raises(InputError) as error:
        read_image(path, Reading(geometry=Geometry(4, 6)))
    assert str(error.value) == (
        f"{path}: expected at least 6 x 6 pixels for crop=6, got 4 x 4; resize to more or crop less"
    )


def test_an_image_smaller_than_the_crop_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", noise(4, 3, 3))
    with pytest.raises(InputError) as error:
        read_image(path, Reading(geometry=Geometry(crop=5)))
    assert str(error.value) == (
        f"{path}: expected at least 5 x 5 pixels for crop=5, got 3 x 4; add resize=5 or crop less"
    )


@pytest.mark.parametrize("size", [(5, 5), (50, 50)], ids=["a warning to Pillow", "an error to Pillow"])
def test_a_decompression_bomb_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    path = saved(tmp_path / "a.png", noise(*size, 3))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(InputError) as error:
        read_image(path)
    assert str(error.value) == f"{path}: expected at most 20 pixels, got more; shrink the file"


def test_an_overlay_with_alpha_is_a_colour_and_an_opacity(tmp_path: Path) -> None:
    values = noise(3, 2, 4)
    colour, opacity = read_overlay(saved(tmp_path / "a.png", values))
    assert torch.equal(colour, pixels(values[..., :3]))
    assert torch.equal(opacity, pixels(values[..., 3:]))


def test_a_grey_overlay_with_alpha_is_a_colour_and_an_opacity(tmp_path: Path) -> None:
    values = noise(3, 2, 2)
    colour, opacity = read_overlay(saved(tmp_path / "a.png", values))
    assert torch.equal(colour, pixels(values[..., :1]).expand(3, -1, -1))
    assert torch.equal(opacity, pixels(values[..., 1:]))


def test_an_overlay_without_alpha_is_opaque(tmp_path: Path) -> None:
    values = noise(3, 2, 3)
    colour, opacity = read_overlay(saved(tmp_path / "a.png", values))
    assert torch.equal(colour, pixels(values))
    assert torch.equal(opacity, torch.ones(1, 3, 2))


def test_an_overlay_may_be_grey_or_have_16_bits(tmp_path: Path) -> None:
    grey, deep = noise(3, 2), noise(3, 2, 3, high=65536, dtype="uint16")
    colour, opacity = read_overlay(saved(tmp_path / "grey.png", grey))
    assert torch.equal(colour, pixels(numpy.stack([grey] * 3, axis=2)))
    assert torch.equal(opacity, torch.ones(1, 3, 2))
    colour, opacity = read_overlay(write_deep(tmp_path / "deep.png", RGB_16, deep))
    assert torch.equal(colour, pixels(deep >> 8))
    assert torch.equal(opacity, torch.ones(1, 3, 2))


def test_an_overlay_that_cannot_be_read_is_refused_as_an_image_is(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_overlay(tmp_path / "none.png")
    assert str(error.value) == f"{tmp_path / 'none.png'}: expected an image file, found none; check the path"
    path = tmp_path / "a.png"
    path.write_bytes(b"")
    with pytest.raises(InputError) as error:
        read_overlay(path)
    assert str(error.value) == f"{path}: expected an image, got an empty file; replace or remove it"


def decoded(uri: str) -> numpy.ndarray:
    head, _, data = uri.partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
        assert image.mode == "RGB"
        return numpy.asarray(image)


def test_a_data_uri_is_a_png_of_the_same_pixels() -> None:
    values = numpy.arange(256 * 3).reshape(32, 8, 3).astype("uint8")
    assert (decoded(data_uri(pixels(values))) == values).all()


def test_a_data_uri_rounds_and_clips_what_is_not_a_byte() -> None:
    levels = torch.tensor([-0.2, 0.4 / 255, 0.6 / 255, 1.5])
    row = levels.expand(3, 1, 4).clone().requires_grad_()
    assert decoded(data_uri(row))[0, :, 0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("quality", [1, 50, 100])
def test_a_jpeg_is_what_pillow_writes_and_reads(quality: int) -> None:
    values = noise(17, 30, 3)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as image:
        expected = pixels(numpy.array(image))
    assert torch.equal(as_jpeg(pixels(values), quality=quality), expected)


def test_a_jpeg_rounds_and_clips_what_is_not_a_byte() -> None:
    values = pixels(noise(8, 8, 3)) * 3 - 1
    rounded = (values.clamp(0, 1) * 255).round() / 255
    assert torch.equal(as_jpeg(values, quality=70), as_jpeg(rounded, quality=70))


def test_pixels_are_bytes_where_the_file_has_8_bits_and_floats_where_it_has_16(tmp_path: Path) -> None:
    Image.new("RGB", (2, 1), (0, 128, 255)).save(tmp_path / "8.png")
    eight = read_pixels(tmp_path / "8.png")
    assert eight.dtype == torch.uint8
    assert eight[:, 0, 0].tolist() == [0, 128, 255]
    assert torch.equal(as_floats(eight), read_image(tmp_path / "8.png"))
    Image.new("I;16", (2, 1), 1000).save(tmp_path / "16.png")
    sixteen = read_pixels(tmp_path / "16.png", Reading(accept={"16-bit", "grey"}))
    assert sixteen.dtype == torch.float32
    assert as_floats(sixteen) is sixteen
    assert sixteen[:, 0, 0].tolist() == pytest.approx([1000 / 65535] * 3)


@pytest.mark.parametrize("size", [(37, 53), (64, 48), (101, 33)])
@pytest.mark.parametrize("how", ["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"])
@pytest.mark.parametrize(
    ("resize", "crop"), [(32, 28), ((40, 31), (24, 30)), ((20, 60), None), (50, (33, 17)), (33, None), (None, (29, 31))]
)
def test_every_interpolation_is_torchvisions_to_the_pixel(
    tmp_path: Path, size: tuple[int, int], how: str, resize: int | tuple[int, int] | None, crop: object
) -> None:
    """By torchvision's own Resize and CenterCrop of PIL's image; both sides may be given."""
    path = saved(tmp_path / "a.png", noise(size[1], size[0], 3))
    steps = [] if resize is None else [Resize(resize, InterpolationMode(how))]
    steps += [] if crop is None else [CenterCrop(crop)]
    with Image.open(path) as image:
        expected = to_tensor(Compose(steps)(image.convert("RGB")))
    geometry = Geometry(resize, crop, how)  # type: ignore[arg-type]
    assert torch.equal(read_image(path, Reading(geometry=geometry)), expected)
    native = read_pixels(path)
    assert torch.equal(as_floats(fitted(native, "a.png", geometry)), expected)
    # Without rounding, and without what an overshooting filter loses by clipping to bytes halfway.
    assert how in ("bicubic", "lanczos") or torch.allclose(
        fitted(as_floats(native), "a.png", geometry), expected, rtol=0, atol=0.011
    )


def test_a_crop_larger_than_the_image_is_refused_where_torchvision_would_pad(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", noise(8, 9, 3))
    with pytest.raises(InputError) as error:
        read_image(path, Reading(geometry=Geometry(crop=(8, 10))))
    assert str(error.value) == (
        f"{path}: expected at least 10 x 8 pixels for crop=(8, 10), got 9 x 8; add resize=(8, 10) or crop less"
    )


def test_an_image_that_resizing_would_blow_up_is_refused(tmp_path: Path) -> None:
    """A line of a pixel's width is a small file, and its short side scaled to 256 is a large image."""
    path = saved(tmp_path / "a.png", noise(1, 4000, 3))
    with pytest.raises(InputError) as error:
        read_image(path, Reading(geometry=Geometry(256)))
    assert str(error.value) == (
        f"{path}: expected at most {Image.MAX_IMAGE_PIXELS} pixels, got 4000 x 1 that resize=256 makes 1024000 x 256; cut the file"
    )


KINDS = {
    "grey": ("a.png", "L", {}, None),
    "black and white": ("a.png", "1", {}, None),
    "a palette": ("a.png", "P", {}, None),
    "a palette in a GIF": ("a.gif", "P", {}, None),
    "grey in a JPEG": ("a.jpg", "L", {"quality": 95}, None),
    "grey in a TIFF": ("a.tif", "L", {}, None),
    "colours in a WebP": ("a.webp", "RGB", {"lossless": True}, None),
    "a palette with a transparent colour": ("a.png", "P", {"transparency": 0}, "alpha"),
    "alpha in a WebP": ("a.webp", "RGBA", {"lossless": True}, "alpha"),
    "alpha in a TIFF": ("a.tif", "RGBA", {}, "alpha"),
    "grey with alpha": ("a.png", "LA", {}, "alpha"),
    "16-bit grey in a TIFF": ("a.tif", "I;16", {}, "16-bit"),
    "CMYK in a JPEG": ("a.jpg", "CMYK", {"quality": 95}, "cmyk"),
    "CMYK in a TIFF": ("a.tif", "CMYK", {}, "cmyk"),
    "CIELAB": ("a.tif", "LAB", {}, "none"),
    "YCbCr in a TIFF": ("a.tif", "YCbCr", {}, "none"),
    "32-bit integers": ("a.tif", "I", {}, "none"),
    "floats": ("a.tif", "F", {}, "none"),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_is_read_by_its_rule_or_refused(tmp_path: Path, name: str) -> None:
    file, mode, options, kind = KINDS[name]
    if mode == "YCbCr" and int(PIL.__version__.partition(".")[0]) < 12:
        pytest.skip("an older Pillow can't read what it has written")
    path = tmp_path / file
    colours = Image.fromarray(noise(6, 5, 4 if mode == "RGBA" else 3))
    with contextlib.suppress(ValueError):
        colours = colours.convert(mode)
    (colours if colours.mode == mode else Image.new(mode, (5, 6))).save(path, **options)
    accepted = Reading(accept={"alpha", "16-bit", "cmyk"})
    if kind == "none":
        with pytest.raises(InputError) as error:
            read_pixels(path, accepted)
        assert str(error.value) == f"{path}: {WANTED} mode {mode!r}; convert the file to RGB"
        return
    if kind is not None:
        with pytest.raises(InputError, match=rf"or accept=\{{'{kind}'\}} "):
            read_pixels(path)
    with Image.open(path) as image:
        if kind == "alpha":
            white = Image.new("RGBA", image.size, "white")
            expected = pixels(numpy.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")))
        elif kind == "16-bit":
            expected = torch.from_numpy(numpy.asarray(image).astype("float32") / 65535).expand(3, -1, -1)
        else:
            expected = pixels(numpy.asarray(image.convert("RGB")))
    assert torch.equal(read_image(path, accepted if kind else Reading()), expected)


def test_alpha_may_be_laid_over_another_colour(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", numpy.array([[[0, 0, 0, 255], [9, 9, 9, 0]]], dtype="uint8"))
    read = read_pixels(path, Reading({"alpha"}, background=(255, 0, 10)))
    assert read[:, 0].T.tolist() == [[0, 0, 0], [255, 0, 10]]


def test_the_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), (level, level, level)) for level in (10, 200, 90)]
    for name in ("a.gif", "a.webp", "a.tif", "a.png"):
        more = {"lossless": True} if name == "a.webp" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **more)
        assert read_pixels(tmp_path / name).unique().tolist() == [10]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_an_image_is_turned_as_its_exif_says_unless_it_is_wanted_as_stored(
    tmp_path: Path, name: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    more = {"lossless": True} if name == "a.webp" else {}
    Image.fromarray(noise(16, 24, 3)).save(tmp_path / name, exif=exif, **more)
    with Image.open(tmp_path / name) as image:
        turned, stored = ImageOps.exif_transpose(image).convert("RGB"), image.convert("RGB")
    assert torch.equal(read_image(tmp_path / name), pixels(numpy.asarray(turned)))
    assert torch.equal(read_image(tmp_path / name, Reading(orientation="stored")), pixels(numpy.asarray(stored)))


def test_an_orientation_that_there_is_not_turns_nothing(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    Image.fromarray(noise(4, 6, 3)).save(tmp_path / "a.png", exif=exif)
    assert torch.equal(read_image(tmp_path / "a.png"), pixels(noise(4, 6, 3)))


def test_a_transparent_colour_survives_being_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    values = numpy.array([[[1, 2, 3], [9, 9, 9]]], dtype=numpy.uint8)
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif, transparency=(1, 2, 3))
    read = read_pixels(tmp_path / "a.png", Reading({"alpha"}))
    assert read[0].tolist() == [[9, 255]]


@pytest.mark.parametrize("make", ["chunk", "header", "exif"])
def test_a_hostile_file_is_an_error_of_one_kind(tmp_path: Path, make: str) -> None:
    """A text that unpacks to much more than it is, a size that no file has, and nonsense for an EXIF."""
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(path)
    data = path.read_bytes()

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    if make == "chunk":
        data = data[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 2**24)) + data[33:]
    elif make == "header":
        data = data[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)) + data[33:]
    else:
        data = data[:33] + chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40) + data[33:]
    path.write_bytes(data)
    if make == "exif":
        # Nothing in it says how to turn the image.
        assert read_pixels(path).shape == (3, 4, 4)
        return
    with pytest.raises(InputError) as error:
        read_pixels(path)
    assert str(error.value).startswith(f"{path}: expected ")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    os.mkfifo(path)
    with pytest.raises(InputError) as error:
        read_image(path)
    assert str(error.value) == f"{path}: expected an image file, got a pipe, a socket or a device; remove it"


def test_a_file_of_more_than_a_gibibyte_is_refused_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(InputError) as error:
        read_image(path)
    assert str(error.value) == f"{path}: expected at most {2**30} bytes, got {2**30 + 1}; shrink the file"


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.png", noise(2, 2, 3))

    def denied(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    # Root may read whatever it likes.
    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(InputError) as error:
        read_image(path)
    assert str(error.value) == (
        f"{path}: expected a file that can be read, got one that can't be (Permission denied); check its permissions"
    )


@pytest.mark.parametrize("name", [b"a\xff.png", b"a\nb.png", "a\u202eb.png".encode()])
def test_a_name_that_cannot_be_shown_is_escaped_in_errors(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"")
    with pytest.raises(InputError) as error:
        read_image(path)
    shown = {b"a\xff.png": "a\\udcff.png", b"a\nb.png": "a\\nb.png"}.get(name, "a\\u202eb.png")
    assert str(error.value) == f"{tmp_path}/{shown}: expected an image, got an empty file; replace or remove it"


def test_an_image_in_memory_is_the_same_pixels_however_it_is_given() -> None:
    values = noise(5, 4, 3)
    same: list[object] = [
        Image.fromarray(values),
        values,
        torch.from_numpy(values).permute(2, 0, 1),
        pixels(values),
        pixels(values).double(),
        pixels(values).permute(1, 2, 0).numpy(),
    ]
    for item in same:
        read = item_pixels(item, "a")
        assert torch.equal(as_floats(read), pixels(values))
    grey = noise(5, 4)
    for item in (Image.fromarray(grey), grey, grey[..., None], torch.from_numpy(grey), torch.from_numpy(grey)[None]):
        assert torch.equal(item_pixels(item, "a"), torch.from_numpy(grey).expand(3, -1, -1))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (torch.zeros(3, 4, 4).long(), "got (3, 4, 4) int64; change the dataset's transform"),
        (torch.zeros(2, 4, 4), "got (2, 4, 4) float32; change the dataset's transform"),
        (torch.zeros(1, 3, 4, 4), "got (1, 3, 4, 4) float32; change the dataset's transform"),
        (torch.zeros(3, 0, 4), "got (3, 0, 4) float32; change the dataset's transform"),
        (numpy.zeros((3, 4, 4), "uint8"), "got (3, 4, 4) uint8; change the dataset's transform"),
        (numpy.zeros((4, 4), "uint16"), "got (4, 4) uint16; change the dataset's transform"),
        ("cat.png", "got str; change the dataset's transform"),
    ],
)
def test_what_is_no_image_in_memory_is_refused(item: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        item_pixels(item, "data/7")
    assert str(error.value) == (
        "data/7: expected PIL's image, a tensor (3, h, w) or an array (h, w, 3), of uint8 or of floats in [0, 1], "
        + message
    )


@pytest.mark.parametrize(("low", "high"), [(-2.118, 2.64), (0.0, 255.0), (0.0, float("nan"))])
def test_floats_that_were_normalised_are_refused(low: float, high: float) -> None:
    with pytest.raises(InputError) as error:
        item_pixels(torch.tensor([low, high]).expand(3, 1, 2), "data/7")
    ends = "nan to nan" if high != high else f"{low:.4g} to {high:.4g}"
    assert str(error.value) == (
        f"data/7: expected floats in [0, 1], got {ends}; take the normalisation out of the dataset's transform and put it into the model"
    )
