"""Attacks by the gradient of the model with respect to the image: one loop, its settings named.

Images are float32 RGB in [0, 1], (n, c, h, w); epsilon is the radius of the ball, in the same units, one per image.
"""

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from pytest_robustness.attacks.problem import Problem, on_survivors, slopes, starts
from pytest_robustness.attacks.settings import check_loss, check_norm, check_switch, check_whole, limit
from pytest_robustness.errors import InputError
from pytest_robustness.norms import steepest
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Classifier, Goal, Images, Loss, Norm, Strengths, constructor_call

__all__ = ["BIM", "FGSM", "MIFGSM", "PGD"]


@dataclass(frozen=True, repr=False)
class FGSM:
    """One step of length epsilon along the steepest direction of the loss.

    Linf: x + epsilon * sign(grad_x J) (Goodfellow, Shlens, Szegedy 2015, section 4); L2: along the
    normalised gradient. `loss` and `expectation` are those of `PGD`.
    """

    norm: Norm = "linf"
    loss: Loss = "log-odds"
    expectation: int = 1

    unit: ClassVar[str] = "epsilon"
    looks_first: ClassVar[bool] = True
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_norm(self)
        check_loss(self)
        check_whole(self, "expectation", least=1)

    @property
    def limit(self) -> float:
        return limit(self.norm)

    def against(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Images:
        return (images + strengths.reshape(-1, 1, 1, 1) * self.direction(classifier, goal, images)).clamp(0, 1)

    def direction(self, classifier: Classifier, goal: Goal, images: Images) -> Images:
        return steepest(slopes(classifier, goal, images, self.loss, self.expectation).gradients, self.norm)


@dataclass(frozen=True, repr=False)
class BIM:
    """`steps` steps of FGSM of length epsilon / steps, each back in the ball (Kurakin, Goodfellow, Bengio 2017, section 2.2).

    `loss` and `expectation` are those of `PGD`, of which this is a setting.
    """

    steps: int = 10
    norm: Norm = "linf"
    loss: Loss = "log-odds"
    expectation: int = 1

    unit: ClassVar[str] = "epsilon"
    looks_first: ClassVar[bool] = True
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        _check(self)

    @property
    def limit(self) -> float:
        return limit(self.norm)

    def against(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Images:
        problem = Problem(classifier, goal, images, strengths, streams, self.norm, self.expectation)
        found, _ = _climbed(problem, images, self.loss, steps=self.steps, step_size=1 / self.steps)
        return found


@dataclass(frozen=True, repr=False)
class MIFGSM:
    """BIM along the sum of all gradients so far, each of L1 length 1, earlier ones times `decay` at every step.

    The momentum iterative method (Dong et al. 2018, algorithm 1). `loss` and `expectation` are those
    of `PGD`.
    """

    steps: int = 10
    decay: float = 1.0
    norm: Norm = "linf"
    loss: Loss = "log-odds"
    expectation: int = 1

    unit: ClassVar[str] = "epsilon"
    looks_first: ClassVar[bool] = True
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        _check(self)
        if not 0 <= self.decay < math.inf:
            raise InputError(f"{self!r}: expected a decay >= 0 (1 weighs all gradients alike), got {self.decay}")

    @property
    def limit(self) -> float:
        return limit(self.norm)

    def against(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Images:
        problem = Problem(classifier, goal, images, strengths, streams, self.norm, self.expectation)
        found, _ = _climbed(problem, images, self.loss, steps=self.steps, step_size=1 / self.steps, decay=self.decay)
        return found


@dataclass(frozen=True, repr=False)
class PGD:
    """Steps along the steepest direction of the loss, each projected back to the ball (Madry et al. 2018, section 2.1).

    `steps` steps of length `step_size * epsilon`, each projected back to the ball and to [0, 1]. Without a
    `step_size` it is 2.5 / steps, so that the ball can be crossed. `random_start` begins at a point of
    the ball drawn by image id; what still holds then begins `restarts` times again at other points. An image that
    reached its goal stays where it first did, be it the start; the edge of the ball in the direction of the first
    gradient is tried as well.

    `loss` is what is climbed: see `attacks.objectives`. For a model that draws random numbers each gradient is the mean of
    `expectation` ones.
    """

    steps: int = 20
    step_size: float | None = None
    norm: Norm = "linf"
    random_start: bool = False
    restarts: int = 0
    loss: Loss = "log-odds"
    expectation: int = 1

    unit: ClassVar[str] = "epsilon"
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        _check(self)
        check_switch(self, "random_start")
        check_whole(self, "restarts", least=0)
        if self.step_size is not None and not 0 < self.step_size < math.inf:
            raise InputError(
                f"{self!r}: expected a step_size > 0 (a fraction of epsilon), got {self.step_size}; "
                "leave it out for 2.5 / steps"
            )

    @property
    def limit(self) -> float:
        return limit(self.norm)

    @property
    def looks_first(self) -> bool:
        return not self.random_start

    def against(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Images:
        problem = Problem(classifier, goal, images, strengths, streams, self.norm, self.expectation)
        attempts = [functools.partial(self._from, problem, start) for start in starts(self.random_start, self.restarts)]
        return on_survivors(problem, attempts)

    def _from(self, problem: Problem, start: str | None, rows: torch.Tensor) -> tuple[Images, torch.Tensor]:
        some = problem.select(rows)
        step_size = 2.5 / self.steps if self.step_size is None else self.step_size
        return _climbed(some, some.start(start), self.loss, steps=self.steps, step_size=step_size)


def _climbed(
    problem: Problem, start: Images, loss: Loss, *, steps: int, step_size: float, decay: float = 0.0
) -> tuple[Images, torch.Tensor]:
    """Step along the steepest direction and project; an image leaves at its first success.

    Returns what was found, and the rows (m,) of the images that are still climbing where the last step led.

    The first gradient is followed to the edge of the ball too, which is FGSM: for one forward it settles most of the
    images that will fall at all, and any success in the ball is one.
    """
    found = start.clone()
    # The images still climbing, by their rows in the batch; everything below is theirs alone.
    rows, current, summed = problem.rows(), start, torch.zeros_like(start)
    for step in range(steps):
        gradients, _, reached = problem.slopes(current, loss)
        success = current
        if step == 0:
            edge = problem.step(problem.images, gradients)
            falling = (~reached).nonzero().squeeze(1)
            falling = falling[problem.select(falling).reached(edge[falling])]
            success = current.index_copy(0, falling, edge[falling])
            reached = reached.index_fill(0, falling, True)
        if reached.any():
            found[rows[reached]] = success[reached]
            climbing = (~reached).nonzero().squeeze(1)
            rows, problem = rows[climbing], problem.select(climbing)
            current, gradients, summed = current[climbing], gradients[climbing], summed[climbing]
            if not len(rows):
                return found, rows
        if decay:
            gradients = summed = decay * summed + _of_length_1(gradients)
        current = problem.step(current, gradients, step_size)
    return found.index_copy(0, rows, current), rows


def _of_length_1(gradients: torch.Tensor) -> torch.Tensor:
    """The gradients divided by their L1 norms; zero where they are zero."""
    # Scaled by the largest entry first, so that the sum of tiny ones does not vanish.
    scaled = gradients / gradients.abs().amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(gradients.dtype).tiny)
    return scaled / scaled.abs().sum((1, 2, 3), keepdim=True).clamp_min(1e-12)


def _check(attack: BIM | MIFGSM | PGD) -> None:
    check_norm(attack)
    check_whole(attack, "steps", least=1)
    check_loss(attack)
    check_whole(attack, "expectation", least=1)
