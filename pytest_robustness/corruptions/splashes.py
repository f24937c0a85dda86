"""What splashes on a lens: drops of water or of mud.

Images are float32 RGB in [0, 1], (n, 3, h, w); lengths are in pixels.
"""

import math

import torch
import torch.nn.functional as F

from pytest_robustness.perturbations.blur import GaussianBlur
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images

__all__ = ["spatter"]

_WATER = (175 / 255, 238 / 255, 238 / 255)
_MUD = (63 / 255, 42 / 255, 20 / 255)

# Further from an edge than this, water is all the same.
_FAR = 20

_TAN_22 = math.tan(math.pi / 8)


def spatter(
    images: Images,
    streams: Streams,
    mean: float,
    deviation: float,
    sigma: float,
    threshold: float,
    amount: float,
    mud: float,
) -> Images:
    """Drops where normal noise of this mean and deviation, under a Gaussian of `sigma`, exceeds `threshold`.

    Water is added, pale turquoise, brighter towards one side of a drop, `amount` at its brightest. Mud covers: brown, its
    edges softened by a Gaussian of `amount` pixels and cut where less than 0.8 of it is left.
    """
    n, _, height, width = images.shape
    blur = GaussianBlur(border="replicate")
    noise = mean + deviation * streams.normal(images.new_empty(n, 1, height, width))
    liquid = blur(noise, images.new_full((n,), sigma), streams)
    drops = liquid > threshold
    if mud:
        cover = blur(drops.to(images.dtype), images.new_full((n,), amount), streams)
        cover = torch.where(cover < 0.8, 0, cover)
        return images * (1 - cover) + images.new_tensor(_MUD).reshape(1, 3, 1, 1) * cover
    levels = (torch.where(drops, liquid, 0) * 255).floor()
    water = levels * _shading(levels)
    brightest = water.amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(water.dtype).tiny)
    return images + images.new_tensor(_WATER).reshape(1, 3, 1, 1) * (amount / brightest * water)


def _shading(levels: torch.Tensor) -> torch.Tensor:
    """How bright water is at each pixel, in [0, 255], given its levels in [0, 255] where drops are and 0 elsewhere.

    The distance from the edges of drops, its histogram equalised, embossed: (n, 1, h, w), as published.
    """
    equal = _mirrored(_equalised(_mean_of_nine(_distance_to(_edges(levels))).floor()))
    height, width = levels.shape[-2:]
    # The slope from the upper left to the lower right, added to what is there; sums of views, because a convolution with
    # one channel takes several times as long on a CPU.
    emboss = {(0, 0): -2, (0, 1): -1, (1, 0): -1, (1, 1): 1, (1, 2): 1, (2, 1): 1, (2, 2): 2}
    embossed = torch.zeros_like(levels)
    for (row, column), weight in emboss.items():
        embossed.add_(equal[..., row : row + height, column : column + width], alpha=weight)
    return _mean_of_nine(embossed.clamp_(0, 255))


def _edges(levels: torch.Tensor) -> torch.Tensor:
    """The pixels in which a Canny filter finds an edge, of a drop that is: those inside a drop are too weak for it.

    A slope above 150 in Sobel's filters, |dx| + |dy|, that is the steepest of the three pixels along its direction, ties as
    OpenCV breaks them.
    """
    beyond = F.pad(levels, (1, 1, 1, 1), mode="replicate")
    above, beside, below = beyond[..., :-2, :], beyond[..., 1:-1, :], beyond[..., 2:, :]
    across, down = above + 2 * beside + below, below - above
    dx = across[..., 2:] - across[..., :-2]
    dy = down[..., 2:] + 2 * down[..., 1:-1] + down[..., :-2]
    slopes = dx.abs() + dy.abs()
    around = F.pad(slopes, (1, 1, 1, 1))
    upper, middle, lower = around[..., :-2, :], around[..., 1:-1, :], around[..., 2:, :]
    sideways = (slopes > middle[..., :-2]) & (slopes >= middle[..., 2:])
    upwards = (slopes > upper[..., 1:-1]) & (slopes >= lower[..., 1:-1])
    falling = (slopes > upper[..., :-2]) & (slopes > lower[..., 2:])
    rising = (slopes > upper[..., 2:]) & (slopes > lower[..., :-2])
    flat, steep = dy.abs() < _TAN_22 * dx.abs(), dy.abs() > (2 + _TAN_22) * dx.abs()
    slanted = torch.where(dx * dy < 0, rising, falling)
    return (slopes > 150) & torch.where(flat, sideways, torch.where(steep, upwards, slanted))


def _distance_to(marked: torch.Tensor) -> torch.Tensor:
    """The Euclidean distance of each pixel from the nearest that is marked, at most `_FAR`."""
    squares = torch.where(marked, 0.0, float(_FAR**2))
    # Along the columns, then along the rows: the squares add up.
    for axis in (-2, -1):
        size = squares.shape[axis]
        nearest = squares.clone()
        for offset in range(1, min(_FAR, size)):
            there = squares + offset**2
            for start, other in ((0, offset), (offset, 0)):
                here = nearest.narrow(axis, start, size - offset)
                torch.minimum(here, there.narrow(axis, other, size - offset), out=here)
        squares = nearest
    return squares.sqrt()


def _equalised(levels: torch.Tensor) -> torch.Tensor:
    """Whole levels from 0 to `_FAR`, (n, 1, h, w), spread over [0, 255] so that each range holds its share of the pixels."""
    n = len(levels)
    whole = levels.long().flatten(1)
    counts = levels.new_zeros(n, _FAR + 1).scatter_add_(1, whole, torch.ones_like(levels).flatten(1))
    below = counts.cumsum(1)
    # The lowest level there is becomes 0; an image with a single level keeps it.
    lowest = torch.where(counts > 0, below, below[:, -1:]).amin(1, keepdim=True)
    spread = below[:, -1:] - lowest
    spread_out = ((below - lowest) * (255 / spread.clamp_min(1))).round().clamp_min(0)
    known = torch.arange(_FAR + 1, device=levels.device, dtype=levels.dtype)
    return torch.where(spread > 0, spread_out, known).gather(1, whole).reshape(levels.shape)


def _mean_of_nine(planes: torch.Tensor) -> torch.Tensor:
    """Each pixel's mean with its eight neighbours."""
    beyond = _mirrored(planes)
    rows = beyond[..., :-2, :] + beyond[..., 1:-1, :] + beyond[..., 2:, :]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9


def _mirrored(planes: torch.Tensor) -> torch.Tensor:
    """One more pixel on each side, mirrored without repeating the edge; repeated where there is no other."""
    mode = "reflect" if min(planes.shape[-2:]) > 1 else "replicate"
    return F.pad(planes, (1, 1, 1, 1), mode=mode)
