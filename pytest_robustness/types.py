"""The vocabulary of the tensors half: what flows from image files to logits.

n images in a batch, c channels (RGB), h and w pixels, k classes. Images are float32 RGB in [0, 1]; a
model's normalisation is inside its Classifier.
"""

import dataclasses
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import torch

from pytest_robustness.errors import InputError
from pytest_robustness.seeding import Streams

__all__ = [
    "ABSTAIN",
    "Accepted",
    "Attack",
    "Attacked",
    "Batch",
    "BatchClassifier",
    "Borrowed",
    "Classifier",
    "Decision",
    "Defense",
    "FindsNearest",
    "Goal",
    "Graded",
    "Images",
    "Logits",
    "LooksFirst",
    "Loss",
    "Norm",
    "Perturbation",
    "SingleStep",
    "Strengths",
    "Stress",
    "Telling",
    "Votes",
    "check_floats",
    "constructor_call",
    "finds_nearest",
    "fits",
    "grades_of",
]

Images: TypeAlias = torch.Tensor
"""(n, c, h, w) float32 in [0, 1]."""
Logits: TypeAlias = torch.Tensor
"""(n, k) float32, before any softmax."""
Accepted: TypeAlias = torch.Tensor
"""(n, k) bool, True where the class is a right answer; one or more per row."""
Strengths: TypeAlias = torch.Tensor
"""(n,) float32, one per image, in the unit of the stress."""
Votes: TypeAlias = torch.Tensor
"""(v, n) int64, the class that the model gives each of v views of each image."""
ABSTAIN = -1
"""Stands where a class would, for a defense that does not answer."""
Norm: TypeAlias = Literal["linf", "l2"]
Loss: TypeAlias = Literal["log-odds", "margin", "dlr"]
"""What an attack climbs; `attacks.objectives` has the formulas."""


@dataclass(frozen=True)
class Batch:
    """Images with their accepted classes and ids; an id is the path inside the set, names outcomes and seeds noise."""

    images: Images
    accepted: Accepted
    ids: tuple[str, ...]

    def __post_init__(self) -> None:
        check_floats(self.images)

    def select(self, rows: Sequence[int]) -> "Batch":
        """The images in these rows, in that order."""
        return Batch(self.images[rows], self.accepted[rows], tuple(self.ids[row] for row in rows))


def check_floats(images: Images) -> None:
    """Refuse images of integers, on another scale than that of epsilons and without a gradient."""
    if not images.is_floating_point():
        raise InputError(f"expected images as floats in [0, 1], got {images.dtype}; divide bytes by 255")


class Classifier(Protocol):
    """Anything that turns images into logits and can be differentiated through."""

    def __call__(self, images: Images, /) -> Logits: ...


@runtime_checkable
class BatchClassifier(Classifier, Protocol):
    """A classifier for what is made of the images of one batch: it is told which of them it is shown."""

    @property
    def at_a_time(self) -> int:
        """So many images it answers best together; more may take more memory than there is."""

    def select(self, rows: torch.Tensor) -> "BatchClassifier":
        """The classifier for the images in these rows (m,) int64 of the batch, in that order."""


class Goal(Protocol):
    """What an attack is after."""

    def select(self, rows: torch.Tensor) -> "Goal":
        """The goal for the images in these rows (m,) int64 of the batch, in that order."""

    def objective(self, logits: Logits, loss: Loss = "log-odds") -> torch.Tensor:
        """(n,) per image, differentiable, larger = closer to the goal."""

    def reached(self, logits: Logits) -> torch.Tensor:
        """(n,) bool per image."""

    def satisfied(self, answers: torch.Tensor) -> torch.Tensor:
        """(n,) bool: whether it is reached where these classes, (n,) int64 or ABSTAIN, are what is answered."""

    def aims(self, logits: Logits, most: int) -> "Sequence[Goal]":
        """Goals that are reached where this one is, each by the way of one class: at most so many, the likeliest first."""


def constructor_call(settings: Any) -> str:
    """The shortest call that makes this dataclass: fields that differ from their defaults, as keywords.

    The repr of every stress and defense; reports show it, noise is seeded by it.
    """
    fields = [field for field in dataclasses.fields(settings) if field.init]
    changed = [field.name for field in fields if getattr(settings, field.name) != field.default]
    return f"{type(settings).__name__}({', '.join(f'{name}={getattr(settings, name)!r}' for name in changed)})"


class Stress(Protocol):
    """What perturbations and attacks share: the name of the strength and the largest one that makes sense.

    A stress is a frozen dataclass whose repr is its `constructor_call`; strength 0 leaves images as they are.
    """

    @property
    def unit(self) -> str:
        """What strengths are counted in, in a word or two: reports say `FGSM() at epsilon 2/255`."""

    @property
    def limit(self) -> float:
        """The largest strength; strengths run from 0 to here."""


class Perturbation(Stress, Protocol):
    """A stress that can't see the model."""

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        """Perturbed images, same shape; values may leave [0, 1]: the engine clamps."""


@runtime_checkable
class Graded(Stress, Protocol):
    """A stress that comes in steps."""

    grades: ClassVar[tuple[float, ...]]
    """The strengths there are besides 0, ascending."""


def grades_of(stress: Stress) -> tuple[float, ...] | None:
    """The strengths of a stress that is `Graded`, None of any other.

    Not by isinstance, which takes Python longer than to look an answer up.
    """
    return getattr(stress, "grades", None)


@runtime_checkable
class Attack(Stress, Protocol):
    """A stress that looks for the worst change within a ball of radius strength."""

    @property
    def norm(self) -> Norm:
        """The norm of the ball; read only, as the fields of a frozen dataclass are."""

    def against(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Images:
        """Attacked images, same shape; the engine projects and clamps them, and asks the model about those."""


@dataclass(frozen=True, eq=False)
class Attacked:
    """What an attack found, and what it took: a row per image.

    `queries` and `gradients` (n,) int64 count how often the attack showed the model an image or what it made of it, and for how
    many of those it took a gradient. `silent` (n,) bool is True where it had shown the model a success and returned none.
    `found_by` names, of several attacks, the one that reached the goal; it is empty where none did.
    """

    images: Images
    queries: torch.Tensor
    gradients: torch.Tensor
    silent: torch.Tensor
    found_by: tuple[str, ...]

    def select(self, rows: Sequence[int]) -> "Attacked":
        """What is told of the images in these rows, in that order."""
        return Attacked(
            self.images[rows],
            self.queries[rows],
            self.gradients[rows],
            self.silent[rows],
            tuple(self.found_by[row] for row in rows),
        )


@runtime_checkable
class Telling(Attack, Protocol):
    """An attack that keeps account of what it does by itself."""

    def attacked(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Attacked:
        """What `against` returns, with what it took."""


@runtime_checkable
class Borrowed(Stress, Protocol):
    """A stress of another library."""

    @property
    def library(self) -> str:
        """Its name and version: `torchattacks 3.5.1`."""


@runtime_checkable
class LooksFirst(Attack, Protocol):
    """An attack that may tell more about the images than how they fall."""

    @property
    def looks_first(self) -> bool:
        """Whether the classifier is shown the images themselves before anything that is made of them."""


@runtime_checkable
class FindsNearest(Attack, Protocol):
    """An attack that may look for the smallest change that succeeds, and not for any in the ball."""

    @property
    def finds_nearest(self) -> bool:
        """Whether the lengths of its successes, in a ball that holds every image, are the smallest epsilons it can find."""


@runtime_checkable
class SingleStep(Attack, Protocol):
    """An attack whose images at every strength lie on one line: clean image + strength * direction."""

    def direction(self, classifier: Classifier, goal: Goal, images: Images) -> Images:
        """Differences of length 1 in the attack's norm, same shape: one gradient serves all strengths."""


@dataclass(frozen=True, eq=False)
class Decision:
    """What a defense makes of what the model says to its views: a row per image.

    `answers` (n,) int64 are classes, ABSTAIN where there is none. `counts` (n, k) int64 say how many of the views that decided were
    given each class, and `asked` (n,) int64 how often the model was asked in all. `votes` are what it said to each view, where
    views have names. `radii` (n,) are those of an L2 ball around the image in which the answer is certified not to
    change, 0 where there is none, as float64 on the CPU; None where the defense certifies nothing.
    """

    answers: torch.Tensor
    counts: torch.Tensor
    asked: torch.Tensor
    votes: Votes | None = None
    radii: torch.Tensor | None = None


@runtime_checkable
class Defense(Protocol):
    """Decides on a class by what the model says to several views of an image: blurred, denoised, under noise.

    A frozen dataclass whose repr is its constructor call. An image's views depend on nothing but the image and its stream.
    """

    def decide(self, classifier: BatchClassifier, images: Images, streams: Streams) -> Decision:
        """The classes, of images in [0, 1]."""

    @property
    def view_count(self) -> int:
        """How many views there are of an image."""

    def views(self, images: Images, streams: Streams) -> torch.Tensor:
        """(v, n, c, h, w) the views that an attacker who knows of the defense looks through; differentiable where it can be."""

    def reached(self, goal: Goal, votes: Votes) -> torch.Tensor:
        """(n,) bool: whether the goal is taken to be reached where these are the model's answers to those views."""


_FITS: weakref.WeakKeyDictionary[type, dict[type, bool]] = weakref.WeakKeyDictionary()


def fits(value: object, protocol: type) -> bool:
    """`isinstance` for the protocols above, asked once for each class: comparing members takes Python longer than all else
    that is done to look an answer up."""
    known = _FITS.setdefault(type(value), {})
    if protocol not in known:
        known[protocol] = isinstance(value, protocol)
    return known[protocol]


def finds_nearest(stress: Stress) -> bool:
    """Whether it is an attack that looks for the smallest change that succeeds."""
    return fits(stress, FindsNearest) and bool(stress.finds_nearest)  # type: ignore[attr-defined]
