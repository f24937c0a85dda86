"""The curves of a gate: those that its tests measured, and those that its own numbers make."""

from pytest_robustness.accuracy_curves import AccuracyCurve
from pytest_robustness.charts import Chart, Line, Mark
from pytest_robustness.measurements import BreakingPoints
from pytest_robustness.records import Ladder, Verdict
from pytest_robustness.report.summary import Row

__all__ = ["charts_of"]


def charts_of(row: Row) -> tuple[Chart, ...]:
    """The charts of a gate, each once: its accuracies against strength, where its images break, and what was measured beside it."""
    found = [_accuracies(verdict) for verdict in row.verdicts if verdict.gate == "accuracy-curve"]
    ladders = tuple(ladder for verdict in row.verdicts for ladder in verdict.ladders)
    if ladders:
        found.append(_breaks(ladders, row.verdicts[0].required))
    found += [chart for verdict in row.verdicts for chart in verdict.charts]
    return tuple(dict.fromkeys(found))


def _accuracies(verdict: Verdict) -> Chart:
    return AccuracyCurve("accuracy", verdict.evaluations).chart


def _breaks(ladders: tuple[Ladder, ...], required: float | None) -> Chart:
    """Of several images, how many hold until where; of one, its probabilities on the way."""
    chart = BreakingPoints(ladders).chart if len(ladders) > 1 else _ladder(ladders[0])
    marks = () if required is None else (Mark(required, "required"),)
    return Chart(chart.title, chart.x, chart.y, chart.lines, (*chart.marks, *marks))


def _ladder(ladder: Ladder) -> Chart:
    """The accepted classes and, where the image broke, the class that was answered there, if it is among a rung's top five."""
    last = ladder.rungs[-1][1]
    accepted = tuple((strength, outcome.subject) for strength, outcome in ladder.rungs)
    lines = [Line(" or ".join(last.accepted), accepted, role="subject")]
    if not last.correct and last.predicted is not None:
        shares = tuple((strength, dict(outcome.top).get(last.predicted, 0.0)) for strength, outcome in ladder.rungs)
        lines.append(Line(last.predicted, shares, role="intruder"))
    marks = () if ladder.broke is None else (Mark(ladder.broke, "breaks"),)
    return Chart(f"{ladder.image} under {ladder.stress}", ladder.unit, "probability", tuple(lines), marks)
