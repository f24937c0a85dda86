"""Image files to pixels and back, by rules that are stated; the one door to PIL.

Pixels are float32 RGB in [0, 1], (c, h, w). Nothing is converted silently: a file that is not 8-bit RGB is
refused unless its kind is named in `accept`.
"""

import base64
import io
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy
import torch
from PIL import Image, UnidentifiedImageError

from pytest_robustness.errors import InputError

__all__ = [
    "Kind",
    "as_floats",
    "as_jpeg",
    "check_kinds",
    "check_sizes",
    "data_uri",
    "fitted",
    "heat_uri",
    "read_image",
    "read_overlay",
    "read_pixels",
]

Kind: TypeAlias = Literal["grey", "alpha", "16-bit"]

_CHANNELS: dict[str, tuple[Kind, str]] = {
    "L": ("grey", "one channel"),
    "LA": ("alpha", "one channel and an alpha channel"),
    "RGBA": ("alpha", "an alpha channel"),
}
_REMEDY: dict[Kind, str] = {
    "grey": "accept={'grey'} copies the channel to red, green and blue",
    "alpha": "accept={'alpha'} lays the image over white",
    "16-bit": "accept={'16-bit'} keeps the upper 8 bits of colours and all 16 of grey",
}


def check_kinds(accept: Collection[str], where: str) -> frozenset[Kind]:
    """The kinds of files to accept beside 8-bit RGB; InputError names the ones there are."""
    unknown = [kind for kind in accept if kind not in get_args(Kind)] if not isinstance(accept, str) else [accept]
    if unknown:
        raise InputError(f"{where}: expected accept to be a set out of 'grey', 'alpha', '16-bit', got {accept!r}")
    return frozenset(kind for kind in get_args(Kind) if kind in accept)


def check_sizes(where: str, **sizes: int | None) -> None:
    """Refuse a size in pixels that is given and below 1; InputError names it."""
    for name, pixels in sizes.items():
        if pixels is not None and pixels < 1:
            raise InputError(
                f"{where}: expected {name} to be a number of pixels >= 1, got {pixels}; leave it out for none"
            )


def read_image(
    path: Path,
    *,
    accept: Collection[Kind] = (),
    resize: int | None = None,
    crop: int | None = None,
    data: bytes | None = None,
) -> torch.Tensor:
    """The pixels of one file, (3, h, w) float32 in [0, 1]: those of `read_pixels`, which says how they are read."""
    return as_floats(read_pixels(path, accept=accept, resize=resize, crop=crop, data=data))


def as_floats(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels as `read_pixels` gives them, as float32 in [0, 1]."""
    return pixels if pixels.dtype == torch.float32 else pixels.float() / 255


def read_pixels(
    path: Path,
    *,
    accept: Collection[Kind] = (),
    resize: int | None = None,
    crop: int | None = None,
    data: bytes | None = None,
) -> torch.Tensor:
    """The pixels of one file, (3, h, w) uint8, of grey with 16 bits float32 in [0, 1]; `data` are its bytes where they have been
    read already.

    `resize` scales the short side to that many pixels (PIL's bilinear filter, which averages when it
    shrinks), `crop` cuts a square of that side from the centre: to the pixel what torchvision's Resize and
    CenterCrop do. Of several frames the first is read; an orientation in EXIF is not applied. Kinds other than
    8-bit RGB follow the rules that `accept` names: grey is copied to the three channels, alpha is laid over
    white, of 16 bits a channel grey is divided by 65535 and colours keep the upper 8.

    Raises InputError for a file that is missing, unreadable or truncated, of a kind not accepted, or
    smaller than the crop, and for settings that mean nothing.
    """
    check_sizes(str(path), resize=resize, crop=crop)
    image, deep = _decoded(path, data)
    (image,) = _fitted([_as_rgb(image, deep, path, accept)], str(path), resize, crop)
    return _pixels(image)


def fitted(pixels: torch.Tensor, where: str, *, resize: int | None = None, crop: int | None = None) -> torch.Tensor:
    """Pixels, (3, h, w) float32 in [0, 1], resized and cropped as `read_pixels` does it, without rounding to 8 bits.

    Raises InputError, beginning with `where`, for an image smaller than the crop.
    """
    planes = [Image.fromarray(plane) for plane in pixels.detach().cpu().numpy()]
    made = _fitted(planes, where, resize, crop)
    return torch.stack([torch.from_numpy(numpy.array(plane)) for plane in made]).clamp(0, 1)


def _fitted(images: list[Image.Image], where: str, resize: int | None, crop: int | None) -> list[Image.Image]:
    """Images of one size, resized and cropped alike."""
    width, height = images[0].size
    if resize is not None and min(width, height) != resize:
        short = min(width, height)
        # The long side is cut to whole pixels, not rounded, as torchvision does: published accuracies rest on it.
        width, height = int(resize * width / short), int(resize * height / short)
        images = [image.resize((width, height), Image.Resampling.BILINEAR) for image in images]
    if crop is not None:
        if min(width, height) < crop:
            raise InputError(
                f"{where}: expected at least {crop} x {crop} pixels for crop={crop}, got {width} x {height}; "
                + (f"add resize={crop} or crop less" if resize is None else "resize to more or crop less")
            )
        left, top = round((width - crop) / 2), round((height - crop) / 2)
        images = [image.crop((left, top, left + crop, top + crop)) for image in images]
    return images


def read_overlay(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Colour (3, h, w) and opacity (1, h, w) of an overlay file, float32 in [0, 1].

    Opacity is the alpha channel, 1 everywhere in a file without one. Raises InputError as `read_image` does.
    """
    image, deep = _decoded(path)
    if image.mode in ("RGBA", "LA") or "transparency" in image.info:
        pixels = as_floats(_pixels(image.convert("RGBA")))
        return pixels[:3], pixels[3:]
    colour = as_floats(_pixels(_as_rgb(image, deep, path, get_args(Kind))))
    return colour, torch.ones_like(colour[:1])


def data_uri(pixels: torch.Tensor) -> str:
    """The pixels, (3, h, w) in [0, 1], as a PNG in a data URI, for a report."""
    stream = io.BytesIO()
    _picture(pixels).save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def heat_uri(heat: torch.Tensor) -> str:
    """What can be laid over the picture of an image, as a PNG in a data URI: heat (h, w), of any scale.

    Where nothing speaks for the class it is clear; the most is red, at 70 %, and a third of it yellow, at 25 %. Larger pictures
    are scaled to 112 pixels on the long side: pages stay small, and heats are smooth or in superpixels.
    """
    share = heat.detach().float().cpu().clamp_min(0)
    scale = 112 / max(share.shape)
    if scale < 1:
        size = [max(1, round(side * scale)) for side in share.shape]
        share = torch.nn.functional.interpolate(share[None, None], size=size, mode="area")[0, 0]
    share = share / share.amax().clamp_min(1e-12)
    red, green, alpha = torch.full_like(share, 255), 230 * (1 - share), 255 * 0.7 * share**0.94
    levels = torch.stack([red, green, torch.zeros_like(share), alpha], 2).round().to(torch.uint8).numpy()
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def as_jpeg(pixels: torch.Tensor, *, quality: int) -> torch.Tensor:
    """The pixels, (3, h, w) in [0, 1], rounded to 8 bits, written to a JPEG file and read again; quality 1 to 100."""
    stream = io.BytesIO()
    _picture(pixels).save(stream, format="JPEG", quality=quality)
    with Image.open(stream) as image:
        return as_floats(_pixels(image)).to(pixels.device)


def _decoded(path: Path, data: bytes | None = None) -> tuple[Image.Image, bool]:
    """The decoded file, and whether it stores colours with 16 bits, of which Pillow keeps the upper 8."""
    try:
        with warnings.catch_warnings():
            # A file large enough to be a decompression bomb is refused, not warned about.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path if data is None else io.BytesIO(data)) as image:
                deep = any(_is_deep(tile[3]) for tile in image.tile)
                image.load()
                return image, deep
    except FileNotFoundError:
        raise InputError(f"{path}: expected an image file, found none; check the path") from None
    except IsADirectoryError:
        raise InputError(f"{path}: expected an image file, got a folder; check the path") from None
    except UnidentifiedImageError:
        raise InputError(
            f"{path}: expected an image, got a file in no format that Pillow reads; replace or remove it"
        ) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(
            f"{path}: expected at most {Image.MAX_IMAGE_PIXELS} pixels, got more; shrink the file"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{path}: expected a whole image, got one that can't be decoded ({error}); replace or remove it"
        ) from None


def _is_deep(arguments: object) -> bool:
    """Whether a Pillow decoder with these arguments reads 16 bits a channel (and not the 16 of 5-6-5 pixels)."""
    raw = str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)
    return raw == "I;16" or raw.endswith((";16B", ";16L", ";16N"))


def _as_rgb(image: Image.Image, deep: bool, path: Path, accept: Collection[Kind]) -> Image.Image:
    """The image as 8-bit RGB or, where 16-bit grey is accepted, as it is."""
    found: list[tuple[Kind | None, str]] = [("16-bit", "16 bits a channel")] if deep else []
    if image.mode in _CHANNELS:
        found.append(_CHANNELS[image.mode])
    elif image.mode not in ("RGB", "I;16", "I;16B", "I;16L"):
        found.append((None, f"mode {image.mode!r}"))
    if "transparency" in image.info and image.mode in ("RGB", "L"):
        found.append(("alpha", "a transparent colour"))
    for kind, what in found:
        if kind is None or kind not in accept:
            remedy = "convert the file to RGB" + (f", or {_REMEDY[kind]}" if kind else "")
            raise InputError(f"{path}: expected 8 bits a channel and 3 channels (RGB), got {what}; {remedy}")
    if ("alpha" in (kind for kind, _ in found)) and not image.mode.startswith("I"):
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image if image.mode.startswith("I") else image.convert("RGB")


def _picture(pixels: torch.Tensor) -> Image.Image:
    """Pixels, (3, h, w) in [0, 1], rounded to 8 bits."""
    levels = pixels.detach().clamp(0, 1).mul_(255).round_().to(torch.uint8).cpu().numpy()
    # Plane by plane: a third of the time of what would have to be put into another order first.
    return Image.merge("RGB", [Image.fromarray(plane) for plane in levels])


def _pixels(image: Image.Image) -> torch.Tensor:
    array = numpy.asarray(image)
    if array.ndim == 2:
        grey = torch.from_numpy(array.astype(numpy.float32) / 65535)
        return grey.expand(3, -1, -1).contiguous()
    # A copy: what Pillow lends is read-only.
    return torch.from_numpy(array.transpose(2, 0, 1).copy("K"))
