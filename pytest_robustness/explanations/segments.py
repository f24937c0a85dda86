"""Superpixels: an image cut into connected regions, which explanations switch on and off together.

Images are float32 RGB in [0, 1], (n, 3, h, w); segments (n, h, w) int64, numbered from 0 in each image by itself.
"""

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from pytest_robustness.attacks.settings import check_whole
from pytest_robustness.errors import InputError
from pytest_robustness.explanations.heat import Segmenter, check_number
from pytest_robustness.types import Images, constructor_call

__all__ = ["Grid", "Quickshift", "Segmenter", "Slic", "check_segments", "default_segments"]


@dataclass(frozen=True, repr=False)
class Grid:
    """Rectangles, as equal as whole pixels allow: needs no library, and knows nothing of the image.

    Raises InputError for fewer than one row or column, and for an image of fewer pixels than that.
    """

    rows: int = 7
    columns: int = 7

    __repr__ = constructor_call

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise InputError(f"{self!r}: expected at least one row and one column")

    def __call__(self, images: Images) -> torch.Tensor:
        n, _, height, width = images.shape
        if height < self.rows or width < self.columns:
            raise InputError(
                f"{self!r}: expected images of at least {self.columns} x {self.rows} pixels, got {width} x {height}"
            )
        down = torch.arange(height, device=images.device) * self.rows // height
        across = torch.arange(width, device=images.device) * self.columns // width
        return (down.unsqueeze(1) * self.columns + across).expand(n, height, width)


@dataclass(frozen=True, repr=False)
class Slic:
    """About `superpixels` clusters of colour and place (Achanta et al. 2012), by scikit-image; often there are fewer.

    The higher the `compactness`, the squarer they are; `sigma` is that of a Gaussian blur beforehand, in pixels.

    Raises InputError for settings that mean nothing, and when called where scikit-image is not installed.
    """

    superpixels: int = 50
    compactness: float = 20.0
    sigma: float = 0.5

    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_whole(self, "superpixels", least=1)
        check_number(self, "compactness", "> 0", lambda value: value > 0)
        check_number(self, "sigma", ">= 0", lambda value: value >= 0)

    def __call__(self, images: Images) -> torch.Tensor:
        cut = _of_skimage(self, "slic")

        def labels(image: Any) -> Any:
            return cut(
                image,
                n_segments=self.superpixels,
                compactness=self.compactness,
                sigma=self.sigma,
                start_label=0,
                channel_axis=-1,
            )

        return _each(images, labels)


@dataclass(frozen=True, repr=False)
class Quickshift:
    """Modes of colour and place (Vedaldi, Soatto 2008), by scikit-image: the superpixels of the published LIME procedure.

    `kernel_size` is the width of the Gaussian that densities are smoothed with, in pixels, `max_dist` cuts off what is
    farther apart, `ratio`, in [0, 1], weighs colour against place: those of `skimage.segmentation.quickshift`. An image of 32
    pixels is one or two superpixels to it, so where the shorter side has fewer than `least_side` pixels the image is cut
    enlarged to that (bilinear), and every pixel belongs where its centre lies. An image of 224 pixels takes about
    half a second.

    Raises InputError for settings that mean nothing, and when called where scikit-image is not installed.
    """

    kernel_size: float = 4
    max_dist: float = 200
    ratio: float = 0.2
    least_side: int = 224

    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_number(self, "kernel_size", ">= 1", lambda value: value >= 1)
        check_number(self, "max_dist", "> 0", lambda value: value > 0)
        check_number(self, "ratio", "from 0 to 1", lambda value: 0 <= value <= 1)
        check_whole(self, "least_side", least=1)

    def __call__(self, images: Images) -> torch.Tensor:
        cut = _of_skimage(self, "quickshift")
        size = images.shape[-2:]
        enlarged = images
        if min(size) < self.least_side:
            sides = tuple(round(side * self.least_side / min(size)) for side in size)
            enlarged = F.interpolate(images, sides, mode="bilinear")

        def labels(image: Any) -> Any:
            return cut(
                image,
                kernel_size=self.kernel_size,
                max_dist=self.max_dist,
                ratio=self.ratio,
                convert2lab=image.shape[-1] == 3,
                channel_axis=-1,
            )

        return _each(enlarged, labels, size)


def default_segments(n: int) -> Segmenter:
    """About n superpixels: `Slic(n)` where scikit-image is installed, else the `Grid` of as many rows as columns."""
    if importlib.util.find_spec("skimage") is not None:
        return Slic(n)
    side = max(1, round(math.sqrt(n)))
    return Grid(side, side)


def check_segments(explainer: object, segments: torch.Tensor, images: Images) -> None:
    """Refuse what is not a number per pixel, from 0 to the image's largest, without gaps; InputError names the explainer."""
    n, _, height, width = images.shape
    if segments.shape != (n, height, width) or segments.dtype != torch.int64:
        raise InputError(
            f"{explainer!r}: expected segments ({n}, {height}, {width}) int64, the superpixel of every pixel, "
            f"got {tuple(segments.shape)} {str(segments.dtype).removeprefix('torch.')}"
        )
    for row, one in enumerate(segments):
        numbers = one.unique()
        if not torch.equal(numbers, torch.arange(len(numbers), device=numbers.device)):
            raise InputError(
                f"{explainer!r}: expected superpixels numbered from 0 without gaps, got {len(numbers)} from "
                f"{int(numbers[0])} to {int(numbers[-1])} in image {row} of the batch; "
                "number them by torch.unique(..., return_inverse=True)"
            )


def _of_skimage(segmenter: object, name: str) -> Callable[..., Any]:
    """The function of this name; imported where it is called, because only this needs scikit-image."""
    try:
        import skimage.segmentation
    except ImportError as error:
        raise InputError(
            f"{segmenter!r}: expected scikit-image, which is not installed; "
            "pip install pytest-robustness[explain], or take Grid(), which needs no library"
        ) from error
    function: Callable[..., Any] = getattr(skimage.segmentation, name)
    return function


def _each(images: Images, labels: Callable[[Any], Any], size: torch.Size | None = None) -> torch.Tensor:
    """(n, h, w) int64: each image's labels without gaps, at every pixel or at the centres of those of a smaller `size`."""
    made = []
    for image in images.detach().permute(0, 2, 3, 1).cpu():
        found = torch.from_numpy(labels(image.contiguous().numpy())).long()
        if size is not None and found.shape != size:
            down, across = (
                ((torch.arange(few) + 0.5) * many / few).long() for few, many in zip(size, found.shape, strict=True)
            )
            found = found[down.unsqueeze(1), across]
        made.append(torch.unique(found, return_inverse=True)[1])
    if not made:
        return torch.zeros(0, *(size or images.shape[-2:]), dtype=torch.int64, device=images.device)
    return torch.stack(made).to(images.device)
