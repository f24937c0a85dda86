"""Measurements are floats that say what they measure."""

import math
from dataclasses import replace

import pytest

from pytest_robustness.errors import InputError
from pytest_robustness.measurements import Accuracy, BreakingPoint, BreakingPoints, CorruptionErrors, SmallestEpsilons
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


def ladder(image: str, held: float | None, broke: float | None, *above: tuple[float, bool]) -> Ladder:
    """A ladder by what it says: rungs at 0, at `held` and at `broke`."""
    places = [(0.0, held is not None), *([(held, True)] if held else []), *([(broke, False)] if broke else [])]
    rungs, over = (tuple((s, outcome(image, right=ok)) for s, ok in rows) for rows in (places, above))
    return Ladder(image, "Blend('z.png')", "alpha", (0.1, 0.2, 0.3), rungs, over)


POINTS = BreakingPoints(
    (
        ladder("held.png", 0.3, None),
        ladder("late.png", 0.2, 0.3),
        ladder("early.png", 0.0, 0.1, (0.2, True), (0.3, False)),
        ladder("wrong.png", None, None),
    )
)


def test_every_image_of_a_set_has_its_own_answer() -> None:
    assert [float(point) for point in POINTS] == [float("inf"), 0.3, 0.1, 0.0]
    assert POINTS.unbroken == ("held.png",)
    assert POINTS.broken == ("late.png", "early.png")
    assert POINTS.wrong_when_clean == ("wrong.png",)
    assert POINTS.not_monotone == ("early.png",)
    assert POINTS["late.png"] == 0.3
    assert len(POINTS) == 4
    with pytest.raises(InputError) as error:
        POINTS["other.png"]
    assert str(error.value) == "expected the id of one of these 4 images, got 'other.png'"


def test_a_quantile_is_what_all_but_a_share_of_the_images_hold_until() -> None:
    # Held until: 0 (wrong when clean), 0, 0.2, 0.3.
    assert [POINTS.quantile(share) for share in (0, 0.24, 0.25, 0.5, 0.74, 0.75, 0.99)] == [0, 0, 0, 0.2, 0.2, 0.3, 0.3]
    ten = BreakingPoints(tuple(ladder(f"{i}.png", i / 10, 1.0) for i in range(1, 11)))
    # At most 7 of 10 hold until less: 0.7 * 10 is 7, whatever floats say.
    assert ten.quantile(0.7) == 0.8
    for share in (1, -0.1, 10):
        with pytest.raises(InputError) as error:
            POINTS.quantile(share)
        assert str(error.value) == (
            f"expected a quantile in [0, 1), got {share}; 0.1 lets a tenth of the images break earlier"
        )


def test_breaking_points_are_counted_in_a_sentence_and_told_one_by_one() -> None:
    assert repr(POINTS) == (
        "breaking points of 4 images under Blend('z.png'): 2 break, 1 never up to alpha 0.3, 1 wrong when clean, "
        "1 right again above their break (early.png)"
    )
    assert str(POINTS).splitlines()[:-1] == [
        "wrong.png: wrong when clean",
        "early.png: holds until alpha 0, breaks at 0.1 (dog 0.90), right again at 0.2",
        "late.png: holds until alpha 0.2, breaks at 0.3 (dog 0.90)",
        "held.png: holds until alpha 0.3",
    ]
    assert repr(BreakingPoints(POINTS.ladders[:2])) == (
        "breaking points of 2 images under Blend('z.png'): 1 break, 1 never up to alpha 0.3, 0 wrong when clean"
    )


def found(image: str, distance: float | None, *, right: bool = False) -> Outcome:
    return replace(outcome(image, right=right), distance=distance)


ROWS = (
    found("held.png", 1.0, right=True),
    found("late.png", 2 / 255),
    found("early.png", 0.002),
    found("bad.png", None),
)
DIRECT = SmallestEpsilons(Evaluation(Case("FMN()", "epsilon", 1.0), ROWS))


def test_a_smallest_epsilon_is_the_length_of_the_change_that_was_found() -> None:
    assert list(DIRECT) == [math.inf, 2 / 255, 0.002, 0.0]
    assert (DIRECT.attack, DIRECT.up_to, len(DIRECT)) == ("FMN()", 1.0, 4)
    assert DIRECT.unbroken == ("held.png",)
    assert DIRECT.broken == ("late.png", "early.png")
    assert DIRECT.wrong_when_clean == ("bad.png",)
    assert DIRECT["early.png"] == 0.002
    with pytest.raises(InputError) as error:
        DIRECT["other.png"]
    assert str(error.value) == "expected the id of one of these 4 images, got 'other.png'"
    # An edge that rounding puts outside the ball is in it.
    edge = Evaluation(Case("FMN()", "epsilon", 2 / 255), (found("edge.png", 0.007843139),))
    assert list(SmallestEpsilons(edge)) == [2 / 255]


def test_of_a_climb_a_smallest_epsilon_is_the_level_that_broke_the_image() -> None:
    climbed = SmallestEpsilons(POINTS.ladders)
    assert list(climbed) == list(map(float, POINTS)) == [math.inf, 0.3, 0.1, 0.0]
    assert (climbed.attack, climbed.up_to) == ("Blend('z.png')", 0.3)
    assert climbed.points[1] == (0.3, POINTS.ladders[1].rungs[-1][1])


def test_a_quantile_of_smallest_epsilons_is_where_more_than_its_share_are_broken() -> None:
    assert [DIRECT.quantile(share) for share in (0, 0.24, 0.25, 0.5, 0.75, 0.99)] == [
        0, 0, 0.002, 2 / 255, math.inf, math.inf,
    ]  # fmt: skip
    assert DIRECT.median == 2 / 255
    with pytest.raises(InputError) as error:
        DIRECT.quantile(1)
    assert str(error.value) == "expected a quantile in [0, 1), got 1; 0.1 lets a tenth of the images break earlier"


def test_smallest_epsilons_are_summed_up_in_a_sentence_and_told_one_by_one_the_worst_first() -> None:
    assert str(DIRECT) == (
        "bad.png is wrong on the clean image already: dog 0.90\n"
        "early.png breaks at epsilon 0.002: dog 0.90\n"
        "late.png breaks at epsilon 2/255: dog 0.90\n"
        "held.png holds until epsilon 1: cat 0.90\n"
        "smallest epsilons of 4 images under FMN(): median 2/255, 0.1 quantile 0; "
        "2 break, 1 hold until epsilon 1, 1 wrong when clean"
    )
    held = SmallestEpsilons(Evaluation(Case("FMN()", "epsilon", 1.0), ROWS[:1]))
    assert repr(held) == (
        "smallest epsilons of 1 images under FMN(): median inf, 0.1 quantile inf; "
        "0 break, 1 hold until epsilon 1, 0 wrong when clean"
    )


def errors(right: int) -> Evaluation:
    """Ten images, so many of them right."""
    return Evaluation(Case("", "", 0.0), tuple(outcome(f"{i}.png", right=i < right) for i in range(10)))


CORRUPTED = CorruptionErrors(errors(9), {"fog": tuple(map(errors, (8, 7, 6, 5, 4))), "snow": (errors(4),) * 5})


def test_corruption_errors_are_shares_of_wrong_images() -> None:
    assert CORRUPTED.clean_error == pytest.approx(0.1)
    assert CORRUPTED.errors["fog"] == pytest.approx((0.2, 0.3, 0.4, 0.5, 0.6))
    assert CORRUPTED.mean == pytest.approx((0.4 + 0.6) / 2)
    assert CORRUPTED.mean_corruption_error({"fog": 0.8, "snow": 0.5}) == pytest.approx((0.4 / 0.8 + 0.6 / 0.5) / 2)


def test_corruption_errors_are_a_table() -> None:
    assert str(CORRUPTED) == (
        "error, %      1      2      3      4      5   mean\n"
        "fog        20.0   30.0   40.0   50.0   60.0   40.0\n"
        "snow       60.0   60.0   60.0   60.0   60.0   60.0\n"
        "errors under 2 corruptions = 0.5 (clean 0.1, 10 images)"
    )
