"""What storing, showing and covering does to an image.

Images are float32 RGB in [0, 1], (n, 3, h, w); strengths (n,), one per image.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch

from pytest_robustness.images import as_jpeg
from pytest_robustness.perturbations.choices import check_choice
from pytest_robustness.perturbations.lines import filtered
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images, Strengths, constructor_call

__all__ = ["JPEG", "Fill", "Occlusion", "Pixelate"]

Fill: TypeAlias = Literal["grey", "black", "white", "mean"]

_LEVELS = {"black": 0.0, "grey": 0.5, "white": 1.0}


@dataclass(frozen=True, repr=False)
class JPEG:
    """The image rounded to 8 bits and stored as a JPEG file of quality 100 - loss, a whole number from 1 to 100.

    By libjpeg as Pillow drives it, with colours at half the resolution (4:2:0). Not differentiable; images of a GPU go
    through the CPU.
    """

    unit: ClassVar[str] = "quality loss"
    limit: ClassVar[float] = 99.0
    __repr__ = constructor_call

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        stored = images.clone()
        # One by one, as libjpeg takes them.
        for row, loss in enumerate(strengths.tolist()):
            if loss > 0:
                stored[row] = as_jpeg(images[row], quality=max(1, round(100 - loss)))
        return stored


@dataclass(frozen=True, repr=False)
class Pixelate:
    """The image shrunk to 1 - loss of its sides by averaging whole pixels, and grown again by repeating them.

    What Pillow does by BOX, then by NEAREST; sides are rounded down to whole pixels, at least one.
    """

    unit: ClassVar[str] = "resolution loss"
    limit: ClassVar[float] = 1.0
    __repr__ = constructor_call

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        (down, tall), (across, wide) = (_averages(strengths, size) for size in images.shape[-2:])
        return filtered(images, down, across, reach=max(tall, wide))


@dataclass(frozen=True, repr=False)
class Occlusion:
    """A rectangle of the image's shape laid over this share of its area, in a place drawn for each image.

    It lies inside the image and holds every smaller one of the same image. Filled with "grey" (0.5), "black", "white"
    or the "mean" of each channel. A pixel that it covers in part takes that part of the filling.

    Raises InputError for an unknown `fill`.
    """

    fill: Fill = "grey"

    unit: ClassVar[str] = "share of the area"
    limit: ClassVar[float] = 1.0
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_choice(self, "fill", Fill)

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        corners = streams.uniform(strengths.unsqueeze(1).expand(-1, 2))
        shares = strengths.sqrt()
        rows, columns = (
            _covered(shares, corner, size) for corner, size in zip(corners.unbind(1), images.shape[-2:], strict=True)
        )
        opacity = (rows.unsqueeze(2) * columns.unsqueeze(1)).unsqueeze(1)
        filling = images.mean((2, 3), keepdim=True) if self.fill == "mean" else _LEVELS[self.fill]
        return images + opacity * (filling - images)


def _covered(shares: torch.Tensor, corners: torch.Tensor, size: int) -> torch.Tensor:
    """How much of each pixel of a line a part of this share covers, (n,) -> (n, size).

    `corners` in [0, 1) say how much of the rest lies before it.
    """
    length = (shares * size).unsqueeze(1)
    start = corners.unsqueeze(1) * (size - length)
    pixels = torch.arange(size, device=shares.device)
    return (torch.minimum(start + length, pixels + 1) - torch.maximum(start, pixels)).clamp(0, 1)


def _averages(losses: torch.Tensor, size: int) -> tuple[torch.Tensor, int]:
    """What sets each pixel of a line of `size` to the mean of the block it shows, (n,) -> (n, size, size); how far it sees."""
    # In the float64 and the order of operations of Pillow's Resample.c and Geometry.c, on the CPU: where a pixel's
    # centre lies on the edge of a block, as in all odd sizes, its rounding errors decide.
    first, end = _blocks(losses.cpu().double().unsqueeze(1), size)
    longest = int((end - first).amax()) if len(losses) else 0
    pixels = torch.arange(size, device=losses.device)
    first, end = (places.to(losses.device).unsqueeze(2) for places in (first, end))
    members = (pixels >= first) & (pixels < end)
    return members / members.sum(2, keepdim=True), longest


def _blocks(losses: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first pixel, and the one after the last, of the block that each pixel shows: (n, 1) -> twice (n, size)."""
    # float32 knows a strength to 1e-7: of 200 pixels, 1 - 0.4 are 120, not 119.
    blocks = (size * (1 - losses) + 1e-3).floor().clamp(1, size)
    # Not `size / blocks`, which torch takes for size * (1 / blocks).
    scale = torch.full_like(blocks, size) / blocks
    centres = (torch.arange(size) + 0.5) * scale
    first = (centres - 0.5 * scale + 0.5).floor()
    last = (centres + 0.5 * scale + 0.5).floor().clamp(max=size) - 1
    first = first + ((first - centres + 0.5) * (1 / scale) <= -0.5)
    end = last + ((last - centres + 0.5) * (1 / scale) <= 0.5)
    steps = (blocks / size).repeat(1, size)
    steps[:, 0] *= 0.5
    shown = steps.cumsum(1).long()
    return first.gather(1, shown).long(), end.gather(1, shown).long()
