"""Images scaled about their centre.

Images are float32 RGB in [0, 1], (n, c, h, w); strengths (n,), one per image. Values between pixels are bilinear.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch

from pytest_robustness.errors import InputError
from pytest_robustness.perturbations.blur import GaussianBlur
from pytest_robustness.perturbations.choices import check_choice
from pytest_robustness.perturbations.geometry import Surroundings, places_of, sampled, warped
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images, Strengths, constructor_call

__all__ = ["Scale", "Size", "ZoomBlur"]

Size: TypeAlias = Literal["smaller", "larger"]


@dataclass(frozen=True, repr=False)
class Scale:
    """The image scaled about its centre, at its own size: `toward` "smaller" to 1 - s, "larger" to 1 / (1 - s) of it.

    So s is the share of the sides that is surroundings in the one case, and is cut off in the other. Before it is
    shrunk the image is smoothed by a Gaussian of (1 / (1 - s) - 1) / 2 pixels, as scikit-image does, so that fine
    patterns fade instead of turning into others.

    Raises InputError for an unknown `toward` or border.
    """

    toward: Size = "smaller"
    border: Surroundings = "reflect"

    unit: ClassVar[str] = "share of the sides"
    limit: ClassVar[float] = 0.99
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_choice(self, "toward", Size)
        check_choice(self, "border", Surroundings)

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        left = 1 - strengths
        if self.toward == "larger":
            return warped(images, _scaling(left), strengths, self.border)
        smoothed = GaussianBlur(border="replicate")(images, (1 / left - 1) / 2, streams)
        return warped(smoothed, _scaling(1 / left), strengths, self.border)


@dataclass(frozen=True, repr=False)
class ZoomBlur:
    """The mean of the image zoomed by 1, ..., 1 + strength, as when the lens zooms during the exposure.

    `steps` zooms in equal steps, the first of them the image itself.

    Raises InputError for less than two steps.
    """

    steps: int = 16

    unit: ClassVar[str] = "zoom - 1"
    limit: ClassVar[float] = math.inf
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 2:
            raise InputError(f"{self!r}: expected steps to be a whole number >= 2, got {self.steps!r}")

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        places = places_of(_scaling(torch.ones_like(strengths)), *images.shape[-2:])
        growths = strengths.reshape(-1, 1, 1, 1) / (self.steps - 1)
        total = images.clone()
        for step in range(1, self.steps):
            total += sampled(images, places / (1 + step * growths), "replicate")
        return torch.where(growths > 0, total / self.steps, images)


def _scaling(factors: torch.Tensor) -> torch.Tensor:
    """Where a pixel comes from if the image is scaled by 1 / factor, (n,) -> (n, 2, 3)."""
    return factors.reshape(-1, 1, 1) * torch.eye(2, 3, device=factors.device)
