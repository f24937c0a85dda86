"""Lp balls around images: length, projection, and the direction of steepest ascent; norms are per image."""

import torch

from pytest_robustness.types import Norm, Strengths

__all__ = ["length", "project", "steepest"]


def length(deltas: torch.Tensor, norm: Norm) -> torch.Tensor:
    """The norm of each image's difference: (n, c, h, w) -> (n,)."""
    flat = deltas.flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)


def project(deltas: torch.Tensor, norm: Norm, radii: Strengths) -> torch.Tensor:
    """The nearest differences (Euclidean) no longer than their radius, one radius per image."""
    per_image = radii.reshape(-1, 1, 1, 1)
    if norm == "linf":
        return torch.minimum(torch.maximum(deltas, -per_image), per_image)
    lengths = length(deltas, norm).reshape(-1, 1, 1, 1)
    # The floor only keeps 0/0 away: a zero difference stays zero.
    return deltas * torch.clamp(per_image / lengths.clamp_min(1e-12), max=1.0)


def steepest(gradients: torch.Tensor, norm: Norm) -> torch.Tensor:
    """The difference of length 1 along which a linear function with these gradients grows fastest.

    The sign in Linf, the normalised gradient in L2; zero where the gradient is zero.
    """
    if norm == "linf":
        return gradients.sign()
    # Scaled by the largest entry first, so that tiny gradients don't vanish in their own square.
    scaled = gradients / gradients.abs().amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(gradients.dtype).tiny)
    lengths = length(scaled, norm).reshape(-1, 1, 1, 1)
    return scaled / lengths.clamp_min(1e-12)
