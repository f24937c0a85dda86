"""Stresses that can't see the model: what a camera, a channel or a hand may do to an image.

Images are float32 RGB in [0, 1], (n, c, h, w); strengths (n,), one per image. Results may leave [0, 1]: the
engine clamps, in one place.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F

from pytest_robustness.errors import InputError
from pytest_robustness.images import read_overlay
from pytest_robustness.records import path_text
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images, Strengths, constructor_call

__all__ = ["Blend", "Fit", "GaussianNoise", "gaussian_blur"]

Fit: TypeAlias = Literal["cover", "stretch", "tile"]


@dataclass(frozen=True)
class Blend:
    """A pattern laid over the image: (1 - alpha) * image + alpha * overlay, alpha in [0, 1].

    An overlay with an alpha channel weighs alpha by it, pixel by pixel. An overlay of another size is
    fitted by `fit`: "cover" scales it, keeping its shape, until it covers the image and cuts the centre;
    "stretch" scales it to the image's size; "tile" repeats it unscaled from the upper left corner.
    Scaling is bilinear with antialiasing.

    Raises InputError where the file can't be read or `fit` is not one of the three.
    """

    overlay: str | Path
    fit: Fit = "cover"
    _pixels: tuple[torch.Tensor, torch.Tensor] = field(init=False, repr=False, compare=False)

    unit: ClassVar[str] = "alpha"
    limit: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            raise InputError(
                f"Blend({str(self.overlay)!r}): expected fit 'cover', 'stretch' or 'tile', got {self.fit!r}"
            )
        object.__setattr__(self, "_pixels", read_overlay(Path(self.overlay)))
        # However the path was written, the same file is the same stress.
        object.__setattr__(self, "overlay", path_text(Path(self.overlay)))

    def __repr__(self) -> str:
        fit = "" if self.fit == "cover" else f", fit={self.fit!r}"
        return f"Blend({self.overlay!r}{fit})"

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        height, width = images.shape[-2:]
        colour, opacity = self._pixels
        # Scaled together, so that the colour under clear pixels doesn't bleed into the edges.
        seen, opacity = (_fitted(part, self.fit, height, width).to(images) for part in (colour * opacity, opacity))
        alphas = strengths.reshape(-1, 1, 1, 1)
        return (1 - alphas * opacity) * images + alphas * seen


@dataclass(frozen=True, repr=False)
class GaussianNoise:
    """Independent normal noise on every value: image + sigma * z, sigma in units of the [0, 1] pixel scale.

    An image keeps its z at every strength (common random numbers), so a ladder of strengths makes the
    same noise louder.
    """

    unit: ClassVar[str] = "sigma"
    limit: ClassVar[float] = 1.0
    __repr__ = constructor_call

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        return images + strengths.reshape(-1, 1, 1, 1) * streams.normal(images)


def gaussian_blur(images: Images, *, kernel: int = 5, sigma: float = 1.0) -> Images:
    """The images under a normalised `kernel` x `kernel` Gaussian of standard deviation `sigma` pixels.

    Borders are reflected without repeating the edge. Differentiable. Raises InputError for an even kernel.
    """
    if kernel % 2 == 0:
        raise InputError(f"gaussian_blur: expected an odd kernel (pixels), got {kernel}")
    reach = kernel // 2
    offsets = range(-reach, reach + 1)
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in offsets]
    height, width = images.shape[-2:]
    padded = F.pad(images, (reach, reach, reach, reach), mode="reflect")
    # Separable, as sums of shifted views: several times faster on a CPU than a depthwise convolution.
    rows = sum(padded[..., i : i + height, :] * (w / sum(weights)) for i, w in enumerate(weights))
    assert isinstance(rows, torch.Tensor)
    blurred = sum(rows[..., i : i + width] * (w / sum(weights)) for i, w in enumerate(weights))
    assert isinstance(blurred, torch.Tensor)
    return blurred


def _fitted(part: torch.Tensor, fit: Fit, height: int, width: int) -> torch.Tensor:
    """An overlay's plane, (c, h, w), at the size of the images."""
    if part.shape[-2:] == (height, width):
        return part
    if fit == "tile":
        repeats = (1, -(-height // part.shape[-2]), -(-width // part.shape[-1]))
        return part.repeat(repeats)[:, :height, :width]
    size = (height, width)
    if fit == "cover":
        scale = max(height / part.shape[-2], width / part.shape[-1])
        size = (max(height, round(part.shape[-2] * scale)), max(width, round(part.shape[-1] * scale)))
    scaled = F.interpolate(part[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return scaled[:, top : top + height, left : left + width]
