"""Results for a terminal of 80 columns."""

import textwrap
from collections.abc import Callable, Iterator
from typing import TypeAlias

from pytest_robustness.profiles import PROFILES
from pytest_robustness.report.charts import charts_of
from pytest_robustness.report.summary import Row, headline, rows
from pytest_robustness.report.text_charts import plotted
from pytest_robustness.results import Results

__all__ = ["Paint", "curves", "gate_table"]

Paint: TypeAlias = Callable[[str, str], str]
"""Takes a text and the name of a colour, and returns what a terminal shows in it."""

_WIDTH = 80
_NARROWEST = 20
_HEADS = ("measured", "required", "margin", "n", "verdict")
_COLOURS = {"pass": "green", "xfail": "yellow", "undecided": "yellow"}
_PLOTS = 5


def _plain(text: str, colour: str) -> str:
    return text


def gate_table(results: Results, *, paint: Paint = _plain) -> Iterator[str]:
    """A line about what was judged, a row per gate, and the outcome.

    What `paint` adds to a verdict and to the outcome takes no columns.
    """
    for run in results.runs:
        digest = f" {run.model_digest[:8]}" if run.model_digest else ""
        yield from _wrapped(f"{run.model}{digest} on {run.amount} of {run.images}, {run.device}, seed {run.seed}", "  ")
    profile = PROFILES.get(results.profile)
    if profile is not None and profile.told:
        yield from _wrapped(f"profile {profile.name}: {profile.told}", "  ")
    table = rows(results)
    cells = [_cells(row) for row in table]
    widths = [max(map(len, column)) for column in zip(_HEADS, *cells, strict=True)]
    # A claim gets what the numbers leave, between which there is a column; two in front of the verdict.
    claim = max(_NARROWEST, _WIDTH - sum(widths) - len(widths) - 1)
    if table:
        yield _line("gate", claim, _HEADS, widths)
    for row, own in zip(table, cells, strict=True):
        first, *more = textwrap.wrap(row.claim, claim, subsequent_indent="  ", break_on_hyphens=False) or [""]
        shown = (*own[:-1], paint(own[-1], _COLOURS.get(own[-1], "red")))
        yield _line(first, claim, shown, widths)
        yield from more
        for doubt in row.doubts:
            said = (
                f"waived: {doubt.check}: {doubt.waiver}" if doubt.waiver else f"in doubt: {doubt.check}: {doubt.said}"
            )
            yield from textwrap.wrap(said, _WIDTH, initial_indent="  ", subsequent_indent="    ")
    said = headline(results)
    colour = "red" if results.failed or not results.complete else "yellow" if results.open else "green"
    yield from (paint(line, colour) for line in _wrapped(said, ""))


def curves(results: Results, *, encoding: str = "ascii") -> Iterator[str]:
    """The charts of each gate as text, in characters that the encoding has; of many, the first five."""
    for row in rows(results):
        charts = charts_of(row)
        for chart in charts[:_PLOTS]:
            yield ""
            yield from plotted(chart, encoding=encoding)
        if len(charts) > _PLOTS:
            yield ""
            yield f"... and {len(charts) - _PLOTS} more charts of {row.test}"


def _cells(row: Row) -> tuple[str, ...]:
    return row.measured, row.required, row.margin, str(row.n or "-"), "xfail" if row.expected else row.status


def _line(first: str, claim: int, cells: tuple[str, ...], widths: list[int]) -> str:
    numbers = " ".join(f"{cell:>{width}}" for cell, width in zip(cells[:-1], widths[:-1], strict=True))
    return f"{first:{claim}} {numbers}  {cells[-1]}"


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent, break_on_hyphens=False)
