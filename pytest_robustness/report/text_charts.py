"""Charts as text: at most 80 columns, in characters that the terminal has."""

import itertools
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_robustness.charts import Chart, Line
from pytest_robustness.records import strength_text

__all__ = ["plotted"]

_WIDTH = 80
_COLUMNS = 72
# From 1 down to 0 in eighths, every second of them named.
_ROWS = 9
_SYMBOLS = "*o+x#@%&=~"


@dataclass(frozen=True)
class _Frame:
    upright: str
    corner: str
    level: str
    mark: str


_BOXES = _Frame("│", "└", "─", "┊")
_ASCII = _Frame("|", "+", "-", ":")


def plotted(chart: Chart, *, encoding: str = "ascii") -> Iterator[str]:
    """The chart as lines: a title, the curves over a frame from 0 to 1, the axis with its unit, and what the symbols stand for.

    Each curve has a symbol, and a number at its first and its last point; where two meet, the one that is named first is seen.
    """
    frame = _BOXES if _has(encoding, "".join(vars(_BOXES).values())) else _ASCII
    yield from _wrapped(f"{chart.title}: {chart.y}")
    drawn = [line for line in chart.lines if line.points]
    if drawn:
        places = [x for line in drawn for x, _ in line.points] + [mark.x for mark in chart.marks]
        low, high = min(places), max(places)
        yield from _drawing(chart, drawn, low, high, frame)
        yield from _axis(chart.x, low, high, frame)
    for symbol, line in zip(itertools.cycle(_SYMBOLS), chart.lines, strict=False):
        yield from _wrapped(f"{symbol} {line.name}{_ends(line)}")
    if chart.marks:
        told = ", ".join(f"{mark.text} {strength_text(chart.x, mark.x)}" for mark in chart.marks)
        yield from _wrapped(f"{frame.mark} {told}")


def _drawing(chart: Chart, lines: list[Line], low: float, high: float, frame: _Frame) -> Iterator[str]:
    rows = [[" "] * _COLUMNS for _ in range(_ROWS)]
    for mark in chart.marks:
        for row in rows:
            row[_column(mark.x, low, high)] = frame.mark
    symbols = dict(zip(map(id, chart.lines), itertools.cycle(_SYMBOLS), strict=False))
    # The first is drawn last.
    for line in reversed(lines):
        for column, y in _heights(line, low, high):
            rows[round((1 - min(1.0, max(0.0, y))) * (_ROWS - 1))][column] = symbols[id(line)]
    for place, row in enumerate(rows):
        name = f"{1 - place / (_ROWS - 1):.2f}" if place % 2 == 0 else ""
        yield f"{name:>5} {frame.upright}{''.join(row)}".rstrip()


def _heights(line: Line, low: float, high: float) -> Iterator[tuple[int, float]]:
    """The height of a line at every column that it reaches, and at each of its points."""
    for (x, y), (until, then) in itertools.pairwise(line.points):
        first, last = _column(x, low, high), _column(until, low, high)
        for column in range(first, last):
            part = (column - first) / (last - first)
            yield column, y if line.steps else y + part * (then - y)
    x, y = line.points[-1]
    yield _column(x, low, high), y


def _column(x: float, low: float, high: float) -> int:
    return round((x - low) / (high - low) * (_COLUMNS - 1)) if high > low else 0


def _axis(unit: str, low: float, high: float, frame: _Frame) -> Iterator[str]:
    yield f"{'':6}{frame.corner}{frame.level * _COLUMNS}"
    first, last = strength_text(unit, low), strength_text(unit, high) if high > low else ""
    yield f"{'':7}{first}{unit:^{_COLUMNS - len(first) - len(last)}}{last}".rstrip()


def _ends(line: Line) -> str:
    if not line.points:
        return ": nothing measured"
    first, last = line.points[0][1], line.points[-1][1]
    return f": {first:.4g}" + (f" to {last:.4g}" if len(line.points) > 1 else "")


def _has(encoding: str, characters: str) -> bool:
    try:
        characters.encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
