"""What explanations share: the form in which they say what an answer rests on, and what they are asked with.

Images are float32 RGB in [0, 1], (n, 3, h, w); classes (n,) int64, the one to explain of each image; logits (n, k).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeGuard

import torch
from torch import nn

from pytest_robustness.errors import InputError
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Classifier, Images, Logits, check_floats

__all__ = [
    "Explainer",
    "Explanation",
    "Heat",
    "PlainExplanation",
    "Segmenter",
    "check_asked",
    "check_number",
    "is_number",
    "of_classes",
    "watchable",
]


@dataclass(frozen=True, eq=False)
class Heat:
    """What an explanation says about one image.

    `heat` (h, w) float32 is larger where the answer rests on it more; below 0 a pixel speaks against the class. `method` is
    the explainer's repr, `note` one short sentence on how far it may be believed, empty where there is nothing to say.
    Where it is not `believable`, it must be neither ranked nor pointed at.
    """

    heat: torch.Tensor
    method: str
    note: str
    believable: bool


class Explanation(Protocol):
    """What an explainer says about one image: a heat, and whatever else it has to say."""

    @property
    def heat(self) -> Heat:
        """What all of it comes to, pixel by pixel."""

    @property
    def parts(self) -> tuple[int, ...]:
        """The numbers of the superpixels that the answer rests on most; none where the explainer has none, or can't tell."""


@dataclass(frozen=True, eq=False)
class PlainExplanation:
    """An explanation with nothing to say but its heat."""

    heat: Heat
    parts: ClassVar[tuple[int, ...]] = ()


class Segmenter(Protocol):
    """Cuts each image into superpixels; a frozen dataclass whose repr is its constructor call."""

    def __call__(self, images: Images) -> torch.Tensor:
        """(n, h, w) int64: the number of each pixel's superpixel, from 0 to its image's largest, without gaps."""


class Explainer(Protocol):
    """Says what the answers to images rest on; a frozen dataclass whose repr is its constructor call.

    One that `watches_layers` is given the model itself as the classifier, an nn.Module; any other asks.
    """

    @property
    def watches_layers(self) -> bool:
        """Whether it looks into the model."""

    @property
    def segmenter(self) -> Segmenter | None:
        """What it cuts images with where it is not given `segments`; None for one that needs no superpixels."""

    def explain(
        self,
        classifier: Classifier,
        images: Images,
        classes: torch.Tensor,
        streams: Streams,
        *,
        segments: torch.Tensor | None = None,
    ) -> Sequence[Explanation]:
        """An explanation per image (n, 3, h, w), of the answer for its class, (n,) int64.

        An image has the same one alone, in company and in another order; what is drawn comes from its stream. Explainers that
        switch superpixels on and off take `segments` (n, h, w) int64 as they are instead of cutting the images, the others have
        no use for them. A classifier that is an nn.Module is asked in eval mode and left as it was found.

        Raises InputError for images, classes and streams that don't fit each other.
        """


def check_asked(explainer: object, images: Images, classes: torch.Tensor, streams: Streams) -> None:
    """Refuse images that are none, and other than one int64 class and one id per image; InputError names the explainer."""
    check_floats(images)
    if images.ndim != 4:
        raise InputError(f"{explainer!r}: expected images (n, 3, h, w), got {tuple(images.shape)}")
    n = len(images)
    if classes.shape != (n,) or classes.dtype != torch.int64:
        raise InputError(
            f"{explainer!r}: expected the class to explain of each image, ({n},) int64, "
            f"got {tuple(classes.shape)} {str(classes.dtype).removeprefix('torch.')}"
        )
    if len(streams.ids) != n:
        raise InputError(f"{explainer!r}: expected one id per image, got {len(streams.ids)} for {n} images")


def of_classes(explainer: object, logits: Logits, classes: torch.Tensor) -> torch.Tensor:
    """(n,) what is said of the class (n,) of each row; InputError for other than finite logits (n, k) and for classes they lack."""
    n = len(classes)
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != n:
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise InputError(f"{explainer!r}: expected logits (n, k), a row for each of {n} images, got {got}")
    k = logits.shape[1]
    missing = classes[(classes < 0) | (classes >= k)]
    if len(missing):
        raise InputError(f"{explainer!r}: expected classes from 0 to {k - 1}, got {int(missing[0])}")
    said = logits.gather(1, classes.to(logits.device).unsqueeze(1)).squeeze(1)
    if not said.isfinite().all():
        raise InputError(f"{explainer!r}: expected finite logits, got {said[~said.isfinite()][0].item()}")
    return said


def watchable(explainer: object, classifier: object) -> nn.Module:
    """The classifier, if it is a model whose layers can be watched; InputError otherwise."""
    if not isinstance(classifier, nn.Module):
        kind = getattr(classifier, "__qualname__", type(classifier).__qualname__)
        raise InputError(
            f"{explainer!r}: expected an nn.Module, whose layers can be watched, got {kind}; "
            "take Lime(), which needs nothing but answers"
        )
    return classifier


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def check_number(settings: object, name: str, wanted: str, fits: Callable[[float], bool]) -> None:
    """Refuse settings whose field of this name is no finite number that `fits`; InputError says what is `wanted`."""
    value = getattr(settings, name)
    if not is_number(value) or not fits(value):
        raise InputError(f"{settings!r}: expected {name} to be a number {wanted}, got {value!r}")
