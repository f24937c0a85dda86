"""Images stretched out of shape."""

import functools
import math

import torch
import torch.nn.functional as F

from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images

__all__ = ["elastic_transform"]


def elastic_transform(images: Images, streams: Streams, alpha: float, sigma: float, corners: float) -> Images:
    """An affine map that moves three points of the image, then every pixel moved along a smooth random field.

    The points, two thirds of the image's shorter side apart, move by up to `corners` pixels along each axis. The field is
    uniform noise in [-1, 1) for each axis under a Gaussian of `sigma`, times `alpha`. Both by bilinear interpolation; beyond
    the border the image is mirrored.

    The settings are those of the sets as published. imagecorruptions leaves the affine map out, and uses
    alpha = 0.005 * height * (12.5, 16.25, 21.25, 25, 30) with sigma = 0.01 * height.
    """
    if corners:
        images = F.grid_sample(images, _affine(images, streams, corners), padding_mode="reflection", align_corners=True)
    if alpha:
        images = F.grid_sample(
            images, _field(images, streams, alpha, sigma), padding_mode="reflection", align_corners=False
        )
    return images


def _affine(images: Images, streams: Streams, corners: float) -> torch.Tensor:
    """Where each pixel comes from, (n, h, w, 2) in the units of `grid_sample`: -1 and 1 are the centres of the outer pixels."""
    n, _, height, width = images.shape
    reach = max(min(height, width) // 3, 1)
    moves = corners * (2 * streams.child("corners").uniform(images.new_empty(n, 3, 2)) - 1)
    first, second, third = moves.unbind(1)
    # The points lie at (1, 1), (1, -1) and (-1, -1), in units of `reach` from the centre.
    along, across, shift = (second - third) / 2, (first - second) / 2, (first + third) / 2
    forward = torch.eye(2, device=images.device) + torch.stack([along, across], 2) / reach
    (a, b), (c, d) = forward[:, 0].unbind(1), forward[:, 1].unbind(1)
    flattest = 1e-3
    determinant = a * d - b * c
    # An image that the map folds flat has no way back.
    determinant = torch.where(determinant.abs() < flattest, flattest, determinant)
    back = torch.stack([torch.stack([d, -b], 1), torch.stack([-c, a], 1)], 1) / determinant.reshape(-1, 1, 1)
    centre = images.new_tensor([width // 2, height // 2])
    start = centre - ((centre + shift).unsqueeze(1) @ back.mT).squeeze(1)
    scale = 2 / images.new_tensor([max(width - 1, 1), max(height - 1, 1)])
    columns, rows = (torch.arange(size, device=images.device, dtype=images.dtype) for size in (width, height))
    steps = back * scale.reshape(1, 2, 1)
    origin = start * scale - 1
    return (
        rows.reshape(1, -1, 1, 1) * steps[:, :, 1].reshape(n, 1, 1, 2)
        + columns.reshape(1, 1, -1, 1) * steps[:, :, 0].reshape(n, 1, 1, 2)
        + origin.reshape(n, 1, 1, 2)
    )


def _field(images: Images, streams: Streams, alpha: float, sigma: float) -> torch.Tensor:
    """Where each pixel comes from, (n, h, w, 2) in the units of `grid_sample`: -1 and 1 are the edges of the outer pixels."""
    n, _, height, width = images.shape
    noise = 2 * streams.child("field").uniform(images.new_empty(n, 2, height, width)) - 1
    rows, columns = (_smoothing(size, sigma, images.device) for size in (height, width))
    # As matrices: the reach of the Gaussian may be twice the image.
    moves = alpha * (rows @ noise @ columns.mT)
    across, down = (
        (2 * torch.arange(size, device=images.device, dtype=images.dtype) + 1) / size - 1 for size in (width, height)
    )
    return torch.stack([moves[:, 0] * (2 / width) + across, moves[:, 1] * (2 / height) + down.unsqueeze(1)], 3)


@functools.lru_cache(maxsize=16)
def _smoothing(size: int, sigma: float, device: torch.device) -> torch.Tensor:
    """A Gaussian cut off at 3 sigma as a matrix for lines of `size`, mirrored beyond the ends with the edge repeated."""
    reach = math.floor(3 * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    folded = (torch.arange(size).unsqueeze(1) + offsets) % (2 * size)
    inside = torch.minimum(folded, 2 * size - 1 - folded)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, inside, (weights / weights.sum()).expand(size, -1)).float().to(device)
