"""Weather: snow and fog. Frost has a module of its own.

Images are float32 RGB in [0, 1], (n, 3, h, w); lengths are in pixels.
"""

import math

import torch
import torch.nn.functional as F

from pytest_robustness.corruptions.blurs import streaked
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images

__all__ = ["fog", "snow"]

# Of red, green and blue, in ITU-R BT.601.
_GREY = (0.299, 0.587, 0.114)


def snow(
    images: Images,
    streams: Streams,
    mean: float,
    deviation: float,
    flake: float,
    threshold: float,
    radius: float,
    sigma: float,
    kept: float,
) -> Images:
    """Flakes blown across a whitened image.

    Normal noise of this mean and deviation, zoomed by `flake`, is cut off below `threshold` and smeared, up to 45 degrees
    from the vertical; it is added, and added again turned by 180 degrees. Before that the image keeps a share `kept` of
    itself and takes the rest from 1.5 * grey + 0.5 where that is brighter.
    """
    n, _, height, width = images.shape
    cut = [math.ceil(size / flake) for size in (height, width)]
    flakes = mean + deviation * streams.child("flakes").normal(images.new_empty(n, 1, *cut))
    if flake != 1:
        size = [round(side * flake) for side in cut]
        flakes = F.interpolate(flakes, size=size, mode="bilinear", align_corners=True)[..., :height, :width]
    flakes = torch.where(flakes < threshold, 0, flakes).clamp(0, 1)
    drawn = streams.child("angle").uniform(images.new_empty(n, 1)).flatten().tolist()
    flakes = streaked(flakes, [-135 + 90 * share for share in drawn], radius, sigma)
    grey = (images * images.new_tensor(_GREY).reshape(1, 3, 1, 1)).sum(1, keepdim=True)
    whitened = torch.maximum(images, 1.5 * grey + 0.5)
    return kept * images + (1 - kept) * whitened + (flakes + flakes.flip(-2, -1))


def fog(images: Images, streams: Streams, thickness: float, decay: float) -> Images:
    """A plasma cloud in [0, 1], times `thickness`, added; then all of it scaled back to the brightest value there was.

    The cloud is a diamond-square fractal whose noise shrinks by decay^2 from a scale to the next.
    """
    size = 2 ** math.ceil(math.log2(max(images.shape[-2:])))
    cloud = _plasma(streams, images.new_empty(len(images), size, size), decay)
    cloud = cloud[:, : images.shape[-2], : images.shape[-1]].unsqueeze(1)
    brightest = images.amax((1, 2, 3), keepdim=True)
    return (images + thickness * cloud) * (brightest / (brightest + thickness))


def _plasma(streams: Streams, like: torch.Tensor, decay: float) -> torch.Tensor:
    """Fractals that tile the plane, (n, size, size) with a size that is a power of 2, stretched to [0, 1].

    Diamond-square (Fournier, Fussell and Carpenter 1982): the middle of a square, then of its sides, is the mean of four
    neighbours plus noise; then the same for squares of half the side.
    """
    heights = 2 * streams.child("cloud").uniform(like) - 1
    heights[:, 0, 0] = 0
    step, spread = like.shape[-1], 1.0
    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        beside, below = corners + corners.roll(-1, 2), corners + corners.roll(-1, 1)
        # What was drawn for a place makes its noise, and what is around it is added.
        middles = heights[:, half::step, half::step].mul_(spread)
        middles.add_(beside + beside.roll(-1, 1), alpha=0.25)
        heights[:, ::step, half::step].mul_(spread).add_(beside + middles + middles.roll(1, 1), alpha=0.25)
        heights[:, half::step, ::step].mul_(spread).add_(below + middles + middles.roll(1, 2), alpha=0.25)
        step, spread = half, spread / decay**2
    lowest, highest = heights.amin((1, 2), keepdim=True), heights.amax((1, 2), keepdim=True)
    # An image of one pixel has a cloud without heights.
    return (heights - lowest) / (highest - lowest).clamp_min(torch.finfo(heights.dtype).tiny)
