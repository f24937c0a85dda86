"""Measurements are floats that say what they measure."""

import math

import pytest

from pytest_robustness.measurements import Accuracy, BreakingPoint
from pytest_robustness.records import Case, Evaluation, Ladder, Outcome


def outcome(image: str, *, right: bool) -> Outcome:
    return Outcome(image, ("cat",), "cat" if right else "dog", right, 0.9, 0.9 if right else 0.1, (("cat", 0.9),))


def accuracy(right: int, wrong: int) -> Accuracy:
    rows = [outcome(f"{i}.png", right=i < right) for i in range(right + wrong)]
    return Accuracy(Evaluation(Case("", "", 0.0), tuple(rows)))


def test_an_accuracy_is_a_float_with_its_counts_and_interval() -> None:
    measured = accuracy(3, 1)
    assert measured == 0.75
    assert 0.9 * measured == pytest.approx(0.675)
    assert repr(measured) == "accuracy under clean images = 0.75 (3 of 4, 95 % interval 0.194 to 0.994)"


def test_an_accuracy_explains_what_is_missing_to_a_bound() -> None:
    assert accuracy(3, 1).explain(0.8) == [
        "measured 0.75 (3 of 4, 95 % interval 0.194 to 0.994)",
        "compared with 0.8: -0.05, 1 more image has to hold",
        "furthest off: 3.png (dog 0.90)",
    ]
    assert accuracy(4, 0).explain(0.8) == [
        "measured 1 (4 of 4, 95 % interval 0.398 to 1.000)",
        "compared with 0.8: +0.2",
    ]


def climbed(*rungs: tuple[float, bool]) -> BreakingPoint:
    rows = tuple((strength, outcome("a.png", right=right)) for strength, right in rungs)
    return BreakingPoint(Ladder("a.png", "FGSM()", "epsilon", (1 / 255, 2 / 255), rows))


def test_a_breaking_point_is_the_smallest_strength_that_breaks_the_image() -> None:
    measured = climbed((0.0, True), (1 / 255, False))
    assert measured == 1 / 255
    assert repr(measured) == "breaking point of a.png under FGSM() = epsilon 1/255 (dog 0.90)"
    assert measured.explain(0.5) == [
        "epsilon 0: cat 0.90, accepted classes 0.90",
        "epsilon 1/255: dog 0.90, accepted classes 0.10",
    ]


def test_an_image_that_never_breaks_has_an_infinite_breaking_point() -> None:
    measured = climbed((0.0, True), (1 / 255, True), (2 / 255, True))
    assert measured == math.inf
    assert repr(measured) == "breaking point of a.png under FGSM() = none up to epsilon 2/255"


def test_an_image_that_is_wrong_when_clean_breaks_at_0() -> None:
    assert climbed((0.0, False)) == 0
