"""A matrix of targeted attacks as a heat map: where every cell goes, and what it says when it is pointed at.

Pure functions from records to points; coordinates are those of the drawing, in pixels, y downwards. Rates are in [0, 1].
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_robustness.matrices import TargetedMatrix
from pytest_robustness.rates import Rate
from pytest_robustness.records import Matrix
from pytest_robustness.report.labels import LETTER, Label, count, short

__all__ = ["MOST_CLASSES", "Cell", "HeatMap", "group_of", "heat_map"]

MOST_CLASSES = 60
"""So many rows and columns of a heat map can still be told apart."""


@dataclass(frozen=True)
class Cell:
    """A true class, or group, towards a target: `shade` in [0, 1] is how dark it is, `text` what stands in it."""

    x: float
    y: float
    shade: float
    text: str
    title: str


@dataclass(frozen=True)
class HeatMap:
    """A matrix as cells of `size`, true classes downwards and targets to the right, both in the order of the groups.

    `untried` is a path with a stroke through every cell without an attempt; `lines` are where a group ends.
    """

    width: int
    height: int
    size: int
    left: float
    top: float
    extent: float
    cells: tuple[Cell, ...]
    untried: str
    rows: tuple[Label, ...]
    columns: tuple[Label, ...]
    groups: tuple[Label, ...]
    lines: tuple[float, ...]
    title: str


def heat_map(numbers: TargetedMatrix) -> tuple[HeatMap | None, str]:
    """The heat map by class or, of more than `MOST_CLASSES`, by group; None, and why, where neither can be read."""
    record = numbers.record
    if len(record.classes) <= MOST_CLASSES:
        order, ends = _by_group(record)
        tried = {
            (a, b): Rate("", numbers.successes(a, b), of)
            for a in order
            for b in order
            if (of := numbers.attempts(a, b))
        }
        return _heat_map(tried, order, ends, _spans(record, order)), ""
    kept = f"The matrix of {count(len(record.classes))} classes is in the JSON results"
    if not 0 < len(record.groups) <= MOST_CLASSES:
        why = (
            "name groups of them in classes.yaml to see it by group"
            if not record.groups
            else "so is that of its groups"
        )
        return None, f"{kept}; {why}."
    groups = [name for name, _ in record.groups]
    return _heat_map(numbers.between_groups, groups, [], []), f"{kept}; here it is by group."


def _heat_map(
    between: Mapping[tuple[str, str], Rate],
    order: Sequence[str],
    ends: Sequence[int],
    spans: Sequence[tuple[str, int, int]],
) -> HeatMap:
    n = len(order)
    size = 44 if n <= 12 else 26 if n <= 25 else 13
    letters = 12 if n <= 25 else 10
    longest = max(len(short(name)) for name in order) * letters * LETTER
    left, top = math.ceil(longest) + 30, math.ceil(longest * 0.87) + 30
    extent = n * size
    beside = max((len(short(name)) for name, _, _ in spans), default=0) * letters * LETTER
    cells, untried = [], []
    for row, true in enumerate(order):
        for column, target in enumerate(order):
            x, y = left + column * size, top + row * size
            rate = between.get((true, target))
            if rate is None:
                inset = size // 4
                untried.append(f"M{x + inset} {y + size - inset}l{size - 2 * inset} {2 * inset - size}")
                continue
            said = f"{100 * rate.value:.0f}" if size == 44 else ""
            title = f"{true} as {target}: {rate.successes}/{rate.attempts} ({rate.value:.3f})"
            cells.append(Cell(x, y, round(rate.value, 3), said, title))
    middle = size / 2
    return HeatMap(
        width=math.ceil(left + extent + max(longest * 0.5, beside + 16) + 8),
        height=math.ceil(top + extent + 46),
        size=size,
        left=left,
        top=top,
        extent=extent,
        cells=tuple(cells),
        untried="".join(untried),
        rows=tuple(
            Label(left - 6, top + place * size + middle + 4, "end", short(name), name)
            for place, name in enumerate(order)
        ),
        columns=tuple(
            Label(left + place * size + middle + 3, top - 6, "start", short(name), name)
            for place, name in enumerate(order)
        ),
        groups=tuple(
            Label(left + extent + 8, top + (first + last) / 2 * size + 4, "start", short(name), name)
            for name, first, last in spans
        ),
        lines=tuple(float(end * size) for end in ends),
        title=_heat_title(cells, n),
    )


def _heat_title(cells: Sequence[Cell], n: int) -> str:
    ordered = sorted(cells, key=lambda cell: -cell.shade)
    ends = f"; highest {ordered[0].title}, lowest {ordered[-1].title}" if ordered else ""
    return f"Heat map of {n} by {n}, true class downwards, target to the right{ends}"


def _by_group(record: Matrix) -> tuple[list[str], list[int]]:
    """The classes in the order of their first groups, those of none last, and the places where a group ends."""
    groups, of = [name for name, _ in record.groups], group_of(record)
    rank = {name: groups.index(of[name]) if name in of else len(groups) for name in record.classes}
    order = sorted(record.classes, key=lambda name: rank[name])
    return order, [place for place in range(1, len(order)) if rank[order[place - 1]] != rank[order[place]]]


def _spans(record: Matrix, order: Sequence[str]) -> list[tuple[str, int, int]]:
    """Each group that has classes in this order, with its first place and the one after its last."""
    of = group_of(record)
    found = []
    for group, _ in record.groups:
        places = [place for place, name in enumerate(order) if of.get(name) == group]
        if places:
            found.append((group, places[0], places[-1] + 1))
    return found


def group_of(record: Matrix) -> dict[str, str]:
    """The first group of each class that has one."""
    found: dict[str, str] = {}
    for group, members in record.groups:
        for name in members:
            found.setdefault(name, group)
    return found
