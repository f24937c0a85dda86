"""Attacks by the gradient of the model with respect to the image: one loop, its settings named.

Images are float32 RGB in [0, 1], (n, c, h, w); epsilon is the radius of the ball, in the same units, one
per image. Gradients of the sum over images are gradients of each image alone: losses are never averaged.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, get_args

import torch

from pytest_robustness.errors import InputError
from pytest_robustness.norms import project, steepest
from pytest_robustness.seeding import Streams
from pytest_robustness.types import BatchClassifier, Classifier, Goal, Images, Norm, Strengths, constructor_call

__all__ = ["FGSM", "PGD"]


@dataclass(frozen=True, repr=False)
class FGSM:
    """One step of length epsilon along the steepest direction of the loss.

    Linf: x + epsilon * sign(grad_x J) (Goodfellow, Shlens, Szegedy 2015, section 4); L2: along the
    normalised gradient.
    """

    norm: Norm = "linf"

    unit: ClassVar[str] = "epsilon"
    looks_first: ClassVar[bool] = True
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        _check_norm(self)

    @property
    def limit(self) -> float:
        return _limit(self.norm)

    def against(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Images:
        return (images + strengths.reshape(-1, 1, 1, 1) * self.direction(classifier, goal, images)).clamp(0, 1)

    def direction(self, classifier: Classifier, goal: Goal, images: Images) -> Images:
        gradients, _ = _gradients(classifier, goal, images)
        return steepest(gradients, self.norm)


@dataclass(frozen=True, repr=False)
class PGD:
    """Projected gradient ascent (Madry et al. 2018, equation 3).

    `steps` steps of length `step_size * epsilon`, each projected back to the ball and to [0, 1]. Without a
    `step_size` it is 2.5 / steps, so that the ball can be crossed. `random_start` begins at a point of
    the ball drawn by image id. An image that reached its goal stays where it first did, be it the start; the edge of
    the ball in the direction of the first gradient is tried as well.
    """

    steps: int = 20
    step_size: float | None = None
    norm: Norm = "linf"
    random_start: bool = False

    unit: ClassVar[str] = "epsilon"
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        _check_norm(self)
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise InputError(f"{self!r}: expected steps to be a whole number >= 1, got {self.steps}")
        if self.step_size is not None and not 0 < self.step_size < math.inf:
            raise InputError(
                f"{self!r}: expected a step_size > 0 (a fraction of epsilon), got {self.step_size}; "
                "leave it out for 2.5 / steps"
            )

    @property
    def limit(self) -> float:
        return _limit(self.norm)

    @property
    def looks_first(self) -> bool:
        return not self.random_start

    def against(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Images:
        start = images
        if self.random_start:
            away = _random_differences(images, self.norm, streams.child("start"))
            start = (images + away * strengths.reshape(-1, 1, 1, 1)).clamp(0, 1)
        step_size = 2.5 / self.steps if self.step_size is None else self.step_size
        return _ascend(
            classifier, goal, images, start, strengths, norm=self.norm, steps=self.steps, step_size=step_size
        )


def _ascend(
    classifier: Classifier,
    goal: Goal,
    images: Images,
    start: Images,
    epsilons: Strengths,
    *,
    norm: Norm,
    steps: int,
    step_size: float,
) -> Images:
    """Step along the steepest direction and project; an image leaves at its first success.

    The first gradient is followed to the edge of the ball too, which is FGSM: for one forward it settles most of the
    images that will fall at all, and any success in the ball is one.
    """
    found = start.clone()
    # The images still climbing, by their rows in the batch; everything below is theirs alone.
    rows = torch.arange(len(images), device=images.device)
    current = start
    for step in range(steps):
        gradients, reached = _gradients(_of(classifier, rows), goal.select(rows), current)
        success = current
        if step == 0:
            edge = _moved(images, images, epsilons, gradients, norm)
            falling = (~reached).nonzero().squeeze(1)
            falling = falling[_reached(_of(classifier, falling), goal.select(falling), edge[falling])]
            success = current.index_copy(0, falling, edge[falling])
            reached = reached.index_fill(0, falling, True)
        if reached.any():
            found[rows[reached]] = success[reached]
            climbing = ~reached
            rows, current, gradients = rows[climbing], current[climbing], gradients[climbing]
            if not len(rows):
                return found
        current = _moved(current, images[rows], epsilons[rows], gradients, norm, step_size)
    return found.index_copy(0, rows, current)


def _moved(
    current: Images, images: Images, epsilons: Strengths, gradients: torch.Tensor, norm: Norm, step_size: float = 1.0
) -> Images:
    """A step of `step_size * epsilon` from where an attack is, back in the ball around the images and in [0, 1]."""
    moved = current + (step_size * epsilons).reshape(-1, 1, 1, 1) * steepest(gradients, norm)
    return (images + project(moved - images, norm, epsilons)).clamp(0, 1)


def _gradients(classifier: Classifier, goal: Goal, images: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient of each image's objective, and whether the image has reached the goal already."""
    gradients: list[torch.Tensor] = []
    reached = []
    for rows in _parts(classifier, images):
        part, answers = goal.select(rows), _of(classifier, rows)
        with torch.enable_grad():
            shown = images[rows].detach().requires_grad_()
            logits = answers(shown)
            if not logits.requires_grad:
                raise InputError(
                    "expected logits that depend on the images by differentiable operations, got logits without a "
                    "gradient; remove no_grad, detach() or a round trip through numpy from the model's forward"
                )
            gradients.extend(torch.autograd.grad(part.objective(logits).sum(), shown))
        reached.append(part.reached(logits.detach()))
    return torch.cat(gradients), torch.cat(reached)


def _reached(classifier: Classifier, goal: Goal, images: Images) -> torch.Tensor:
    """Whether each image reaches the goal."""
    reached = [torch.zeros(0, dtype=torch.bool, device=images.device)]
    with torch.no_grad():
        for rows in _parts(classifier, images):
            reached.append(goal.select(rows).reached(_of(classifier, rows)(images[rows])))
    return torch.cat(reached)


def _of(classifier: Classifier, rows: torch.Tensor) -> Classifier:
    """The classifier for these rows of its batch."""
    return classifier.select(rows) if isinstance(classifier, BatchClassifier) else classifier


def _parts(classifier: Classifier, images: Images) -> tuple[torch.Tensor, ...]:
    """The rows of the batch in as few equal parts as the classifier takes at a time."""
    n = len(images)
    most = classifier.at_a_time if isinstance(classifier, BatchClassifier) else n
    return torch.arange(n, device=images.device).chunk(math.ceil(n / most)) if n else ()


def _random_differences(images: Images, norm: Norm, streams: Streams) -> torch.Tensor:
    """Differences drawn uniformly from the ball of radius 1."""
    if norm == "linf":
        return streams.uniform(images) * 2 - 1
    radii = streams.child("radius").uniform(images[:, :1, :1, :1]) ** (1 / images[0].numel())
    return radii * steepest(streams.normal(images), "l2")


def _check_norm(attack: FGSM | PGD) -> None:
    if attack.norm not in get_args(Norm):
        raise InputError(f"{attack!r}: expected norm 'linf' or 'l2', got {attack.norm!r}")


def _limit(norm: Norm) -> float:
    """In Linf an epsilon of 1 is every image; an L2 ball has no largest radius that fits all sizes."""
    return 1.0 if norm == "linf" else math.inf
