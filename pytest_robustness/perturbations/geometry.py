"""Images turned, moved and sheared.

Images are float32 RGB in [0, 1], (n, c, h, w); strengths (n,), one per image. Coordinates are in pixels from the
image's centre, x to the right and y down; values between pixels are bilinear.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
import torch.nn.functional as F

from pytest_robustness.perturbations.choices import Side, angles_of, check_angle, check_choice, signs_of
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images, Strengths, constructor_call

__all__ = ["Rotation", "Shear", "Surroundings", "Translation", "places_of", "sampled", "warped"]

Surroundings: TypeAlias = Literal["reflect", "replicate", "black"]
"""What lies beyond the border: the image mirrored there, its outermost pixels repeated, or nothing."""

_PADDING = {"reflect": "reflection", "replicate": "border", "black": "zeros"}


@dataclass(frozen=True, repr=False)
class Rotation:
    """The image turned about its centre by degrees, to the `direction` given or to one drawn for each image.

    "left" is counterclockwise.

    Raises InputError for an unknown direction or border.
    """

    direction: Side | None = None
    border: Surroundings = "reflect"

    unit: ClassVar[str] = "degrees"
    limit: ClassVar[float] = 180.0
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_choice(self, "direction", Side, drawn=True)
        check_choice(self, "border", Surroundings)

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        angles = torch.deg2rad(strengths) * signs_of(self.direction, strengths, streams)
        cosines, sines, none = angles.cos(), angles.sin(), torch.zeros_like(angles)
        sources = torch.stack([cosines, -sines, none, sines, cosines, none], 1).reshape(-1, 2, 3)
        return warped(images, sources, strengths, self.border)


@dataclass(frozen=True, repr=False)
class Translation:
    """The image moved by a share of its sides, to the `angle` given in degrees or to one drawn for each image.

    An angle of 0 is to the right, 90 up. Along the diagonal both sides count by their own length.

    Raises InputError for an angle that is no finite number, or an unknown border.
    """

    angle: float | None = None
    border: Surroundings = "reflect"

    unit: ClassVar[str] = "share of the sides"
    limit: ClassVar[float] = 1.0
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_angle(self, self.angle)
        check_choice(self, "border", Surroundings)

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        height, width = images.shape[-2:]
        angles = angles_of(self.angle, strengths, streams)
        right, down = strengths * width * angles.cos(), -strengths * height * angles.sin()
        one, none = torch.ones_like(angles), torch.zeros_like(angles)
        sources = torch.stack([one, none, -right, none, one, -down], 1).reshape(-1, 2, 3)
        return warped(images, sources, strengths, self.border)


@dataclass(frozen=True, repr=False)
class Shear:
    """The image leaning over by degrees: rows slide, the upper ones to the `direction` given or drawn for each image.

    The centre row stays, a row at y moves by -y * tan(strength).

    Raises InputError for an unknown direction or border.
    """

    direction: Side | None = None
    border: Surroundings = "reflect"

    unit: ClassVar[str] = "degrees"
    limit: ClassVar[float] = 80.0
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_choice(self, "direction", Side, drawn=True)
        check_choice(self, "border", Surroundings)

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        leans = torch.deg2rad(strengths).tan() * signs_of(self.direction, strengths, streams)
        one, none = torch.ones_like(leans), torch.zeros_like(leans)
        sources = torch.stack([one, -leans, none, none, one, none], 1).reshape(-1, 2, 3)
        return warped(images, sources, strengths, self.border)


def warped(images: Images, sources: torch.Tensor, strengths: Strengths, border: Surroundings) -> Images:
    """Each pixel p taken from where its image's matrix (2, 3) says, A p + b; the very image at strength 0.

    `sources` is (n, 2, 3), in pixels from the centre.
    """
    moved = sampled(images, places_of(sources, *images.shape[-2:]), border)
    return torch.where(strengths.reshape(-1, 1, 1, 1) > 0, moved, images)


def places_of(sources: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Where each pixel comes from by matrices as of `warped`, (n, 2, h, w), in halves of the sides from the centre."""
    # As sums, not by affine_grid: its product of matrices is eight times slower, and rounded where TF32 is allowed.
    columns = torch.arange(width, device=sources.device) - (width - 1) / 2
    rows = torch.arange(height, device=sources.device).unsqueeze(1) - (height - 1) / 2
    halves = sources.new_tensor([width, height]).unsqueeze(1) / 2
    across, down, shift = (sources / halves)[..., None, None].unbind(2)
    return across * columns + (down * rows + shift)


def sampled(images: Images, places: torch.Tensor, border: Surroundings) -> Images:
    """Each pixel taken from its place, (n, 2, h, w) as of `places_of`."""
    grid = places.permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=_PADDING[border], align_corners=False)
