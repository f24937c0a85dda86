"""Gates over modify and mimic rates: what is measured, what passes, and what is said."""

import dataclasses

import pytest

from pytest_robustness.errors import InputError
from pytest_robustness.matrices import TargetedMatrix
from pytest_robustness.rate_gates import RateAtMost
from pytest_robustness.stats import proportion_interval, upper_mean_bound
from tests.test_matrices import RECORD

VIEW = TargetedMatrix(RECORD)
EMPTY = TargetedMatrix(dataclasses.replace(RECORD, cells=("-*4",) * 4, excluded=(("a", 4), ("b", 2), ("c", 3))))


# Modify rates: a 4/9, b 3/6, c 1/3; mimic rates: a 1/3, b 3/4, c 2/5, d 2/6; front is a and b, back is c and d.
@pytest.mark.parametrize(
    ("kind", "of", "measured", "n", "counts"),
    [
        ("modify", "median", 4 / 9, 18, None),
        ("modify", "worst", 3 / 6, 6, (3, 6)),
        ("modify", "c", 1 / 3, 3, (1, 3)),
        ("modify", "front", 7 / 15, 15, (7, 15)),
        ("mimic", "median", (1 / 3 + 2 / 5) / 2, 18, None),
        ("mimic", "worst", 3 / 4, 4, (3, 4)),
        ("mimic", "d", 2 / 6, 6, (2, 6)),
        ("mimic", "back", 4 / 11, 11, (4, 11)),
    ],
)
def test_the_rate_that_is_asked_for_is_judged(
    kind: str, of: str, measured: float, n: int, counts: tuple[int, int] | None
) -> None:
    for at_most, status in ((measured, "pass"), (measured - 0.01, "fail"), (0, "fail")):
        gate = RateAtMost(kind, at_most, of)  # type: ignore[arg-type]
        verdict = gate.judge(VIEW)
        assert (verdict.status, verdict.gate, verdict.of) == (status, f"{kind}-rate", of)
        assert verdict.measured == pytest.approx(measured)
        assert verdict.margin == pytest.approx(at_most - measured)
        assert (verdict.required, verdict.n) == (at_most, n)
        assert verdict.interval == (None if counts is None else proportion_interval(*counts))
        assert verdict.matrices == (RECORD,)
        assert RateAtMost.of_verdict(verdict) == gate


def test_a_verdict_says_what_was_measured_and_of_what() -> None:
    verdict = RateAtMost("modify", 0.4, "median").judge(VIEW)
    assert verdict.claim == "median modify rate under PGD() at epsilon 2/255 towards every other class <= 0.4"
    assert verdict.reason == (
        "median modify rate 0.4444 of 3 classes, required <= 0.4, above by 0.04444\n"
        "highest b 0.50; lowest c 0.33\n"
        "18 pairs; left out: 3 images wrong when clean (c 2, a 1)"
    )
    verdict = RateAtMost("mimic", 0.8, "worst").judge(VIEW)
    assert (
        verdict.claim == "highest mimic rate of a class under PGD() at epsilon 2/255 towards every other class <= 0.8"
    )
    assert verdict.reason == (
        "highest mimic rate of a class 0.750 (3/4, 0.194 to 0.994): b, required <= 0.8\n"
        "highest b 0.75, c 0.40; lowest d 0.33, a 0.33\n"
        "18 pairs; left out: 3 images wrong when clean (c 2, a 1)"
    )
    drawn = dataclasses.replace(RECORD, choice="drawn", targets=2, excluded=())
    verdict = RateAtMost("modify", 0.5, "front").judge(TargetedMatrix(drawn))
    assert verdict.claim == (
        "modify rate of front under PGD() at epsilon 2/255 towards 2 other classes, drawn for each image <= 0.5"
    )
    assert verdict.reason == (
        "modify rate of front 0.467 (7/15, 0.213 to 0.734), required <= 0.5\n"
        "highest b 0.50; lowest c 0.33\n"
        "18 pairs; left out: 0 images wrong when clean"
    )


def test_a_part_of_the_pairs_decides_nothing_and_is_judged_with_the_rest() -> None:
    gate = RateAtMost("modify", 0.4, "median")
    verdict = gate.judge(VIEW, part="shard 2 of 8")
    assert (verdict.status, verdict.measured) == ("undecided", pytest.approx(4 / 9))
    assert verdict.reason == (
        "shard 2 of 8: 18 of 27 planned pairs, judged when all shards are merged\n"
        "median modify rate 0.4444 of 3 classes, required <= 0.4\n"
        "highest b 0.50; lowest c 0.33\n"
        "18 pairs; left out: 3 images wrong when clean (c 2, a 1)"
    )
    again = RateAtMost.of_verdict(verdict)
    assert again is not None
    assert again.judge(TargetedMatrix(*verdict.matrices)) == gate.judge(VIEW)


@pytest.mark.parametrize("of", ["median", "worst", "a", "front"])
def test_a_part_without_a_pair_is_undecided_too(of: str) -> None:
    verdict = RateAtMost("modify", 0.4, of).judge(EMPTY, part="shard 1 of 2")
    assert (verdict.status, verdict.measured, verdict.margin, verdict.n) == ("undecided", None, None, 0)
    assert verdict.reason.splitlines()[1].endswith(": nothing tried yet, required <= 0.4")


@pytest.mark.parametrize(
    ("kind", "of", "said"),
    [
        ("modify", "worst", "expected images right when clean of any class, got none"),
        ("modify", "a", "expected images right when clean of 'a', got none"),
        ("mimic", "back", "expected attempts towards 'back', got none"),
    ],
)
def test_a_gate_over_nothing_is_refused(kind: str, of: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        RateAtMost(kind, 0.4, of).judge(EMPTY)  # type: ignore[arg-type]
    assert str(error.value) == f"{said}; a gate over nothing would pass every model"


def test_a_median_over_nothing_is_refused() -> None:
    with pytest.raises(InputError) as error:
        RateAtMost("modify", 0.4, "median").judge(EMPTY)
    assert str(error.value) == (
        "expected at least one image that is right when clean, to go towards another class, got none; a median of nothing "
        "is no number"
    )


def test_a_class_that_does_not_take_part_is_refused_also_of_a_part() -> None:
    for part in ("", "shard 1 of 2"):
        with pytest.raises(InputError) as error:
            RateAtMost("modify", 0.4, "e").judge(VIEW, part=part)
        assert str(error.value) == "expected a class or a group of the matrix, got 'e'; it has a, b, c, ..."


@pytest.mark.parametrize("at_most", [1, 1.5, -0.1, True, "0.5", float("nan")])
def test_a_bar_that_is_no_share_or_that_every_model_passes_is_refused(at_most: object) -> None:
    with pytest.raises(InputError) as error:
        RateAtMost("modify", at_most, "median")  # type: ignore[arg-type]
    assert str(error.value) == (
        f"expected at_most to be a share in [0, 1), got {at_most!r}; a gate at 1 would pass every model"
    )


def test_another_gates_verdict_is_not_judged_here() -> None:
    verdict = dataclasses.replace(RateAtMost("modify", 0.4, "median").judge(VIEW), gate="accuracy")
    assert RateAtMost.of_verdict(verdict) is None


# Of a, b and c were attacked 3, 2 and 1 images; towards a, b, c and d 3, 4, 5 and 6.
@pytest.mark.parametrize(
    ("kind", "of", "bound"),
    [
        ("modify", "c", upper_mean_bound(1 / 3, 1, confidence=0.9)),
        (
            "modify",
            "worst",
            max(upper_mean_bound(k / m, n, confidence=0.9) for k, m, n in ((4, 9, 3), (3, 6, 2), (1, 3, 1))),
        ),
        ("modify", "front", upper_mean_bound(7 / 15, 5, confidence=0.9)),
        ("mimic", "d", upper_mean_bound(2 / 6, 6, confidence=0.9)),
        ("mimic", "back", upper_mean_bound(4 / 11, 6, confidence=0.9)),
        # That at least two of three are as low: the second lowest bound, at half of the risk.
        (
            "modify",
            "median",
            sorted(upper_mean_bound(k / m, n, confidence=0.95) for k, m, n in ((4, 9, 3), (3, 6, 2), (1, 3, 1)))[1],
        ),
        # Of four, three: the third lowest, at half of the risk.
        (
            "mimic",
            "median",
            sorted(upper_mean_bound(k / n, n, confidence=0.95) for k, n in ((1, 3), (3, 4), (2, 5), (2, 6)))[2],
        ),
    ],
)
def test_at_a_confidence_an_upper_bound_counts_images_and_not_pairs(kind: str, of: str, bound: float) -> None:
    for at_most, status in ((bound + 1e-6, "pass"), (bound - 1e-6, "undecided"), (0.1, "fail")):
        gate = RateAtMost(kind, at_most, of, 0.9)  # type: ignore[arg-type]
        verdict = gate.judge(VIEW)
        assert (verdict.status, verdict.confidence) == (status, 0.9)
        assert verdict.measured == pytest.approx(bound)
        assert verdict.margin == pytest.approx(at_most - bound)
        assert RateAtMost.of_verdict(verdict) == gate


def test_at_a_confidence_a_verdict_says_what_can_be_promised_and_what_would_decide() -> None:
    verdict = RateAtMost("modify", 0.9, "c", 0.95).judge(VIEW)
    assert (
        verdict.claim
        == "modify rate of c under PGD() at epsilon 2/255 towards every other class <= 0.9 at confidence 0.95"
    )
    assert verdict.reason == (
        "modify rate of c 0.333 (1/3, 0.008 to 0.906), required <= 0.9\n"
        "at confidence 0.95, at most 0.9957 over all such images\n"
        "undecided: the estimate clears the bar, its bound does not; 4 images with the same rate would decide\n"
        "highest b 0.50; lowest c 0.33\n"
        "18 pairs; left out: 3 images wrong when clean (c 2, a 1)"
    )
    assert RateAtMost("modify", 0.9, "median", 0.95).judge(VIEW).reason.splitlines()[2] == (
        "undecided: the estimate clears the bar, its bound does not; take more images of each class"
    )


def test_a_part_of_the_pairs_is_undecided_at_any_confidence() -> None:
    verdict = RateAtMost("modify", 0.9999, "median", 0.5).judge(VIEW, part="shard 1 of 2")
    assert verdict.status == "undecided"
    assert RateAtMost("modify", 0.5, "worst", 0.95).judge(EMPTY, part="shard 1 of 2").measured is None
