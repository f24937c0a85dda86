"""What an attack is up against: the model, the goal and the balls around a batch of images, asked and moved in here.

Images are float32 RGB in [0, 1], (n, c, h, w); epsilon is the radius of the ball, in the same units, one per image.
Gradients of the sum over images are gradients of each image alone: losses are never averaged.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import torch

from pytest_robustness.errors import InputError
from pytest_robustness.norms import project, steepest
from pytest_robustness.seeding import Streams
from pytest_robustness.types import (
    BatchClassifier,
    Classifier,
    Goal,
    Images,
    Logits,
    Loss,
    Norm,
    Strengths,
    check_floats,
)

__all__ = ["Attempt", "Problem", "Slopes", "by_row", "on_survivors", "slopes", "starts"]


class Slopes(NamedTuple):
    """How the objective of each image lies where it was asked for."""

    gradients: torch.Tensor
    values: torch.Tensor
    reached: torch.Tensor


@dataclass(frozen=True, eq=False)
class Problem:
    """Images with all that an attack has on them; row by row, so that some of them are a problem too.

    Of a model that draws random numbers the mean of `expectation` answers counts (Athalye et al. 2018).
    """

    classifier: Classifier
    goal: Goal
    images: Images
    epsilons: Strengths
    streams: Streams
    norm: Norm
    expectation: int = 1

    def __post_init__(self) -> None:
        check_floats(self.images)

    def select(self, rows: torch.Tensor) -> "Problem":
        """The problem of the images in these rows (m,) int64, in that order."""
        return replace(
            self,
            classifier=_of(self.classifier, rows),
            goal=self.goal.select(rows),
            images=self.images[rows],
            epsilons=self.epsilons[rows],
            streams=self.streams.select(rows.tolist()),
        )

    def rows(self) -> torch.Tensor:
        """The rows of all images, in order."""
        return torch.arange(len(self.images), device=self.images.device)

    def slopes(self, at: Images, loss: Loss) -> Slopes:
        """How the objectives lie at these images."""
        return slopes(self.classifier, self.goal, at, loss, self.expectation)

    def logits(self, at: Images) -> Logits:
        """What the model says to these images."""
        with torch.no_grad():
            asked = [(_of(self.classifier, rows), at[rows]) for rows in _parts(self.classifier, at)]
            return torch.cat([_mean([classifier(part) for _ in range(self.expectation)]) for classifier, part in asked])

    def reached(self, at: Images) -> torch.Tensor:
        """(n,) whether these images reach the goal."""
        return self.goal.reached(self.logits(at)) if len(at) else torch.zeros(0, dtype=torch.bool, device=at.device)

    def inside(self, moved: Images) -> Images:
        """These images, back in the ball around their own and in [0, 1]."""
        return (self.images + project(moved - self.images, self.norm, self.epsilons)).clamp(0, 1)

    def step(self, start: Images, gradients: torch.Tensor, size: float | torch.Tensor = 1.0) -> Images:
        """A step of `size * epsilon`, one or one per image, along the steepest direction, ending inside."""
        lengths = (size * self.epsilons).reshape(-1, 1, 1, 1)
        return self.inside(start + lengths * steepest(gradients, self.norm))

    def start(self, purpose: str | None) -> Images:
        """Where a climb begins: at the images, or for a purpose at points of the balls drawn uniformly, by image id."""
        if purpose is None:
            return self.images
        streams = self.streams.child(purpose)
        if self.norm == "linf":
            away = streams.uniform(self.images) * 2 - 1
        else:
            radii = streams.child("radius").uniform(self.images[:, :1, :1, :1]) ** (1 / self.images[0].numel())
            away = radii * steepest(streams.normal(self.images), "l2")
        return (self.images + away * self.epsilons.reshape(-1, 1, 1, 1)).clamp(0, 1)


def starts(random_start: bool, restarts: int) -> list[str | None]:
    """What `Problem.start` is asked for: the first start, then as many as there are restarts."""
    return ["start" if random_start else None, *(f"restart {number + 1}" for number in range(restarts))]


def slopes(classifier: Classifier, goal: Goal, at: Images, loss: Loss, expectation: int) -> Slopes:
    """The gradient of each image's objective at these images, its value, and whether the goal is reached there.

    Gradients and values are means of those of `expectation` answers, the goal is reached where the mean answer does.

    Raises InputError where the model's answers have no gradient, and for images of integers.
    """
    check_floats(at)
    parts = []
    for rows in _parts(classifier, at):
        part, asked = goal.select(rows), _of(classifier, rows)
        gradients: list[torch.Tensor] = []
        values, answers = [], []
        for _ in range(expectation):
            with torch.enable_grad():
                shown = at[rows].detach().requires_grad_()
                logits = asked(shown)
                objective = part.objective(logits, loss)
                # Of a model with parameters that are trained, the answers have a gradient although the images need have none.
                (gradient,) = (
                    torch.autograd.grad(objective.sum(), shown, allow_unused=True) if logits.requires_grad else (None,)
                )
                if gradient is None:
                    raise InputError(
                        "expected logits that depend on the images by differentiable operations, got logits without a "
                        "gradient; remove no_grad, detach() or a round trip through numpy from the model's forward, or "
                        "use Square(), which needs no gradient"
                    )
                gradients.append(gradient)
            values.append(objective.detach())
            answers.append(logits.detach())
        parts.append(Slopes(_mean(gradients), _mean(values), part.reached(_mean(answers))))
    return Slopes(*(torch.cat(column) for column in zip(*parts, strict=True)))


Attempt: TypeAlias = Callable[[torch.Tensor], tuple[Images, torch.Tensor]]
"""What is found for the images in these rows (m,) of a problem, and which of the m, by their places, may hold still."""


def on_survivors(problem: Problem, attempts: Sequence[Attempt]) -> Images:
    """The images under one attempt after the other, each at those alone that did not reach the goal before."""
    found, rows = problem.images, problem.rows()
    for number, attempt in enumerate(attempts):
        if number:
            rows = rows[~problem.select(rows).reached(found[rows])]
        if not len(rows):
            break
        last, holding = attempt(rows)
        found = found.index_copy(0, rows, last)
        rows = rows[holding]
    return found


def by_row(chosen: torch.Tensor, images: Images, others: Images) -> Images:
    """(n, c, h, w): the images of the rows that are chosen, (n,) bool, the others of the others."""
    return torch.where(chosen.reshape(-1, 1, 1, 1), images, others)


def _of(classifier: Classifier, rows: torch.Tensor) -> Classifier:
    """The classifier for these rows of its batch."""
    return classifier.select(rows) if isinstance(classifier, BatchClassifier) else classifier


def _mean(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).mean(0)


def _parts(classifier: Classifier, images: Images) -> tuple[torch.Tensor, ...]:
    """The rows of the batch in as few equal parts as the classifier takes at a time."""
    n = len(images)
    most = classifier.at_a_time if isinstance(classifier, BatchClassifier) else n
    return torch.arange(n, device=images.device).chunk(math.ceil(n / most))
