"""Images with some of their superpixels hidden.

n images in a batch, h and w pixels; images are float32 RGB in [0, 1], (n, 3, h, w). K is the largest number of superpixels that
an image has, and a mask (K,) bool says which of them are visible; numbers beyond an image's own mean nothing.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from pytest_robustness.errors import InputError
from pytest_robustness.types import Images, check_floats

__all__ = ["Backgrounds", "Fill", "Scene"]


@dataclass(frozen=True, eq=False, repr=False)
class Backgrounds:
    """Other images, (m, 3, h, w) in [0, 1], one of which shows through where superpixels are hidden.

    Its repr has a digest of the pixels, and equal pixels are equal backgrounds. Raises InputError for other shapes and for
    integers.
    """

    images: Images

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[1] != 3 or not len(self.images):
            raise InputError(f"Backgrounds: expected images (m, 3, h, w), at least one, got {tuple(self.images.shape)}")
        check_floats(self.images)

    def __repr__(self) -> str:
        m, _, height, width = self.images.shape
        pixels = self.images.detach().cpu().contiguous().numpy().tobytes()
        return f"Backgrounds({m} of {width} x {height}, {hashlib.sha256(pixels).hexdigest()[:12]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Backgrounds) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


Fill: TypeAlias = Literal["mean"] | Backgrounds
"""What takes the place of a hidden superpixel: its mean colour, or the same place of another image."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Images whose superpixels can be hidden: `fills` (n, 1 or m, 3, h, w) has what there is in their places.

    `superpixels` is how many each image has.
    """

    images: Images
    segments: torch.Tensor
    fills: torch.Tensor
    superpixels: tuple[int, ...]

    @staticmethod
    def of(images: Images, segments: torch.Tensor, fill: Fill) -> "Scene":
        """The scene of images (n, 3, h, w) with segments (n, h, w) int64.

        Raises InputError where shapes don't fit, for segments that are not numbered from 0 without gaps, and for images of
        integers.
        """
        check_floats(images)
        n, _, height, width = images.shape
        if segments.shape != (n, height, width) or segments.dtype != torch.int64:
            raise InputError(
                f"expected segments {(n, height, width)} of torch.int64, got {tuple(segments.shape)} of {segments.dtype}"
            )
        superpixels = []
        for row, numbers in enumerate(segments):
            present = numbers.unique().tolist()
            if present != list(range(len(present))):
                raise InputError(
                    f"expected segments numbered from 0 without gaps, got {len(present)} numbers "
                    f"from {present[0]} to {present[-1]} in image {row}"
                )
            superpixels.append(len(present))
        if fill == "mean":
            fills = _means(images, segments).unsqueeze(1)
        elif fill.images.shape[-2:] != (height, width):
            got = " x ".join(str(side) for side in reversed(fill.images.shape[-2:]))
            raise InputError(f"{fill!r}: expected backgrounds of the images' {width} x {height} pixels, got {got}")
        else:
            fills = fill.images.to(images).expand(n, -1, -1, -1, -1)
        return Scene(images, segments.to(images.device), fills, tuple(superpixels))

    def shown(self, rows: torch.Tensor, masks: torch.Tensor, chances: torch.Tensor) -> Images:
        """The images in these rows (m,) with what masks (m, K) hide filled in; `chances` (m,) in [0, 1) choose among fills."""
        segments = self.segments[rows]
        visible = masks.gather(1, segments.flatten(1)).reshape(segments.shape).unsqueeze(1)
        chosen = (chances * self.fills.shape[1]).long().clamp_max(self.fills.shape[1] - 1)
        return torch.where(visible, self.images[rows], self.fills[rows, chosen])


def _means(images: Images, segments: torch.Tensor) -> Images:
    """Images whose superpixels have each one colour, the mean of its pixels."""
    # On the CPU and in double: sums on a GPU are not the same twice.
    pixels, numbers = images.detach().cpu().double().flatten(2), segments.cpu().flatten(1)
    sums = pixels.new_zeros(len(pixels), 3, int(numbers.max()) + 1)
    index = numbers.unsqueeze(1).expand_as(pixels)
    sizes = torch.zeros_like(sums).scatter_add_(2, index, torch.ones_like(pixels))
    means = sums.scatter_add_(2, index, pixels) / sizes.clamp_min(1)
    return means.gather(2, index).reshape(images.shape).to(images)
