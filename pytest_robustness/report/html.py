"""The report: one self-contained HTML page that works from disk, without a network and without JavaScript."""

import datetime
from dataclasses import dataclass

import jinja2

from pytest_robustness.records import Ladder, strength_text
from pytest_robustness.report.matrices import beside, matrices
from pytest_robustness.report.summary import headline, libraries, rows
from pytest_robustness.results import Results

__all__ = ["Curve", "curve", "render"]


@dataclass(frozen=True)
class Curve:
    """A ladder as lines in a 0..1 square: probability of the accepted classes and of the class that took over."""

    title: str
    unit: str
    subject: str
    intruder: str
    intruder_name: str
    last: str
    break_at: float | None


def render(results: Results) -> str:
    """The page as text. Every string of a user's is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pytest_robustness.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("robustness.html.j2").render(
        results=results,
        headline=headline(results),
        rows=rows(results),
        curve=curve,
        beside=beside,
        matrices=matrices(results),
        looked_at=[v for v in results.verdicts if v.status == "pass" and beside(v)],
        libraries=libraries,
        written=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def curve(ladder: Ladder) -> Curve:
    """The points of a ladder, strength scaled by the largest planned level.

    The intruder is the class that was answered at the last rung where the image broke; where it is not among
    a rung's top five, its probability is drawn as 0.
    """
    top = ladder.levels[-1]
    last = ladder.rungs[-1][1]
    intruder = "" if last.correct or last.predicted is None else last.predicted
    shares = [dict(outcome.top).get(intruder, 0.0) for _, outcome in ladder.rungs]
    return Curve(
        title=f"{ladder.image}: probability against {ladder.unit}",
        unit=ladder.unit,
        subject=_points([(s / top, outcome.subject) for s, outcome in ladder.rungs]),
        intruder=_points([(s / top, share) for (s, _), share in zip(ladder.rungs, shares, strict=True)]),
        intruder_name=intruder,
        last=strength_text(ladder.unit, top),
        break_at=None if ladder.broke is None else ladder.broke / top,
    )


def _points(pairs: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.4f},{1 - y:.4f}" for x, y in pairs)
