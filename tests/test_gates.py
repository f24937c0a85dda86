"""Gates: which measurements pass, and every sentence that a verdict can say."""

from dataclasses import replace

import pytest

from pytest_robustness.errors import InputError
from pytest_robustness.gates import (
    AccuracyAtLeast,
    CorruptionErrorAtMost,
    CurveAbove,
    GateFailed,
)
from pytest_robustness.measurements import Accuracy, CorruptionErrors
from pytest_robustness.records import Case, Evaluation, Outcome, Verdict
from pytest_robustness.stats import lower_bound, upper_mean_bound

CASE = Case("FGSM()", "epsilon", 2 / 255)


def outcome(image: str, *, right: bool, subject: float = 0.2) -> Outcome:
    predicted = "cat" if right else "dog"
    confidence = subject if right else 1 - subject
    return Outcome(image, ("cat",), predicted, right, confidence, subject, ((predicted, confidence),))


def evaluation(right: int, wrong: int, case: Case = CASE) -> Evaluation:
    rows = [outcome(f"r{i}.png", right=True, subject=0.9) for i in range(right)]
    rows += [outcome(f"w{i}.png", right=False, subject=0.01 * (i + 1)) for i in range(wrong)]
    return Evaluation(case, tuple(rows))


def test_an_accuracy_that_clears_the_bar_passes() -> None:
    verdict = AccuracyAtLeast(0.7).judge(evaluation(8, 2))
    assert verdict == Verdict(
        gate="accuracy",
        claim="accuracy under FGSM() at epsilon 2/255 >= 0.7",
        status="pass",
        reason="accuracy 0.8 (8 of 10, 95 % interval 0.444 to 0.975), required >= 0.7",
        measured=0.8,
        required=0.7,
        margin=pytest.approx(0.1),
        n=10,
        interval=(pytest.approx(0.4439045376923585), pytest.approx(0.9747892736731665)),
        evaluations=(evaluation(8, 2),),
    )


def test_at_a_confidence_the_exact_bound_has_to_clear_the_bar() -> None:
    """Of 1000 images, 800: the one-sided 95 % bound of Clopper and Pearson is 0.77805."""
    verdict = AccuracyAtLeast(0.75, confidence=0.95).judge(evaluation(800, 200))
    assert (verdict.status, verdict.claim) == (
        "pass",
        "accuracy under FGSM() at epsilon 2/255 >= 0.75 at confidence 0.95",
    )
    assert verdict.measured == pytest.approx(0.7780486, abs=1e-6)
    assert verdict.margin == pytest.approx(0.0280486, abs=1e-6)
    assert verdict.reason == (
        "accuracy 0.8 (800 of 1000, 95 % interval 0.774 to 0.824), required >= 0.75\n"
        "at confidence 0.95, at least 0.778 of all such images"
    )


def test_an_estimate_whose_bound_is_too_low_is_undecided_and_says_how_many_images_would_decide() -> None:
    verdict = AccuracyAtLeast(0.75, confidence=0.95).judge(evaluation(80, 20))
    assert verdict.status == "undecided"
    assert verdict.reason.splitlines()[1:] == [
        "at confidence 0.95, at least 0.7228 of all such images",
        "undecided: the estimate clears the bar, its bound does not; 225 images with the same accuracy would decide",
    ]
    assert lower_bound(180, 225, confidence=0.95) >= 0.75 > lower_bound(179, 224, confidence=0.95)
    just = AccuracyAtLeast(0.8, confidence=0.95).judge(evaluation(80, 20))
    assert just.reason.endswith("its bound does not; no number of images with this accuracy would")


def test_an_estimate_below_the_bar_fails_at_any_confidence() -> None:
    verdict = AccuracyAtLeast(0.9, confidence=0.5).judge(evaluation(80, 20))
    assert verdict.status == "fail"
    assert "short by 0.1: 10 more images have to hold" in verdict.reason


def test_at_a_confidence_it_takes_all_images_to_decide() -> None:
    gate, every = AccuracyAtLeast(0.5, confidence=0.9), evaluation(10, 0)
    assert gate.decided(every, of=12) is None
    assert gate.decided(every, of=10) == 10


@pytest.mark.parametrize("confidence", [0.4, 1, 95, True, "0.95", float("nan")])
def test_what_is_no_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(InputError) as error:
        AccuracyAtLeast(0.5, confidence)
    assert str(error.value) == f"expected a confidence in [0.5, 1), such as 0.95, or none, got {confidence!r}"


def test_an_accuracy_below_the_bar_says_how_many_images_are_missing_and_which_are_furthest_off() -> None:
    verdict = AccuracyAtLeast(0.7).judge(evaluation(5, 5))
    assert (verdict.status, verdict.reason) == (
        "fail",
        "accuracy 0.5 (5 of 10, 95 % interval 0.187 to 0.813), required >= 0.7\n"
        "short by 0.2: 2 more images have to hold\n"
        "furthest off: w0.png (dog 0.99), w1.png (dog 0.98), w2.png (dog 0.97)",
    )
    assert "short by 0.1: 1 more image has to hold" in AccuracyAtLeast(0.7).judge(evaluation(6, 4)).reason


@pytest.mark.parametrize(
    ("right", "n", "bar"), [(7, 10, 0.7), (3, 10, 0.3), (1, 3, 1 / 3), (29, 29, 1.0), (57, 100, 0.57)]
)
def test_the_bar_itself_passes_and_one_image_less_fails(right: int, n: int, bar: float) -> None:
    assert AccuracyAtLeast(bar).judge(evaluation(right, n - right)).status == "pass"
    assert AccuracyAtLeast(bar).judge(evaluation(right - 1, n - right + 1)).status == "fail"


@pytest.mark.parametrize("bar", [0, 1.2, -0.5, float("nan"), "0.5", True])
def test_a_bar_that_is_no_share_is_refused(bar: float) -> None:
    with pytest.raises(InputError) as error:
        AccuracyAtLeast(bar)
    assert str(error.value) == (
        f"expected at_least to be a share in (0, 1], got {bar!r}; a gate at 0 would pass every model"
    )


def test_a_failed_gate_is_an_assertion_error_that_carries_its_verdict() -> None:
    verdict = AccuracyAtLeast(0.9).judge(evaluation(8, 2))
    failed = GateFailed(verdict)
    assert isinstance(failed, AssertionError)
    assert failed.verdict is verdict
    assert str(failed) == f"{verdict.claim}\n{verdict.reason}"


def mixed(*right: bool) -> Evaluation:
    return Evaluation(CASE, tuple(outcome(f"{place}.png", right=ok, subject=0.3) for place, ok in enumerate(right)))


@pytest.mark.parametrize(
    ("at_least", "right", "after"),
    [
        (0.5, (True, True, True, True, True, False, False, False, False, False), 5),
        (0.5, (False, False, False, False, False, False, True, True), 6),
        (0.5, (False, True, False, True, False), None),
        (1.0, (True, True, False), 3),
        (1.0, (True,) * 9, None),
        (1.0, (True,) * 10, 10),
        (0.7, (True,) * 7, 7),
        (0.01, (True, False), 1),
        (0.01, (False,) * 9, None),
        (0.01, (False,) * 10, 10),
    ],
)
def test_a_verdict_is_decided_when_no_further_image_can_turn_it(
    at_least: float, right: tuple[bool, ...], after: int | None
) -> None:
    """Of ten images: decided as soon as enough were right, or too many wrong, to come out otherwise."""
    assert AccuracyAtLeast(at_least).decided(mixed(*right), of=10) == after


def test_a_verdict_that_is_decided_early_says_after_how_many_images_and_by_which_bound() -> None:
    passed = AccuracyAtLeast(0.5).judge(mixed(True, False, True, True, True, True), of=10)
    assert passed == Verdict(
        gate="accuracy",
        claim="accuracy under FGSM() at epsilon 2/255 >= 0.5",
        status="pass",
        reason="accuracy at least 0.5, required >= 0.5\n"
        "decided after 6 of 10 images, the shakiest first: 5 right, 1 wrong",
        measured=0.5,
        required=0.5,
        margin=0.0,
        n=10,
        evaluations=passed.evaluations,
    )
    failed = AccuracyAtLeast(0.9).judge(mixed(True, False, False), of=10)
    assert (failed.status, failed.measured, failed.margin) == ("fail", 0.8, pytest.approx(-0.1))
    assert failed.reason == (
        "accuracy at most 0.8, required >= 0.9\n"
        "decided after 3 of 10 images, the shakiest first: 1 right, 2 wrong\n"
        "furthest off: 1.png (dog 0.70), 2.png (dog 0.70)"
    )


CORRUPTED = CorruptionErrors(
    evaluation(9, 1), {"fog": tuple(evaluation(10 - w, w) for w in (2, 3, 4, 5, 6)), "snow": (evaluation(4, 6),) * 5}
)


def test_a_mean_error_is_judged_without_a_normalizer() -> None:
    verdict = CorruptionErrorAtMost(0.5, None).judge(CORRUPTED)
    assert (verdict.gate, verdict.status, verdict.n) == ("corruption-error", "pass", 10)
    assert (verdict.measured, verdict.required, verdict.margin) == (pytest.approx(0.5), 0.5, pytest.approx(0.0))
    assert verdict.claim == "mean error under 2 common corruptions <= 0.5"
    assert verdict.reason == ("mean error 0.5, required <= 0.5\nclean error 0.1, 10 images\nlargest: snow 0.6, fog 0.4")
    assert len(verdict.evaluations) == 11


def test_a_mean_corruption_error_is_judged_by_the_normalizers() -> None:
    verdict = CorruptionErrorAtMost(0.8, {"fog": 0.8, "snow": 0.5}).judge(CORRUPTED)
    assert (verdict.status, verdict.measured, verdict.margin) == ("fail", pytest.approx(0.85), pytest.approx(-0.05))
    assert verdict.claim == "mean corruption error under 2 common corruptions <= 0.8"
    assert verdict.reason == (
        "mean corruption error 0.85, required <= 0.8, above by 0.05\n"
        "mean error 0.5, clean error 0.1, 10 images\n"
        "largest: snow 0.6, fog 0.4\n"
        # The first two are wrong at every severity of both, the others at fewer of fog.
        "wrong most often: w0.png (10 of 10), w1.png (10 of 10), w2.png (9 of 10), w3.png (8 of 10), w4.png (7 of 10)"
    )


@pytest.mark.parametrize(
    ("at_most", "normalizer", "top"), [(76.7, {}, "3"), (0, {}, "3"), (1.2, None, "1"), (True, {}, "3")]
)
def test_a_bar_for_errors_that_is_none_is_refused(
    at_most: float, normalizer: dict[str, float] | None, top: str
) -> None:
    with pytest.raises(InputError) as error:
        CorruptionErrorAtMost(at_most, normalizer)
    assert str(error.value) == (
        f"expected at_most in (0, {top}), a share, got {at_most!r}; what papers print as 76.7 is 0.767"
    )


def curve(*rights: int) -> list[Evaluation]:
    """Ten images at epsilon 0, 2/255, 4/255, ...; so many of them are right."""
    return [evaluation(k, 10 - k, Case("PGD()", "epsilon", 2 * place / 255)) for place, k in enumerate(rights)]


def test_a_curve_on_or_above_its_floors_passes_and_the_nearest_point_is_what_is_measured() -> None:
    verdict = CurveAbove({0.0: 0.9, 2 / 255: 0.7, 4 / 255: 0}).judge(curve(10, 7, 0))
    assert verdict == Verdict(
        gate="accuracy-curve",
        claim="accuracy under PGD() >= 0.9 at epsilon 0, 0.7 at epsilon 2/255, 0 at epsilon 4/255",
        status="pass",
        reason="3 of 3 accuracies are as high as required\n"
        "epsilon 0: accuracy 1 (10 of 10, 95 % interval 0.692 to 1.000), required >= 0.9\n"
        "epsilon 2/255: accuracy 0.7 (7 of 10, 95 % interval 0.348 to 0.933), required >= 0.7\n"
        "epsilon 4/255: accuracy 0 (0 of 10, 95 % interval 0.000 to 0.308), required >= 0",
        measured=0.7,
        required=0.7,
        margin=0.0,
        n=10,
        interval=(pytest.approx(0.347547, abs=1e-6), pytest.approx(0.933260, abs=1e-6)),
        evaluations=tuple(curve(10, 7, 0)),
    )


def test_a_curve_below_a_floor_names_every_point_and_how_many_images_are_missing() -> None:
    verdict = CurveAbove({0.0: 0.9, 2 / 255: 0.7, 4 / 255: 0.2}).judge(curve(9, 5, 1))
    assert (verdict.status, verdict.reason) == (
        "fail",
        "1 of 3 accuracies are as high as required\n"
        "epsilon 0: accuracy 0.9 (9 of 10, 95 % interval 0.555 to 0.997), required >= 0.9\n"
        "epsilon 2/255: accuracy 0.5 (5 of 10, 95 % interval 0.187 to 0.813), required >= 0.7, "
        "short by 0.2: 2 more images have to hold\n"
        "epsilon 4/255: accuracy 0.1 (1 of 10, 95 % interval 0.003 to 0.445), required >= 0.2, "
        "short by 0.1: 1 more image has to hold\n"
        "furthest off at epsilon 2/255: w0.png (dog 0.99), w1.png (dog 0.98), w2.png (dog 0.97)",
    )
    assert (verdict.measured, verdict.required, verdict.margin) == (0.5, 0.7, pytest.approx(-0.2))


def test_the_points_of_another_curve_are_floors() -> None:
    floors = {own.case.strength: Accuracy(own) for own in curve(9, 5, 0)}
    verdict = CurveAbove(floors).judge(curve(9, 5, 0))
    assert (verdict.status, type(verdict.required)) == ("pass", float)
    assert CurveAbove(floors).judge(curve(10, 4, 0)).status == "fail"


@pytest.mark.parametrize("floors", [{}, [(2 / 255, 0.5)], None])
def test_floors_that_are_none_are_refused(floors: dict[float, float]) -> None:
    with pytest.raises(InputError) as error:
        CurveAbove(floors)
    assert str(error.value) == (
        f"expected accuracies by strength such as {{2/255: 0.5, 4/255: 0.2}}, got {floors!r}; "
        "a gate over nothing would pass every model"
    )


@pytest.mark.parametrize("share", [50, -0.1, float("nan"), "0.5", True, None])
def test_floors_that_are_no_shares_are_refused(share: float) -> None:
    with pytest.raises(InputError) as error:
        CurveAbove({0.1: 0.5, 0.2: share})
    assert str(error.value) == (
        f"expected accuracies as shares in [0, 1], got {share!r} at 0.2; divide percents by 100"
    )


def test_floors_of_0_alone_are_refused() -> None:
    with pytest.raises(InputError) as error:
        CurveAbove({0.1: 0, 0.2: 0.0})
    assert str(error.value) == (
        "expected an accuracy > 0 at one strength at least, got 0 at all of them; such a gate would pass every model"
    )


def test_a_gate_under_several_attacks_says_which_broke_how_many_and_what_was_not_returned() -> None:
    case = Case("WorstCase(FGSM(), PGD())", "epsilon", 0.01)
    whole = evaluation(2, 4, case)
    by = ("", "", "FGSM()", "PGD()", "PGD()", "")
    told = tuple(
        replace(outcome, found_by=name, silent=place == 3)
        for place, (outcome, name) in enumerate(zip(whole.outcomes, by, strict=True))
    )
    for at_least in (0.3, 0.9):
        lines = AccuracyAtLeast(at_least).judge(Evaluation(case, told)).reason.splitlines()
        assert lines[-2:] == [
            "broken by FGSM(): 1, PGD(): 2",
            "1 success that the attack had shown to the model and did not return",
        ]
    early = AccuracyAtLeast(0.9).judge(Evaluation(case, told[1:]), of=30).reason.splitlines()
    assert early[-2] == "broken by FGSM(): 1, PGD(): 2"
    assert Accuracy(Evaluation(case, told)).explain(0.1)[-2] == "broken by FGSM(): 1, PGD(): 2"


WEAK, STRONG = (Case("FGSM()", "epsilon", steps / 255) for steps in (1, 2))


def test_a_curve_at_a_confidence_has_to_clear_every_bar_by_its_bound() -> None:
    """Of 100 images 90 and 80: the one-sided 95 % bounds of Clopper and Pearson are .8363 and .7228."""
    curve = [evaluation(90, 10, WEAK), evaluation(80, 20, STRONG)]
    verdict = CurveAbove({1 / 255: 0.8, 2 / 255: 0.5}, confidence=0.95).judge(curve)
    assert (verdict.status, verdict.required, verdict.confidence) == ("pass", 0.8, 0.95)
    assert verdict.measured == pytest.approx(lower_bound(90, 100, confidence=0.95))
    assert verdict.claim == "accuracy under FGSM() >= 0.8 at epsilon 1/255, 0.5 at epsilon 2/255 at confidence 0.95"
    assert verdict.reason == (
        "2 of 2 accuracies are as high as required\n"
        "epsilon 1/255: accuracy 0.9 (90 of 100, 95 % interval 0.824 to 0.951), required >= 0.8\n"
        "at confidence 0.95, at least 0.8363 of all such images\n"
        "epsilon 2/255: accuracy 0.8 (80 of 100, 95 % interval 0.708 to 0.873), required >= 0.5\n"
        "at confidence 0.95, at least 0.7228 of all such images"
    )


def test_a_curve_whose_bound_misses_one_bar_is_undecided_and_says_how_many_images_would_decide() -> None:
    curve = [evaluation(90, 10, WEAK), evaluation(80, 20, STRONG)]
    verdict = CurveAbove({1 / 255: 0.8, 2 / 255: 0.77}, confidence=0.95).judge(curve)
    assert (verdict.status, verdict.required) == ("undecided", 0.77)
    assert verdict.reason.splitlines()[-1] == (
        "at epsilon 2/255 undecided: the estimate clears the bar, its bound does not; 574 images with the same accuracy would decide"
    )
    assert lower_bound(80 * 574 // 100, 574, confidence=0.95) >= 0.77


def test_a_curve_that_comes_down_to_nothing_asks_for_no_bound_there() -> None:
    curve = [evaluation(90, 10, WEAK), evaluation(0, 100, STRONG)]
    verdict = CurveAbove({1 / 255: 0.8, 2 / 255: 0}, confidence=0.95).judge(curve)
    assert verdict.status == "pass"
    assert CurveAbove({1 / 255: 0.95, 2 / 255: 0}, confidence=0.95).judge(curve).status == "fail"


def test_a_mean_error_at_a_confidence_is_judged_by_a_bound_of_the_mean_over_images() -> None:
    """Ten images of mean error .5: the true mean is at most .8263."""
    passed = CorruptionErrorAtMost(0.9, None, 0.95).judge(CORRUPTED)
    assert (passed.status, passed.confidence) == ("pass", 0.95)
    assert passed.measured == pytest.approx(upper_mean_bound(0.5, 10, confidence=0.95))
    assert passed.claim == "mean error under 2 common corruptions <= 0.9 at confidence 0.95"
    assert passed.reason.splitlines()[-1] == "at confidence 0.95, at most 0.8263 over all such images"
    verdict = CorruptionErrorAtMost(0.6, None, 0.95).judge(CORRUPTED)
    assert (verdict.status, verdict.margin) == ("undecided", pytest.approx(0.6 - 0.8262861))
    assert verdict.reason.splitlines()[-1] == (
        "undecided: the estimate clears the bar, its bound does not; 118 images with the same error would decide"
    )
    assert upper_mean_bound(0.5, 118, confidence=0.95) <= 0.6 < upper_mean_bound(0.5, 117, confidence=0.95)


def test_a_mean_corruption_error_is_bounded_on_the_scale_of_its_normalizer() -> None:
    """An image that is wrong everywhere adds (1 / .8 + 1 / .5) / 2 = 1.625; .85 is .523 of that."""
    verdict = CorruptionErrorAtMost(1.0, {"fog": 0.8, "snow": 0.5}, 0.95).judge(CORRUPTED)
    assert verdict.status == "undecided"
    assert verdict.measured == pytest.approx(1.625 * upper_mean_bound(0.85 / 1.625, 10, confidence=0.95))


def test_a_gate_that_has_a_confidence_keeps_it_in_its_verdict() -> None:
    assert AccuracyAtLeast(0.5).judge(evaluation(8, 2)).confidence is None
    assert AccuracyAtLeast(0.5, 0.9).judge(evaluation(8, 2)).confidence == 0.9
