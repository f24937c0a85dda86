"""Superpixels: an image cut into connected regions, which explanations switch on and off together.

Images are float32 RGB in [0, 1], (n, 3, h, w); segments (n, h, w) int64, numbered from 0 in each image by itself.
"""

from dataclasses import dataclass
from typing import Protocol

import torch

from pytest_robustness.errors import InputError
from pytest_robustness.types import Images, constructor_call

__all__ = ["Grid", "Segmenter"]


class Segmenter(Protocol):
    """Cuts each image into superpixels; a frozen dataclass whose repr is its constructor call."""

    def __call__(self, images: Images) -> torch.Tensor:
        """(n, h, w) int64: the number of each pixel's superpixel, from 0 to its image's largest, without gaps."""


@dataclass(frozen=True, repr=False)
class Grid:
    """Rectangles, as equal as whole pixels allow: needs no library, and knows nothing of the image.

    Raises InputError for fewer than one row or column, and for an image of fewer pixels than that.
    """

    rows: int = 7
    columns: int = 7

    __repr__ = constructor_call

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise InputError(f"{self!r}: expected at least one row and one column")

    def __call__(self, images: Images) -> torch.Tensor:
        n, _, height, width = images.shape
        if height < self.rows or width < self.columns:
            raise InputError(
                f"{self!r}: expected images of at least {self.columns} x {self.rows} pixels, got {width} x {height}"
            )
        down = torch.arange(height, device=images.device) * self.rows // height
        across = torch.arange(width, device=images.device) * self.columns // width
        return (down.unsqueeze(1) * self.columns + across).expand(n, height, width)
