"""Charts of measurements: every number by hand."""

import math
from pathlib import Path

import pytest

from pytest_robustness.accuracy_curves import AccuracyCurve, AccuracyCurves
from pytest_robustness.certificates import CertifiedAccuracy
from pytest_robustness.charts import Chart, Charted, Line, Mark, holding
from pytest_robustness.curves import Curve, Point
from pytest_robustness.measurements import BreakingPoints, CorruptionErrors, SmallestEpsilons
from pytest_robustness.records import Case, Evaluation, Ladder, Outcome, Verdict
from pytest_robustness.results import Results
from pytest_robustness.stats import proportion_interval
from pytest_robustness.vote_tables import VoteTable, VoteTables


def outcome(image: str, *, right: bool = True, **fields: object) -> Outcome:
    says = "cat" if right else "dog"
    return Outcome(image, ("cat",), says, right, 0.9, 0.9 if right else 0.1, ((says, 0.9),), **fields)  # type: ignore[arg-type]


def evaluation(case: Case, right: int, of: int = 4) -> Evaluation:
    return Evaluation(case, tuple(outcome(f"{i}.png", right=i < right) for i in range(of)))


def accuracies(model: str, *rights: int) -> AccuracyCurve:
    cases = (Case("PGD()", "epsilon", strength) for strength in (0.0, 0.1, 0.2))
    return AccuracyCurve(model, tuple(evaluation(case, k) for case, k in zip(cases, rights, strict=True)))


def test_a_share_that_holds_steps_down_where_an_image_breaks() -> None:
    assert holding([0.0, 0.2, 0.2, 0.5, math.inf], 0.5) == Line(
        "holds", ((0.0, 0.8), (0.2, 0.4), (0.5, 0.2)), steps=True
    )
    assert holding([math.inf], 1.0).points == ((0.0, 1.0), (1.0, 1.0))
    assert holding([0.0], 1.0).points == ((0.0, 0.0), (1.0, 0.0))


def test_accuracy_curves_are_a_line_per_model_with_exact_intervals() -> None:
    small, large = accuracies("small", 4, 2, 0), accuracies("large", 4, 3, 1)
    lines = (
        Line("small", ((0.0, 1.0), (0.1, 0.5), (0.2, 0.0)), tuple(proportion_interval(k, 4) for k in (4, 2, 0))),
        Line("large", ((0.0, 1.0), (0.1, 0.75), (0.2, 0.25)), tuple(proportion_interval(k, 4) for k in (4, 3, 1))),
    )
    assert AccuracyCurves((small, large)).chart == Chart(
        "accuracy under PGD()", "epsilon", "share of images that are right", lines
    )
    assert large.chart.lines == lines[1:]


def test_a_curve_of_an_image_has_both_roles_and_marks_where_its_answer_changes() -> None:
    rows = {0.0: (0.9, 0.05), 0.1: (0.4, 0.5), 0.2: (0.6, 0.3)}
    points = tuple(
        Point(strength, Outcome("e.jpg", ("elephant",), top[0][0], top[0][0] == "elephant", 0.5, own, top), other)
        for strength, (own, other) in rows.items()
        for top in [tuple(sorted((("elephant", own), ("zebra", other)), key=lambda pair: -pair[1]))]
    )
    curve = Curve("e.jpg", "Blend('zebra.png')", "alpha", ("elephant",), ("zebra",), points)
    assert curve.chart == Chart(
        "e.jpg under Blend('zebra.png')",
        "alpha",
        "probability",
        (
            Line("elephant", ((0.0, 0.9), (0.1, 0.4), (0.2, 0.6)), role="subject"),
            Line("zebra", ((0.0, 0.05), (0.1, 0.5), (0.2, 0.3)), role="intruder"),
        ),
        (Mark(0.1, "leaves"), Mark(0.1, "takeover"), Mark(0.2, "returns")),
    )
    still = Curve("e.jpg", "Blend('zebra.png')", "alpha", ("elephant",), (), points[:1])
    assert [line.role for line in still.chart.lines] == ["subject"]
    assert still.chart.marks == ()


def ladder(image: str, *rungs: tuple[float, bool]) -> Ladder:
    seen = tuple((strength, outcome(image, right=right)) for strength, right in rungs)
    return Ladder(image, "Blend('zebra.png')", "alpha", (0.1, 0.2, 0.3), seen)


LADDERS = (
    ladder("clean.png", (0.0, False)),
    ladder("early.png", (0.0, True), (0.1, False)),
    ladder("late.png", (0.0, True), (0.1, True), (0.2, True), (0.3, False)),
    ladder("never.png", (0.0, True), (0.1, True), (0.2, True), (0.3, True)),
)


def test_breaking_points_are_the_share_that_holds_with_its_median() -> None:
    assert BreakingPoints(LADDERS).chart == Chart(
        "breaking points under Blend('zebra.png')",
        "alpha",
        "share of images that hold",
        (Line("holds", ((0.0, 0.75), (0.1, 0.5), (0.3, 0.25)), steps=True),),
        (Mark(0.2, "median"),),
    )


def test_smallest_epsilons_are_the_share_that_is_not_broken_yet() -> None:
    rows = (
        outcome("holds.png"),
        outcome("wrong.png", right=False),
        outcome("near.png", right=False, distance=0.05),
        outcome("far.png", right=False, distance=0.5),
    )
    found = SmallestEpsilons(Evaluation(Case("FMN()", "epsilon", 1.0), rows))
    assert found.chart == Chart(
        "smallest epsilons under FMN()",
        "epsilon",
        "share of images that hold",
        (Line("holds", ((0.0, 0.75), (0.05, 0.5), (0.5, 0.25), (1.0, 0.25)), steps=True),),
        (Mark(0.5, "median"),),
    )
    held = SmallestEpsilons(Evaluation(Case("FMN()", "epsilon", 1.0), rows[:1]))
    assert held.chart.lines[0].points == ((0.0, 1.0), (1.0, 1.0))
    assert held.chart.marks == ()


def test_a_certified_accuracy_steps_at_every_radius() -> None:
    radii = (0.5, 0.25, 0.25, 0.0)
    rows = tuple(outcome(f"{i}.png", right=radius > 0, radius=radius) for i, radius in enumerate(radii))
    certified = CertifiedAccuracy(Evaluation(Case("", "", 0.0, "Smoothing()"), rows), 0.25, 0.001, 0.6)
    assert certified.chart == Chart(
        "certified accuracy of Smoothing()",
        "L2 radius",
        "share of images that are right, and certified to stay so",
        (Line("certified", ((0.0, 0.75), (0.25, 0.25), (0.5, 0.0)), steps=True),),
        (Mark(0.25, "mean"),),
    )
    # A step holds from its radius until the next: between them it is the certified accuracy, to the last image.
    for radius in (0.1, 0.24, 0.26, 0.49, 0.51):
        assert certified.at(radius) == [y for x, y in certified.chart.lines[0].points if x <= radius][-1]


def test_vote_tables_have_a_line_per_column_and_none_where_nothing_is_accepted() -> None:
    def voted(strength: float, *votes: str) -> Evaluation:
        rows = (
            Outcome(
                f"{i}.png",
                ("cat",),
                own[0] if own[0] == own[1] else None,
                own == ["cat", "cat"],
                1.0,
                1.0,
                (),
                tuple(own),
            )
            for i, own in enumerate(vote.split() for vote in votes)
        )
        return Evaluation(Case("GaussianNoise()", "sigma", strength, "Vote()"), tuple(rows))  # fmt: skip

    table = VoteTable(("none", "blurred"), (voted(0.1, "cat cat", "cat dog"), voted(0.2, "dog cat", "dog cat")))
    chart = VoteTables((table,)).chart
    assert (chart.title, chart.x, chart.y) == ("GaussianNoise() behind Vote()", "sigma", "share of images")
    assert {line.name: line.points for line in chart.lines} == {
        "none": ((0.1, 1.0), (0.2, 0.0)),
        "blurred": ((0.1, 0.5), (0.2, 1.0)),
        "majority": ((0.1, 1.0),),
        "of all": ((0.1, 0.5), (0.2, 0.0)),
        "coverage": ((0.1, 0.5), (0.2, 0.0)),
    }
    assert chart.lines[0].band == (proportion_interval(2, 2), proportion_interval(0, 2))
    both = VoteTables((table, table)).chart
    assert [line.name for line in both.lines[5:7]] == ["none, before the resize", "blurred, before the resize"]


def test_corruption_errors_are_the_means_of_their_categories() -> None:
    def at(*rights: int) -> tuple[Evaluation, ...]:
        return tuple(evaluation(Case("Corruption()", "severity", s), k) for s, k in enumerate(rights, start=1))

    errors = CorruptionErrors(
        evaluation(Case("", "", 0.0), 4),
        {"fog": at(4, 3, 2, 1, 0), "snow": at(2, 1, 0, 1, 2), "pixelate": at(4, 4, 4, 4, 4)},
    )
    weather = ((0.0, 0.0), (1.0, 0.25), (2.0, 0.5), (3.0, 0.75), (4.0, 0.75), (5.0, 0.75))
    chart = errors.chart
    assert (chart.title, chart.x) == ("mean error under 3 corruptions", "severity")
    assert [line.name for line in chart.lines] == ["weather", "digital", "mean"]
    assert chart.lines[0].points == weather
    assert chart.lines[1].points == tuple((float(s), 0.0) for s in range(6))
    assert chart.lines[2].points == tuple((x, pytest.approx(2 / 3 * y)) for x, y in weather)
    assert errors.mean == pytest.approx(sum(y for _, y in chart.lines[2].points[1:]) / 5)


def test_charts_come_back_from_json_as_they_were() -> None:
    chart = BreakingPoints(LADDERS).chart
    with_band = accuracies("small", 4, 2, 0).chart
    results = Results((Verdict("own-rule", "a rule", "pass", "", charts=(chart, with_band)),))
    assert Results.from_json(results.to_json()) == results


MEASURED = """
from pytest_robustness import FGSM, Blend

def test_it(robustness):
    robustness.accuracy_curves(FGSM(), [0.0, 0.1])
    robustness.breaking_points(Blend("white.png"), up_to=0.6)
    robustness.sweep("dark/dark_1.png", Blend("white.png"), [0.0, 0.5])
    robustness.accuracy()
"""


def test_what_is_measured_beside_a_verdict_is_charted_in_the_results(project: pytest.Pytester) -> None:
    project.makepyfile(MEASURED)
    project.runpytest_inprocess("-p", "no:randomly", "--robustness-json=out.json").assert_outcomes(passed=1)
    results = Results.from_json(Path(project.path / "out.json").read_text(encoding="utf-8"))
    (verdict,) = results.verdicts
    assert [chart.title for chart in verdict.charts] == [
        "accuracy under FGSM()",
        "breaking points under Blend('white.png')",
        "dark/dark_1.png under Blend('white.png')",
    ]
    # dark_0 turns bright above alpha 1/2, dark_1 above 3/8, dark_2 above 1/6; the others stay bright.
    assert verdict.charts[1].lines[0].points[0] == (0.0, 1.0)
    assert verdict.charts[1].lines[0].points[-1] == (0.6, 0.5)


def test_whatever_has_a_chart_is_charted() -> None:
    assert isinstance(accuracies("small", 4, 2, 0), Charted)
    assert not isinstance(0.5, Charted)
