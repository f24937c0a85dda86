"""What is done to an image file before a model looks at it: brought to a size, and normalised."""

import math
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from pytest_robustness.errors import InputError

__all__ = ["Geometry", "Interpolation", "Preprocessing", "Size"]

Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"]
"""Pillow's filters, by which all of torchvision, timm and transformers resize images; all but `nearest` average as they shrink."""

Size: TypeAlias = int | tuple[int, int] | None
"""A length or the side of a square, or (height, width), in pixels; None for none."""


@dataclass(frozen=True)
class Geometry:
    """How an image is brought to the size that a model takes: resized, then cut from the centre.

    `resize` is the length of the short side, or (height, width), in pixels; `crop` the side of a square, or (height, width). None
    leaves that step out. Raises InputError for sizes below 1 and an interpolation that is none.
    """

    resize: Size = None
    crop: Size = None
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        for name in ("resize", "crop"):
            _check_size(name, getattr(self, name))
        if self.interpolation not in get_args(Interpolation):
            raise InputError(
                f"expected an interpolation out of {', '.join(get_args(Interpolation))}, got {self.interpolation!r}"
            )

    def __str__(self) -> str:
        """In words, for a report: `short side 256 by bilinear, 224 x 224 from the centre`."""
        if isinstance(self.resize, tuple):
            parts = [f"{self.resize[1]} x {self.resize[0]} by {self.interpolation}"]
        else:
            parts = [] if self.resize is None else [f"short side {self.resize} by {self.interpolation}"]
        if self.crop is not None:
            height, width = self.crop if isinstance(self.crop, tuple) else (self.crop, self.crop)
            parts.append(f"{width} x {height} from the centre")
        return ", ".join(parts) or "as the files are"


@dataclass(frozen=True)
class Preprocessing:
    """What a model was trained to see: images of this geometry, less `mean`, divided by `std`, by channel on the [0, 1] scale.

    `origin` says who told: `torchvision's weights IMAGENET1K_V2`, `declared`. Raises InputError for numbers that can't be a mean or a
    standard deviation of pixels in [0, 1].
    """

    geometry: Geometry = field(default_factory=Geometry)
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    origin: str = "none"

    def __post_init__(self) -> None:
        for name, low in (("mean", -1.0), ("std", 0.0)):
            values = getattr(self, name)
            if (
                len(values) != 3
                or not all(math.isfinite(value) and low <= value <= 2 for value in values)
                or (name == "std" and not all(values))
            ):
                raise InputError(
                    f"expected {name} as three numbers, of red, green and blue on the [0, 1] scale, got {values!r}; divide those on the "
                    "scale to 255 by 255"
                )

    @property
    def normalises(self) -> bool:
        """Whether mean and std change anything."""
        return (self.mean, self.std) != ((0.0,) * 3, (1.0,) * 3)

    def __str__(self) -> str:
        """In words, for a report."""
        normal = (
            f"mean {_numbers(self.mean)}, std {_numbers(self.std)}" if self.normalises else "no mean and std of its own"
        )
        return f"{self.geometry}; {normal}; from {self.origin}"


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _check_size(name: str, size: object) -> None:
    parts = size if isinstance(size, tuple) and len(size) == 2 else (size,)
    whole = all(isinstance(part, int) and not isinstance(part, bool) and part >= 1 for part in parts)
    if size is not None and not whole:
        raise InputError(f"expected {name} to be a number of pixels >= 1, or (height, width), got {size!r}")
