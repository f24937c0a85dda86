"""The report: sections of rows, as text of 80 columns."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.measure import Figure

__all__ = ["WIDTH", "Headline", "Row", "Section", "Target", "render"]

WIDTH = 80


@dataclass(frozen=True)
class Target:
    """The bound that a median ratio is meant to keep."""

    relation: Literal["<=", ">="]
    bound: float

    def met(self, ratio: Figure) -> bool:
        """Whether the median is on the right side."""
        return ratio.median <= self.bound if self.relation == "<=" else ratio.median >= self.bound


@dataclass(frozen=True)
class Headline:
    """A line above the rows that belong together."""

    text: str


@dataclass(frozen=True)
class Row:
    """One thing measured; `remark` stands for the numbers where there are none, as in "not installed"."""

    name: str
    figure: Figure | None = None
    ratio: Figure | None = None
    target: Target | None = None
    remark: str = ""


@dataclass(frozen=True)
class Section:
    """A table: its title, what its ratios are relative to, the unit of its figures, rows, and lines below."""

    title: str
    ratio: str
    rows: Sequence[Row | Headline]
    unit: Literal["seconds", "MB", "us/item", "ms/pair"] = "seconds"
    notes: Sequence[str] = ()


def render(section: Section) -> str:
    """The section as text, no line longer than 80 characters (lines of a note that are longer are wrapped)."""
    lines = [*textwrap.wrap(section.title, WIDTH), *textwrap.wrap(f"ratio: {section.ratio}", WIDTH)]
    lines += ["", f"{'':27}{section.unit:>8}{'min..max':>15}{'ratio':>7}{'min..max':>13} target".rstrip(), "-" * WIDTH]
    lines += [line for row in section.rows for line in _lines(row)]
    if section.notes:
        lines.append("")
        lines += [
            part for note in section.notes for part in (textwrap.wrap(note, WIDTH) if len(note) > WIDTH else [note])
        ]
    return "\n".join(lines) + "\n"


def _lines(row: Row | Headline) -> Iterator[str]:
    if isinstance(row, Headline):
        yield row.text
        return
    name = f"  {row.name}"
    # A name that is too long has a line of its own.
    if len(name) > 27:
        yield name
        name = ""
    if row.figure is None:
        yield f"{name:27}  {row.remark}"
        return
    line = f"{name:27}{_number(row.figure.median):>8}{_range(row.figure):>15}"
    if row.ratio is not None:
        line += f"{_number(row.ratio.median):>7}{_range(row.ratio):>13}"
        if row.target is not None:
            line += f" {row.target.relation}{row.target.bound:g} {'ok' if row.target.met(row.ratio) else 'no'}"
    elif row.target is not None:
        line += "  none: not all above 0"
    yield line


def _range(figure: Figure) -> str:
    return f"{_number(figure.low)}..{_number(figure.high)}"


def _number(value: float) -> str:
    """Three significant digits, at most three of them behind the point, and never an exponent."""
    before = math.floor(math.log10(abs(value))) + 1 if value else 1
    return f"{value:.{min(3, max(0, 3 - before))}f}"
