"""Image files to pixels and back, by rules that are stated; the one door to PIL.

Pixels are float32 RGB in [0, 1], (c, h, w). Nothing is converted silently: what is 8-bit RGB in another form (a palette, grey, black
and white) is read as such, and a file of which something would be lost or guessed is refused unless `accept` names its kind.
"""

import base64
import dataclasses
import io
import stat
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy
import torch
from PIL import Image, UnidentifiedImageError

from pytest_robustness.errors import InputError
from pytest_robustness.preprocessing import Geometry
from pytest_robustness.records import printable

__all__ = [
    "Colour",
    "Kind",
    "Orientation",
    "Reading",
    "as_floats",
    "as_jpeg",
    "data_uri",
    "file_bytes",
    "fitted",
    "heat_uri",
    "item_pixels",
    "read_image",
    "read_overlay",
    "read_pixels",
]

Kind: TypeAlias = Literal["grey", "alpha", "16-bit", "cmyk"]
Orientation: TypeAlias = Literal["upright", "stored"]
"""As people are shown the image, by its EXIF; or the pixels in the order in which the file has them."""
Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue, each 0 to 255."""

_REMEDY: dict[Kind, str] = {
    "alpha": "accept={'alpha'} lays the image over white",
    "16-bit": "accept={'16-bit'} keeps the upper 8 bits of colours and all 16 of grey",
    "cmyk": "accept={'cmyk'} converts it without a colour profile",
}
_FILE_BYTES = 2**30
"""More than any image has that is within Pillow's limit of pixels."""
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Reading:
    """The rules by which image files become pixels.

    `accept` names kinds of files beside 8-bit RGB, palettes and grey, which are always read: `alpha`, laid over `background`;
    `16-bit`, of which grey is divided by 65535 and colours keep the upper 8 bits; `cmyk`, by Pillow's formula, without a colour
    profile. `grey` may be named and changes nothing. With the orientation `upright` the image is turned as its EXIF says. Raises
    InputError for settings that there are not.
    """

    accept: Collection[Kind] = frozenset()
    orientation: Orientation = "upright"
    background: Colour = (255, 255, 255)
    geometry: Geometry = field(default_factory=Geometry)

    def __post_init__(self) -> None:
        kinds = get_args(Kind)
        if isinstance(self.accept, str) or any(kind not in kinds for kind in self.accept):
            raise InputError(
                f"expected accept to be a set out of {', '.join(map(repr, kinds))}, got {_list_or_text(self.accept)}"
            )
        object.__setattr__(self, "accept", frozenset(self.accept))
        if self.orientation not in get_args(Orientation):
            raise InputError(
                f"expected orientation to be 'upright', as EXIF says, or 'stored', got {self.orientation!r}"
            )
        levels = self.background if isinstance(self.background, tuple) and len(self.background) == 3 else (None,)
        if not all(type(level) is int and 0 <= level <= 255 for level in levels):
            raise InputError(
                f"expected background to be (red, green, blue), each 0 to 255, got {self.background!r}; white is (255, 255, 255)"
            )

    @property
    def text(self) -> tuple[object, ...]:
        """What tells these rules from others, as part of a digest."""
        known = (sorted(self.accept), self.geometry.resize, self.geometry.crop)
        # Digests of what there was first stay as they are: answers are kept under them.
        more = (self.geometry.interpolation, self.orientation, self.background)
        return known if more == ("bilinear", "upright", (255, 255, 255)) else (*known, *more)

    @property
    def native(self) -> "Reading":
        """The same rules for the image at its own size."""
        return dataclasses.replace(self, geometry=Geometry())


_EVERY_KIND = Reading(frozenset(get_args(Kind)))
_PLAIN = Reading()


def read_image(path: Path, reading: Reading = _PLAIN, *, data: bytes | None = None) -> torch.Tensor:
    """The pixels of one file, (3, h, w) float32 in [0, 1]: those of `read_pixels`, which says how they are read."""
    return as_floats(read_pixels(path, reading, data=data))


def as_floats(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels as `read_pixels` gives them, as float32 in [0, 1]."""
    return pixels if pixels.dtype == torch.float32 else pixels.float() / 255


def read_pixels(path: Path, reading: Reading = _PLAIN, *, data: bytes | None = None) -> torch.Tensor:
    """The pixels of one file, (3, h, w) uint8, of grey with 16 bits float32 in [0, 1]; `data` are its bytes where they have been
    read already.

    They are resized and cropped as the geometry says, to the pixel what torchvision's Resize and CenterCrop do to PIL's images. Of
    several frames the first is read. Colour profiles are not applied.

    Raises InputError for a file that is missing, unreadable, truncated or hostile, of a kind not accepted, or smaller than the crop.
    """
    where = printable(str(path))
    image, deep = _decoded(where, file_bytes(path) if data is None else data, reading.orientation)
    (image,) = _fitted([_as_rgb(image, deep, where, reading)], where, reading.geometry)
    return _pixels(image)


def item_pixels(item: object, where: str, reading: Reading = _PLAIN) -> torch.Tensor:
    """The pixels of an image in memory at its own size, (3, h, w) uint8, or float32 in [0, 1] where it has floats.

    It is PIL's image, by the same rules as a file, but never turned: whoever opened it has decided that. Or it is a tensor (3, h, w),
    (1, h, w) or (h, w), or an array (h, w, 3), (h, w, 1) or (h, w), of uint8 or of floats in [0, 1]. Raises InputError, beginning
    with `where`, for anything else.
    """
    if isinstance(item, Image.Image):
        return _pixels(_as_rgb(item, False, where, reading))
    if isinstance(item, numpy.ndarray):
        pixels = torch.from_numpy(item.copy()) if item.dtype.kind in "uif" and item.dtype != numpy.uint16 else None
        pixels = pixels.permute(2, 0, 1) if pixels is not None and pixels.ndim == 3 else pixels
    else:
        pixels = item.detach().cpu() if isinstance(item, torch.Tensor) else None
    if pixels is not None and pixels.ndim == 2:
        pixels = pixels.unsqueeze(0)
    known = pixels is not None and (pixels.dtype == torch.uint8 or pixels.is_floating_point())
    if pixels is None or not known or pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or not pixels.numel():
        raise InputError(
            f"{where}: expected PIL's image, a tensor (3, h, w) or an array (h, w, 3), of uint8 or of floats in [0, 1], got "
            f"{_described(item)}; change the dataset's transform"
        )
    if pixels.is_floating_point():
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 1):
            raise InputError(
                f"{where}: expected floats in [0, 1], got {low:.4g} to {high:.4g}; take the normalisation out of the dataset's transform "
                "and put it into the model"
            )
        pixels = pixels.float()
    return pixels.expand(3, -1, -1).contiguous()


def fitted(pixels: torch.Tensor, where: str, geometry: Geometry) -> torch.Tensor:
    """Pixels, (3, h, w) uint8 or float32 in [0, 1], resized and cropped as `read_pixels` does it; floats are not rounded to 8 bits.

    Raises InputError, beginning with `where`, for an image smaller than the crop.
    """
    if pixels.dtype == torch.uint8:
        planes = [Image.fromarray(plane) for plane in pixels.cpu().numpy()]
        return torch.stack([torch.from_numpy(numpy.array(plane)) for plane in _fitted(planes, where, geometry)])
    planes = [Image.fromarray(plane) for plane in pixels.detach().cpu().numpy()]
    made = _fitted(planes, where, geometry)
    return torch.stack([torch.from_numpy(numpy.array(plane)) for plane in made]).clamp(0, 1)


def _fitted(images: list[Image.Image], where: str, geometry: Geometry) -> list[Image.Image]:
    """Images of one size, resized and cropped alike."""
    width, height = images[0].size
    resize, crop = geometry.resize, geometry.crop
    if isinstance(resize, int):
        short = min(width, height)
        # The long side is cut to whole pixels, not rounded, as torchvision does: published accuracies rest on it.
        wanted = (width, height) if short == resize else (int(resize * width / short), int(resize * height / short))
    else:
        wanted = (width, height) if resize is None else (resize[1], resize[0])
    if wanted != (width, height):
        if wanted[0] * wanted[1] > (Image.MAX_IMAGE_PIXELS or float("inf")):
            raise InputError(
                f"{where}: expected at most {Image.MAX_IMAGE_PIXELS} pixels, got {width} x {height} that resize={resize} makes "
                f"{wanted[0]} x {wanted[1]}; cut the file"
            )
        how = Image.Resampling[geometry.interpolation.upper()]
        images = [image.resize(wanted, how) for image in images]
        width, height = wanted
    if crop is not None:
        high, wide = crop if isinstance(crop, tuple) else (crop, crop)
        if width < wide or height < high:
            raise InputError(
                f"{where}: expected at least {wide} x {high} pixels for crop={crop}, got {width} x {height}; "
                + (f"add resize={crop} or crop less" if resize is None else "resize to more or crop less")
            )
        left, top = round((width - wide) / 2), round((height - high) / 2)
        images = [image.crop((left, top, left + wide, top + high)) for image in images]
    return images


def read_overlay(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Colour (3, h, w) and opacity (1, h, w) of an overlay file, float32 in [0, 1].

    Opacity is the alpha channel, 1 everywhere in a file without one. Raises InputError as `read_image` does.
    """
    where = printable(str(path))
    image, deep = _decoded(where, file_bytes(path), "upright")
    if image.has_transparency_data:
        pixels = as_floats(_pixels(image.convert("RGBA")))
        return pixels[:3], pixels[3:]
    colour = as_floats(_pixels(_as_rgb(image, deep, where, _EVERY_KIND)))
    return colour, torch.ones_like(colour[:1])


def file_bytes(path: Path) -> bytes:
    """The bytes of a regular file of at most 1 GiB; InputError, naming it, for anything else.

    A pipe or a device, which would be read forever, is not opened.
    """
    where = printable(str(path))
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{where}: expected an image file, got a folder; check the path")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{where}: expected an image file, got a pipe, a socket or a device; remove it")
        if status.st_size > _FILE_BYTES:
            raise InputError(f"{where}: expected at most {_FILE_BYTES} bytes, got {status.st_size}; shrink the file")
        return path.read_bytes()
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{where}: expected an image file, found none; check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{where}: expected a file that can be read, got one that can't be ({reason}); check its permissions"
        ) from None


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


def _decoded(where: str, data: bytes, orientation: Orientation) -> tuple[Image.Image, bool]:
    """The decoded file, and whether it stores colours with 16 bits, of which Pillow keeps the upper 8."""
    try:
        with warnings.catch_warnings():
            # What a file is worth must not depend on which warnings the tests around it make errors of.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                # Asked again: filters of warnings are shared by all threads.
                if image.width * image.height > (Image.MAX_IMAGE_PIXELS or float("inf")):
                    raise Image.DecompressionBombError
                deep = any(_is_deep(tile[3]) for tile in image.tile)
                image.load()
                return (_upright(image) if orientation == "upright" else image), deep
    except UnidentifiedImageError:
        got = "a file in no format that Pillow reads" if data else "an empty file"
        raise InputError(f"{where}: expected an image, got {got}; replace or remove it") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(
            f"{where}: expected at most {Image.MAX_IMAGE_PIXELS} pixels, got more; shrink the file"
        ) from None
    # Whatever a parser raises at bytes that were made to break it.
    except Exception as error:
        raise InputError(
            f"{where}: expected a whole image, got one that can't be decoded ({error}); replace or remove it"
        ) from None


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF says, as PIL.ImageOps.exif_transpose does it but without a copy where there is nothing to do."""
    turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info = {key: value for key, value in image.info.items() if key == "transparency"}
    return turned


def _is_deep(arguments: object) -> bool:
    """Whether a Pillow decoder with these arguments reads 16 bits a channel (and not the 16 of 5-6-5 pixels)."""
    raw = str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)
    return raw == "I;16" or raw.endswith((";16B", ";16L", ";16N"))


def _as_rgb(image: Image.Image, deep: bool, where: str, reading: Reading) -> Image.Image:
    """The image as 8-bit RGB or, where 16-bit grey is accepted, as it is."""
    deep = deep or image.mode in ("I;16", "I;16B", "I;16L")
    found: list[tuple[Kind | None, str]] = [("16-bit", "16 bits a channel")] if deep else []
    if image.mode in ("RGBA", "LA", "PA"):
        found.append(("alpha", "an alpha channel"))
    elif image.mode in ("RGB", "L", "P", "1"):
        if image.has_transparency_data:
            found.append(("alpha", "a transparent colour"))
    elif image.mode == "CMYK":
        found.append(("cmyk", "the colours of a printer (CMYK)"))
    # Older versions of Pillow have grey of 16 bits in a PNG as 32-bit integers.
    elif not (deep and image.mode.startswith("I")):
        found.append((None, f"mode {image.mode!r}"))
    if deep and image.mode == "CMYK":
        found = [(None, "mode 'CMYK' of 16 bits a channel")]
    for kind, what in found:
        if kind is None or kind not in reading.accept:
            remedy = "convert the file to RGB" + (f", or {_REMEDY[kind]}" if kind else "")
            raise InputError(f"{where}: expected 8 bits a channel and 3 channels (RGB), got {what}; {remedy}")
    if image.mode.startswith("I"):
        return image
    if "alpha" in (kind for kind, _ in found):
        ground = Image.new("RGBA", image.size, reading.background)
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _picture(pixels: torch.Tensor) -> Image.Image:
    """Pixels, (3, h, w) in [0, 1], rounded to 8 bits."""
    levels = pixels.detach().clamp(0, 1).mul_(255).round_().to(torch.uint8).cpu().numpy()
    # Plane by plane: a third of the time of what would have to be put into another order first.
    return Image.merge("RGB", [Image.fromarray(plane) for plane in levels])


def _pixels(image: Image.Image) -> torch.Tensor:
    array = numpy.asarray(image)
    if array.ndim == 2:
        grey = torch.from_numpy((array.astype(numpy.float32) / 65535).clip(0, 1))
        return grey.expand(3, -1, -1).contiguous()
    # A copy: what Pillow lends is read-only.
    return torch.from_numpy(array.transpose(2, 0, 1).copy("K"))


def _list_or_text(accept: object) -> str:
    return repr(accept) if isinstance(accept, str) or not isinstance(accept, (set, frozenset)) else repr(sorted(accept))


def _described(item: object) -> str:
    if isinstance(item, (torch.Tensor, numpy.ndarray)):
        return f"{tuple(item.shape)} {str(item.dtype).removeprefix('torch.')}"
    return type(item).__name__
