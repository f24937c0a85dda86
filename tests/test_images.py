"""Files become pixels by stated rules, and what no rule covers is refused."""

import base64
import io
import struct
import zlib
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize
from torchvision.transforms.functional import to_tensor

from pytest_robustness.errors import InputError
from pytest_robustness.images import (
    as_floats,
    as_jpeg,
    check_kinds,
    check_sizes,
    data_uri,
    read_image,
    read_overlay,
    read_pixels,
)

GREY_16, RGB_16, GREY_ALPHA_16, RGBA_16 = 0, 2, 4, 6
"""Colour types of a PNG with 16 bits a channel."""

WANTED = "expected 8 bits a channel and 3 channels (RGB), got"
GREY = "or accept={'grey'} copies the channel to red, green and blue"
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
    read = read_image(saved(tmp_path / "a.png", values), accept={"grey"})
    assert torch.equal(read, pixels(numpy.stack([values] * 3, axis=2)))


def test_alpha_is_laid_over_white(tmp_path: Path) -> None:
    """Each of the 256 x 256 pairs of a colour and an opacity: (c * a + 255 * (255 - a)) / 255, to the nearest byte."""
    colour, opacity = numpy.meshgrid(numpy.arange(256), numpy.arange(256), indexing="ij")
    file = numpy.stack([colour, 255 - colour, colour, opacity], axis=2).astype("uint8")
    over_white = (file[..., :3].astype(int) * opacity[..., None] + 255 * (255 - opacity[..., None])) / 255
    read = read_image(saved(tmp_path / "a.png", file), accept={"alpha"})
    assert torch.equal(read, pixels(numpy.rint(over_white)))


def test_grey_with_alpha_is_laid_over_white_and_copied(tmp_path: Path) -> None:
    file = numpy.array([[[0, 255], [0, 0], [100, 51]]], dtype="uint8")
    read = read_image(saved(tmp_path / "a.png", file), accept={"alpha"})
    assert torch.equal(read, pixels(numpy.array([[[0] * 3, [255] * 3, [224] * 3]])))


def test_16_bit_grey_keeps_all_its_bits(tmp_path: Path) -> None:
    values = noise(5, 7, 1, high=65536, dtype="uint16")
    read = read_image(write_deep(tmp_path / "a.png", GREY_16, values), accept={"16-bit"})
    expected = torch.from_numpy((values.transpose(2, 0, 1) / 65535).astype("float32"))
    assert torch.allclose(read, expected.expand(3, -1, -1), rtol=0, atol=1e-7)
    assert len(read.unique()) == len(numpy.unique(values))


def test_16_bit_colours_keep_their_upper_8_bits(tmp_path: Path) -> None:
    values = noise(5, 7, 3, high=65536, dtype="uint16")
    read = read_image(write_deep(tmp_path / "a.png", RGB_16, values), accept={"16-bit"})
    assert torch.equal(read, pixels(values >> 8))


def test_16_bit_colours_with_alpha_are_laid_over_white_where_both_are_accepted(tmp_path: Path) -> None:
    file = write_deep(tmp_path / "a.png", RGBA_16, numpy.array([[[0xFF00, 0, 0, 0], [0xFF00, 0, 0, 0xFFFF]]]))
    expected = pixels(numpy.array([[[255, 255, 255], [255, 0, 0]]]))
    assert torch.equal(read_image(file, accept={"16-bit", "alpha"}), expected)
    file = write_deep(tmp_path / "b.png", GREY_ALPHA_16, numpy.array([[[0, 0], [0, 0xFFFF]]]))
    expected = pixels(numpy.array([[[255, 255, 255], [0, 0, 0]]]))
    assert torch.equal(read_image(file, accept={"16-bit", "alpha"}), expected)


@pytest.mark.parametrize("kind", [GREY_ALPHA_16, RGBA_16])
def test_alpha_is_not_dropped_where_only_16_bits_are_accepted(tmp_path: Path, kind: int) -> None:
    """Nothing is converted silently: a transparent pixel would come out in whatever colour lies under it."""
    path = write_deep(tmp_path / "a.png", kind, numpy.zeros((1, 1, 2 if kind == GREY_ALPHA_16 else 4)))
    with pytest.raises(InputError) as error:
        read_image(path, accept={"16-bit"})
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
    assert torch.equal(read_image(path, resize=resize, crop=crop), expected)


def test_16_bits_with_alpha_are_refused_for_the_bits_first(tmp_path: Path) -> None:
    path = write_deep(tmp_path / "a.png", RGBA_16, numpy.zeros((1, 1, 4)))
    for accept in ((), ("alpha",)):
        with pytest.raises(InputError) as error:
            read_image(path, accept=accept)  # type: ignore[arg-type]
        assert str(error.value) == f"{path}: {WANTED} 16 bits a channel; convert the file to RGB, {DEEP}"


def test_16_bit_grey_is_resized_and_cropped_too(tmp_path: Path) -> None:
    values = numpy.full((6, 4, 1), 40_000)
    read = read_image(write_deep(tmp_path / "a.png", GREY_16, values), accept={"16-bit"}, resize=8, crop=5)
    assert torch.allclose(read, torch.full((3, 5, 5), 40_000 / 65535))


@pytest.mark.parametrize(
    ("mode", "got"),
    [
        ("L", f"one channel; convert the file to RGB, {GREY}"),
        ("LA", f"one channel and an alpha channel; convert the file to RGB, {ALPHA}"),
        ("RGBA", f"an alpha channel; convert the file to RGB, {ALPHA}"),
        ("I;16", f"16 bits a channel; convert the file to RGB, {DEEP}"),
        ("P", "mode 'P'; convert the file to RGB"),
        ("1", "mode '1'; convert the file to RGB"),
    ],
)
def test_a_file_that_is_not_8_bit_rgb_is_refused_with_what_would_help(tmp_path: Path, mode: str, got: str) -> None:
    path = tmp_path / "a.png"
    Image.new(mode, (4, 4)).save(path)
    with pytest.raises(InputError) as error:
        read_image(path)
    assert str(error.value) == f"{path}: {WANTED} {got}"


@pytest.mark.parametrize("accept", [(), ("grey", "alpha", "16-bit")])
def test_cmyk_is_refused_whatever_is_accepted(tmp_path: Path, accept: tuple[str, ...]) -> None:
    path = tmp_path / "a.jpg"
    Image.new("CMYK", (4, 4)).save(path)
    with pytest.raises(InputError) as error:
        read_image(path, accept=accept)  # type: ignore[arg-type]
    assert str(error.value) == f"{path}: {WANTED} mode 'CMYK'; convert the file to RGB"


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
        read_image(path, accept={"grey", "alpha", "16-bit"})
    assert str(error.value) == f"{path}: {WANTED} mode 'CMYK'; convert the file to RGB"


def test_16_bit_colours_are_refused_though_pillow_would_cut_them_silently(tmp_path: Path) -> None:
    path = write_deep(tmp_path / "a.png", RGB_16, noise(2, 2, 3, high=65536, dtype="uint16"))
    with Image.open(path) as image:
        assert image.mode == "RGB"
    with pytest.raises(InputError) as error:
        read_image(path, accept={"grey", "alpha"})
    assert str(error.value) == f"{path}: {WANTED} 16 bits a channel; convert the file to RGB, {DEEP}"


@pytest.mark.parametrize("accepted", ["alpha", "16-bit"])
def test_accepting_one_kind_does_not_accept_another(tmp_path: Path, accepted: str) -> None:
    path = saved(tmp_path / "a.png", noise(2, 2))
    with pytest.raises(InputError) as error:
        read_image(path, accept={accepted})  # type: ignore[arg-type]
    assert str(error.value) == f"{path}: {WANTED} one channel; convert the file to RGB, {GREY}"


@pytest.mark.parametrize("accept", [{"grey"}, {"alpha"}, {"16-bit"}, {"grey", "alpha", "16-bit"}], ids=sorted)
def test_rgb_is_the_same_whatever_is_accepted(tmp_path: Path, accept: set[str]) -> None:
    values = noise(3, 2, 3)
    read = read_image(saved(tmp_path / "a.png", values), accept=accept)  # type: ignore[arg-type]
    assert torch.equal(read, pixels(values))


def test_kinds_are_checked_by_name() -> None:
    assert check_kinds([], "images") == frozenset()
    assert check_kinds(["grey", "grey", "16-bit"], "images") == {"grey", "16-bit"}


@pytest.mark.parametrize(
    ("accept", "got"),
    [(["gray"], "['gray']"), ("grey", "'grey'"), (("grey", "cmyk"), "('grey', 'cmyk')")],
)
def test_an_unknown_kind_is_refused(accept: str | list[str], got: str) -> None:
    with pytest.raises(InputError) as error:
        check_kinds(accept, "images")
    assert str(error.value) == f"images: expected accept to be a set out of 'grey', 'alpha', '16-bit', got {got}"


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
        f"{path}: expected an image, got a file in no format that Pillow reads; replace or remove it"
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
    assert torch.equal(read_image(path, accept={"alpha"}), pixels(numpy.array([[[255, 255, 255], [9, 9, 9]]])))
    _, opacity = read_overlay(path)
    assert opacity.tolist() == [[[0.0, 1.0]]]


def test_an_image_resized_to_less_than_the_crop_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", noise(8, 8, 3))
    with pytest.raises(InputError) as error:
        read_image(path, resize=4, crop=6)
    assert str(error.value) == (
        f"{path}: expected at least 6 x 6 pixels for crop=6, got 4 x 4; resize to more or crop less"
    )


def test_an_image_smaller_than_the_crop_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", noise(4, 3, 3))
    with pytest.raises(InputError) as error:
        read_image(path, crop=5)
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


@pytest.mark.parametrize("pixels", [0, -3])
@pytest.mark.parametrize("name", ["resize", "crop"])
def test_a_resize_or_crop_to_nothing_is_refused(tmp_path: Path, name: str, pixels: int) -> None:
    path = saved(tmp_path / "a.png", noise(4, 3, 3))
    message = f"{path}: expected {name} to be a number of pixels >= 1, got {pixels}; leave it out for none"
    with pytest.raises(InputError) as error:
        read_image(path, **{name: pixels})
    assert str(error.value) == message
    with pytest.raises(InputError) as error:
        check_sizes(str(path), **{"resize": 1, "crop": None, name: pixels})
    assert str(error.value) == message


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
    Image.new("P", (4, 4)).save(path)
    with pytest.raises(InputError) as error:
        read_overlay(path)
    assert str(error.value) == f"{path}: {WANTED} mode 'P'; convert the file to RGB"


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
    sixteen = read_pixels(tmp_path / "16.png", accept={"16-bit", "grey"})
    assert sixteen.dtype == torch.float32
    assert as_floats(sixteen) is sixteen
    assert sixteen[:, 0, 0].tolist() == pytest.approx([1000 / 65535] * 3)
