"""Light and colour.

Images are float32 RGB in [0, 1], (n, 3, h, w); strengths (n,), one per image. Results may leave [0, 1]: the engine
clamps.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch

from pytest_robustness.perturbations.choices import check_choice
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images, Strengths, constructor_call

__all__ = ["Brightness", "Contrast", "Hue", "Saturation"]

Light: TypeAlias = Literal["white", "black"]
Chroma: TypeAlias = Literal["grey", "vivid"]
Neighbour: TypeAlias = Literal["yellow", "magenta"]


@dataclass(frozen=True, repr=False)
class Brightness:
    """The same added to every value, `toward` "white", or taken from it, toward "black": image +- strength.

    Raises InputError where `toward` is neither.
    """

    toward: Light = "white"

    unit: ClassVar[str] = "brightness"
    limit: ClassVar[float] = 1.0
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_choice(self, "toward", Light)

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        change = strengths.reshape(-1, 1, 1, 1)
        return images + change if self.toward == "white" else images - change


@dataclass(frozen=True, repr=False)
class Contrast:
    """Contrast taken away: mean + (1 - loss) * (image - mean), the mean of each channel over the pixels.

    At 1 nothing but the mean is left.
    """

    unit: ClassVar[str] = "contrast loss"
    limit: ClassVar[float] = 1.0
    __repr__ = constructor_call

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        means = images.mean((2, 3), keepdim=True)
        return torch.lerp(images, means, strengths.reshape(-1, 1, 1, 1))


@dataclass(frozen=True, repr=False)
class Saturation:
    """Colours faded `toward` "grey", image + s * (luma - image), or away from it, toward "vivid", image + s * (image - luma).

    luma = 0.299 R + 0.587 G + 0.114 B (Rec. 601). At 1 the image is grey, or twice as colourful.

    Raises InputError where `toward` is neither.
    """

    toward: Chroma = "grey"

    unit: ClassVar[str] = "saturation"
    limit: ClassVar[float] = 1.0
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_choice(self, "toward", Chroma)

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        red, green, blue = _channels(images)
        # Rec. 601, as in Pillow and torchvision.
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        shares = strengths.reshape(-1, 1, 1, 1)
        return torch.lerp(images, luma, shares if self.toward == "grey" else -shares)


@dataclass(frozen=True, repr=False)
class Hue:
    """The hue of the HSV hexcone turned by degrees, red `toward` "yellow" or toward "magenta"; greys stay.

    Value and saturation stay too.

    Raises InputError where `toward` is neither.
    """

    toward: Neighbour = "yellow"

    unit: ClassVar[str] = "degrees"
    limit: ClassVar[float] = 180.0
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_choice(self, "toward", Neighbour)

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        turns = strengths.reshape(-1, 1, 1, 1) / (60 if self.toward == "yellow" else -60)
        red, green, blue = _channels(images)
        largest = images.amax(1, keepdim=True)
        chroma = largest - images.amin(1, keepdim=True)
        divisor = torch.where(chroma > 0, chroma, 1)
        # In sixths of the circle, from red. Less than half of the time of kornia's and torchvision's, which agree.
        hues = torch.where(
            red == largest,
            (green - blue) / divisor,
            torch.where(green == largest, (blue - red) / divisor + 2, (red - green) / divisor + 4),
        )
        # A channel is at its least in the two sixths opposite to its own colour, and rises and falls in those beside them.
        places = (hues + turns + images.new_tensor([5, 3, 1]).reshape(3, 1, 1)).remainder(6)
        turned = largest - chroma * torch.minimum(places, 4 - places).clamp(0, 1)
        return torch.where(turns != 0, turned, images)


def _channels(images: Images) -> tuple[torch.Tensor, ...]:
    """Red, green and blue, (n, 1, h, w) each."""
    return tuple(images[:, channel : channel + 1] for channel in range(3))
