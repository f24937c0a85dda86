"""Explanations are judged by whether they stay where they are, and by whether they lie where they should."""

import dataclasses

import pytest

from pytest_robustness.errors import InputError
from pytest_robustness.explanation_gates import (
    AttendsTo,
    Attention,
    ExplanationStability,
    Hit,
    Overlap,
    StaysWhere,
    check_some,
)
from pytest_robustness.records import Case, Verdict
from pytest_robustness.stats import lower_bound, proportion_interval

NOISE = Case("GaussianNoise()", "sigma", 0.1)
CLEAN = Case("", "", 0.0)

SAME = Overlap("same.png", 1.0, 0.25)
HALF = Overlap("half.png", 0.5, 0.25)
LESS = Overlap("less.png", 0.125, 0.25)
LEFT_OUT = (("wrong when clean", 2), ("flipped", 1))

IN = Hit("in.png", "cat", True, (3, 4), 0.75, 0.25)
OUT = Hit("out.png", "dog", False, (12, 0), 0.125, 0.5)


def stability(*overlaps: Overlap, excluded: tuple[tuple[str, int], ...] = ()) -> ExplanationStability:
    return ExplanationStability(NOISE, "GradCAM()", overlaps, excluded)


def attention(*hits: Hit, case: Case = CLEAN, excluded: tuple[tuple[str, int], ...] = ()) -> Attention:
    return Attention(case, "GradCAM()", hits, excluded)


def hits(inside: int, outside: int) -> tuple[Hit, ...]:
    return tuple(
        dataclasses.replace(hit, image=f"{place}.png") for place, hit in enumerate([IN] * inside + [OUT] * outside)
    )


@pytest.mark.parametrize(
    ("common", "null", "corrected"),
    [
        (1.0, 0.0, 1.0),
        (1.0, 0.75, 1.0),
        (0.5, 0.0, 0.5),
        (0.25, 0.25, 0.0),
        (0.5, 0.25, 1 / 3),
        (0.0, 0.0, 0.0),
        (0.0, 0.5, -1.0),
        (0.125, 0.25, -1 / 6),
        # Maps that are all the same have nothing to lose, and tell nothing.
        (1.0, 1.0, 0.0),
        (0.5, 1.0, 0.0),
    ],
)
def test_an_overlap_is_corrected_by_what_other_images_have_in_common(
    common: float, null: float, corrected: float
) -> None:
    assert Overlap("a.png", common, null).corrected == pytest.approx(corrected, abs=1e-15)


def test_the_stability_is_the_mean_of_the_corrected_overlaps_and_not_that_of_the_means() -> None:
    both = stability(Overlap("a.png", 0.5, 0.0), Overlap("b.png", 1.0, 0.5))
    assert (both.value, float(both)) == (0.75, 0.75)
    assert (both.common, both.null) == (0.75, 0.25)
    assert (both.common - both.null) / (1 - both.null) != both.value
    assert stability(SAME).value == 1.0
    assert stability(HALF, LESS).value == pytest.approx((1 / 3 - 1 / 6) / 2)


def test_a_stability_says_how_it_was_measured_and_of_how_many_images() -> None:
    assert repr(stability(SAME, HALF, excluded=LEFT_OUT)) == (
        "explanations by GradCAM() under GaussianNoise() at sigma 0.1: stability 0.667 (overlap 0.750, that of other images 0.250), "
        "2 images; left out: 2 wrong when clean, 1 flipped"
    )
    assert repr(stability(SAME)) == (
        "explanations by GradCAM() under GaussianNoise() at sigma 0.1: stability 1.000 (overlap 1.000, that of other images 0.250), "
        "1 image"
    )


def test_a_stability_prints_an_image_a_line_the_least_stable_at_the_top() -> None:
    twin = dataclasses.replace(HALF, image="alike.png")
    measured = stability(SAME, HALF, LESS, twin)
    assert str(measured) == (
        "less.png: -0.167 (overlap 0.125, null 0.250)\n"
        "alike.png: 0.333 (overlap 0.500, null 0.250)\n"
        "half.png: 0.333 (overlap 0.500, null 0.250)\n"
        "same.png: 1.000 (overlap 1.000, null 0.250)\n" + repr(measured)
    )


def test_reasons_that_leave_out_nothing_are_not_told() -> None:
    assert "left out" not in repr(stability(SAME, excluded=(("flipped", 0),)))
    assert repr(stability(SAME, excluded=(("flipped", 0), ("wrong when clean", 3)))).endswith(
        "; left out: 3 wrong when clean"
    )


def test_explanations_that_stay_where_they_were_pass() -> None:
    assert StaysWhere(0.5).judge(stability(SAME, HALF, excluded=LEFT_OUT)) == Verdict(
        gate="explanation-stable",
        claim="stability of explanations by GradCAM() under GaussianNoise() at sigma 0.1 >= 0.5",
        status="pass",
        reason=(
            "stability 0.6667, required >= 0.5\n"
            "overlap 0.750, that of other images 0.250; 2 images; left out: 2 wrong when clean, 1 flipped"
        ),
        measured=2 / 3,
        required=0.5,
        margin=2 / 3 - 0.5,
        n=2,
    )


def test_explanations_that_move_fail_and_those_that_moved_most_are_named() -> None:
    verdict = StaysWhere(0.75).judge(stability(SAME, HALF, LESS))
    measured = (1 + 1 / 3 - 1 / 6) / 3
    assert (verdict.status, verdict.required, verdict.n) == ("fail", 0.75, 3)
    assert (verdict.measured, verdict.margin) == (pytest.approx(measured), pytest.approx(measured - 0.75))
    assert verdict.reason == (
        "stability 0.3889, required >= 0.75\n"
        "overlap 0.542, that of other images 0.250; 3 images\n"
        "short by 0.3611\n"
        "moved most: less.png (-0.17), half.png (0.33), same.png (1.00)"
    )


def test_of_many_that_moved_five_are_named() -> None:
    rows = tuple(Overlap(f"{place}.png", place / 8, 0.0) for place in range(7))
    (named,) = (
        line for line in StaysWhere(1).judge(stability(*rows)).reason.splitlines() if line.startswith("moved most")
    )
    assert named == "moved most: 0.png (0.00), 1.png (0.12), 2.png (0.25), 3.png (0.38), 4.png (0.50)"


def test_the_bar_itself_passes_and_a_little_less_fails() -> None:
    assert StaysWhere(0.5).judge(stability(Overlap("a.png", 0.5, 0.0))).status == "pass"
    assert StaysWhere(0.5).judge(stability(Overlap("a.png", 0.499, 0.0))).status == "fail"
    assert StaysWhere(1).judge(stability(SAME)).status == "pass"


def test_an_attention_counts_what_points_into_its_region() -> None:
    both = attention(IN, OUT, OUT, IN, OUT)
    assert (both.inside, both.value, float(both)) == (2, 0.4, 0.4)
    assert both.chance == pytest.approx((2 * 0.25 + 3 * 0.5) / 5)
    assert repr(attention(IN, OUT, excluded=(("without a believable explanation", 1),))) == (
        "explanations by GradCAM() of clean images: 1 of 2 point into their region (by chance 0.38), 0.44 of the heat lies there; "
        "left out: 1 without a believable explanation"
    )


def test_an_attention_prints_an_image_a_line_those_that_point_elsewhere_at_the_top() -> None:
    other = dataclasses.replace(OUT, image="astray.png")
    measured = attention(IN, OUT, other, case=NOISE)
    assert str(measured) == (
        "astray.png: dog points at (12, 0), outside; 0.12 of the heat lies in the region\n"
        "out.png: dog points at (12, 0), outside; 0.12 of the heat lies in the region\n"
        "in.png: cat points at (3, 4), inside; 0.75 of the heat lies in the region\n"
        "explanations by GradCAM() of GaussianNoise() at sigma 0.1: 1 of 3 point into their region (by chance 0.42), 0.33 of the heat "
        "lies there"
    )


def test_explanations_that_point_into_their_regions_pass() -> None:
    judged = AttendsTo(1.0).judge(attention(*hits(3, 0), excluded=(("without a believable explanation", 2),)))
    lower, upper = proportion_interval(3, 3)
    assert (lower, upper) == (pytest.approx(0.025 ** (1 / 3)), 1.0)
    assert judged == Verdict(
        gate="attends-to",
        claim="explanations by GradCAM() of clean images point into their regions >= 1",
        status="pass",
        reason=(
            "1 (3 of 3, 95 % interval 0.292 to 1.000) point into their region, required >= 1\n"
            "by chance 0.25; left out: 2 without a believable explanation"
        ),
        measured=1.0,
        required=1.0,
        margin=0.0,
        n=3,
        interval=(lower, upper),
    )


def test_explanations_that_point_elsewhere_fail_and_say_where() -> None:
    verdict = AttendsTo(0.8).judge(attention(*hits(2, 1), case=NOISE))
    assert verdict.claim == (
        "explanations by GradCAM() of GaussianNoise() at sigma 0.1 point into their regions >= 0.8"
    )
    assert (verdict.status, verdict.measured, verdict.n) == ("fail", 2 / 3, 3)
    assert verdict.margin == pytest.approx(2 / 3 - 0.8)
    assert verdict.reason == (
        "0.6667 (2 of 3, 95 % interval 0.094 to 0.992) point into their region, required >= 0.8\n"
        "by chance 0.33\n"
        "2.png: dog points at (12, 0), outside; 0.12 of the heat lies in the region"
    )


def test_of_many_that_point_elsewhere_five_are_told() -> None:
    lines = AttendsTo(0.5).judge(attention(*hits(0, 7))).reason.splitlines()
    assert [line.partition(":")[0] for line in lines[2:-1]] == [f"{place}.png" for place in range(5)]
    assert lines[-1] == "... and 2 more"
    # Those of a gate that passes are told too.
    passed = AttendsTo(0.5).judge(attention(*hits(5, 5)))
    assert (passed.status, len(passed.reason.splitlines())) == ("pass", 7)


@pytest.mark.parametrize(("at_least", "inside", "outside"), [(0.7, 7, 3), (1 / 3, 1, 2), (1.0, 4, 0), (0.05, 1, 19)])
def test_the_share_itself_passes_and_one_image_less_fails(at_least: float, inside: int, outside: int) -> None:
    gate = AttendsTo(at_least)
    assert gate.judge(attention(*hits(inside, outside))).status == "pass"
    assert gate.judge(attention(*hits(inside - 1, outside + 1))).status == "fail"


@pytest.mark.parametrize("gate", [StaysWhere, AttendsTo])
@pytest.mark.parametrize("share", [0, 1.2, -0.5, float("nan"), "0.5", True, None])
def test_bars_outside_0_to_1_are_refused(gate: type[StaysWhere | AttendsTo], share: float) -> None:
    with pytest.raises(InputError) as error:
        gate(share)
    assert str(error.value) == (
        f"expected at_least to be a share in (0, 1], got {share!r}; a gate at 0 would pass every model"
    )


def test_too_few_explanations_to_judge_are_refused_with_what_became_of_the_others() -> None:
    check_some([SAME], ())
    check_some([SAME, HALF], LEFT_OUT, needed=2)
    with pytest.raises(InputError) as error:
        check_some([], LEFT_OUT)
    assert str(error.value) == (
        "expected at least 1 explanation to judge, got 0; left out: 2 wrong when clean, 1 flipped; a gate over nothing would pass "
        "every model"
    )
    with pytest.raises(InputError) as error:
        check_some([SAME], (), needed=2)
    assert str(error.value) == (
        "expected at least 2 explanations to judge, got 1; a gate over nothing would pass every model"
    )


@pytest.mark.parametrize(("at_least", "status"), [(0.7, "pass"), (0.8, "undecided"), (0.95, "fail")])
def test_at_a_confidence_the_exact_bound_of_the_share_that_points_inside_is_judged(
    at_least: float, status: str
) -> None:
    verdict = AttendsTo(at_least + 0.01, 0.95).judge(attention(*hits(45, 5)))
    assert (verdict.status, verdict.confidence) == (status, 0.95)
    bound = lower_bound(45, 50, confidence=0.95)
    assert (verdict.measured, verdict.margin) == (bound, pytest.approx(bound - at_least - 0.01))
    assert verdict.claim.endswith(f"point into their regions >= {at_least + 0.01:g} at confidence 0.95")
    assert f"at confidence 0.95, at least {bound:.4g} of all such images do" in verdict.reason
    assert ("undecided: the estimate clears the bar" in verdict.reason) == (status == "undecided")
