"""Auto-PGD: projected gradient ascent that chooses its step sizes by itself (Croce and Hein 2020).

Images are float32 RGB in [0, 1], (n, c, h, w); epsilon is the radius of the ball, in the same units, one per image.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import torch

from pytest_robustness.attacks.problem import Problem, Slopes, by_row, on_survivors, starts
from pytest_robustness.attacks.settings import check_loss, check_norm, check_switch, check_whole, limit
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Classifier, Goal, Images, Loss, Norm, Strengths, constructor_call

__all__ = ["APGD", "checkpoints"]

# The weight of a new step against the last move, and the share of steps that have to rise.
_ALPHA = 0.75
_RHO = 0.75


@dataclass(frozen=True, repr=False)
class APGD:
    """Ascent with momentum whose step, 2 epsilon at first, is halved for an image that stops rising (algorithm 1).

    Whether it does is looked at after the steps of `checkpoints`; an image whose step is halved goes on from its best
    point. `steps` is how often it moves; the first step from the image itself ends at the edge of the ball, as FGSM does.
    `random_start`, `restarts`, `loss` and `expectation` are those of `PGD`.

    With `targets`, so many of the likeliest other classes are gone for one after the other by the images that still hold;
    of a `goal` that has one target already it is that alone. AutoAttack's APGD-CE is APGD() and its APGD-T
    APGD(loss="dlr", targets=9), both from random starts there.
    """

    steps: int = 100
    norm: Norm = "linf"
    loss: Loss = "log-odds"
    targets: int = 0
    random_start: bool = False
    restarts: int = 0
    expectation: int = 1

    unit: ClassVar[str] = "epsilon"
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_norm(self)
        check_whole(self, "steps", least=1)
        check_loss(self)
        check_whole(self, "targets", least=0)
        check_switch(self, "random_start")
        check_whole(self, "restarts", least=0)
        check_whole(self, "expectation", least=1)

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
        aims: Sequence[Goal] = [goal]
        if self.targets:
            aims = goal.aims(problem.logits(images), self.targets)
        attempts = [
            functools.partial(self._climbed, replace(problem, goal=aim), start)
            for start in starts(self.random_start, self.restarts)
            for aim in aims
        ]
        return on_survivors(problem, attempts)

    def _climbed(self, whole: Problem, start: str | None, rows: torch.Tensor) -> tuple[Images, torch.Tensor]:
        """The first success of each image in these rows; of one without, the point where its objective was highest."""
        problem = whole.select(rows)
        climb = _Climb.at(problem.start(start))
        # The images still climbing, by their rows; `problem` and `climb` are theirs alone.
        found, rows = climb.current.clone(), problem.rows()
        marks = [0, *checkpoints(self.steps)]
        for step in range(self.steps):
            slopes = problem.slopes(climb.current, self.loss)
            climb = climb.looked(slopes)
            if slopes.reached.any():
                found[rows[slopes.reached]] = climb.current[slopes.reached]
                climbing = (~slopes.reached).nonzero().squeeze(1)
                rows, problem, climb = rows[climbing], problem.select(climbing), climb.select(climbing)
                if not len(rows):
                    return found, rows
            if step in marks:
                climb = climb.checked(step - marks[max(0, marks.index(step) - 1)])
            climb = climb.moved(problem, _ALPHA if step else 1.0)
        reached = problem.reached(climb.current)
        return found.index_copy(0, rows, by_row(reached, climb.current, climb.best)), rows[~reached]


def checkpoints(steps: int) -> list[int]:
    """After which of `steps` steps, counted from 1, step sizes are looked at.

    After 22 % of them, and then after periods that get shorter by 3 % each, down to 6 %. In whole steps, at least one, as
    in the authors' own program: for fewer than 100 the paper's formula, which rounds afterwards, gives other ones.
    """
    period, shorter, least = (max(1, steps * percent // 100) for percent in (22, 3, 6))
    found = [period]
    while found[-1] + (period := max(period - shorter, least)) <= steps:
        found.append(found[-1] + period)
    return found


@dataclass(frozen=True, eq=False)
class _Climb:
    """How far images have come: a row of everything for each. `sizes` are in units of epsilon."""

    current: Images
    previous: Images
    gradients: torch.Tensor
    values: torch.Tensor
    best: Images
    best_gradients: torch.Tensor
    best_values: torch.Tensor
    sizes: torch.Tensor
    rises: torch.Tensor
    halved: torch.Tensor
    checked_values: torch.Tensor

    @classmethod
    def at(cls, start: Images) -> "_Climb":
        """Nothing is known yet: any value is the best, and none is a rise."""
        one, flat = start.new_ones(len(start)), torch.zeros_like(start)
        return cls(
            current=start,
            previous=start,
            gradients=flat,
            values=one * torch.inf,
            best=start,
            best_gradients=flat,
            best_values=-one * torch.inf,
            sizes=2 * one,
            rises=0 * one,
            halved=one < 0,
            checked_values=-one * torch.inf,
        )

    def select(self, rows: torch.Tensor) -> "_Climb":
        """Those of the images in these rows (m,) int64, in that order."""
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def looked(self, slopes: Slopes) -> "_Climb":
        """With what was found where they are now."""
        better = slopes.values > self.best_values
        return replace(
            self,
            gradients=slopes.gradients,
            values=slopes.values,
            rises=self.rises + (slopes.values > self.values),
            best=by_row(better, self.current, self.best),
            best_gradients=by_row(better, slopes.gradients, self.best_gradients),
            best_values=torch.where(better, slopes.values, self.best_values),
        )

    def checked(self, period: int) -> "_Climb":
        """At a checkpoint, `period` steps after the one before: halve the step of an image that has stalled.

        It has where fewer than 75 % of the steps rose (condition 1), or where the best value has not moved and neither was
        the step halved the last time (condition 2).
        """
        stalled = (self.rises < _RHO * period) | (~self.halved & (self.best_values == self.checked_values))
        return replace(
            self,
            current=by_row(stalled, self.best, self.current),
            gradients=by_row(stalled, self.best_gradients, self.gradients),
            values=torch.where(stalled, self.best_values, self.values),
            sizes=torch.where(stalled, self.sizes / 2, self.sizes),
            rises=torch.zeros_like(self.rises),
            halved=stalled,
            checked_values=self.best_values,
        )

    def moved(self, problem: Problem, alpha: float) -> "_Climb":
        """One step on, and `1 - alpha` of the last move with it."""
        stepped = problem.step(self.current, self.gradients, self.sizes)
        ahead = self.current + alpha * (stepped - self.current) + (1 - alpha) * (self.current - self.previous)
        return replace(self, current=problem.inside(ahead), previous=self.current)
