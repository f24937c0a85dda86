"""What lies beyond the border of an image, and sizes that suit a Fourier transform.

Images are (n, c, h, w); places are in pixels along a line, int64, and may lie far beyond its ends.
"""

import itertools
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F

from pytest_robustness.types import Images

__all__ = ["Border", "inside", "mirrored", "quick"]

Border: TypeAlias = Literal["reflect", "replicate"]
"""What lies beyond the edge: the image mirrored without repeating the edge, or the edge repeated."""


def inside(places: torch.Tensor, size: int, border: Border) -> torch.Tensor:
    """The pixels of a line of `size` that stand for these places."""
    if border == "replicate":
        return places.clamp(0, size - 1)
    if size == 1:
        return torch.zeros_like(places)
    period = 2 * (size - 1)
    folded = places % period
    return torch.minimum(folded, period - folded)


def mirrored(images: Images, reach: int) -> Images:
    """The images with `reach` more pixels on every side, mirrored without repeating the edge, however small they are."""
    if reach < min(images.shape[-2:]):
        return F.pad(images, (reach, reach, reach, reach), mode="reflect")
    # torch's own padding refuses to be larger than the image.
    rows, columns = (
        inside(torch.arange(-reach, size + reach, device=images.device), size, "reflect") for size in images.shape[-2:]
    )
    return images.index_select(-2, rows).index_select(-1, columns)


def quick(size: int) -> int:
    """The next size, or this, that is a product of twos, threes and fives: other transforms take up to three times as long."""
    return next(n for n in itertools.count(size) if pow(30, 64, n) == 0)
