"""Certified accuracy: counted by hand, the curve and the sentences that it is told in, and what is required of it."""

import pytest

from pytest_robustness.certificates import CertifiedAccuracy, CertifiedAtLeast
from pytest_robustness.errors import InputError
from pytest_robustness.records import Case, Evaluation, Outcome, Verdict
from pytest_robustness.stats import lower_bound

SMOOTHING = "RandomizedSmoothing(sigma=0.25).certifying"


def certified(
    *rows: tuple[str | None, float | None], sigma: float = 0.25, alpha: float = 0.001, largest: float = 0.6
) -> CertifiedAccuracy:
    """Images of cats, with the answer to each and the radius that is certified."""
    outcomes = (
        Outcome(f"{place}.png", ("cat",), says, says == "cat", 1.0, 1.0, (("cat", 1.0),), radius=radius)
        for place, (says, radius) in enumerate(rows)
    )
    return CertifiedAccuracy(Evaluation(Case("", "", 0.0, SMOOTHING), tuple(outcomes)), sigma, alpha, largest)


# Three are right, one is wrong with the largest radius of all, one has no answer.
FIVE = certified(("cat", 0.5), ("cat", 0.25), ("cat", 0.1), ("dog", 0.6), (None, 0.0))


def so_many(k: int, n: int, alpha: float = 0.001) -> CertifiedAccuracy:
    """So many of n images are certified within 0.5, the others have no answer."""
    return certified(*[("cat", 0.5)] * k, *[(None, 0.0)] * (n - k), alpha=alpha)


def test_an_image_is_certified_up_to_its_radius_and_not_beyond() -> None:
    radii = {0: 3, 0.1: 3, 0.1001: 2, 0.25: 2, 0.3: 1, 0.5: 1, 0.6: 0, 9: 0}
    assert {radius: FIVE.certified(radius) for radius in radii} == radii
    assert {radius: FIVE.at(radius) for radius in radii} == {radius: k / 5 for radius, k in radii.items()}
    assert len(FIVE) == 5


def test_a_wrong_answer_counts_as_a_radius_of_0_however_sure_it_is() -> None:
    assert FIVE.radii == (0.5, 0.25, 0.1, 0.0, 0.0)
    assert FIVE.mean_radius == pytest.approx(0.85 / 5)
    wrong = certified(("dog", 0.6))
    assert (wrong.radii, wrong.certified(0), wrong.mean_radius, wrong.abstained) == ((0.0,), 0, 0.0, 0)


def test_an_answer_without_a_certificate_is_right_at_radius_0_alone() -> None:
    alone = certified(("cat", None))
    assert (alone.radii, alone.certified(0), alone.certified(1e-9)) == ((0.0,), 1, 0)


def test_images_without_an_answer_are_counted() -> None:
    assert FIVE.abstained == 1
    assert certified((None, 0.0), (None, 0.0), ("cat", 0.1)).abstained == 2


def test_the_mean_radius_is_the_area_below_the_curve() -> None:
    steps = [place / 1000 for place in range(1, 601)]
    assert FIVE.mean_radius == pytest.approx(sum(FIVE.curve(steps).values()) / 1000)


def test_a_radius_is_compared_as_it_is() -> None:
    close = certified(("cat", 0.4999999), ("cat", 0.5))
    assert (close.certified(0.5), close.certified(0.4999999), close.radii) == (1, 2, (0.4999999, 0.5))


@pytest.mark.parametrize("radius", [-0.1, float("nan"), "0.5", True, None])
def test_a_radius_that_is_no_number_from_0_is_refused(radius: float) -> None:
    message = f"expected a radius >= 0, in L2 on the [0, 1] pixel scale, got {radius!r}"
    with pytest.raises(InputError) as error:
        FIVE.at(radius)
    assert str(error.value) == message
    with pytest.raises(InputError) as error:
        FIVE.curve([0.1, radius])
    assert str(error.value) == message


def test_a_curve_is_at_the_radii_that_are_given() -> None:
    assert FIVE.curve([0.5, 0, 0.2]) == {0.5: 0.2, 0: 0.6, 0.2: 0.4}
    assert FIVE.curve([]) == {}


def test_without_radii_a_curve_is_at_multiples_of_half_of_sigma() -> None:
    assert FIVE.curve() == {0.0: 0.6, 0.125: 0.4, 0.25: 0.4, 0.375: 0.2, 0.5: 0.2}


@pytest.mark.parametrize(
    ("largest", "radii"),
    [
        (0.0, [0.0]),
        (0.1, [0.0]),
        (0.25, [0.0, 0.25]),
        (1.9, [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]),
        (2.0, [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]),
        (2.01, [0.0, 0.5, 1.0, 1.5, 2.0]),
        (4.2, [0.0, 0.75, 1.5, 2.25, 3.0, 3.75]),
    ],
)
def test_a_curve_ends_at_the_largest_radius_that_can_be_certified_after_nine_rows_at_most(
    largest: float, radii: list[float]
) -> None:
    assert list(certified(("cat", 0.1), sigma=0.5, largest=largest).curve()) == radii


@pytest.mark.parametrize("sigma", [0.12, 0.25, 1.0, 3.0])
def test_a_curve_has_nine_rows_at_most_that_come_close_to_the_largest_radius(sigma: float) -> None:
    for tenths in range(1, 80):
        largest = sigma * tenths / 10
        radii = list(certified(("cat", 0.1), sigma=sigma, largest=largest).curve())
        assert len(radii) <= 9
        step = radii[1] if len(radii) > 1 else sigma / 2
        assert step % (sigma / 2) == pytest.approx(0)
        assert radii == [place * step for place in range(len(radii))]
        assert radii[-1] <= largest < radii[-1] + step * (1 + 1e-9)


def test_certified_accuracy_is_one_sentence() -> None:
    assert repr(FIVE) == (
        "certified accuracy of RandomizedSmoothing(sigma=0.25).certifying on 5 images: 0.6 at radius 0, 0.4 at 0.25; "
        "mean radius 0.17, 1 without an answer"
    )


def test_certified_accuracy_is_printed_as_a_row_per_radius() -> None:
    assert str(FIVE) == (
        "L2 radius  certified accuracy\n"
        "0          0.6000 (3 of 5, 95 % interval 0.147 to 0.947)\n"
        "0.125      0.4000 (2 of 5, 95 % interval 0.053 to 0.853)\n"
        "0.25       0.4000 (2 of 5, 95 % interval 0.053 to 0.853)\n"
        "0.375      0.2000 (1 of 5, 95 % interval 0.005 to 0.716)\n"
        "0.5        0.2000 (1 of 5, 95 % interval 0.005 to 0.716)\n"
        f"{FIVE!r}"
    )


def test_a_certified_accuracy_that_clears_the_bar_passes() -> None:
    assert CertifiedAtLeast(0.25, 0.3).judge(FIVE) == Verdict(
        gate="certified-accuracy",
        claim="certified accuracy of RandomizedSmoothing(sigma=0.25).certifying at L2 radius 0.25 >= 0.3",
        status="pass",
        reason=(
            "certified accuracy 0.4 (2 of 5, 95 % interval 0.053 to 0.853), required >= 0.3\n"
            "right with any certificate: 3, without an answer: 1, wrong: 1; mean radius 0.17, at most 0.6"
        ),
        measured=0.4,
        required=0.3,
        margin=pytest.approx(0.1),
        n=5,
        interval=(pytest.approx(0.052745, abs=1e-6), pytest.approx(0.853367, abs=1e-6)),
        evaluations=(FIVE.evaluation,),
        charts=(FIVE.chart,),
    )


def test_a_certified_accuracy_below_the_bar_fails() -> None:
    verdict = CertifiedAtLeast(0.5, 0.3).judge(FIVE)
    assert (verdict.status, verdict.measured, verdict.margin) == ("fail", 0.2, pytest.approx(-0.1))
    assert verdict.reason == (
        "certified accuracy 0.2 (1 of 5, 95 % interval 0.005 to 0.716), required >= 0.3\n"
        "right with any certificate: 3, without an answer: 1, wrong: 1; mean radius 0.17, at most 0.6\n"
        "short by 0.1: 1 more have to be certified"
    )


@pytest.mark.parametrize(("k", "n", "bar"), [(7, 10, 0.7), (3, 10, 0.3), (1, 3, 1 / 3), (29, 29, 1.0), (57, 100, 0.57)])
def test_the_bar_itself_passes_and_one_certificate_less_fails(k: int, n: int, bar: float) -> None:
    gate = CertifiedAtLeast(0.5, bar)
    assert gate.judge(so_many(k, n)).status == "pass"
    assert gate.judge(so_many(k - 1, n)).status == "fail"


@pytest.mark.parametrize(
    ("at_least", "status"), [(0.89, "pass"), (0.9, "undecided"), (0.95, "undecided"), (0.96, "fail")]
)
def test_at_a_confidence_the_exact_bound_less_alpha_has_to_clear_the_bar(at_least: float, status: str) -> None:
    # shared/reference.json: the bound of 95 of 100 at 95 % is 0.8977466.
    verdict = CertifiedAtLeast(0.5, at_least, confidence=0.95).judge(so_many(95, 100))
    assert (verdict.status, verdict.measured) == (status, pytest.approx(0.8977466223567255 - 0.001, abs=1e-12))
    assert (verdict.required, verdict.margin) == (at_least, pytest.approx(0.8967466223567255 - at_least))
    said = {
        "pass": "",
        "undecided": "\nundecided: the estimate is high enough, its bound is not; take more images",
        "fail": "",
    }
    short = "short by 0.01: 1 more have to be certified\n" if status == "fail" else ""
    assert verdict.reason == (
        f"certified accuracy 0.95 (95 of 100, 95 % interval 0.887 to 0.984), required >= {at_least:g}\n"
        "right with any certificate: 95, without an answer: 5, wrong: 0; mean radius 0.475, at most 0.6\n"
        f"{short}"
        "at confidence 0.95, at least 0.8967 of all such images are robust: the exact bound less alpha 0.001"
        f"{said[status]}"
    )
    # The interval is that of the estimate.
    assert verdict.interval == CertifiedAtLeast(0.5, at_least).judge(so_many(95, 100)).interval


@pytest.mark.parametrize(("k", "n"), [(1, 1), (40, 50), (99, 100), (400, 400)])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.999])
@pytest.mark.parametrize("alpha", [0.001, 0.1])
def test_the_bound_is_the_exact_one_sided_one_less_alpha(k: int, n: int, confidence: float, alpha: float) -> None:
    verdict = CertifiedAtLeast(0.5, 0.5, confidence).judge(so_many(k, n, alpha))
    assert verdict.measured == max(0.0, lower_bound(k, n, confidence=confidence) - alpha)
    if k == n:
        assert verdict.measured == pytest.approx(max(0.0, (1 - confidence) ** (1 / n) - alpha))


@pytest.mark.parametrize(
    ("k", "n", "at_least", "best"),
    [
        # 0.05 ** (1 / n) less 0.001.
        (10, 10, 0.9, "0.7401"),
        (9, 10, 0.9, "0.7401"),
        (58, 58, 0.95, "0.9487"),
        (100, 100, 1.0, "0.9695"),
    ],
)
def test_where_all_certified_could_not_clear_the_bar_the_reason_says_what_the_bound_would_be(
    k: int, n: int, at_least: float, best: str
) -> None:
    assert f"{0.05 ** (1 / n) - 0.001:.4g}" == best
    verdict = CertifiedAtLeast(0.5, at_least, 0.95).judge(so_many(k, n))
    assert verdict.status == "undecided"
    assert verdict.reason.splitlines()[3:] == [
        f"undecided: were all {n} certified, the bound would be {best}; take more images, a smaller alpha, or ask for less"
    ]


def test_where_one_image_more_would_let_all_certified_clear_the_bar_the_bound_is_not_told() -> None:
    # 0.05 ** (1 / 60) is 0.9513, and one of 60 may miss a share of 0.95.
    verdict = CertifiedAtLeast(0.5, 0.95, 0.95).judge(so_many(59, 60))
    assert verdict.status == "undecided"
    assert verdict.reason.endswith("\nundecided: the estimate is high enough, its bound is not; take more images")
    assert CertifiedAtLeast(0.5, 0.95, 0.95).judge(so_many(60, 60)).status == "pass"


def test_a_fail_says_how_many_more_images_have_to_be_certified() -> None:
    for k, short in [(0, "short by 0.7: 7"), (4, "short by 0.3: 3"), (6, "short by 0.1: 1")]:
        lines = CertifiedAtLeast(0.5, 0.7).judge(so_many(k, 10)).reason.splitlines()
        assert lines[2:] == [f"{short} more have to be certified"]


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_at_the_smallest_confidence_no_bound_is_above_its_share_so_no_pass_is_short(n: int) -> None:
    for k in range(n + 1):
        for bar in range(1, n + 1):
            verdict = CertifiedAtLeast(0.5, bar / n, 0.5).judge(so_many(k, n, alpha=1e-9))
            assert verdict.measured is not None
            assert verdict.measured <= k / n
            assert (verdict.status == "fail") == ("short by" in verdict.reason) == (k < bar)


def test_a_bound_below_alpha_is_0() -> None:
    verdict = CertifiedAtLeast(0.5, 0.5, 0.95).judge(so_many(0, 10))
    assert (verdict.status, verdict.measured, verdict.margin) == ("fail", 0.0, -0.5)
    assert verdict.reason.endswith("at least 0 of all such images are robust: the exact bound less alpha 0.001")


@pytest.mark.parametrize("share", [0, 1.2, -0.5, float("nan"), "0.5", True])
def test_a_certified_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(InputError) as error:
        CertifiedAtLeast(0.5, share)
    assert str(error.value) == (
        f"expected at_least to be a share in (0, 1], got {share!r}; a gate at 0 would pass every model"
    )


@pytest.mark.parametrize("radius", [-0.1, float("nan"), "0.5", True, None])
def test_a_required_radius_that_is_none_is_refused(radius: float) -> None:
    with pytest.raises(InputError) as error:
        CertifiedAtLeast(radius, 0.5)
    assert str(error.value) == f"expected a radius >= 0, in L2 on the [0, 1] pixel scale, got {radius!r}"


@pytest.mark.parametrize("confidence", [0, 0.49, 1, 95, -0.5, float("nan"), True, "0.95"])
def test_a_confidence_that_is_none_is_refused(confidence: float) -> None:
    with pytest.raises(InputError) as error:
        CertifiedAtLeast(0.5, 0.5, confidence)
    assert str(error.value) == f"expected a confidence in [0.5, 1), such as 0.95, or none, got {confidence!r}"
