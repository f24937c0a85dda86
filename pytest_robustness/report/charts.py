"""The curves of a gate: those that its tests measured, and those that its own numbers make."""

from pytest_robustness.accuracy_curves import AccuracyCurve
from pytest_robustness.charts import Chart, Mark
from pytest_robustness.measurements import BreakingPoints
from pytest_robustness.records import Ladder, Verdict
from pytest_robustness.report.curves import ladder_chart
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
    if len(ladders) == 1:
        return ladder_chart(ladders[0], required)
    chart = BreakingPoints(ladders).chart
    marks = () if required is None else (Mark(required, "required"),)
    return Chart(chart.title, chart.x, chart.y, chart.lines, (*chart.marks, *marks))
