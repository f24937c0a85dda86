"""What is said of all images of which some were measured."""

import math

import pytest

from pytest_robustness.bounds import bound_text, check_confidence, quantile_bound, sure, undecided_text, with_confidence
from pytest_robustness.errors import InputError
from pytest_robustness.stats import lower_bound


@pytest.mark.parametrize(
    ("estimate", "bound", "status"),
    [(True, True, "pass"), (True, False, "undecided"), (False, False, "fail"), (False, True, "fail")],
)
def test_an_estimate_that_misses_the_bar_fails_and_one_whose_bound_misses_it_is_undecided(
    estimate: bool, bound: bool, status: str
) -> None:
    assert sure(estimate, bound) == status


def test_a_bound_is_told_and_where_it_is_too_low_alone_so_is_what_would_decide() -> None:
    assert bound_text(90, 100, 0.8, 0.95) == "at confidence 0.95, at least 0.8363 of all such images"
    assert bound_text(90, 100, 0.95, 0.95) == "at confidence 0.95, at least 0.8363 of all such images"
    assert bound_text(90, 100, 0.87, 0.95, doing=" sing", alike="song") == (
        "at confidence 0.95, at least 0.8363 of all such images sing\n"
        "undecided: the estimate clears the bar, its bound does not; 386 images with the same song would decide"
    )


def test_where_no_number_of_images_would_decide_that_is_said() -> None:
    assert undecided_text(None, "rate") == (
        "undecided: the estimate clears the bar, its bound does not; no number of images with this rate would"
    )
    assert undecided_text(12345, "rate").endswith("; 12,345 images with the same rate would decide")


@pytest.mark.parametrize("confidence", [0.49, 1, 95, True, "0.95"])
def test_what_is_no_confidence_is_refused(confidence: object) -> None:
    with pytest.raises(InputError) as error:
        check_confidence(confidence)
    assert str(error.value) == f"expected a confidence in [0.5, 1), such as 0.95, or none, got {confidence!r}"


def test_a_claim_ends_with_its_confidence() -> None:
    assert (with_confidence(None), with_confidence(0.9)) == ("", " at confidence 0.9")


@pytest.mark.parametrize(
    ("n", "share", "place"), [(28, 0.1, None), (29, 0.1, 0), (45, 0.1, 0), (46, 0.1, 1), (1000, 0.5, 473)]
)
def test_a_quantile_is_promised_by_the_value_that_enough_images_reach(n: int, share: float, place: int | None) -> None:
    """.9 ** 28 > .05 >= .9 ** 29; one of 46 may break as well."""
    found = quantile_bound(range(n), share, 0.95)
    assert found == place
    if found is not None:
        assert lower_bound(n - int(found), n, confidence=0.95) >= 1 - share
        assert lower_bound(n - int(found) - 1, n, confidence=0.95) < 1 - share


def test_a_promised_quantile_is_reached_by_as_many_of_all_images_as_often_as_promised() -> None:
    """Of values spread evenly over [0, 1], the j-th smallest of n is below q when more than j of n fall there."""
    n, q = 60, 0.1
    place = quantile_bound(range(n), q, 0.95)
    assert place is not None
    held = math.fsum(math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(int(place) + 1, n + 1))
    assert held >= 0.95
