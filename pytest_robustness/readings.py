"""Other readings of an image than RGB in [0, 1]: what a model may have been trained on, and what it may have in itself twice.

Images are float32 RGB in [0, 1], (n, 3, h, w); what a model is shown here may lie anywhere.
"""

import itertools
from dataclasses import dataclass
from typing import TypeAlias

import torch

from pytest_robustness.types import Images

__all__ = ["READINGS", "Reading"]

_Values: TypeAlias = tuple[float, float, float]

# The mean and deviation of each channel that a model takes away and divides by.
_NORMALISATIONS: dict[str, tuple[_Values, _Values]] = {
    "RGB in [0, 1]": ((0.0,) * 3, (1.0,) * 3),
    "values from 0 to 255": ((0.0,) * 3, (1 / 255,) * 3),
    "values from -1 to 1": ((0.5,) * 3, (0.5,) * 3),
    "ImageNet's mean and deviation": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR-10's mean and deviation": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}


@dataclass(frozen=True)
class Reading:
    """A filter: `factors * image + offsets`, channel by channel, and then red and blue `swapped`.

    `name` says it in words that complete "the images are right with ...".
    """

    name: str
    factors: _Values = (1.0, 1.0, 1.0)
    offsets: _Values = (0.0, 0.0, 0.0)
    swapped: bool = False

    def __call__(self, images: Images) -> Images:
        factors, offsets = (
            torch.tensor(v, device=images.device).reshape(3, 1, 1) for v in (self.factors, self.offsets)
        )
        read = images * factors + offsets
        return read.flip(1) if self.swapped else read


def _between(inside: str, wanted: str) -> Reading:
    """What a model has to be shown that normalises in one way and was trained on images normalised in another."""
    (inner_mean, inner_deviation), (mean, deviation) = _NORMALISATIONS[inside], _NORMALISATIONS[wanted]
    plain = next(iter(_NORMALISATIONS))
    if inside == plain:
        name = f"{wanted}"
    elif wanted == plain:
        name = f"{inside} undone"
    else:
        name = f"{wanted} in place of {inside}"
    factors = [own / other for own, other in zip(inner_deviation, deviation, strict=True)]
    offsets = [own - factor * other for own, factor, other in zip(inner_mean, factors, mean, strict=True)]
    return Reading(name, tuple(factors), tuple(offsets))  # type: ignore[arg-type]


READINGS = (
    *(_between(inside, wanted) for inside, wanted in itertools.permutations(_NORMALISATIONS, 2)),
    Reading("red and blue swapped", swapped=True),
)
"""Every known normalisation in front of a model that has another one, or none; and BGR."""
