"""Blurs: by a Gaussian, out of focus, or in motion.

Images are float32 RGB in [0, 1], (n, c, h, w); strengths (n,), one per image, in pixels.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from pytest_robustness.errors import InputError
from pytest_robustness.perturbations.borders import Border, inside, mirrored, quick
from pytest_robustness.perturbations.choices import angles_of, check_angle, check_choice
from pytest_robustness.perturbations.lines import filtered
from pytest_robustness.restoring import tf32
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images, Strengths, constructor_call

__all__ = ["DefocusBlur", "GaussianBlur", "MotionBlur", "gaussian_blur"]


@dataclass(frozen=True, repr=False)
class GaussianBlur:
    """The image under a normalised Gaussian of standard deviation sigma pixels, cut off at 4 sigma.

    Of scipy's and scikit-image's Gaussian filters it is the one with mode "mirror" where the border is "reflect", and
    with mode "nearest" where it is "replicate". The kernel may be larger than the image.

    Raises InputError where `border` is neither.
    """

    border: Border = "reflect"

    unit: ClassVar[str] = "sigma"
    limit: ClassVar[float] = math.inf
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_choice(self, "border", Border)

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        weights = _gaussians(strengths)
        # By matrices: at 224 px on a CPU as fast as kornia's convolution at sigma 1, and faster with any larger one or at
        # any other size; and an image's kernel does not depend on those of the others.
        down, across = (_as_matrices(weights, size, self.border) for size in images.shape[-2:])
        return filtered(images, down, across, reach=weights.shape[1] // 2)


@dataclass(frozen=True, repr=False)
class DefocusBlur:
    """The mean over a disk of this radius in pixels, as a lens out of focus spreads a point.

    A pixel weighs 1 inside the disk and falls to 0 across the pixel that its edge crosses: radius + 1/2 - distance,
    within [0, 1]. So nothing changes up to a radius of 1/2. The image is mirrored beyond its border.
    """

    unit: ClassVar[str] = "radius"
    limit: ClassVar[float] = math.inf
    __repr__ = constructor_call

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        radii = strengths.reshape(-1, 1, 1)
        reach = int(strengths.amax() + 0.5) if len(strengths) else 0
        offsets = torch.arange(-reach, reach + 1, device=images.device)
        weights = (radii + 0.5 - torch.hypot(offsets.unsqueeze(1).float(), offsets.float())).clamp(0, 1)
        return _convolved(images, weights, strengths)


@dataclass(frozen=True, repr=False)
class MotionBlur:
    """The mean along a line of this length in pixels, centred on each pixel, as when the camera moves.

    `angle` is the line's in degrees, counterclockwise from the horizontal; without it, it is drawn for each image. The
    image is mirrored beyond its border, and bilinear between its pixels.

    Raises InputError for an angle that is no finite number.
    """

    angle: float | None = None

    unit: ClassVar[str] = "length"
    limit: ClassVar[float] = math.inf
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_angle(self, self.angle)

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        angles = angles_of(self.angle, strengths, streams).unsqueeze(1)
        lengths = strengths.unsqueeze(1)
        # Four points a pixel, each image its own number of them.
        counts = (4 * lengths).ceil().clamp_min(1)
        most = int(counts.amax()) if len(counts) else 1
        points = torch.arange(most, device=images.device)
        places = ((points + 0.5) / counts - 0.5) * lengths
        reach = most // 8 + 1
        offsets = torch.arange(-reach, reach + 1, device=images.device)
        # What each point gives to the two pixels next to it, along either axis.
        across, down = (
            (1 - (places.unsqueeze(2) - offsets).abs()).clamp_min(0)
            for places in (places * angles.cos(), -places * angles.sin())
        )
        with tf32(False):
            weights = (down * (points < counts).unsqueeze(2)).mT @ across
        return _convolved(images, weights, strengths)


def gaussian_blur(images: Images, *, kernel: int = 5, sigma: float = 1.0) -> Images:
    """The images under a normalised `kernel` x `kernel` Gaussian of standard deviation `sigma` pixels.

    Borders are reflected without repeating the edge. Differentiable. Raises InputError for an even kernel.
    """
    if kernel % 2 == 0:
        raise InputError(f"gaussian_blur: expected an odd kernel (pixels), got {kernel}")
    reach = kernel // 2
    offsets = range(-reach, reach + 1)
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in offsets]
    height, width = images.shape[-2:]
    padded = F.pad(images, (reach, reach, reach, reach), mode="reflect")
    # Separable, as sums of shifted views: several times faster on a CPU than a depthwise convolution.
    rows = sum(padded[..., i : i + height, :] * (w / sum(weights)) for i, w in enumerate(weights))
    assert isinstance(rows, torch.Tensor)
    blurred = sum(rows[..., i : i + width] * (w / sum(weights)) for i, w in enumerate(weights))
    assert isinstance(blurred, torch.Tensor)
    return blurred


def _gaussians(sigmas: torch.Tensor) -> torch.Tensor:
    """A normalised kernel per sigma, (n,) -> (n, 2 reach + 1), filled up with zeros; a single 1 for sigma 0."""
    per_image = sigmas.unsqueeze(1)
    # As scipy rounds it.
    reaches = (4 * per_image + 0.5).floor()
    reach = int(reaches.amax()) if len(sigmas) else 0
    distances = torch.arange(-reach, reach + 1, device=sigmas.device, dtype=sigmas.dtype).abs()
    weights = torch.exp(-0.5 * (distances / per_image.clamp_min(torch.finfo(sigmas.dtype).tiny)) ** 2)
    weights = torch.where(distances <= reaches, weights, 0)
    return weights / weights.sum(1, keepdim=True)


def _as_matrices(weights: torch.Tensor, size: int, border: Border) -> torch.Tensor:
    """What filters a line of `size` pixels with each of these kernels, (n, k) -> (n, size, size)."""
    n, taps = weights.shape
    seen = torch.arange(size, device=weights.device).unsqueeze(1) + torch.arange(taps, device=weights.device)
    pixels = inside(seen - taps // 2, size, border)
    matrices = weights.new_zeros(n, size, size)
    return matrices.scatter_add_(2, pixels.expand(n, -1, -1), weights.unsqueeze(1).expand(-1, size, -1))


def _convolved(images: Images, weights: torch.Tensor, strengths: Strengths) -> Images:
    """The images under these kernels, (n, k, k) with k odd, which are normalised here; the very image at strength 0.

    By fast Fourier transforms, whose price hardly depends on the kernels; each image has its own.
    """
    height, width = images.shape[-2:]
    reach = weights.shape[-1] // 2
    padded = mirrored(images, reach)
    shape = (quick(height + 2 * reach), quick(width + 2 * reach))
    spectra = torch.fft.rfft2(weights / weights.sum((1, 2), keepdim=True), s=shape).unsqueeze(1)
    # The conjugate, because it is the image that is moved under the kernel: filtered[y] = sum_k weights[k] * padded[y + k].
    filtered = torch.fft.irfft2(torch.fft.rfft2(padded, s=shape) * spectra.conj(), s=shape)[..., :height, :width]
    return torch.where(strengths.reshape(-1, 1, 1, 1) > 0, filtered, images)
