"""Filters of rows and columns as matrices: any weights, each image with its own.

Images are (n, c, h, w).
"""

from collections.abc import Iterator

import torch

from pytest_robustness.restoring import tf32
from pytest_robustness.types import Images

__all__ = ["filtered"]

# Where the reach is short, narrow bands multiply fewer zeros; narrower ones than this are no faster.
_BAND = 32


def filtered(images: Images, down: torch.Tensor, across: torch.Tensor, *, reach: int) -> Images:
    """The images with each column multiplied by `down` (n, h, h), and each row by `across` (n, w, w).

    Both are zero farther than `reach` from their diagonals. In full precision, whatever rounding the model is run with.
    """
    height, width = images.shape[-2:]
    down, across = down.unsqueeze(1), across.unsqueeze(1)
    with tf32(False):
        columns = [down[..., own, seen] @ images[..., seen, :] for own, seen in _bands(height, reach)]
        images = torch.cat(columns, 2)
        return torch.cat([images[..., seen] @ across[..., own, seen].mT for own, seen in _bands(width, reach)], 3)


def _bands(size: int, reach: int) -> Iterator[tuple[slice, slice]]:
    """The pixels of a line, band by band, and those that each band sees."""
    for start in range(0, size, _BAND):
        end = min(start + _BAND, size)
        yield slice(start, end), slice(max(start - reach, 0), min(end + reach, size))
