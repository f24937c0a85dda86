"""Curves as plain numbers, for any format to draw: a report as lines, a terminal as text.

The numbers along x are in the unit that `Chart.x` names; those along y are shares in [0, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

__all__ = ["Chart", "Charted", "Line", "Mark", "Role", "holding"]

Role = Literal["subject", "intruder", "other"]
"""Whose probability a line is: of the accepted classes, of those that take their place, or neither."""


@dataclass(frozen=True)
class Line:
    """One curve: (x, y) in ascending x, and with `band` the 95 % interval (low, high) of each y.

    `steps` is True where y holds from its x until the next one, as the share of images that still hold does; else points are joined.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    band: tuple[tuple[float, float], ...] = ()
    role: Role = "other"
    steps: bool = False


@dataclass(frozen=True)
class Mark:
    """A place along x that a reader looks for, and what it is: `breaks`, `required`."""

    x: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Curves over the same axes. `x` is a unit, as `epsilon` or `alpha`; `y` says of what the shares are."""

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()


@runtime_checkable
class Charted(Protocol):
    """A measurement that is best seen as curves."""

    @property
    def chart(self) -> Chart:
        """The curves of all that was measured."""
        ...


def holding(breaks: Sequence[float], last: float) -> Line:
    """The share of the images that still hold, from 0 to the last strength that was tried: a step at each that breaks one.

    `breaks` has the smallest strength that breaks each image, infinity where none does; an image does not hold at its break.
    """
    steps = sorted({0.0, *(own for own in breaks if own < last), last})
    shares = ((step, sum(own > step for own in breaks) / len(breaks)) for step in steps)
    return Line("holds", tuple(shares), steps=True)
