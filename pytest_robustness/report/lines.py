"""A chart as lines: where every point, band, tick and mark goes, and what is said of them.

Pure functions from numbers to points; coordinates are those of the drawing, in pixels, y downwards. Shares are in [0, 1].
"""

import bisect
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_robustness.charts import Chart, Line, Mark
from pytest_robustness.records import strength_text
from pytest_robustness.report.labels import LETTER, Label, Tick

__all__ = ["STYLES", "Dot", "Drawing", "Drawn", "drawing", "share_text"]

STYLES = 6
"""So many lines differ in colour, dashes and the shape of their points; further ones begin anew."""

_DOTTED = 24
_ROWS = 60
_LETTERS = 12
_ROW = 15
# Of a square of 7 pixels around a point: a disc, a square, a triangle, a diamond, a triangle upside down and a cross.
_SHAPES = (
    "M-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0 -6.4 0z",
    "M-3 -3h6v6h-6z",
    "M0 -3.8l3.8 6.6h-7.6z",
    "M0 -4.2l4.2 4.2l-4.2 4.2l-4.2 -4.2z",
    "M0 3.8l3.8 -6.6h-7.6z",
    "M-3.2 -1h2.2v-2.2h2v2.2h2.2v2h-2.2v2.2h-2v-2.2h-2.2z",
)


@dataclass(frozen=True)
class Dot:
    """A measured point, and what it says when it is pointed at."""

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class Drawn:
    """One line as a path; `band` is the path around its interval, empty without one; `shape` is that of its `dots`.

    `style` names its colour and dashes: `subject`, `intruder`, or `other-` and a number below `STYLES`.
    """

    name: str
    style: str
    path: str
    band: str
    shape: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Drawing:
    """A chart of this size in pixels. `up` stands above its upper left corner; `marks` are labels below that, above dashed lines
    at the places `at`; `said` sums it all up.

    `heads` and `rows` are a table of the numbers, `note` says what it leaves out.
    """

    title: str
    said: str
    width: int
    height: int
    left: float
    right: float
    top: float
    base: float
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    across: str
    up: str
    lines: tuple[Drawn, ...]
    marks: tuple[Label, ...]
    at: tuple[float, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def drawing(chart: Chart, *, width: int = 440, height: int = 250) -> Drawing:
    """The chart over axes from 0 to its largest x and over all shares, so that no difference looks larger than it is."""
    reach = max(_places(chart), default=0.0) or 1.0
    left, right, base = 44.0, width - 24.0, height - 42.0
    rows = _mark_rows(chart.marks, reach, left, right)
    top = 22.0 + _ROW * (max(rows, default=-1) + 1)
    frame = _Frame(reach, left, right, top, base)
    heads, table, note = _table(chart)
    return Drawing(
        title=chart.title,
        said=_said(chart),
        width=width,
        height=height,
        left=left,
        right=right,
        top=top,
        base=base,
        x=tuple(Tick(frame.x(at), text) for at, text in _x_ticks(chart.x, reach)),
        y=tuple(Tick(frame.y(share), f"{share:g}") for share in (0, 0.25, 0.5, 0.75, 1)),
        across=chart.x,
        up=chart.y,
        lines=tuple(
            _drawn(line, style, chart.x, frame) for line, style in zip(chart.lines, _styles(chart), strict=True)
        ),
        marks=tuple(_mark(mark, row, frame) for mark, row in zip(chart.marks, rows, strict=True)),
        at=tuple(frame.x(mark.x) for mark in chart.marks),
        heads=heads,
        rows=table,
        note=note,
    )


def share_text(share: float) -> str:
    """A share to three places."""
    return f"{share:.3f}"


@dataclass(frozen=True)
class _Frame:
    """Where strengths up to `reach` and shares are drawn."""

    reach: float
    left: float
    right: float
    top: float
    base: float

    def x(self, at: float) -> float:
        return round(self.left + at / self.reach * (self.right - self.left), 1)

    def y(self, share: float) -> float:
        return round(self.base - min(1.0, max(0.0, share)) * (self.base - self.top), 1)


def _places(chart: Chart) -> Iterator[float]:
    for line in chart.lines:
        yield from (x for x, _ in line.points)
    yield from (mark.x for mark in chart.marks)


def _styles(chart: Chart) -> Iterator[str]:
    """The accepted classes and what takes their place keep their colours; a second one of either is told apart as the others are."""
    taken: set[str] = set()
    others = itertools.count()
    for line in chart.lines:
        own = line.role if line.role != "other" and line.role not in taken else f"other-{next(others) % STYLES}"
        taken.add(own)
        yield own


def _drawn(line: Line, style: str, unit: str, frame: _Frame) -> Drawn:
    points = [(frame.x(x), frame.y(y)) for x, y in line.points]
    band = ""
    if line.band:
        places = [x for x, _ in points]
        low = [(x, frame.y(ends[0])) for x, ends in zip(places, line.band, strict=True)]
        high = [(x, frame.y(ends[1])) for x, ends in zip(places, line.band, strict=True)]
        back = list(reversed(_corners(low) if line.steps else low))
        band = _path([*(_corners(high) if line.steps else high), *back]) + "z"
    dotted = not line.steps and len(points) <= _DOTTED
    dots = tuple(
        Dot(*point, f"{line.name}: {_told(line, place, unit)}") for place, point in enumerate(points) if dotted
    )
    number = int(style.rpartition("-")[2]) if "-" in style else ("subject", "intruder").index(style)
    return Drawn(line.name, style, _path(_corners(points) if line.steps else points), band, _SHAPES[number], dots)


def _corners(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points of a stair: y holds from its x until the next one."""
    turned = list(points[:1])
    for (_, y), (x, below) in itertools.pairwise(points):
        turned += [(x, y), (x, below)]
    return turned


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Through these points, but those where the one before is drawn already."""
    kept = [point for place, point in enumerate(points) if not place or point != points[place - 1]]
    return "".join(f"{'L' if place else 'M'}{x:g} {y:g}" for place, (x, y) in enumerate(kept))


def _x_ticks(unit: str, reach: float) -> list[tuple[float, str]]:
    """From 0 to at most `reach` in at most six equal steps: multiples of 1/255 of an epsilon that is written so, else decimals."""
    scale = 255 if unit == "epsilon" and reach * 255 <= 64 else 1
    wholes: Iterator[float]
    if scale == 255:
        wholes = (2.0**power for power in itertools.count(-2))
    else:
        start = math.floor(math.log10(reach)) - 1
        wholes = (factor * 10.0**power for power in itertools.count(start) for factor in (1, 2, 5))
    step = next(whole for whole in wholes if reach * scale / whole <= 6 + 1e-9)
    places = [place * step / scale for place in range(math.floor(reach * scale / step + 1e-9) + 1)]
    return [(at, strength_text(unit if scale == 255 else "", at)) for at in places]


def _mark_rows(marks: Sequence[Mark], reach: float, left: float, right: float) -> list[int]:
    """The row above the drawing that each text stands in, so that none covers another."""
    taken: list[list[tuple[float, float]]] = []
    rows = []
    for mark in marks:
        label = _mark(mark, 0, _Frame(reach, left, right, 0.0, 1.0))
        width = len(label.text) * _LETTERS * LETTER
        start = label.x - {"start": 0.0, "middle": width / 2, "end": width}[label.anchor]
        row = next(
            (
                place
                for place, boxes in enumerate(taken)
                if all(start + width + 6 <= other[0] or other[1] + 6 <= start for other in boxes)
            ),
            len(taken),
        )
        if row == len(taken):
            taken.append([])
        taken[row].append((start, start + width))
        rows.append(row)
    return rows


def _mark(mark: Mark, row: int, frame: _Frame) -> Label:
    at = frame.x(mark.x)
    after = at <= (frame.left + frame.right) / 2
    return Label(round(at + (4 if after else -4), 1), 27.0 + _ROW * row, "start" if after else "end", mark.text)


def _told(line: Line, place: int, unit: str) -> str:
    x, y = line.points[place]
    within = ""
    if line.band:
        within = f", 95 % interval {share_text(line.band[place][0])} to {share_text(line.band[place][1])}"
    return f"{share_text(y)} at {unit} {strength_text(unit, x)}{within}"


def _said(chart: Chart) -> str:
    """What a reader who can't see it should know: where each line begins and ends, and the marks."""
    parts = []
    for line in chart.lines:
        if not line.points:
            continue
        (first, begins), (last, ends) = line.points[0], line.points[-1]
        named = f"{line.name}: {share_text(begins)} at {chart.x} {strength_text(chart.x, first)}"
        parts.append(named + (f", {share_text(ends)} at {strength_text(chart.x, last)}" if last != first else ""))
    parts += [f"{mark.text} at {chart.x} {strength_text(chart.x, mark.x)}" for mark in chart.marks]
    return f"{chart.y} against {chart.x}. " + "; ".join(parts)


def _table(chart: Chart) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], str]:
    """A row for each x that a line has a point at; of more than `_ROWS` evenly chosen ones, with the first and the last."""
    places = sorted({x for line in chart.lines for x, _ in line.points})
    note = ""
    if len(places) > _ROWS:
        note = f"{_ROWS} of {len(places):,} places along {chart.x}; all of them are in the JSON results."
        places = [places[round(row * (len(places) - 1) / (_ROWS - 1))] for row in range(_ROWS)]
    rows = [(strength_text(chart.x, x), *(_cell(line, x) for line in chart.lines)) for x in places]
    return (chart.x, *(line.name for line in chart.lines)), tuple(rows), note


def _cell(line: Line, x: float) -> str:
    places = [at for at, _ in line.points]
    place = bisect.bisect_right(places, x) - 1
    if place < 0 or (places[place] != x and not line.steps):
        return ""
    band = f" ({share_text(line.band[place][0])} to {share_text(line.band[place][1])})" if line.band else ""
    return share_text(line.points[place][1]) + band
