"""A comparison for a terminal of 80 columns."""

import dataclasses

from pytest_robustness.comparisons import Change, Comparison
from pytest_robustness.report.releases import comparison_lines, outcome

DROP = Change(
    "tests/test_release.py::test_fgsm",
    "accuracy",
    "PGD(steps=20, norm='linf') behind SmoothingVote() at epsilon 2/255",
    "",
    0.75,
    0.5,
    tuple(f"elephant/{n}.jpg" for n in range(7)),
    ("zebra/1.jpg",),
    24,
    0.0703125,
    0.01,
    worse=True,
)
POINTS = Change(
    "t.py::test_holds",
    "breaking_point",
    "FGSM() at 10 levels up to epsilon 8/255",
    "epsilon",
    4 / 255,
    3.5 / 255,
    ("a.png",),
    (),
    2,
    1.0,
)
SAME = Change("t.py::test_same", "accuracy", "clean images", "", 1.0, 1.0, (), (), 6, 1.0, 0.01)


def test_the_changes_that_lost_images_are_shown_the_worst_first() -> None:
    lines = list(
        comparison_lines(
            Comparison(
                "robustness-baselines/release.json",
                "Net abababab",
                (SAME, POINTS, DROP),
                ("t.py::gone: clean images", "t.py::gone: FGSM() at epsilon 2/255"),
                ("t.py::new: clean images",),
                ("torch 2.5.0 before, 2.6.0 now",),
            )
        )
    )
    assert lines == [
        "against robustness-baselines/release.json, Net abababab",
        "images lost under                           before      now  allowed",
        "PGD(steps=20, norm='linf') behind             0.75      0.5    -0.01  worse",
        "  SmoothingVote() at epsilon 2/255",
        "  tests/test_release.py::test_fgsm",
        "  7 lost, 1 gained of 24, p = 0.07 (exact McNemar): elephant/0.jpg,",
        "    elephant/1.jpg, elephant/2.jpg, elephant/3.jpg, elephant/4.jpg and 2 more",
        "FGSM() at 10 levels up to epsilon 8/255      4/255  3.5/255      any",
        "  breaking points of t.py::test_holds",
        "  1 lost, 0 gained of 2, p = 1 (exact McNemar): a.png",
        "not in this run: t.py::gone: clean images and 1 more",
        "not in the baseline: t.py::new: clean images",
        "torch 2.5.0 before, 2.6.0 now",
        "1 of 3 comparisons worse than allowed",
    ]
    assert all(len(line) <= 80 for line in lines)


def test_no_more_than_ten_changes_are_shown() -> None:
    many = tuple(dataclasses.replace(DROP, test=f"t.py::test_{n}") for n in range(13))
    lines = list(comparison_lines(Comparison("b.json", "", many)))
    assert lines[0] == "against b.json"
    assert lines[-2:] == ["... and 3 more", "13 of 13 comparisons worse than allowed"]
    assert sum(line.endswith("worse") for line in lines) == 10


def test_the_outcome_is_one_line() -> None:
    told = dataclasses.replace(DROP, worse=False, allowed=None)
    fine = dataclasses.replace(DROP, worse=False, allowed=0.5)
    assert [outcome(Comparison("b", "", changes)) for changes in ((), (SAME,), (SAME, told), (fine,), (DROP,))] == [
        "nothing to compare",
        "no image lost in 1 comparison",
        "images lost in 1 of 2 comparisons",
        "images lost in 1 of 1 comparison, none of them more than allowed",
        "1 of 1 comparison worse than allowed",
    ]
