"""The smallest change that reaches a goal, looked for directly: the fast minimum-norm attack (Pintor et al. 2021).

Images are float32 RGB in [0, 1], (n, c, h, w); epsilon is the largest radius allowed, in the same units, one per image.
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from pytest_robustness.attacks.problem import Problem, Slopes, by_row
from pytest_robustness.attacks.settings import check_norm, check_whole, limit
from pytest_robustness.norms import length, steepest
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Classifier, Goal, Images, Norm, Strengths, constructor_call

__all__ = ["FMN", "smallest_epsilons"]

# The first and the last of the steps of the change, and of those of the radius; both in units of the radius.
_ALPHAS = (2.0, 0.02)
_GAMMAS = (0.05, 0.001)
# What a radius grows by at least until the first success: a gradient that is steep in its own place alone, or scaled as in a
# search in float16, makes the plane look nearer than it is.
_GROWTH = 1.5
# Keeps 0/0 away where the model is flat.
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, repr=False)
class FMN:
    """The nearest image to each that reaches the goal, out of those met on `steps` steps within epsilon (algorithm 1).

    The radius of the ball that the steps end in grows while the image holds and shrinks while it does not; before the
    first success it is where a plane along the margin's gradient would be crossed, and half as large again at least.
    Both kinds of steps get smaller along a cosine. The paper's steps have absolute lengths; here they are in units of the
    radius, so that they fit models that break at once and hardened ones. Hands out the nearest success, and the last
    point of an image that never reached the goal.

    An epsilon of 1 in Linf, or a large one in L2, bounds nothing: `smallest_epsilons` then says at which radius each
    image falls, for one attack at one strength instead of one per strength.
    """

    steps: int = 100
    norm: Norm = "linf"
    expectation: int = 1

    unit: ClassVar[str] = "epsilon"
    looks_first: ClassVar[bool] = True
    finds_nearest: ClassVar[bool] = True
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_norm(self)
        check_whole(self, "steps", least=1)
        check_whole(self, "expectation", least=1)

    @property
    def limit(self) -> float:
        return limit(self.norm)

    def against(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Images:
        problem = Problem(classifier, goal, images, strengths, streams, self.norm, self.expectation)
        found, rows, walk = images.clone(), problem.rows(), _Walk.at(images)
        for step in range(self.steps):
            slopes = problem.slopes(walk.current, "margin")
            if step == 0 and slopes.reached.any():
                # An image that is at the goal already is left as it is.
                walking = (~slopes.reached).nonzero().squeeze(1)
                rows, problem, walk = rows[walking], problem.select(walking), walk.select(walking)
                slopes = Slopes(*(column[walking] for column in slopes))
                if not len(rows):
                    return found
            walk = walk.met(problem, slopes.reached).moved(problem, slopes, step / self.steps)
        walk = walk.met(problem, problem.reached(walk.current))
        return found.index_copy(0, rows, by_row(walk.fallen, walk.nearest, walk.current))


def smallest_epsilons(images: Images, found: Images, reached: torch.Tensor, norm: Norm) -> torch.Tensor:
    """(n,) how far what was found of each image is from it, infinity where the goal was not `reached` (n,) bool."""
    return torch.where(reached, length(found - images, norm), torch.inf)


@dataclass(frozen=True, eq=False)
class _Walk:
    """Where images are, and the nearest success of each: a row of everything for each."""

    current: Images
    radii: torch.Tensor
    nearest: Images
    distances: torch.Tensor

    @classmethod
    def at(cls, images: Images) -> "_Walk":
        """At the start, without a success."""
        none = images.new_full((len(images),), torch.inf)
        return cls(images, torch.zeros_like(none), images, none)

    @property
    def fallen(self) -> torch.Tensor:
        """(n,) bool, whether there was a success."""
        return self.distances.isfinite()

    def select(self, rows: torch.Tensor) -> "_Walk":
        """Those of the images in these rows (m,) int64, in that order."""
        return _Walk(self.current[rows], self.radii[rows], self.nearest[rows], self.distances[rows])

    def met(self, problem: Problem, reached: torch.Tensor) -> "_Walk":
        """With what is known of where they are now."""
        distances = smallest_epsilons(problem.images, self.current, reached, problem.norm)
        nearer = distances < self.distances
        return replace(
            self,
            nearest=by_row(nearer, self.current, self.nearest),
            distances=torch.where(nearer, distances, self.distances),
        )

    def moved(self, problem: Problem, slopes: Slopes, done: float) -> "_Walk":
        """One step on, with the share `done` of all steps behind."""
        alpha, gamma = (_annealed(first, last, done) for first, last in (_ALPHAS, _GAMMAS))
        # Where the plane along the margin's gradient is crossed by the steepest way: from the ball's edge, not from the point
        # in it, which 0 and 1 may hold back again and again.
        steepness = (slopes.gradients * steepest(slopes.gradients, problem.norm)).sum((1, 2, 3)).clamp_min(_TINY)
        crossed = torch.maximum(self.radii + slopes.values.abs() / steepness, _GROWTH * self.radii)
        # A little more than to the plane: on it the image may still hold.
        outwards = torch.where(self.fallen, self.radii, crossed) * (1 + gamma)
        inwards = torch.minimum(self.radii * (1 - gamma), self.distances)
        radii = torch.minimum(torch.where(slopes.reached, inwards, outwards), problem.epsilons)
        # Straight along the gradient in both norms: in Linf a step as long as the way to a corner of the ball.
        to_corner = math.sqrt(self.current[0].numel()) if problem.norm == "linf" else 1.0
        lengths = (alpha * to_corner * radii).reshape(-1, 1, 1, 1)
        moved = self.current + lengths * steepest(slopes.gradients, "l2")
        return replace(self, current=replace(problem, epsilons=radii).inside(moved), radii=radii)


def _annealed(first: float, last: float, done: float) -> float:
    """From the first to the last along a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2
