"""Modify and mimic rates as drawings: how they are spread, and whether they go together.

Pure functions from rates to points; coordinates are those of the drawing, in pixels, y downwards. Rates are in [0, 1].
"""

import math
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_robustness.matrices import TargetedMatrix
from pytest_robustness.rates import Rate
from pytest_robustness.report.labels import LETTER, NAMED, Label, Tick, classes, listed, more, short

__all__ = ["Bar", "Dot", "Histogram", "Scatter", "histogram", "scatter"]

# Of a scatter of so few classes all are named that find a place.
_FEW = 20


@dataclass(frozen=True)
class Bar:
    """How many classes have a rate within a bin."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Histogram:
    """How the rates of the classes are spread over [0, 1]; `median` is where their median is drawn."""

    kind: str
    width: int
    height: int
    base: float
    left: float
    right: float
    bars: tuple[Bar, ...]
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    median: Tick
    title: str


@dataclass(frozen=True)
class Dot:
    """The classes that have the same two rates; its area goes by their number."""

    x: float
    y: float
    radius: float
    title: str


@dataclass(frozen=True)
class Scatter:
    """Mimic rates against modify rates, a dot for each class; `medians` are those of x and of y."""

    width: int
    height: int
    left: float
    right: float
    top: float
    base: float
    dots: tuple[Dot, ...]
    labels: tuple[Label, ...]
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    medians: tuple[Tick, Tick]
    title: str
    caption: str


def histogram(kind: str, rates: Mapping[str, Rate], *, width: int = 340, height: int = 170) -> Histogram:
    """The histogram of these rates, at least one: in tenths, and from 100 classes on in twentieths."""
    bins = 20 if len(rates) >= 100 else 10
    left, right, top, base = 34.0, width - 10.0, 18.0, height - 38.0
    names: list[list[str]] = [[] for _ in range(bins)]
    for rate in rates.values():
        # In whole numbers: 0.3 * 10 in floats may be below 3.
        names[min(bins - 1, rate.successes * bins // rate.attempts)].append(rate.name)
    ticks = _whole_ticks(max(map(len, names)))
    step, unit = (right - left) / bins, (base - top) / ticks[-1]
    median = statistics.median(rate.value for rate in rates.values())
    return Histogram(
        kind=kind,
        width=width,
        height=height,
        base=base,
        left=left,
        right=right,
        bars=tuple(
            Bar(
                round(left + place * step + 1, 1),
                round(base - len(own) * unit, 1),
                round(step - 2, 1),
                round(len(own) * unit, 1),
                f"{kind} rate {place / bins:g} to {(place + 1) / bins:g}: {classes(len(own))} ({listed(own)})",
            )
            for place, own in enumerate(names)
            if own
        ),
        x=tuple(Tick(round(left + share * (right - left), 1), f"{share:g}") for share in (0, 0.25, 0.5, 0.75, 1)),
        y=tuple(Tick(round(base - count * unit, 1), str(count)) for count in ticks),
        median=Tick(round(left + median * (right - left), 1), f"median {median:.3f}"),
        title=f"Histogram of the {kind} rates of {classes(len(rates))}: median {median:.3f}, "
        f"from {min(r.value for r in rates.values()):.3f} to {max(r.value for r in rates.values()):.3f}",
    )


def scatter(numbers: TargetedMatrix, *, width: int = 440, height: int = 380) -> Scatter | None:
    """The scatter of the classes that have both rates; None where there are none."""
    both = [name for name in numbers.modify_rates if name in numbers.mimic_rates]
    if not both:
        return None
    points = {name: (numbers.modify_rates[name].value, numbers.mimic_rates[name].value) for name in both}
    left, right, top, base = 48.0, width - 14.0, 12.0, height - 40.0
    across = _Axis.over([x for x, _ in points.values()], left, right)
    up = _Axis.over([y for _, y in points.values()], base, top)
    at: dict[tuple[float, float], list[str]] = {}
    for name, (x, y) in points.items():
        at.setdefault((across.at(x), up.at(y)), []).append(name)
    dots = tuple(
        Dot(x, y, _radius(len(names), len(both)), _pointed(names, *points[names[0]]))
        for (x, y), names in sorted(at.items())
    )
    place = {name: where for where, names in at.items() for name in names}
    wanted = _outliers(numbers, both) if len(both) > _FEW else both
    texts = {place[name]: short(name) + more(len(at[place[name]])) for name in reversed(wanted)}
    order = list(dict.fromkeys(place[name] for name in wanted))
    medians = [statistics.median(own) for own in zip(*points.values(), strict=True)]
    correlation = numbers.correlation
    found = "not defined" if correlation is None else f"{correlation:+.2f}"
    return Scatter(
        width=width,
        height=height,
        left=left,
        right=right,
        top=top,
        base=base,
        dots=dots,
        labels=tuple(_labelled([(where, texts[where]) for where in order], dots, (left, top, right, base))),
        x=across.ticks,
        y=up.ticks,
        medians=(
            Tick(across.at(medians[0]), f"median {medians[0]:.3f}"),
            Tick(up.at(medians[1]), f"median {medians[1]:.3f}"),
        ),
        title=f"Scatter of mimic rate against modify rate of {classes(len(both))}",
        caption=f"A dot is a class. Pearson correlation of the two rates over {classes(len(both))}: {found}. Dashed: medians.",
    )


@dataclass(frozen=True)
class _Axis:
    """Rates from `low` to `high` between two places of the drawing."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, rates: Sequence[float], start: float, end: float) -> "_Axis":
        """From the tenth below the lowest to the tenth above the highest, at least three tenths."""
        low, high = math.floor(10 * min(rates) + 1e-9), math.ceil(10 * max(rates) - 1e-9)
        while high - low < 3:
            low, high = max(0, low - (high == 10 or low > 0)), min(10, high + 1)
        return cls(low / 10, high / 10, start, end)

    def at(self, rate: float) -> float:
        return round(self.start + (rate - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    @property
    def ticks(self) -> tuple[Tick, ...]:
        tenths = range(round(10 * self.low), round(10 * self.high) + 1)
        every = 1 if len(tenths) <= 6 else 2
        return tuple(Tick(self.at(tenth / 10), f"{tenth / 10:g}") for tenth in tenths[::every])


def _whole_ticks(highest: int) -> list[int]:
    """From 0 to at least the highest count, in at most five equal steps of 1, 2 or 5 times a power of ten."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            step = factor * power
            if highest <= 5 * step:
                return list(range(0, step * max(1, -(-highest // step)) + 1, step))
        power *= 10


def _outliers(numbers: TargetedMatrix, names: Collection[str]) -> list[str]:
    """The ends of the four lists in turn, the furthest out first."""
    lists = [
        [rate.name for rate in rates if rate.name in names][:NAMED]
        for rates in (
            numbers.hardest_to_modify,
            numbers.hardest_to_mimic,
            numbers.easiest_to_modify,
            numbers.easiest_to_mimic,
        )
    ]
    return list(dict.fromkeys(name for turn in zip(*lists, strict=True) for name in turn))


_Box = tuple[float, float, float, float]


def _labelled(wanted: Sequence[tuple[tuple[float, float], str]], dots: Sequence[Dot], inside: _Box) -> Iterator[Label]:
    """The texts at these dots that find a place beside them, where they cover neither a dot nor another text."""
    taken = [(dot.x - dot.radius, dot.y - dot.radius, dot.x + dot.radius, dot.y + dot.radius) for dot in dots]
    radii = {(dot.x, dot.y): dot.radius for dot in dots}
    for (x, y), text in wanted:
        away, width = radii[x, y] + 4, len(text) * 11 * LETTER
        places: tuple[tuple[float, float, Literal["start", "middle", "end"]], ...] = (
            (x + away, y + 4, "start"),
            (x - away, y + 4, "end"),
            (x, y - away, "middle"),
            (x, y + away + 8, "middle"),
            (x + away, y - 5, "start"),
            (x + away, y + 13, "start"),
            (x - away, y - 5, "end"),
            (x - away, y + 13, "end"),
        )
        for at, line, anchor in places:
            start = at - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            box = (start, line - 9, start + width, line + 2)
            within = inside[0] <= box[0] and box[2] <= inside[2] and inside[1] <= box[1] and box[3] <= inside[3]
            if within and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                yield Label(round(at, 1), round(line, 1), anchor, text)
                break


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _radius(count: int, of: int) -> float:
    return round(min(9.0, (2.5 if of > 200 else 4.0) * math.sqrt(count)), 1)


def _pointed(names: Sequence[str], modify: float, mimic: float) -> str:
    return f"{listed(names)}: modify rate {modify:.3f}, mimic rate {mimic:.3f}"
