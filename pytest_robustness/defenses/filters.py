"""Filters: what a defense does to an image before it shows it to the model, such as a denoiser.

Images are float32 RGB, (n, 3, h, w); in [0, 1], but for noise that a filter is there to remove.
"""

import inspect
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import nn

from pytest_robustness.errors import InputError
from pytest_robustness.perturbations.composing import Fixed
from pytest_robustness.restoring import frozen
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images

__all__ = ["Filter", "check_filter", "filtered", "name_of"]

Filter: TypeAlias = Callable[[Images], Images] | Fixed | None
"""A function or module of images that keeps their shape, a perturbation `fixed` at a strength, or None for the images as they are."""


def check_filter(owner: object, given: object) -> None:
    """Refuse what is no filter; the InputError begins with the owner's name."""
    if given is None or isinstance(given, Fixed):
        return
    if isinstance(given, type) or not callable(given) or hasattr(given, "limit"):
        remedy = (
            "fix its strength, as in fixed(GaussianBlur(), 1.0)" if hasattr(given, "limit") else "make it a function"
        )
        raise InputError(
            f"{type(owner).__name__}: expected filters that map images to images of the same shape, or None for none, got "
            f"{given.__name__ if isinstance(given, type) else repr(given)}; {remedy}"
        )


def filtered(owner: object, filter: Filter, images: Images, streams: Streams) -> Images:
    """What the filter makes of the images; a module is run in eval mode on their device, and left as it was found there.

    Raises InputError, with the owner's name, where it returns something else than finite images of their shape.
    """
    if filter is None:
        return images
    if isinstance(filter, Fixed):
        made: object = filter.perturbation(images, images.new_full((len(images),), filter.strength), streams)
    elif isinstance(filter, nn.Module):
        with frozen(filter.to(images.device)):
            made = filter(images)
    else:
        made = filter(images)
    if not isinstance(made, torch.Tensor) or made.shape != images.shape or not made.is_floating_point():
        got = tuple(made.shape) if isinstance(made, torch.Tensor) else type(made).__name__
        raise InputError(
            f"{owner!r}: expected the filter {name_of(filter)} to return floats of shape {tuple(images.shape)}, got {got}"
        )
    if not torch.isfinite(made).all():
        raise InputError(f"{owner!r}: expected finite pixels from the filter {name_of(filter)}, got NaN or infinity")
    return made


def name_of(filter: Filter) -> str:
    """What a filter is called: a function by its name, a module by its class, anything else by its repr; `none` for None."""
    if filter is None:
        return "none"
    if isinstance(filter, nn.Module):
        return type(filter).__name__
    return filter.__name__ if inspect.isroutine(filter) else repr(filter)
