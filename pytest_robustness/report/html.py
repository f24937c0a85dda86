"""The report: one self-contained HTML page that works from disk, without a network and without JavaScript."""

import base64
import collections
import datetime
import hashlib
from collections.abc import Sequence

import jinja2

from pytest_robustness.records import Ladder, Verdict
from pytest_robustness.report.changes import compared, shifts
from pytest_robustness.report.curves import curves, ladder_chart
from pytest_robustness.report.lines import Drawing, drawing
from pytest_robustness.report.matrices import beside, matrices
from pytest_robustness.report.numbers import numbers
from pytest_robustness.report.summary import Row, headline, libraries, rows
from pytest_robustness.results import Results

__all__ = ["render"]

# So many gates are shown with more than their row, so many failing items of one are listed, and so many curves are in view.
_DETAILED = 200
_LISTED = 1000
_SHOWN = 12


def render(results: Results) -> str:
    """The page as text. Every string of a user's is escaped, and nothing on the page runs but our own script."""
    loader = jinja2.PackageLoader("pytest_robustness.report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    script, _, _ = loader.get_source(environment, "robustness.js")
    table, found = rows(results), curves(results)
    detailed = _detailed(table)
    looked_at = [verdict for verdict in results.verdicts if verdict.status == "pass" and beside(verdict)]
    return environment.get_template("robustness.html.j2").render(
        results=results,
        headline=headline(results),
        outcome="fail" if results.failed else "pass" if results.complete and not results.open else "unfinished",
        contents=_contents(results, table, looked_at=bool(looked_at), drawn=bool(found.charts)),
        rows=table,
        verdicts=collections.Counter("expected" if row.expected else row.status for row in table),
        numbers=dict(zip(detailed, numbers([table[place - 1] for place in detailed]), strict=True)),
        reduced=sum(bool(row.failures) for place, row in enumerate(table, 1) if place not in set(detailed)),
        beside=beside,
        climbed=_climbed,
        listed=_LISTED,
        drawings=[drawing(chart) for chart in found.charts],
        shown=_SHOWN,
        undrawn=found.more,
        matrices=matrices(results),
        looked_at=looked_at,
        compared=compared,
        shifts=shifts,
        libraries=libraries,
        script=script,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        written=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _contents(results: Results, table: Sequence[Row], *, looked_at: bool, drawn: bool) -> list[tuple[str, str]]:
    """The sections that the page has, by their ids."""
    verdicts = results.verdicts
    sections = (
        ("gates", "Gates", True),
        ("comparison", "Against the release before", results.comparison is not None),
        ("doubts", "Whether attacks may be believed", any(row.doubts for row in table)),
        ("failures", "Where it broke", any(row.failures for row in table)),
        ("held", "Where it held", looked_at),
        ("curves", "Curves", drawn),
        ("matrices", "Modify and mimic", any(verdict.matrices for verdict in verdicts)),
        ("traces", "Step by step", any(verdict.traces for verdict in verdicts)),
        ("explained", "Why it says so", any(verdict.explained for verdict in verdicts)),
        ("numbers", "Every number", True),
        ("environment", "Measured with", True),
    )
    return [(name, title) for name, title, there in sections if there]


def _detailed(table: Sequence[Row]) -> list[int]:
    """The places, from 1, of the gates that are shown with more than their row: those with pictures, then from the top."""
    pictured = [any(verdict.pictures for verdict in row.verdicts) for row in table]
    return sorted(sorted(range(1, len(table) + 1), key=lambda place: not pictured[place - 1])[:_DETAILED])


def _climbed(verdict: Verdict) -> Drawing | None:
    """The way of the one image of a verdict up to its break."""
    if len(verdict.ladders) != 1:
        return None
    ladder: Ladder = verdict.ladders[0]
    return drawing(ladder_chart(ladder, verdict.required if verdict.gate == "holds-until" else None), width=380)
