"""Noise of a sensor and of a channel.

Images are float32 RGB in [0, 1], (n, c, h, w); strengths (n,), one per image. Results may leave [0, 1]: the engine
clamps. An image keeps its random numbers at every strength (common random numbers) where the docstring doesn't say
otherwise, so a ladder of strengths makes the same noise louder.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images, Strengths, constructor_call

__all__ = ["GaussianNoise", "ImpulseNoise", "ShotNoise", "SpeckleNoise", "UniformNoise"]

# Of more photons than this there is no noise that 8 bits could show, and torch draws no such numbers.
_MOST_PHOTONS = 1e9


@dataclass(frozen=True, repr=False)
class GaussianNoise:
    """Independent normal noise on every value: image + sigma * z, sigma in units of the [0, 1] pixel scale.

    An image keeps its z at every strength (common random numbers), so a ladder of strengths makes the
    same noise louder.
    """

    unit: ClassVar[str] = "sigma"
    limit: ClassVar[float] = 1.0
    __repr__ = constructor_call

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        return images + strengths.reshape(-1, 1, 1, 1) * streams.normal(images)


@dataclass(frozen=True, repr=False)
class SpeckleNoise:
    """Normal noise in proportion to the value: image + image * sigma * z; black stays black."""

    unit: ClassVar[str] = "sigma"
    limit: ClassVar[float] = 1.0
    __repr__ = constructor_call

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        return images + images * strengths.reshape(-1, 1, 1, 1) * streams.normal(images)


@dataclass(frozen=True, repr=False)
class UniformNoise:
    """Independent uniform noise on every value: image + width * u, u in [-1, 1), width in units of the pixel scale."""

    unit: ClassVar[str] = "width"
    limit: ClassVar[float] = 1.0
    __repr__ = constructor_call

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        noise = streams.uniform(images).mul_(2).sub_(1)
        return images + strengths.reshape(-1, 1, 1, 1) * noise


@dataclass(frozen=True, repr=False)
class ShotNoise:
    """Photons counted: Poisson(image / s) * s, where a white pixel sends 1 / s photons on average.

    The mean is the image, the variance image * s. The counts at two strengths are unrelated. Up to s = 1e-9 nothing
    is drawn: that noise is below 1/100 of a step of 8 bits.
    """

    unit: ClassVar[str] = "1/photons"
    limit: ClassVar[float] = 1.0
    __repr__ = constructor_call

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        per_photon = strengths.reshape(-1, 1, 1, 1)
        counted = per_photon * _MOST_PHOTONS > 1
        rates = torch.where(counted, images / per_photon, 0)
        return torch.where(counted, streams.poisson(rates) * per_photon, images)


@dataclass(frozen=True, repr=False)
class ImpulseNoise:
    """Values that failed: a share of them replaced, half by 0 and half by 1, each channel of a pixel by itself.

    A value that is replaced at one strength is replaced by the same at every larger one.
    """

    unit: ClassVar[str] = "share"
    limit: ClassVar[float] = 1.0
    __repr__ = constructor_call

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        half = strengths.reshape(-1, 1, 1, 1) / 2
        drawn = streams.uniform(images)
        # Both ends of one draw, so that the choice between 0 and 1 needs no second.
        return images.masked_fill(drawn < half, 0).masked_fill_(drawn >= 1 - half, 1)
