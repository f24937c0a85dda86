"""The curves that follow from what gates were judged on, and those that tests brought."""

from pytest_robustness.charts import Chart, Line, Mark
from pytest_robustness.records import Case, Evaluation, Ladder, Outcome, Provenance, Verdict
from pytest_robustness.report.curves import MOST_CHARTS, Curves, curves, ladder_chart
from pytest_robustness.results import Results
from pytest_robustness.stats import proportion_interval

SHARE_RIGHT = "share of images that are right"


def run(model: str = "Net", digest: str = "ab") -> Provenance:
    return Provenance(model, digest * 32, "images", "", 4, ("cat", "dog"), "cpu", 0, "float32", "as given", ())


def outcome(image: str, *, correct: bool, radius: float | None = None) -> Outcome:
    answer = "cat" if correct else "dog"
    return Outcome(image, ("cat",), answer, correct, 0.75, 0.75 if correct else 0.25, ((answer, 0.75),), radius=radius)


def evaluation(strength: float, right: int, *, of: int = 4, stress: str = "FGSM()", defense: str = "") -> Evaluation:
    case = Case(stress if strength else "", "epsilon" if strength else "", strength, defense)
    return Evaluation(case, tuple(outcome(f"{place}.png", correct=place < right) for place in range(of)))


def verdict(*evaluations: Evaluation, test: str = "t.py::test", **fields: object) -> Verdict:
    given: dict[str, object] = {"gate": "accuracy", "claim": test, "status": "pass", "reason": "", "run": run().key}
    return Verdict(evaluations=evaluations, test=test, **{**given, **fields})  # type: ignore[arg-type]


def shares(*counts: tuple[float, int], of: int = 4) -> dict[str, tuple[tuple[float, float], ...]]:
    return {
        "points": tuple((x, k / of) for x, k in counts),
        "band": tuple(proportion_interval(k, of) for _, k in counts),
    }


def test_accuracies_of_the_same_images_at_two_strengths_are_a_curve_from_the_clean_ones_on() -> None:
    results = Results(
        (
            verdict(evaluation(0.02, 1), test="t.py::test_a"),
            verdict(evaluation(0.01, 2), test="t.py::test_b"),
            verdict(evaluation(0.0, 4), test="t.py::test_c"),
        ),
        (run(),),
    )
    line = Line("Net, 4 images", **shares((0.0, 4), (0.01, 2), (0.02, 1)))
    assert curves(results) == Curves((Chart("accuracy under FGSM()", "epsilon", SHARE_RIGHT, (line,)),))


def test_items_of_a_test_are_one_set() -> None:
    def items(strength: float, right: int) -> list[Verdict]:
        found = evaluation(strength, right)
        return [
            verdict(
                Evaluation(found.case, (own,)), test=f"t.py::test_{strength}[{own.image}]", claim=f"holds at {strength}"
            )
            for own in found.outcomes
        ]

    (chart,) = curves(Results((*items(0.01, 3), *items(0.02, 1)), (run(),))).charts
    assert chart.lines == (Line("Net, 4 images", **shares((0.01, 3), (0.02, 1))),)


def test_strengths_of_other_images_are_no_curve() -> None:
    results = Results((verdict(evaluation(0.01, 3), test="a"), verdict(evaluation(0.02, 1, of=3), test="b")), (run(),))
    assert curves(results) == Curves(())


def test_one_strength_and_the_clean_images_are_no_curve() -> None:
    assert curves(Results((verdict(evaluation(0.0, 4), evaluation(0.01, 3)),), (run(),))) == Curves(())


def test_models_and_defenses_are_lines_of_one_chart() -> None:
    other = run("Other")
    results = Results(
        (
            verdict(evaluation(0.01, 2), evaluation(0.02, 1)),
            verdict(evaluation(0.01, 3, defense="Vote()"), evaluation(0.02, 2, defense="Vote()"), claim="b"),
            verdict(evaluation(0.01, 4), evaluation(0.02, 4), run=other.key),
        ),
        (run(), other),
    )
    (chart,) = curves(results).charts
    assert [line.name for line in chart.lines] == ["Net", "Net behind Vote()", "Other"]
    assert [[y for _, y in line.points] for line in chart.lines] == [[0.5, 0.25], [0.75, 0.5], [1, 1]]


def test_models_of_one_name_are_told_apart_by_their_digests() -> None:
    other = run(digest="cd")
    own = [verdict(evaluation(0.01, 2), evaluation(0.02, 1), run=key) for key in (run().key, other.key)]
    (chart,) = curves(Results(tuple(own), (run(), other))).charts
    assert [line.name for line in chart.lines] == ["Net abababab", "Net cdcdcdcd"]


def ladder(image: str, broke: float | None, *, levels: tuple[float, ...] = (0.1, 0.2, 0.3)) -> Ladder:
    rungs = []
    for strength in (0.0, *levels):
        correct = broke is None or strength < broke
        rungs.append((strength, outcome(image, correct=correct)))
        if not correct:
            break
    return Ladder(image, "Blend('z.png')", "alpha", levels, tuple(rungs))


def test_ladders_of_several_images_are_the_share_that_holds() -> None:
    """Broken at 0, which is wrong when clean, at 0.2, and never."""
    items = [
        verdict(gate="holds-until", claim="holds", required=0.3, ladders=(own,), test=f"t.py::test[{own.image}]")
        for own in (ladder("a", 0.0), ladder("b", 0.2), ladder("c", None), ladder("d", 0.2))
    ]
    line = Line("Net, 4 images", **shares((0.0, 3), (0.1, 3), (0.2, 1), (0.3, 1)), steps=True)
    chart = Chart(
        "breaking points under Blend('z.png')", "alpha", "share of images that hold", (line,), (Mark(0.3, "required"),)
    )
    assert curves(Results(tuple(items), (run(),))) == Curves((chart,))


def test_ladders_are_counted_as_far_as_all_were_to_be_climbed() -> None:
    found = verdict(gate="breaking-point", ladders=(ladder("a", None), ladder("b", None, levels=(0.1, 0.2))))
    (chart,) = curves(Results((found,), (run(),))).charts
    assert [x for x, _ in chart.lines[0].points] == [0.0, 0.1, 0.2]


def test_one_ladder_is_no_distribution() -> None:
    assert curves(Results((verdict(ladders=(ladder("a", 0.2),)),), (run(),))) == Curves(())


def test_certificates_are_the_share_that_is_right_beyond_each_radius() -> None:
    radii = ((True, 0.5), (True, 0.25), (False, 0.9), (True, 0.25))
    certified = Evaluation(
        Case("", "", 0.0, "Smooth()"),
        tuple(outcome(f"{place}", correct=right, radius=radius) for place, (right, radius) in enumerate(radii)),
    )
    line = Line("Net behind Smooth(), 4 images", **shares((0.0, 3), (0.25, 1), (0.5, 0)), steps=True)
    assert curves(Results((verdict(certified),), (run(),))).charts == (
        Chart(
            "certified accuracy on clean images behind Smooth()",
            "L2 radius",
            "share of images that are right, and certified to stay so",
            (line,),
        ),
    )


def brought(name: str = "Net", points: tuple[tuple[float, float], ...] = ((0.01, 0.5), (0.02, 0.25))) -> Chart:
    return Chart("accuracy under FGSM()", "epsilon", SHARE_RIGHT, (Line(name, points),))


def test_what_a_test_brought_is_not_drawn_again() -> None:
    own = verdict(evaluation(0.0, 4), evaluation(0.01, 2), evaluation(0.02, 1), charts=(brought(), brought()))
    assert curves(Results((own,), (run(),))) == Curves((brought(),))


def test_what_another_test_brought_or_what_differs_is_drawn() -> None:
    own = verdict(evaluation(0.01, 2), evaluation(0.02, 1))
    other = verdict(test="t.py::test_other", charts=(brought(),))
    assert len(curves(Results((own, other), (run(),))).charts) == 2
    differs = brought(points=((0.01, 0.5), (0.02, 0.5)))
    assert len(curves(Results((verdict(*own.evaluations, charts=(differs,)),), (run(),))).charts) == 2


def test_a_stair_that_was_brought_is_known_by_its_level_everywhere() -> None:
    found = (ladder("a", 0.2), ladder("b", None))
    line = Line("holding", ((0.0, 1.0), (0.2, 0.5)), steps=True)
    chart = Chart("breaking points", "alpha", "share of images that hold", (line,))
    assert curves(Results((verdict(ladders=found, charts=(chart,)),), (run(),))) == Curves((chart,))


def test_those_of_red_gates_come_first_and_too_many_are_counted() -> None:
    green = verdict(test="t.py::test_a", charts=tuple(brought(str(place)) for place in range(MOST_CHARTS)))
    red = verdict(test="t.py::test_b", status="fail", charts=(brought("red"), brought("also red")))
    found = curves(Results((green, red), (run(),)))
    assert [chart.lines[0].name for chart in found.charts[:3]] == ["red", "also red", "0"]
    assert (len(found.charts), found.more) == (MOST_CHARTS, 2)


def test_the_way_of_one_image_has_both_classes_and_where_it_breaks() -> None:
    assert ladder_chart(ladder("a.png", 0.2), 0.3) == Chart(
        "a.png under Blend('z.png')",
        "alpha",
        "probability",
        (
            Line("accepted: cat", ((0.0, 0.75), (0.1, 0.75), (0.2, 0.25)), role="subject"),
            # Where it is not among the five likeliest, it is drawn as 0.
            Line("dog", ((0.0, 0.0), (0.1, 0.0), (0.2, 0.75)), role="intruder"),
        ),
        (Mark(0.2, "breaks"), Mark(0.3, "required")),
    )


def test_the_way_of_an_image_that_holds_has_one_line_and_no_mark() -> None:
    chart = ladder_chart(ladder("a.png", None))
    assert [line.name for line in chart.lines] == ["accepted: cat"]
    assert chart.marks == ()
