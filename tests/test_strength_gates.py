"""Gates over strengths: until where images hold, which pass, and every sentence that a verdict can say."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pytest_robustness.errors import InputError
from pytest_robustness.measurements import BreakingPoints, SmallestEpsilons
from pytest_robustness.records import Case, Evaluation, Ladder, Verdict
from pytest_robustness.strength_gates import BreaksNoEarlier, HoldsUntil, NotBrokenUpTo
from tests.test_gates import outcome


def ladder(image: str, *rungs: tuple[float, bool]) -> Ladder:
    levels = (0.1, 0.2, 0.3)
    return Ladder(image, "Blend('z.png')", "alpha", levels, tuple((s, outcome(image, right=ok)) for s, ok in rungs))


HELD = ladder("held.png", (0.0, True), (0.1, True), (0.2, True), (0.3, True))


BROKE = ladder("broke.png", (0.0, True), (0.1, True), (0.2, False))


EARLY = ladder("early.png", (0.0, True), (0.1, False))


WRONG = ladder("wrong.png", (0.0, False))


def test_an_image_that_holds_passes() -> None:
    verdict = HoldsUntil(0.3).judge([HELD])
    assert (verdict.status, verdict.claim, verdict.reason) == (
        "pass",
        "top-1 holds until alpha 0.3 under Blend('z.png')",
        "held.png holds until alpha 0.3: cat 0.20",
    )
    assert (verdict.measured, verdict.required, verdict.margin) == (0.3, 0.3, 0.0)


def test_an_image_that_breaks_says_where_and_what_it_became() -> None:
    verdict = HoldsUntil(0.3).judge([BROKE])
    assert (verdict.status, verdict.reason) == (
        "fail",
        "broke.png holds until alpha 0.1 and breaks at 0.2: dog 0.80, cat 0.20\nrequired: alpha 0.3, short by 0.2",
    )
    assert (verdict.measured, verdict.required, verdict.margin) == (0.1, 0.3, pytest.approx(-0.2))


def test_an_image_that_is_wrong_when_clean_holds_nowhere() -> None:
    verdict = HoldsUntil(0.3).judge([WRONG])
    assert (verdict.status, verdict.reason, verdict.measured, verdict.margin) == (
        "fail",
        "wrong.png is wrong on the clean image already: dog 0.80; accepted: cat\nrequired: alpha 0.3",
        None,
        None,
    )


def test_of_several_images_each_has_to_hold_and_the_worst_are_named_first() -> None:
    verdict = HoldsUntil(0.3).judge([HELD, BROKE, EARLY])
    assert (verdict.status, verdict.reason) == (
        "fail",
        "1 of 3 images hold until alpha 0.3\n"
        "early.png holds until alpha 0 and breaks at 0.1: dog 0.80, cat 0.20\n"
        "broke.png holds until alpha 0.1 and breaks at 0.2: dog 0.80, cat 0.20\n"
        "required: alpha 0.3, short by 0.3",
    )
    assert HoldsUntil(0.3).judge([HELD, HELD]).reason == "2 of 2 images hold until alpha 0.3"


def test_of_many_broken_images_five_are_named() -> None:
    verdict = HoldsUntil(0.3).judge([HELD] + [EARLY] * 7)
    assert verdict.reason.splitlines()[-2:] == ["... and 2 more", "required: alpha 0.3, short by 0.3"]
    assert len(verdict.reason.splitlines()) == 8


def test_a_quantile_of_breaking_points_that_clears_the_bar_passes() -> None:
    verdict = BreaksNoEarlier(0.1, 0.5).judge(BreakingPoints((HELD, BROKE, EARLY, WRONG)))
    assert verdict == Verdict(
        gate="breaking-point",
        claim="0.5 quantile of the breaking points under Blend('z.png') >= alpha 0.1",
        status="pass",
        reason=(
            "0.5 quantile alpha 0.1, required >= 0.1\n"
            "2 of 4 images hold until alpha 0.1; 2 break, 1 never up to alpha 0.3, 1 wrong when clean"
        ),
        measured=0.1,
        required=0.1,
        margin=0.0,
        n=4,
        ladders=(HELD, BROKE, EARLY, WRONG),
    )


def test_a_quantile_below_the_bar_names_the_images_that_break_first() -> None:
    verdict = BreaksNoEarlier(0.2, 0.25).judge(BreakingPoints((HELD, BROKE, EARLY, WRONG)))
    assert (verdict.status, verdict.measured, verdict.margin) == ("fail", 0.0, -0.2)
    assert verdict.reason == (
        "0.25 quantile alpha 0, required >= 0.2, short by 0.2\n"
        "1 of 4 images hold until alpha 0.2; 2 break, 1 never up to alpha 0.3, 1 wrong when clean\n"
        "early.png holds until alpha 0 and breaks at 0.1: dog 0.80, cat 0.20\n"
        "broke.png holds until alpha 0.1 and breaks at 0.2: dog 0.80, cat 0.20\n"
        "wrong.png is wrong on the clean image already: dog 0.80; accepted: cat"
    )


def epsilons(*values: float | None, up_to: float = 1.0) -> SmallestEpsilons:
    """Images with these smallest epsilons: None is wrong when clean, infinity holds."""
    rows = []
    for place, value in enumerate(values):
        held = value == float("inf")
        rows.append(replace(outcome(f"{place}.png", right=held), distance=None if held else value))
    return SmallestEpsilons(Evaluation(Case("FMN()", "epsilon", up_to), tuple(rows)))


def test_smallest_epsilons_above_the_bar_pass_but_for_a_share_of_the_images() -> None:
    measured = epsilons(float("inf"), 0.002, None, *[2.5 / 255] * 7)
    verdict = NotBrokenUpTo(2 / 255, 0.2).judge(measured)
    assert isinstance(measured.found, Evaluation)
    assert verdict == Verdict(
        gate="smallest-epsilon",
        claim="no epsilon up to 2/255 breaks more than 0.2 of the images under FMN()",
        status="pass",
        reason="0.2 quantile epsilon 2.5/255, required > 2/255\n"
        "8 of 10 images are not broken up to epsilon 2/255; 8 break, 1 hold until epsilon 1, 1 wrong when clean",
        measured=2.5 / 255,
        required=2 / 255,
        margin=pytest.approx(0.5 / 255),
        n=10,
        evaluations=(measured.found,),
    )
    assert NotBrokenUpTo(2 / 255, 0.1).judge(measured).status == "fail"


def test_broken_images_are_named_the_worst_first_and_the_wrong_ones_last() -> None:
    verdict = NotBrokenUpTo(2 / 255, 0.1).judge(epsilons(None, 0.002, 0.001, *[0.003] * 4))
    assert (verdict.status, verdict.reason) == (
        "fail",
        "0.1 quantile epsilon 0, required > 2/255\n"
        "0 of 7 images are not broken up to epsilon 2/255; 6 break, 0 hold until epsilon 1, 1 wrong when clean\n"
        "2.png breaks at epsilon 0.001: dog 0.80\n"
        "1.png breaks at epsilon 0.002: dog 0.80\n"
        "3.png breaks at epsilon 0.003: dog 0.80\n"
        "4.png breaks at epsilon 0.003: dog 0.80\n"
        "5.png breaks at epsilon 0.003: dog 0.80\n"
        "... and 2 more",
    )
    alone = NotBrokenUpTo(2 / 255, 0).judge(epsilons(None))
    assert alone.reason.splitlines()[-1] == "0.png is wrong on the clean image already: dog 0.80"


def test_an_image_that_breaks_at_the_bar_itself_is_broken_by_it() -> None:
    for at in (2 / 255, 0.007843139):
        assert NotBrokenUpTo(2 / 255, 0).judge(epsilons(at)).status == "fail"
    assert NotBrokenUpTo(2 / 255, 0).judge(epsilons(2.01 / 255)).status == "pass"


def test_what_held_throughout_is_measured_as_the_largest_epsilon_that_was_tried() -> None:
    verdict = NotBrokenUpTo(2 / 255, 0).judge(epsilons(float("inf"), up_to=4 / 255))
    assert (verdict.status, verdict.measured, verdict.margin) == ("pass", 4 / 255, pytest.approx(2 / 255))
    assert verdict.reason == (
        "0 quantile above epsilon 4/255, required > 2/255\n"
        "1 of 1 images are not broken up to epsilon 2/255; 0 break, 1 hold until epsilon 4/255, 0 wrong when clean"
    )


@pytest.mark.parametrize("quantile", [0, 0.25, 0.5])
@pytest.mark.parametrize("at_least", [0.1, 0.2, 0.3])
def test_of_a_climb_the_verdict_is_that_of_its_breaking_points(at_least: float, quantile: float) -> None:
    ladders = (HELD, BROKE, EARLY, WRONG)
    own = NotBrokenUpTo(at_least, quantile).judge(SmallestEpsilons(ladders))
    assert own.status == BreaksNoEarlier(at_least, quantile).judge(BreakingPoints(ladders)).status
    assert (own.ladders, own.evaluations) == (ladders, ())


def test_a_quantile_that_is_no_share_of_the_images_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(InputError) as error:
        NotBrokenUpTo(0.1, 1.0)
    assert str(error.value) == "expected a quantile in [0, 1), got 1.0; 0.1 lets a tenth of the images break earlier"


def test_at_a_confidence_the_share_of_all_images_that_holds_has_to_be_large_enough() -> None:
    """Of 40 images all hold: with 95 % confidence .05 ** (1 / 40) = .9278 of all images do, enough for a quantile of 0.1."""
    verdict = BreaksNoEarlier(0.2, 0.1, 0.95).judge(BreakingPoints((HELD,) * 40))
    assert (verdict.status, verdict.measured, verdict.margin, verdict.confidence) == (
        "pass",
        0.3,
        pytest.approx(0.1),
        0.95,
    )
    assert verdict.claim == ("0.1 quantile of the breaking points under Blend('z.png') >= alpha 0.2 at confidence 0.95")
    assert verdict.reason.splitlines()[2:] == [
        "at confidence 0.95, at least 0.9278 of all such images hold until alpha 0.2"
    ]


def test_a_quantile_of_too_few_images_is_undecided_and_says_how_many_would_decide() -> None:
    """.05 ** (1 / 28) < .9 <= .05 ** (1 / 29)."""
    verdict = BreaksNoEarlier(0.2, 0.1, 0.95).judge(BreakingPoints((HELD,) * 20))
    assert (verdict.status, verdict.measured, verdict.margin) == ("undecided", 0.0, -0.2)
    assert verdict.reason.splitlines()[2:] == [
        "at confidence 0.95, at least 0.8609 of all such images hold until alpha 0.2",
        "undecided: the estimate clears the bar, its bound does not; 29 images with the same share that holds would decide",
    ]
    assert BreaksNoEarlier(0.2, 0.1, 0.95).judge(BreakingPoints((HELD,) * 28)).status == "undecided"
    assert BreaksNoEarlier(0.2, 0.1, 0.95).judge(BreakingPoints((HELD,) * 29)).status == "pass"


def test_at_a_confidence_what_is_measured_is_the_strength_that_can_be_promised() -> None:
    """Of 40 images one breaks above 0.1: .8868 hold until 0.2, and .9278 until 0.1."""
    verdict = BreaksNoEarlier(0.2, 0.1, 0.95).judge(BreakingPoints((HELD,) * 39 + (BROKE,)))
    assert (verdict.status, verdict.measured, verdict.margin) == ("undecided", 0.1, -0.1)


def test_at_a_confidence_a_quantile_that_is_too_low_fails_as_it_does_without() -> None:
    verdict = BreaksNoEarlier(0.2, 0.1, 0.95).judge(BreakingPoints((HELD,) * 8 + (BROKE,) * 2))
    assert verdict.status == "fail"
    assert "undecided" not in verdict.reason


def test_no_number_of_images_promises_that_none_at_all_breaks() -> None:
    verdict = BreaksNoEarlier(0.2, 0, 0.95).judge(BreakingPoints((HELD,) * 1000))
    assert verdict.status == "undecided"
    assert verdict.reason.splitlines()[-1] == (
        "undecided: the estimate clears the bar, its bound does not; no number of images with this share that holds would"
    )


@pytest.mark.parametrize(("n", "status", "measured"), [(40, "pass", 3 / 255), (20, "undecided", 0.0)])
def test_smallest_epsilons_are_judged_at_a_confidence_in_the_same_way(n: int, status: str, measured: float) -> None:
    verdict = NotBrokenUpTo(2 / 255, 0.1, 0.95).judge(epsilons(*[3 / 255] * n))
    assert (verdict.status, verdict.measured, verdict.confidence) == (status, measured, 0.95)
    assert verdict.claim == ("no epsilon up to 2/255 breaks more than 0.1 of the images under FMN() at confidence 0.95")
    share = 0.05 ** (1 / n)
    assert verdict.reason.splitlines()[2] == (
        f"at confidence 0.95, at least {share:.4g} of all such images are not broken up to epsilon 2/255"
    )


def test_what_held_throughout_is_promised_up_to_the_largest_epsilon_that_was_tried() -> None:
    verdict = NotBrokenUpTo(2 / 255, 0.1, 0.95).judge(epsilons(*[float("inf")] * 40, up_to=4 / 255))
    assert (verdict.status, verdict.measured) == ("pass", 4 / 255)


@pytest.mark.parametrize("gate", [lambda c: BreaksNoEarlier(0.2, 0.1, c), lambda c: NotBrokenUpTo(0.2, 0.1, c)])
def test_a_confidence_that_is_none_is_refused(gate: Callable[[float], object]) -> None:
    with pytest.raises(InputError) as error:
        gate(95)
    assert str(error.value) == "expected a confidence in [0.5, 1), such as 0.95, or none, got 95"
