"""Square: a random search that asks the model and never for a gradient (Andriushchenko et al. 2020).

Images are float32 RGB in [0, 1], (n, c, h, w); epsilon is the radius of the ball, in the same units, one per image.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from pytest_robustness.attacks.problem import Problem, by_row
from pytest_robustness.attacks.settings import check_loss, check_norm, check_whole, limit
from pytest_robustness.errors import InputError
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Classifier, Goal, Images, Loss, Norm, Strengths, constructor_call

__all__ = ["Square", "side"]

# Queries after which the squares' share of the pixels is halved: the authors', for a search of 10,000.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
# Numbers for so many queries are drawn at a time: starting each image's stream afresh takes longer than drawing.
_DRAWN_AT_ONCE = 64


@dataclass(frozen=True, repr=False)
class Square:
    """Squares of changed pixels at random places, each kept where it brings the image nearer to the goal (algorithm 1).

    Linf: squares of one colour each, every channel at +-epsilon, on vertical stripes of such colours (algorithm 2); L2: the
    change in one square moved into another, as two mounds of opposite sign (algorithm 3). `queries` is how often an image
    that holds is shown to the model, not counting the first look at it unchanged. `share` of the pixels are in the first
    squares, which shrink as the search goes on: see `side`. How fast does not depend on `queries`, so that a longer search
    goes on where a shorter one ends. `loss` is what rises: see `attacks.objectives`; the margin is the paper's.

    For models without a gradient, and to see whether one hides its gradient. A share of 0.8 is AutoAttack's, for hardened
    models; the paper's 0.05 in Linf and 0.1 in L2 break plain ones with fewer queries.
    """

    queries: int = 1000
    norm: Norm = "linf"
    share: float = 0.8
    loss: Loss = "margin"

    unit: ClassVar[str] = "epsilon"
    looks_first: ClassVar[bool] = True
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_norm(self)
        check_whole(self, "queries", least=1)
        check_loss(self)
        if not 0 < self.share <= 1:
            raise InputError(f"{self!r}: expected a share of the pixels in (0, 1], got {self.share}")

    @property
    def limit(self) -> float:
        return limit(self.norm)

    def against(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Images:
        problem = Problem(classifier, goal, images, strengths, streams, self.norm)
        # An image that is at the goal already is left as it is.
        rows = (~problem.reached(images)).nonzero().squeeze(1)
        return images.index_copy(0, rows, self._searched(problem.select(rows))) if len(rows) else images

    def _searched(self, problem: Problem) -> Images:
        start, move = (_striped, _recoloured) if self.norm == "linf" else (_tiled, _moved_mounds)
        height, width = problem.images.shape[-2:]
        # The images still searched for, by their rows; everything below is theirs alone.
        found, rows, current = problem.images.clone(), problem.rows(), problem.images
        values, numbers = current.new_full((len(current),), -torch.inf), _numbers(problem, 0)
        for query in range(self.queries):
            if query == 0:
                tried = start(problem)
            else:
                numbers = _numbers(problem, query) if query % _DRAWN_AT_ONCE == 0 else numbers
                tried = move(
                    problem, current, side(query, height, width, self.share), numbers[:, query % _DRAWN_AT_ONCE]
                )
            logits = problem.logits(tried)
            reached, tried_values = problem.goal.reached(logits), problem.goal.objective(logits, self.loss)
            better = reached | (tried_values > values)
            current, values = by_row(better, tried, current), torch.where(better, tried_values, values)
            if reached.any():
                found[rows[reached]] = tried[reached]
                searching = (~reached).nonzero().squeeze(1)
                rows, problem, numbers = rows[searching], problem.select(searching), numbers[searching]
                current, values = current[searching], values[searching]
                if not len(rows):
                    return found
        return found.index_copy(0, rows, current)


def side(query: int, height: int, width: int, share: float = 0.8) -> int:
    """How long the sides of the squares of a query are, counted from 0, in pixels.

    `share` of the pixels are in it at first; half as many after 10 queries, and again after 50, 200, 500, 1000, 2000, 4000,
    6000 and 8000.
    """
    halvings = sum(query > after for after in _HALVINGS)
    return min(max(1, round(math.sqrt(share / 2**halvings * height * width))), height, width)


def _numbers(problem: Problem, query: int) -> torch.Tensor:
    """Uniform numbers for the squares of this query and those after it, (n, 64, 5 + c)."""
    n, channels = problem.images.shape[:2]
    like = problem.images.new_empty(n, _DRAWN_AT_ONCE, 5 + channels)
    return problem.streams.child(f"squares {query // _DRAWN_AT_ONCE}").uniform(like)


def _signs(numbers: torch.Tensor) -> torch.Tensor:
    """-1 or 1 with equal probability, of uniform numbers."""
    return 1 - 2 * (numbers < 0.5).to(numbers.dtype)


def _striped(problem: Problem) -> Images:
    """Vertical stripes one pixel wide, every channel of each at +-epsilon."""
    signs = _signs(problem.streams.child("stripes").uniform(problem.images[:, :, :1]))
    return problem.inside(problem.images + problem.epsilons.reshape(-1, 1, 1, 1) * signs)


def _recoloured(problem: Problem, current: Images, side: int, numbers: torch.Tensor) -> Images:
    """One square of each image in another colour, every channel at +-epsilon."""
    square = _window(numbers[:, 0], numbers[:, 1], side, current).mask
    signs = _signs(numbers[:, 5:]).reshape(len(current), -1, 1, 1)
    coloured = problem.images + problem.epsilons.reshape(-1, 1, 1, 1) * signs
    return torch.where(square, problem.inside(coloured), current)


def _tiled(problem: Problem) -> Images:
    """Five by five tiles or more, a pair of mounds on each, of either sign in every channel, at the edge of the ball together."""
    n, channels, height, width = problem.images.shape
    side = max(1, min(height, width) // 5)
    down, across = height // side, width // side
    signs = _signs(problem.streams.child("tiles").uniform(problem.images.new_empty(n, channels, down, across)))
    tiles = torch.kron(signs, _mounds(side, problem.images).reshape(1, 1, side, side))
    top, left = (height - down * side) // 2, (width - across * side) // 2
    away = torch.zeros_like(problem.images)
    away[:, :, top : top + down * side, left : left + across * side] = tiles
    return problem.step(problem.images, away)


def _moved_mounds(problem: Problem, current: Images, side: int, numbers: torch.Tensor) -> Images:
    """What one square of each image was changed by, and what the ball has left, moved into another one.

    There a pair of mounds of either sign is added to the direction of the change, channel by channel.
    """
    # An odd side has a middle; below 3 there is no slope.
    side = min(max(3, side // 2 * 2 + 1), *current.shape[-2:])
    into, out_of = (_window(numbers[:, place], numbers[:, place + 1], side, current) for place in (0, 2))
    changes = current - problem.images
    left = (problem.epsilons.square() - changes.square().sum((1, 2, 3))).clamp_min(0) / current.shape[1]
    both = into.mask | out_of.mask
    lengths = ((changes * both).square().sum((2, 3)) + left.unsqueeze(1)).sqrt()
    mounds = _mounds(side, current)
    mounds = torch.where((numbers[:, 4] < 0.5).reshape(-1, 1, 1), mounds, mounds.T)
    placed = into.placed(mounds) * _signs(numbers[:, 5:]).reshape(len(current), -1, 1, 1)
    directions = placed + _unit(changes * into.mask)
    moved = torch.where(both, _unit(directions) * lengths[:, :, None, None], changes)
    return problem.inside(problem.images + moved)


@dataclass(frozen=True, eq=False)
class _Window:
    """A square of each image, of `side` pixels: `rows` (n, h) and `columns` (n, w) are counted from its upper left corner."""

    rows: torch.Tensor
    columns: torch.Tensor
    side: int

    @property
    def mask(self) -> torch.Tensor:
        """(n, 1, h, w) bool, True in the square."""
        down, across = ((place >= 0) & (place < self.side) for place in (self.rows, self.columns))
        return (down[:, :, None] & across[:, None, :]).unsqueeze(1)

    def placed(self, patterns: torch.Tensor) -> torch.Tensor:
        """(n, 1, h, w): the pattern of each image, (n, side, side), in the square, and 0 elsewhere."""
        down, across = (place.clamp(0, self.side - 1) for place in (self.rows, self.columns))
        image = torch.arange(len(patterns), device=patterns.device)[:, None, None]
        return patterns[image, down[:, :, None], across[:, None, :]].unsqueeze(1) * self.mask


def _window(down: torch.Tensor, across: torch.Tensor, side: int, images: Images) -> _Window:
    """The square that two uniform numbers of each image choose, each place with equal probability."""
    places = []
    for number, size in ((down, images.shape[2]), (across, images.shape[3])):
        # A number next to 1 may be rounded up by the product.
        first = (number * (size - side + 1)).long().clamp_max(size - side)
        places.append(torch.arange(size, device=images.device) - first.unsqueeze(1))
    return _Window(places[0], places[1], side)


def _mounds(side: int, like: torch.Tensor) -> torch.Tensor:
    """(side, side), of length 1: a mound on the left half and the same upside down on the right one."""
    halves = [_mound(side, side // 2), -_mound(side, side - side // 2)]
    pair = torch.cat(halves, 1).to(like)
    length: torch.Tensor = pair.norm()
    return pair / length


def _mound(height: int, width: int) -> torch.Tensor:
    """(height, width), in steps that rise from the border to the middle: the sum of 1 / (n + 1 - k)^2 for k from 0 to m, with
    n half the height, rounded down, and m the number of steps from the border."""
    n = height // 2
    down, across = ((torch.arange(size) - size // 2).abs() for size in (height, width))
    steps = n - torch.maximum(down[:, None], across[None, :])
    heights = (1 / torch.arange(n + 1, 0, -1, dtype=torch.float64).square()).cumsum(0)
    return heights[steps]


def _unit(changes: torch.Tensor) -> torch.Tensor:
    """Changes divided by their lengths, channel by channel; zero where they are zero."""
    return changes / changes.square().sum((2, 3), keepdim=True).sqrt().clamp_min(1e-12)
