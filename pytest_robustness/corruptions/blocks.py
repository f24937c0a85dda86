"""Images in blocks.

Images are float32 RGB in [0, 1], (n, 3, h, w).
"""

import functools
import itertools
from dataclasses import dataclass

import torch

from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images

__all__ = ["pixelate"]


def pixelate(images: Images, streams: Streams, kept: float) -> Images:
    """The image shrunk to `kept` of its sides by averaging whole pixels, and grown again by repeating them.

    What Pillow does by BOX, then by NEAREST; sides are rounded down to whole pixels, at least one. `Pixelate` is the same
    for a strength of its own for each image, whose matrices take twice as long.
    """
    rows, columns = (_blocks(size, max(1, int(size * kept)), images.device) for size in images.shape[-2:])
    # Whole rows are added up as they lie; only what is left of them is multiplied.
    small = images.new_zeros(())
    for row, share in zip(rows.members, rows.shares, strict=True):
        small = small + images.index_select(-2, row) * share
    return (small @ columns.averages).index_select(-1, columns.shown).index_select(-2, rows.shown)


@dataclass(frozen=True)
class _Blocks:
    """A line of pixels in blocks: the pixels of each block and their shares, (most, blocks) and (most, blocks, 1); the same as
    a matrix from the line to its blocks; and the block that each pixel shows.
    """

    members: torch.Tensor
    shares: torch.Tensor
    averages: torch.Tensor
    shown: torch.Tensor


@functools.lru_cache(maxsize=16)
def _blocks(size: int, blocks: int, device: torch.device) -> _Blocks:
    """The blocks as Pillow makes them, in its floats and its order of operations.

    Where the centre of a pixel lies on the edge of a block, its rounding errors decide.
    """
    scale = size / blocks
    members = []
    for block in range(blocks):
        centre = (block + 0.5) * scale
        first, end = max(int(centre - 0.5 * scale + 0.5), 0), min(int(centre + 0.5 * scale + 0.5), size)
        members.append([pixel for pixel in range(first, end) if -0.5 < (pixel - centre + 0.5) * (1 / scale) <= 0.5])
    most = max(map(len, members))
    filled = torch.tensor([own + own[-1:] * (most - len(own)) for own in members]).T.contiguous()
    shares = torch.tensor([[1 / len(own)] * len(own) + [0.0] * (most - len(own)) for own in members]).T.unsqueeze(2)
    averages = torch.zeros(size, blocks).scatter_add_(0, filled, shares.squeeze(2))
    # Added up, as Pillow's NEAREST goes along a line.
    shown = itertools.accumulate([0.5 * (blocks / size)] + [blocks / size] * (size - 1))
    parts = filled, shares, averages, torch.tensor([int(place) for place in shown])
    return _Blocks(*(part.to(device) for part in parts))
