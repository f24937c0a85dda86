"""The curves of a report: those that tests measured, and those that follow from what their gates were judged on.

Pure functions from records to charts; shares are in [0, 1].
"""

import bisect
import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pytest_robustness.charts import Chart, Line, Mark
from pytest_robustness.records import Case, Evaluation, Ladder, Provenance, Verdict
from pytest_robustness.report.summary import Row, rows
from pytest_robustness.results import Results
from pytest_robustness.stats import proportion_interval

__all__ = ["MOST_CHARTS", "Curves", "curves", "ladder_chart"]

MOST_CHARTS = 60
"""So many charts of a report are still looked at."""

# Of these what is required is a strength of their stress.
_ABOUT_STRENGTH = ("breaking-point", "holds-until", "smallest-epsilon")

_Models: TypeAlias = Mapping[str, Provenance]


@dataclass(frozen=True)
class Curves:
    """The charts of a report, and how many `more` there are."""

    charts: tuple[Chart, ...]
    more: int = 0


@dataclass(frozen=True)
class _Found:
    """A chart, and the tests whose numbers it shows."""

    chart: Chart
    tests: frozenset[str]


def curves(results: Results) -> Curves:
    """What tests brought, each once, the red ones first, then what gates were judged on and no test of theirs brought."""
    table, models = rows(results), {run.key: run for run in results.runs}
    brought: dict[Chart, set[str]] = {}
    for row in table:
        for verdict in row.verdicts:
            for chart in verdict.charts:
                brought.setdefault(chart, set()).add(row.test)
    derived = [*_accuracies(table, models), *_holding(table, models), *_certified(table, models)]
    new = [found.chart for found in derived if not _is_brought(found, brought)]
    charts = (*brought, *dict.fromkeys(new))
    return Curves(charts[:MOST_CHARTS], max(0, len(charts) - MOST_CHARTS))


def ladder_chart(ladder: Ladder, required: float | None = None) -> Chart:
    """One image on its way up: the probability of its accepted classes, and of the class that took over.

    That is the class that was answered at the last rung where the image broke; where it is not among a rung's top five, its
    probability is drawn as 0.
    """
    last = ladder.rungs[-1][1]
    subject = Line(
        f"accepted: {' or '.join(last.accepted)}",
        tuple((strength, outcome.subject) for strength, outcome in ladder.rungs),
        role="subject",
    )
    lines = [subject]
    if not last.correct and last.predicted is not None:
        shares = tuple((strength, dict(outcome.top).get(last.predicted, 0.0)) for strength, outcome in ladder.rungs)
        lines.append(Line(last.predicted, shares, role="intruder"))
    marks = [] if ladder.broke is None else [Mark(ladder.broke, "breaks")]
    if required is not None:
        marks.append(Mark(required, "required"))
    return Chart(f"{ladder.image} under {ladder.stress}", ladder.unit, "probability", tuple(lines), tuple(marks))


def _accuracies(table: Sequence[Row], models: _Models) -> Iterator[_Found]:
    """Of each stress that the same images were asked about at two strengths or more: how many are right, with the clean images at 0."""
    charts: dict[tuple[str, str], dict[_Key, dict[float, int]]] = {}
    clean: dict[_Key, int] = {}
    tests: dict[tuple[str, str], set[str]] = collections.defaultdict(set)
    for row in table:
        run = row.verdicts[0].run
        for case, right in _by_case(row.verdicts).items():
            key = _Key(run, case.defense, frozenset(right))
            if not case.strength:
                clean[key] = sum(right.values())
                continue
            under = (case.stress, case.unit)
            charts.setdefault(under, {}).setdefault(key, {})[case.strength] = sum(right.values())
            tests[under].add(row.test)
    for (stress, unit), lines in charts.items():
        kept = {key: counts for key, counts in lines.items() if len(counts) > 1}
        if kept:
            names = _names(list(kept), models)
            drawn = tuple(
                _line(name, {**({0.0: clean[key]} if key in clean else {}), **counts}, len(key.images))
                for (key, counts), name in zip(kept.items(), names, strict=True)
            )
            yield _Found(
                Chart(f"accuracy under {stress}", unit, "share of images that are right", drawn),
                frozenset(tests[stress, unit]),
            )


def _holding(table: Sequence[Row], models: _Models) -> Iterator[_Found]:
    """Of each stress that several images were led up: the share that is still right at each of its levels."""
    charts: dict[tuple[str, str], dict[str, dict[str, Ladder]]] = {}
    tests: dict[tuple[str, str], set[str]] = collections.defaultdict(set)
    required: dict[tuple[str, str], dict[float, None]] = collections.defaultdict(dict)
    for row in table:
        for verdict in row.verdicts:
            for ladder in verdict.ladders:
                under = (ladder.stress, ladder.unit)
                charts.setdefault(under, {}).setdefault(verdict.run, {}).setdefault(ladder.image, ladder)
                tests[under].add(row.test)
                if verdict.gate in _ABOUT_STRENGTH and verdict.required is not None:
                    required[under][verdict.required] = None
    for (stress, unit), by_run in charts.items():
        kept = {run: tuple(own.values()) for run, own in by_run.items() if len(own) > 1}
        if kept:
            keys = [_Key(run, "", frozenset(ladder.image for ladder in own)) for run, own in kept.items()]
            drawn = tuple(
                _line(name, _still_right(own), len(own), steps=True)
                for own, name in zip(kept.values(), _names(keys, models), strict=True)
            )
            marks = tuple(Mark(strength, "required") for strength in required[stress, unit])
            title = f"breaking points under {stress}"
            yield _Found(Chart(title, unit, "share of images that hold", drawn, marks), frozenset(tests[stress, unit]))


def _certified(table: Sequence[Row], models: _Models) -> Iterator[_Found]:
    """Of each evaluation behind a defense that certifies: the share that is right and certified beyond each radius."""
    charts: dict[str, dict[_Key, Evaluation]] = {}
    tests: dict[str, set[str]] = collections.defaultdict(set)
    for row in table:
        for verdict in row.verdicts:
            for evaluation in verdict.evaluations:
                outcomes = evaluation.outcomes
                if len(outcomes) > 1 and any(outcome.radius is not None for outcome in outcomes):
                    key = _Key(verdict.run, evaluation.case.defense, frozenset(own.image for own in outcomes))
                    charts.setdefault(evaluation.case.title, {})[key] = evaluation
                    tests[evaluation.case.title].add(row.test)
    for case, lines in charts.items():
        drawn = tuple(
            _line(name, _beyond(evaluation), len(evaluation.outcomes), steps=True)
            for evaluation, name in zip(lines.values(), _names(list(lines), models), strict=True)
        )
        title = f"certified accuracy on {case}"
        yield _Found(
            Chart(title, "L2 radius", "share of images that are right, and certified to stay so", drawn),
            frozenset(tests[case]),
        )


@dataclass(frozen=True)
class _Key:
    """Whose line it is: points over other images don't belong on it."""

    run: str
    defense: str
    images: frozenset[str]


def _by_case(verdicts: Iterable[Verdict]) -> dict[Case, dict[str, bool]]:
    """Whether each image is right in each case, the items of a test together."""
    found: dict[Case, dict[str, bool]] = {}
    for verdict in verdicts:
        for evaluation in verdict.evaluations:
            right = found.setdefault(evaluation.case, {})
            right.update((outcome.image, outcome.correct) for outcome in evaluation.outcomes)
    return found


def _still_right(ladders: Sequence[Ladder]) -> dict[float, int]:
    """How many images have not broken at each level, as far as all of them were to be led."""
    end = min(ladder.levels[-1] for ladder in ladders)
    levels = sorted({0.0, *(level for ladder in ladders for level in ladder.levels if level <= end)})
    broke = sorted(ladder.broke for ladder in ladders if ladder.broke is not None)
    return {level: len(ladders) - bisect.bisect_right(broke, level) for level in levels}


def _beyond(evaluation: Evaluation) -> dict[float, int]:
    """How many images are right and certified beyond each radius at which that changes."""
    radii = sorted(own.radius for own in evaluation.outcomes if own.correct and own.radius)
    return {radius: len(radii) - bisect.bisect_right(radii, radius) for radius in (0.0, *dict.fromkeys(radii))}


def _line(name: str, counts: Mapping[float, int], n: int, *, steps: bool = False) -> Line:
    ordered = sorted(counts.items())
    return Line(
        name,
        tuple((x, count / n) for x, count in ordered),
        tuple(proportion_interval(count, n) for _, count in ordered),
        steps=steps,
    )


def _names(keys: Sequence[_Key], models: _Models) -> list[str]:
    """What tells these lines apart, and no more: the model, its digest, the defense, the images."""
    names = [[_model(key, models), ""] for key in keys]
    if len({key.run for key in keys}) > 1:
        known = [models.get(key.run) for key in keys]
        if len({run.model for run in known if run is not None}) < len({key.run for key in keys}):
            names = [
                [name, "" if run is None else run.model_digest[:8] or f"seed {run.seed}"]
                for (name, _), run in zip(names, known, strict=True)
            ]
    told = [
        " ".join(part for part in (*name, f"behind {key.defense}" if key.defense else "") if part)
        for name, key in zip(names, keys, strict=True)
    ]
    return [
        f"{name}, {len(key.images)} images" if told.count(name) > 1 or len(keys) == 1 else name
        for name, key in zip(told, keys, strict=True)
    ]


def _model(key: _Key, models: _Models) -> str:
    run = models.get(key.run)
    return "the model" if run is None else run.model


def _is_brought(found: _Found, brought: Mapping[Chart, Iterable[str]]) -> bool:
    """Whether charts of the same tests have all its lines."""
    lines = [
        line
        for chart, tests in brought.items()
        if chart.x == found.chart.x and found.tests & set(tests)
        for line in chart.lines
    ]
    return all(any(_has(line, own) for line in lines) for own in found.chart.lines)


def _has(line: Line, own: Line) -> bool:
    """Whether a line goes through all points of another one above 0, which not every measurement looks at."""
    return all(_at(line, x) == y for x, y in own.points if x > 0)


def _at(line: Line, x: float) -> float | None:
    place = bisect.bisect_right([at for at, _ in line.points], x) - 1
    if place < 0 or (line.points[place][0] != x and not line.steps):
        return None
    return line.points[place][1]
