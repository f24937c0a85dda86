"""Patterns laid over images.

Images are float32 RGB in [0, 1], (n, c, h, w); strengths (n,), one per image.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F

from pytest_robustness.errors import InputError
from pytest_robustness.images import read_overlay
from pytest_robustness.records import path_text
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images, Strengths

__all__ = ["Blend", "Fit"]

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
