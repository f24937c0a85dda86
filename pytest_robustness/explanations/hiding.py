"""Images with some of their superpixels hidden, and what a classifier says of them.

n images in a batch, h and w pixels; images are float32 RGB in [0, 1], (n, 3, h, w); segments (n, h, w) int64, the number of
each pixel's superpixel. K is the largest number of superpixels that an image has, and a mask (K,) bool says which of them are
visible; numbers beyond an image's own mean nothing.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import nn

from pytest_robustness.errors import InputError
from pytest_robustness.explanations.heat import is_number
from pytest_robustness.explanations.segments import check_segments
from pytest_robustness.restoring import frozen
from pytest_robustness.types import BatchClassifier, Classifier, Images, Logits, check_floats

__all__ = ["Asked", "Backgrounds", "Fill", "Scene", "asking", "check_fill"]

# So many images a classifier is shown together that does not say how many it answers best.
_AT_A_TIME = 64


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


Fill: TypeAlias = Literal["mean", "grey"] | float | Backgrounds
"""What takes the place of a hidden superpixel: its mean colour, 1/2 in every channel, this number in every channel, or the same
place of another image.

By its mean colour no edge is made that was not there, and nothing is hidden of what rests on mean colours alone.
"""


class Asked(NamedTuple):
    """Masks (m, K) that an image is to be shown under, and for each a number in [0, 1), (m,), that chooses its background."""

    masks: torch.Tensor
    chances: torch.Tensor


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
    def of(explainer: object, images: Images, segments: torch.Tensor, fill: Fill) -> "Scene":
        """The scene of images (n, 3, h, w), at least one, with segments (n, h, w) int64.

        Raises InputError, which names the explainer, for segments that are none of these images and for backgrounds of another
        size.
        """
        check_segments(explainer, segments, images)
        segments = segments.to(images.device)
        superpixels = tuple((segments.flatten(1).amax(1) + 1).tolist())
        return Scene(images, segments, _fills(explainer, images, segments, fill), superpixels)

    def shown(self, rows: torch.Tensor, masks: torch.Tensor, chances: torch.Tensor) -> Images:
        """The images in these rows (m,) with what masks (m, K) hide filled in; `chances` (m,) in [0, 1) choose among fills."""
        segments = self.segments[rows]
        visible = masks.gather(1, segments.flatten(1)).reshape(segments.shape).unsqueeze(1)
        chosen = (chances * self.fills.shape[1]).long().clamp_max(self.fills.shape[1] - 1)
        return torch.where(visible, self.images[rows], self.fills[rows, chosen])

    def answers(
        self,
        classifier: Classifier,
        classes: torch.Tensor,
        asked: Mapping[int, Asked],
        read: Callable[[Logits, torch.Tensor], torch.Tensor],
    ) -> tuple[torch.Tensor, ...]:
        """What each row that asks is told of its masks: (m,) for m masks, on the CPU, in the order of `asked`.

        `read` makes a number for each image of the logits (b, k) of a batch and the classes (b,) they are asked about. The masks
        of all rows share batches, all but the last of the size that the classifier answers best.
        """
        device, most = self.images.device, max(self.superpixels)
        classes = classes.to(device)
        sizes = [len(request.masks) for request in asked.values()]
        rows = torch.tensor(list(asked)).repeat_interleave(torch.tensor(sizes)).to(device)
        padded = [F.pad(request.masks, (0, most - request.masks.shape[1])) for request in asked.values()]
        masks = torch.cat(padded).to(device)
        chances = torch.cat([request.chances for request in asked.values()]).to(device)
        at_a_time = classifier.at_a_time if isinstance(classifier, BatchClassifier) else _AT_A_TIME
        said = []
        for part in torch.split(torch.arange(len(rows), device=device), at_a_time):
            answering = classifier.select(rows[part]) if isinstance(classifier, BatchClassifier) else classifier
            logits = answering(self.shown(rows[part], masks[part], chances[part]))
            said.append(read(logits, classes[rows[part]]))
        return torch.split(torch.cat(said).cpu(), sizes)


@contextlib.contextmanager
def asking(classifier: Classifier) -> Iterator[None]:
    """Without gradients, and a model in eval mode; it is left as it was found."""
    with torch.no_grad(), frozen(classifier) if isinstance(classifier, nn.Module) else contextlib.nullcontext():
        yield


def check_fill(explainer: object, fill: object) -> None:
    """Refuse what is no `Fill`; InputError names the explainer."""
    if isinstance(fill, Backgrounds) or (is_number(fill) and 0 <= fill <= 1):
        return
    if isinstance(fill, str) and fill in ("mean", "grey"):
        return
    # No repr of the explainer and none of a tensor: they would have all the pixels.
    got = repr(fill) if fill is None or isinstance(fill, (str, int, float)) else type(fill).__name__
    raise InputError(
        f"{type(explainer).__name__}: expected fill to be 'mean', 'grey', a number from 0 to 1 or Backgrounds(images), got {got}"
    )


def _fills(explainer: object, images: Images, segments: torch.Tensor, fill: Fill) -> torch.Tensor:
    """(n, 1 or m, 3, h, w): what may show through in the place of each image."""
    if isinstance(fill, Backgrounds):
        got, wanted = (" x ".join(str(side) for side in reversed(of.shape[-2:])) for of in (fill.images, images))
        if got != wanted:
            raise InputError(f"{explainer!r}: expected backgrounds of the images' {wanted} pixels, got {got}")
        return fill.images.to(images).expand(len(images), -1, -1, -1, -1)
    if fill == "mean":
        return _means(images, segments).unsqueeze(1)
    return images.new_tensor(0.5 if fill == "grey" else fill).expand_as(images).unsqueeze(1)


def _means(images: Images, segments: torch.Tensor) -> Images:
    """Images whose superpixels have each one colour, the mean of its pixels."""
    # On the CPU and in double: sums on a GPU are not the same twice.
    pixels, numbers = images.detach().cpu().double().flatten(2), segments.cpu().flatten(1)
    sums = pixels.new_zeros(*pixels.shape[:2], int(numbers.max()) + 1)
    index = numbers.unsqueeze(1).expand_as(pixels)
    sizes = torch.zeros_like(sums).scatter_add_(2, index, torch.ones_like(pixels))
    means = sums.scatter_add_(2, index, pixels) / sizes.clamp_min(1)
    return means.gather(2, index).reshape(images.shape).to(images)
