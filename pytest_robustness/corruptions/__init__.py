"""The common corruptions of Hendrycks and Dietterich 2019, in memory and in batches.

Noise, blur, weather and digital damage at severities 1 to 5. The published sets ImageNet-C and CIFAR-10-C are JPEG and
8-bit files made by other programs: a model's error here is close to its error there, and is not the same number.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, TypeAlias, get_args

import torch

from pytest_robustness.classes import nearest
from pytest_robustness.corruptions.blocks import pixelate
from pytest_robustness.corruptions.blurs import defocus_blur, glass_blur, motion_blur, zoom_blur
from pytest_robustness.corruptions.colour import brightness, saturate
from pytest_robustness.corruptions.elastic import elastic_transform
from pytest_robustness.corruptions.ice import frost
from pytest_robustness.corruptions.splashes import spatter
from pytest_robustness.corruptions.table import CIFAR_C, COMMON, EXTRA, IMAGENET_C, Settings
from pytest_robustness.corruptions.weather import fog, snow
from pytest_robustness.errors import InputError
from pytest_robustness.perturbations import (
    JPEG,
    Contrast,
    GaussianBlur,
    GaussianNoise,
    ImpulseNoise,
    ShotNoise,
    SpeckleNoise,
)
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images, Perturbation, Strengths

__all__ = ["COMMON", "EXTRA", "Corruption", "Table"]

Table: TypeAlias = Literal["auto", "imagenet-c", "cifar-c"]

# Published are sets of 32 and of 224 pixels; whose settings an image takes, its shorter side says.
_SMALL = 64

# Bytes of images that are corrupted at once on a CPU. Sixteen images of 224 pixels one by one take three quarters of
# the time that they take together: what an operation makes of them on the way stays in the cache.
_CACHED = 2**20


@dataclass(frozen=True, repr=False)
class Corruption:
    """One of the common corruptions, by its name in `COMMON` or `EXTRA`; its strength is the severity, 1, 2, 3, 4 or 5.

    `table` says whose severities: "imagenet-c" those for 224 pixels, "cifar-c" those for 32; "auto" takes the latter for
    images with a side below 64 pixels. Lengths are pixels and don't grow with the image.

    Raises InputError for a name or a table that there isn't, and for other severities.
    """

    name: str
    table: Table = "auto"

    unit: ClassVar[str] = "severity"
    limit: ClassVar[float] = 5.0
    grades: ClassVar[tuple[float, ...]] = (1.0, 2.0, 3.0, 4.0, 5.0)

    def __post_init__(self) -> None:
        if self.name not in _OPERATIONS:
            advice = nearest(str(self.name), _OPERATIONS) or f"; it is one of {', '.join(_OPERATIONS)}"
            raise InputError(f"Corruption: expected the name of a common corruption, got {self.name!r}{advice}")
        if self.table not in get_args(Table):
            raise InputError(f"{self!r}: expected table 'auto', 'imagenet-c' or 'cifar-c', got {self.table!r}")

    def __repr__(self) -> str:
        table = "" if self.table == "auto" else f", table={self.table!r}"
        return f"Corruption({self.name!r}{table})"

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        # The one value a GPU is asked for: what is done to an image hangs on its severity.
        severities = strengths.tolist()
        for severity in severities:
            if severity and severity not in self.grades:
                raise InputError(
                    f"{self!r}: expected severity 0, 1, 2, 3, 4 or 5, got {severity:g}; nothing lies between"
                )
        images = images.contiguous()
        corrupted = torch.empty_like(images)
        operate = _OPERATIONS[self.name]
        for severity in sorted(set(severities)):
            settings = self._settings(min(images.shape[-2:]), int(severity)) if severity else ()
            rows = [row for row, its in enumerate(severities) if its == severity]
            for part in _portions(rows, images):
                # A view where it can be: rows that follow each other are not copied out first.
                following = part[-1] - part[0] == len(part) - 1
                where = slice(part[0], part[-1] + 1) if following else part
                own = images[where]
                corrupted[where] = operate(own, streams.select(part), *settings) if severity else own
        return corrupted

    def _settings(self, side: int, severity: int) -> Settings:
        small = side < _SMALL if self.table == "auto" else self.table == "cifar-c"
        return (CIFAR_C if small else IMAGENET_C)[self.name][severity - 1]


def _portions(rows: list[int], images: Images) -> list[list[int]]:
    """The rows, so many at a time as a CPU's cache holds with what is made of them."""
    at_once = max(1, _CACHED // images[0].nbytes) if images.device.type == "cpu" else len(rows)
    return [rows[start : start + at_once] for start in range(0, len(rows), at_once)]


def _at(perturbation: Perturbation, strength: Callable[[float], float] = float) -> Callable[..., Images]:
    """A perturbation as an operation, given its strength by the number in the table."""

    def operate(images: Images, streams: Streams, setting: float) -> Images:
        return perturbation(images, images.new_full((len(images),), strength(setting)), streams)

    return operate


# The row of a table is given as further arguments.
_OPERATIONS: Final[Mapping[str, Callable[..., Images]]] = {
    "gaussian_noise": _at(GaussianNoise()),
    "shot_noise": _at(ShotNoise(), lambda photons: 1 / photons),
    "impulse_noise": _at(ImpulseNoise()),
    "defocus_blur": defocus_blur,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": _at(Contrast(), lambda kept: 1 - kept),
    "elastic_transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg_compression": _at(JPEG(), lambda quality: 100 - quality),
    "speckle_noise": _at(SpeckleNoise()),
    "gaussian_blur": _at(GaussianBlur(border="replicate")),
    "spatter": spatter,
    "saturate": saturate,
}
