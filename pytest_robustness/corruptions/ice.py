"""Frost on a window, drawn: no photo of frost is shipped.

The published corruption lays one of six photos of frost over an image. Here six plates are drawn in their stead, once
for a process and always the same: feathers and needles of ice that branch as crystals do, lit from one side, in the
colours of the photos (mean and standard deviation of each channel). An image sees a part of one of them.

Images are float32 RGB in [0, 1], (n, 3, h, w); plates are squares of `_SIDE` pixels that tile the plane.
"""

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images

__all__ = ["frost"]

_SIDE = 512


def frost(images: Images, streams: Streams, kept: float, laid: float, scale: float) -> Images:
    """The image times `kept` plus `laid` times a part of a plate, which is drawn at `scale` and grows with a larger image.

    Plate, place and whether it is mirrored along each axis are the image's own.
    """
    n, _, height, width = images.shape
    # Larger by the tenth that imagecorruptions adds, so that there is a choice of places for every image.
    plates = _scaled(max(scale, 1.1 * max(height, width) / _SIDE), images.device)
    side = plates.shape[1]
    drawn = streams.uniform(images.new_empty(n, 5))
    plate = (drawn[:, 0] * len(plates)).long()
    rows, columns = (
        _part(side, size, drawn[:, 1 + axis], drawn[:, 3 + axis] < 0.5) for axis, size in enumerate((height, width))
    )
    seen = plates[plate.reshape(n, 1, 1), rows.unsqueeze(2), columns.unsqueeze(1)]
    return kept * images + laid * seen.permute(0, 3, 1, 2)


def _part(side: int, size: int, place: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    """The pixels of a line of `side` that an image of `size` sees, (n, size), given where from [0, 1) it begins."""
    pixels = torch.arange(size, device=place.device)
    start = (place * (side - size + 1)).long().unsqueeze(1)
    return start + torch.where(mirrored.unsqueeze(1), size - 1 - pixels, pixels)


@dataclass(frozen=True)
class _Crystals:
    """So many stems with branches on both sides, these again with branches, `depth` times.

    Lengths and the spacing of branches in pixels, `spread` the angle between stem and branch in degrees, a branch at most
    `ratio` as long as its stem. Stems begin anywhere, or at one of `seeds` places.
    """

    stems: int
    length: float
    spread: float
    spacing: float
    depth: int = 1
    ratio: float = 0.4
    seeds: int = 0


@dataclass(frozen=True)
class _Plate:
    """Crystals in layers, and how much is seen of their thickness, of their edges in the light and of the clouds behind."""

    layers: tuple[_Crystals, ...]
    thickness: float
    edges: float
    clouds: float
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    opacity: float = 0.6


# Mean and deviation are those of the published photos, in steps of 8 bits.
_PLATES = (
    _Plate(
        (_Crystals(900, 60, 8, 12, ratio=0.5), _Crystals(4000, 14, 25, 4)),
        thickness=0.1,
        edges=0.9,
        clouds=0.25,
        mean=(78, 149, 166),
        deviation=(27, 16, 15),
    ),
    _Plate(
        (
            _Crystals(260, 120, 12, 14, ratio=0.5, seeds=40),
            _Crystals(500, 70, 12, 14, ratio=0.5, seeds=90),
            _Crystals(900, 40, 12, 14, ratio=0.5, seeds=150),
        ),
        thickness=0.25,
        edges=0.8,
        clouds=0.2,
        mean=(201, 205, 214),
        deviation=(21, 22, 23),
    ),
    _Plate(
        (_Crystals(200, 140, 10, 12, ratio=0.5, seeds=30), _Crystals(1400, 36, 14, 10, ratio=0.5, seeds=220)),
        thickness=0.25,
        edges=0.8,
        clouds=0.2,
        mean=(201, 205, 214),
        deviation=(21, 22, 23),
    ),
    _Plate(
        (_Crystals(4000, 12, 40, 2.5, ratio=0.6, seeds=1300), _Crystals(700, 26, 20, 3, ratio=0.5, seeds=160)),
        thickness=0.4,
        edges=1.0,
        clouds=0.2,
        mean=(138, 153, 165),
        deviation=(28, 28, 30),
    ),
    _Plate(
        (_Crystals(150, 80, 48, 5, depth=2, ratio=0.34), _Crystals(500, 32, 58, 3.5)),
        thickness=1.0,
        edges=0.5,
        clouds=0.08,
        mean=(112, 123, 135),
        deviation=(44, 43, 42),
    ),
    _Plate(
        (_Crystals(50, 140, 38, 5, depth=2, ratio=0.36), _Crystals(260, 50, 30, 3, ratio=0.5)),
        thickness=1.0,
        edges=0.5,
        clouds=0.12,
        mean=(71, 95, 104),
        deviation=(35, 43, 47),
    ),
)


@functools.lru_cache(maxsize=4)
def _scaled(scale: float, device: torch.device) -> torch.Tensor:
    """The plates at this scale, (6, side, side, 3), on this device."""
    plates = _drawn()
    if scale != 1:
        size = math.ceil(_SIDE * scale)
        # As the published code scales its photos: what is made smaller is not averaged, and keeps its contrast.
        plates = F.interpolate(plates, size=(size, size), mode="bilinear", align_corners=False)
    return plates.permute(0, 2, 3, 1).contiguous().to(device)


@functools.cache
def _drawn() -> torch.Tensor:
    """The plates, (6, 3, side, side) in [0, 1]. On the CPU, so that they are the same everywhere."""
    return torch.stack([_plate(plate, Streams(0, "frost", (str(row),))) for row, plate in enumerate(_PLATES)])


def _plate(plate: _Plate, streams: Streams) -> torch.Tensor:
    clouds = _clouds(streams.child("clouds"), smoothness=1.3)
    # Ice grows in some places more than in others.
    cover = torch.sigmoid(2 * _clouds(streams.child("cover"), smoothness=2))
    height = torch.zeros(_SIDE, _SIDE)
    for number, layer in enumerate(plate.layers):
        lines = _lines(layer, streams.child(f"layer {number}"))
        # Thick ice is no brighter than ice.
        grown = 1 - torch.exp(-plate.opacity * (0.35 + cover) * _lengths(*lines))
        height = torch.maximum(height, grown) + 0.25 * torch.minimum(height, grown)
    light = plate.thickness * height + plate.edges * _lit(height) + plate.clouds * clouds
    light = (light - light.mean()) / light.std()
    mean, deviation = (torch.tensor(steps).reshape(3, 1, 1) / 255 for steps in (plate.mean, plate.deviation))
    return (mean + deviation * light).clamp(0, 1)


def _lines(crystals: _Crystals, streams: Streams) -> tuple[torch.Tensor, ...]:
    """All stems and branches as start (x, y), angle, length and weight, (m,) each."""
    drawn = streams.uniform(torch.empty(1, 6, crystals.stems))[0]
    start, angle = drawn[:2] * _SIDE, 2 * math.pi * drawn[2]
    if crystals.seeds:
        seeds = streams.child("seeds").uniform(torch.empty(1, 2, crystals.seeds))[0] * _SIDE
        start = seeds[:, (drawn[3] * crystals.seeds).long()] + 6 * drawn[:2]
    length = crystals.length * (0.4 + 0.9 * drawn[4] ** 2)
    grown = [(*start, angle, length, torch.ones(crystals.stems))]
    for depth in range(crystals.depth):
        x, y, angle, length, weight = (part.reshape(1, -1, 1) for part in grown[-1])
        branches = int(crystals.length * crystals.ratio**depth / crystals.spacing)
        # Two sides of every stem, with so many branches each.
        drawn = streams.child(f"depth {depth}").uniform(torch.empty(1, 3, 2, x.numel(), branches))[0]
        along = (torch.arange(branches) + 0.35 + 0.3 * drawn[0]) / branches
        sides = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1)
        parts = (
            x + along * length * angle.cos(),
            y + along * length * angle.sin(),
            angle + sides * math.radians(crystals.spread) * (0.93 + 0.15 * drawn[1]),
            length * crystals.ratio * (1 - along) ** 0.7 * (0.6 + 0.6 * drawn[2]),
            (0.75 * weight).expand_as(along),
        )
        visible = parts[3] > 1.5
        grown.append(tuple(part[visible] for part in parts))
    return tuple(torch.cat(parts) for parts in zip(*grown, strict=True))


def _lengths(
    x: torch.Tensor, y: torch.Tensor, angle: torch.Tensor, length: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """How much of the lines, thinning towards their ends, lies in each pixel of a plate."""
    # One row and one column more than a plate has, for the neighbours of its last pixels: those of its first.
    width = _SIDE + 1
    density = torch.zeros(width * width)
    across, down = angle.cos(), angle.sin()
    # The longest first: those that reach a distance are the first few.
    order = length.argsort(descending=True)
    x, y, across, down, length, weight = (part[order] for part in (x, y, across, down, length, weight))
    for distance in range(math.ceil(length[0].item())):
        reaching = int((length > distance).sum())
        px, py = (start[:reaching] + distance * way[:reaching] for start, way in ((x, across), (y, down)))
        mass = weight[:reaching] * (1 - distance / length[:reaching]).sqrt()
        left, top = px.floor(), py.floor()
        right, below = mass * (px - left), py - top
        place = (top % _SIDE * width + left % _SIDE).long()
        for neighbour, share in ((0, mass - right), (1, right)):
            density.index_add_(0, place + neighbour, share * (1 - below))
            density.index_add_(0, place + neighbour + width, share * below)
    square = density.reshape(width, width)
    square[0] += square[-1]
    square[:, 0] += square[:, -1]
    return square[:-1, :-1]


def _lit(height: torch.Tensor) -> torch.Tensor:
    """How much brighter slopes are that face the light, which comes from above on the left."""
    for axis in (0, 1):
        height = (height.roll(1, axis) + 2 * height + height.roll(-1, axis)) / 4
    return height.roll(-1, 0) - height.roll(1, 0) + height.roll(-1, 1) - height.roll(1, 1)


def _clouds(streams: Streams, *, smoothness: float) -> torch.Tensor:
    """Noise of mean 0 and deviation 1 whose amplitude falls with frequency to this power, (side, side)."""
    spectrum = torch.fft.rfft2(streams.normal(torch.empty(1, _SIDE, _SIDE))[0])
    frequencies = torch.hypot(torch.fft.fftfreq(_SIDE).unsqueeze(1), torch.fft.rfftfreq(_SIDE))
    # The mean has no frequency, and is taken away.
    falling = torch.where(frequencies > 0, frequencies, math.inf) ** -smoothness
    clouds: torch.Tensor = torch.fft.irfft2(spectrum * falling)
    return clouds / clouds.std()
