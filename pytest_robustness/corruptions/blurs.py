"""Blurs with a shape of their own: out of focus, through frosted glass, in motion, zoomed.

Images are float32 RGB in [0, 1], (n, 3, h, w); lengths are in pixels.
"""

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from pytest_robustness.perturbations.blur import GaussianBlur
from pytest_robustness.perturbations.borders import mirrored, quick
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images

__all__ = ["defocus_blur", "glass_blur", "motion_blur", "streaked", "zoom_blur"]

# Of a chain of copies 32 steps are followed: a longer one has a probability of 1e-12 at the largest reach.
_DOUBLINGS = 5


def defocus_blur(images: Images, streams: Streams, radius: float, smoothing: float) -> Images:
    """Every pixel a disk of this radius, the disk's edge smoothed by a small Gaussian; beyond the border mirrored.

    At radius 8 and 10 the image gets brighter by 1 %: the published kernel, which this is to the digit, weighs 1.013 and
    1.011 there, because the disk touches the edge of its square when it is smoothed.
    """
    height, width = images.shape[-2:]
    disk = _disk(radius, smoothing)
    reach = len(disk) // 2
    beyond = mirrored(images, reach)
    # By way of frequencies: on a CPU twice to seven times as fast as a convolution with the disk, kornia's or torch's.
    sizes = [quick(size) for size in beyond.shape[-2:]]
    filtered = torch.fft.rfft2(beyond, s=sizes).mul_(_frequencies(radius, smoothing, *sizes, images.device))
    blurred: torch.Tensor = torch.fft.irfft2(filtered, s=sizes)
    return blurred[..., 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]


def glass_blur(images: Images, streams: Streams, sigma: float, reach: float, rounds: float) -> Images:
    """Blurred, then every pixel replaced by one nearby, then blurred again.

    A round goes through the pixels from the last to the first and copies to each the one at a distance drawn from
    [-reach, reach) for either axis, which may have been replaced before: so one after the other in the published code,
    which takes 0.6 s an image. Here all at once and exactly: where the pixel that is copied comes later, the chain of copies is
    followed to its end, by pointers whose length doubles each time. (The published line is written as a swap; by numpy's
    rules it copies.) Pixels within `reach` of the border stay.
    """
    n, _, height, width = images.shape
    blur, sigmas = GaussianBlur(border="replicate"), images.new_full((n,), sigma)
    blurred = blur(images, sigmas, streams)
    source: torch.Tensor | None = None
    for number in range(int(rounds)):
        drawn = streams.child(f"round {number}").uniform(images.new_empty(n, height, width))
        step = _copied_from(drawn, int(reach))
        source = step if source is None else source.gather(1, step)
    if source is not None:
        blurred = blurred.flatten(2).gather(2, source.unsqueeze(1).expand(-1, 3, -1)).reshape(images.shape)
    return blur(blurred, sigmas, streams)


def motion_blur(images: Images, streams: Streams, radius: float, sigma: float) -> Images:
    """Smeared along a direction of its own for each image, up to 45 degrees from the horizontal.

    By `streaked`; as in imagecorruptions, whose reading of the published call to ImageMagick this is.
    """
    return streaked(images, _angles(streams, images, -45, 45), radius, sigma)


def streaked(planes: torch.Tensor, angles: Sequence[float], radius: float, sigma: float) -> torch.Tensor:
    """Each of the planes (n, c, h, w) smeared along its angle, in degrees, over 2 * radius + 1 pixels.

    Pixel i of the streak, counted from its start, weighs exp(-i^2 / (2 sigma^2)) and lies at the whole offset next to i
    pixels away. Beyond the border the edge is repeated.
    """
    height, width = planes.shape[-2:]
    weights = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(2 * int(radius) + 1)]
    streaks = torch.empty(planes.shape, dtype=planes.dtype, device=planes.device)
    # Image by image, as each has offsets of its own: views cost nothing, and gathering from all images at once takes eight
    # times as long on a CPU, a dense kernel for each (kornia's) four times.
    for plane, angle, streak in zip(planes, angles, streaks, strict=True):
        rise, run = math.sin(math.radians(angle)), math.cos(math.radians(angle))
        taps: dict[tuple[int, int], float] = {}
        for i, weight in enumerate(weights):
            offset = math.ceil(i * rise - 0.5), math.ceil(i * run - 0.5)
            taps[offset] = taps.get(offset, 0.0) + weight / sum(weights)
        above, left = (max(0, *(-offset[axis] for offset in taps)) for axis in (0, 1))
        below, right = (max(0, *(offset[axis] for offset in taps)) for axis in (0, 1))
        beyond = F.pad(plane.unsqueeze(0), (left, right, above, below), mode="replicate")[0]
        streak.zero_()
        for (down, across), weight in taps.items():
            top, start = above + down, left + across
            streak.add_(beyond[:, top : top + height, start : start + width], alpha=weight)
    return streaks


def zoom_blur(images: Images, streams: Streams, end: float, step: float) -> Images:
    """The mean of the image and of it zoomed into by 1, 1 + step, ... below `end`."""
    # As numpy counts a range, and steps through it: a last bit more or less moves the cut by a pixel.
    zooms = [1 + number * ((1 + step) - 1) for number in range(1, math.ceil((end - 1) / step))]
    planes = images.flatten(0, 1)
    upright = planes.mT.contiguous()
    # The image itself counts twice: once as zoomed by 1.
    total = 2 * planes
    # Whole rows are copied, of the transposed image and then of the upright one, into memory that stays the same: two
    # thirds of the time of torch's interpolation on a CPU.
    wide, wider = torch.empty_like(upright), torch.empty_like(upright)
    turned, high, higher = torch.empty_like(planes), torch.empty_like(planes), torch.empty_like(planes)
    for zoom in zooms:
        across, down = (_stretch(size, zoom, images.device) for size in (images.shape[-1], images.shape[-2]))
        turned.copy_(_rows_between(upright, *across, wide, wider).mT)
        total += _rows_between(turned, *down, high, higher)
    return (total / (len(zooms) + 2)).reshape(images.shape)


@functools.cache
def _disk(radius: float, smoothing: float) -> torch.Tensor:
    """The kernel of a lens out of focus, a square."""
    side, soft = (8, 1) if radius <= 8 else (int(radius), 2)
    places = torch.arange(-side, side + 1)
    disk = (places**2 + places.unsqueeze(1) ** 2 <= radius**2).double()
    weights = torch.exp(-0.5 * (torch.arange(-soft, soft + 1).double() / smoothing) ** 2)
    small = torch.outer(weights, weights) / weights.sum() ** 2
    disk = F.conv2d(mirrored((disk / disk.sum())[None, None], soft), small[None, None])[0, 0]
    # Only zeros lie further out.
    empty = max(0, side - int(radius) - soft)
    return disk[empty : 2 * side + 1 - empty, empty : 2 * side + 1 - empty].float()


@functools.lru_cache(maxsize=16)
def _frequencies(radius: float, smoothing: float, height: int, width: int, device: torch.device) -> torch.Tensor:
    """The disk's spectrum, for images of this size."""
    spectrum: torch.Tensor = torch.fft.rfft2(_disk(radius, smoothing), s=(height, width))
    return spectrum.to(device)


def _angles(streams: Streams, images: Images, low: float, high: float) -> list[float]:
    """An angle for each image, uniform in [low, high) degrees."""
    drawn = streams.child("angle").uniform(images.new_empty(len(images), 1))
    return [low + (high - low) * share for share in drawn.flatten().tolist()]


def _copied_from(drawn: torch.Tensor, reach: int) -> torch.Tensor:
    """Where the pixels of one round of copies come from, as flat indices (n, h * w), given a draw from [0, 1) for each."""
    n, height, width = drawn.shape
    side = 2 * reach
    places = torch.arange(height * width, device=drawn.device).reshape(height, width)
    # One draw for both axes: its first digit in base `side`, and the second.
    down = (drawn * side).floor()
    across = ((drawn * side - down) * side).floor()
    offsets = (down - reach) * width + (across - reach)
    rows, columns = (torch.arange(size, device=drawn.device) for size in (height, width))
    inside = ((rows > reach) & (rows <= height - reach)).unsqueeze(1) & (columns > reach) & (columns <= width - reach)
    copied = (places + (offsets * inside).long()).reshape(n, -1)
    # The copy of a pixel that comes later, and so was replaced before, continues with what replaced that one.
    flat = places.flatten()
    last = torch.maximum(copied, flat)
    if reach > 1:
        for _ in range(_DOUBLINGS):
            last = last.gather(1, last)
    return copied.gather(1, last)


@functools.lru_cache(maxsize=256)
def _stretch(size: int, zoom: float, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For a line of `size` pixels, zoomed into: the pixels before and after each place, and its way from one to the other.

    The middle is cut out and its corners put on the corners of a line that is `zoom` times as long, as scipy's
    zoom of order 1 does.
    """
    cut = math.ceil(size / zoom)
    start = (size - cut) // 2
    long = round(cut * zoom)
    places = torch.arange(size, dtype=torch.float64, device=device) * ((cut - 1) / max(long - 1, 1))
    before = places.floor().long()
    after = (before + 1).clamp_max(cut - 1)
    return before + start, after + start, (places - before).float().unsqueeze(1)


def _rows_between(
    planes: torch.Tensor,
    before: torch.Tensor,
    after: torch.Tensor,
    way: torch.Tensor,
    result: torch.Tensor,
    spare: torch.Tensor,
) -> torch.Tensor:
    """Rows of the planes (n, h, w) between those before and after, in the two tensors given for it."""
    torch.index_select(planes, 1, before, out=result)
    torch.index_select(planes, 1, after, out=spare)
    return result.lerp_(spare, way)
