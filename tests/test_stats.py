"""Exact intervals and comparisons, held against closed forms, enumeration and published values."""

import math
import re

import pytest

from pytest_robustness.stats import (
    enough_for,
    enough_for_mean,
    lower_bound,
    mcnemar,
    mcnemar_gain,
    normal_quantile,
    proportion_interval,
    upper_bound,
    upper_mean_bound,
)

# shared/reference.json, clopper_pearson_lower_one_sided: (k, n, alpha, lower).
LOWER_BOUNDS = [
    (100000, 100000, 0.001, 0.9999309248330094),
    (100000, 100000, 0.01, 0.9999539493585035),
    (99999, 100000, 0.001, 0.9999076696662654),
    (99000, 100000, 0.001, 0.9889893403774748),
    (75000, 100000, 0.001, 0.7457468421355667),
    (50000, 100000, 0.001, 0.49510904290369595),
    (1000, 1000, 0.001, 0.9931160484209338),
    (990, 1000, 0.001, 0.9760361871553114),
    (100, 100, 0.001, 0.933254300796991),
    (95, 100, 0.05, 0.8977466223567255),
    (100, 100, 0.05, 0.9704869503929601),
    (10, 10, 0.001, 0.5011872336272722),
    (9, 9, 0.001, 0.4641588833612779),
    (7, 10, 0.001, 0.20463672209928987),
    (0, 10, 0.001, 0.0),
    (590, 1000, 0.05, 0.5637448382380044),
]


def at_least(k: int, n: int, p: float) -> float:
    """P(X >= k) for X binomial(n, p), term by term."""
    return math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))


@pytest.mark.parametrize("n", [1, 2, 10, 100, 10_000])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_no_success_gives_the_closed_form_from_0(n: int, confidence: float) -> None:
    lower, upper = proportion_interval(0, n, confidence=confidence)
    assert lower == 0
    assert upper == pytest.approx(1 - ((1 - confidence) / 2) ** (1 / n), rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 10, 100, 10_000])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_nothing_but_successes_gives_the_closed_form_up_to_1(n: int, confidence: float) -> None:
    lower, upper = proportion_interval(n, n, confidence=confidence)
    assert lower == pytest.approx(((1 - confidence) / 2) ** (1 / n), rel=1e-9)
    assert upper == 1


@pytest.mark.parametrize(("k", "n"), [(1, 2), (1, 7), (3, 10), (9, 10), (20, 40)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_at_each_bound_the_tail_beyond_what_was_seen_is_half_of_what_is_left(k: int, n: int, confidence: float) -> None:
    """Clopper and Pearson's definition: P(X >= k | lower) = P(X <= k | upper) = (1 - confidence) / 2."""
    lower, upper = proportion_interval(k, n, confidence=confidence)
    assert at_least(k, n, lower) == pytest.approx((1 - confidence) / 2, rel=1e-9)
    assert 1 - at_least(k + 1, n, upper) == pytest.approx((1 - confidence) / 2, rel=1e-9)


@pytest.mark.parametrize(("k", "n", "alpha", "lower"), LOWER_BOUNDS)
def test_a_one_sided_bound_is_an_end_of_the_interval_with_twice_the_risk(
    k: int, n: int, alpha: float, lower: float
) -> None:
    assert proportion_interval(k, n, confidence=1 - 2 * alpha)[0] == pytest.approx(lower, abs=1e-12)


def test_the_confidence_is_95_percent_unless_said_otherwise() -> None:
    assert proportion_interval(3, 4) == proportion_interval(3, 4, confidence=0.95)


@pytest.mark.parametrize("n", [1, 5, 12, 30])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_contains_the_true_proportion_at_least_as_often_as_promised(n: int, confidence: float) -> None:
    """Over all outcomes of a binomial, weighed by their probability, for proportions across [0, 1]."""
    intervals = [proportion_interval(k, n, confidence=confidence) for k in range(n + 1)]
    for p in (0.0, 0.001, 0.03, 0.1, 0.25, 1 / 3, 0.5, 0.77, 0.9, 0.999, 1.0):
        covered = math.fsum(
            math.comb(n, k) * p**k * (1 - p) ** (n - k)
            for k, (lower, upper) in enumerate(intervals)
            if lower <= p <= upper
        )
        assert covered >= confidence - 1e-12


def test_failures_are_successes_mirrored() -> None:
    for k in range(18):
        lower, upper = proportion_interval(k, 17)
        assert proportion_interval(17 - k, 17) == (pytest.approx(1 - upper), pytest.approx(1 - lower))


def test_the_interval_holds_the_seen_proportion_and_grows_with_confidence() -> None:
    for k in range(18):
        (low, high), (lower, higher) = (proportion_interval(k, 17, confidence=c) for c in (0.8, 0.99))
        assert lower <= low <= k / 17 <= high <= higher
        assert higher - lower > high - low


@pytest.mark.parametrize(("k", "n"), [(-1, 4), (5, 4), (0, 0), (0, -1)])
def test_counts_that_cannot_be_are_refused(k: int, n: int) -> None:
    message = f"expected 0 <= k <= n and n >= 1, got k={k}, n={n}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        proportion_interval(k, n)


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 95, math.nan])
def test_a_confidence_outside_0_to_1_is_refused(confidence: float) -> None:
    message = f"expected a confidence between 0 and 1, got {confidence}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        proportion_interval(3, 4, confidence=confidence)


@pytest.mark.parametrize("b", [1, 2, 5, 30, 500])
def test_pairs_that_all_differ_one_way_are_as_likely_as_coins_that_all_fall_alike(b: int) -> None:
    assert mcnemar(b, 0) == mcnemar(0, b) == pytest.approx(2.0 ** (1 - b), rel=1e-12)


def test_a_comparison_is_twice_the_smaller_tail_of_a_fair_coin_and_at_most_1() -> None:
    for b in range(12):
        for c in range(12):
            tail = math.fsum(math.comb(b + c, i) for i in range(min(b, c) + 1)) / 2 ** (b + c)
            assert mcnemar(b, c) == mcnemar(c, b) == pytest.approx(min(1.0, 2 * tail), rel=1e-12)
    assert mcnemar(0, 0) == mcnemar(7, 7) == 1
    # As in any table of the sign test.
    assert mcnemar(12, 3) == pytest.approx(0.03515625, rel=1e-12)


@pytest.mark.parametrize("n", [1, 6, 25])
def test_models_that_hold_as_well_are_told_apart_no_more_often_than_promised(n: int) -> None:
    for alpha in (0.01, 0.05, 0.3):
        wrongly = math.fsum(math.comb(n, b) / 2**n for b in range(n + 1) if mcnemar(b, n - b) <= alpha)
        assert wrongly <= alpha + 1e-12


@pytest.mark.parametrize(("b", "c"), [(-1, 3), (3, -1)])
def test_pairs_are_counted_from_0(b: int, c: int) -> None:
    with pytest.raises(ValueError, match=f"^expected two counts >= 0, got b={b}, c={c}$"):
        mcnemar(b, c)
    with pytest.raises(ValueError, match=f"^expected two counts >= 0, got b={b}, c={c}$"):
        mcnemar_gain(b, c)


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1 / 2),
        (0, 1, 1.0),
        (5, 0, 1 / 32),
        (0, 5, 1.0),
        (1, 1, 3 / 4),
        (2, 1, (1 + 3) / 8),
        (1, 2, (1 + 3 + 3) / 8),
        (7, 1, (1 + 8) / 256),
        (1, 7, 255 / 256),
        (3, 3, (1 + 6 + 15 + 20) / 64),
        (12, 3, (1 + 15 + 105 + 455) / 2**15),
    ],
)
def test_a_gain_is_the_tail_of_a_fair_coin_that_lost_at_most_so_often(b: int, c: int, p: float) -> None:
    assert mcnemar_gain(b, c) == pytest.approx(p, rel=1e-12)


def test_a_gain_has_a_direction_where_a_comparison_has_none() -> None:
    for b in range(12):
        for c in range(12):
            tail = math.fsum(math.comb(b + c, i) for i in range(c + 1)) / 2 ** (b + c)
            assert mcnemar_gain(b, c) == pytest.approx(tail, rel=1e-12)
            # Both directions hold what was seen.
            seen = math.comb(b + c, c) / 2 ** (b + c)
            assert mcnemar_gain(b, c) + mcnemar_gain(c, b) == pytest.approx(1 + seen, rel=1e-12)
            assert mcnemar(b, c) == pytest.approx(min(1.0, 2 * mcnemar_gain(max(b, c), min(b, c))), rel=1e-12)


@pytest.mark.parametrize("n", [1, 6, 25])
def test_a_vote_that_gains_nothing_is_taken_for_one_that_does_no_more_often_than_promised(n: int) -> None:
    for alpha in (0.01, 0.05, 0.3):
        wrongly = math.fsum(math.comb(n, b) / 2**n for b in range(n + 1) if mcnemar_gain(b, n - b) <= alpha)
        assert wrongly <= alpha + 1e-12


@pytest.mark.parametrize(("k", "n", "alpha", "lower"), LOWER_BOUNDS)
def test_a_lower_bound_is_the_published_one_and_an_upper_bound_its_mirror_image(
    k: int, n: int, alpha: float, lower: float
) -> None:
    assert lower_bound(k, n, confidence=1 - alpha) == pytest.approx(lower, abs=1e-12)
    assert upper_bound(n - k, n, confidence=1 - alpha) == pytest.approx(1 - lower, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 10, 100, 10_000])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_one_sided_bounds_have_closed_forms_where_all_trials_come_out_alike(n: int, confidence: float) -> None:
    assert lower_bound(n, n, confidence=confidence) == pytest.approx((1 - confidence) ** (1 / n), rel=1e-9)
    assert upper_bound(0, n, confidence=confidence) == pytest.approx(1 - (1 - confidence) ** (1 / n), rel=1e-9)
    assert (lower_bound(0, n, confidence=confidence), upper_bound(n, n, confidence=confidence)) == (0, 1)


@pytest.mark.parametrize(("k", "n"), [(1, 2), (1, 7), (3, 10), (9, 10), (20, 40)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_at_a_one_sided_bound_the_tail_beyond_what_was_seen_is_all_that_is_left(
    k: int, n: int, confidence: float
) -> None:
    lower, upper = (bound(k, n, confidence=confidence) for bound in (lower_bound, upper_bound))
    assert at_least(k, n, lower) == pytest.approx(1 - confidence, rel=1e-9)
    assert 1 - at_least(k + 1, n, upper) == pytest.approx(1 - confidence, rel=1e-9)


@pytest.mark.parametrize("n", [1, 5, 12, 30])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_a_one_sided_bound_is_on_its_side_of_the_true_proportion_at_least_as_often_as_promised(
    n: int, confidence: float
) -> None:
    """Over all outcomes of a binomial, weighed by their probability, for proportions across [0, 1]."""
    for p in (0.0, 0.001, 0.1, 1 / 3, 0.5, 0.77, 0.999, 1.0):
        weights = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
        below = math.fsum(w for k, w in enumerate(weights) if lower_bound(k, n, confidence=confidence) <= p)
        above = math.fsum(w for k, w in enumerate(weights) if upper_bound(k, n, confidence=confidence) >= p)
        assert min(below, above) >= confidence - 1e-12


@pytest.mark.parametrize(("k", "n"), [(-1, 4), (5, 4), (0, 0), (0, -1)])
def test_counts_that_cannot_be_have_no_one_sided_bound(k: int, n: int) -> None:
    message = f"expected 0 <= k <= n and n >= 1, got k={k}, n={n}"
    for bound in (lower_bound, upper_bound):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            bound(k, n, confidence=0.95)


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 95, math.nan])
def test_a_confidence_outside_0_to_1_has_no_one_sided_bound(confidence: float) -> None:
    message = f"expected a confidence between 0 and 1, got {confidence}"
    for bound in (lower_bound, upper_bound):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            bound(3, 4, confidence=confidence)


@pytest.mark.parametrize("share", [1e-9, 0.001, 0.2, 0.5, 0.7, 0.975, 0.99993])
def test_a_normal_quantile_is_where_the_normal_distribution_comes_to_the_share(share: float) -> None:
    assert math.erfc(-normal_quantile(share) / math.sqrt(2)) / 2 == pytest.approx(share, rel=1e-9)
    assert normal_quantile(1 - share) == pytest.approx(-normal_quantile(share), rel=1e-7, abs=1e-12)


def test_normal_quantiles_are_those_of_any_table() -> None:
    assert normal_quantile(0.5) == 0
    assert [round(normal_quantile(share), 6) for share in (0.9, 0.95, 0.975, 0.99)] == [
        1.281552,
        1.644854,
        1.959964,
        2.326348,
    ]


# shared/reference.json, cohen_radius_over_sigma.
@pytest.mark.parametrize(
    ("k", "n", "alpha", "radius"),
    [
        (100000, 100000, 0.001, 3.8114565633899145),
        (99000, 100000, 0.001, 2.289999955213766),
        (99998, 100000, 0.01, 3.7626631703626208),
        (100, 100, 0.001, 1.5004750241206364),
    ],
)
def test_the_quantile_of_a_lower_bound_is_the_certified_radius_by_sigma(
    k: int, n: int, alpha: float, radius: float
) -> None:
    assert normal_quantile(lower_bound(k, n, confidence=1 - alpha)) == pytest.approx(radius, abs=1e-9)


@pytest.mark.parametrize(("k", "n", "bar"), [(80, 100, 0.75), (9, 10, 0.5), (1, 1, 0.9), (55, 100, 0.54)])
def test_so_many_trials_bring_the_bound_to_the_bar_and_one_fewer_does_not(k: int, n: int, bar: float) -> None:
    enough = enough_for(k, n, bar, confidence=0.95)
    assert enough is not None
    assert lower_bound(k * enough // n, enough, confidence=0.95) >= bar
    if enough > n:
        assert lower_bound(k * (enough - 1) // n, enough - 1, confidence=0.95) < bar


def test_no_number_of_trials_brings_the_bound_to_the_share_itself() -> None:
    assert enough_for(80, 100, 0.8, confidence=0.95) is None
    assert enough_for(80, 100, 0.81, confidence=0.95) is None
    assert enough_for(500_001, 1_000_000, 0.5, confidence=0.95) is None


@pytest.mark.parametrize("p", [0.01, 0.1, 0.37, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("n", [1, 5, 30])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_a_bound_of_a_mean_is_above_the_true_one_at_least_as_often_as_promised(
    n: int, p: float, confidence: float
) -> None:
    """Every outcome of n numbers that are 0, 1/2 or 1, whose true mean is p: with 1/2 a third of the time that it can be."""
    half = min(p, 1 - p) * 2 / 3
    one = p - half / 2
    above = math.fsum(
        math.comb(n, k) * math.comb(n - k, h) * one**k * half**h * (1 - one - half) ** (n - k - h)
        for k in range(n + 1)
        for h in range(n - k + 1)
        if upper_mean_bound((k + h / 2) / n, n, confidence=confidence) >= p
    )
    assert above >= confidence - 1e-9


@pytest.mark.parametrize(("k", "n"), [(0, 50), (5, 50), (150, 500), (500, 1000), (1, 1), (10, 10)])
def test_of_ones_and_zeros_the_bound_of_the_mean_is_not_far_above_the_exact_one(k: int, n: int) -> None:
    exact, bound = upper_bound(k, n, confidence=0.95), upper_mean_bound(k / n, n, confidence=0.95)
    assert exact - 1e-8 <= bound <= exact + 0.03


def test_a_bound_of_a_mean_of_zeros_has_a_closed_form() -> None:
    """Hoeffding's inequality is exact there: 1 - (1 - confidence) ** (1 / n)."""
    assert upper_mean_bound(0, 50, confidence=0.95) == pytest.approx(1 - 0.05 ** (1 / 50), abs=1e-8)
    assert upper_mean_bound(1, 50, confidence=0.95) == 1


@pytest.mark.parametrize("mean", [-0.1, 1.1, float("nan")])
def test_a_mean_outside_0_to_1_has_no_bound(mean: float) -> None:
    with pytest.raises(ValueError, match=r"^expected a mean in \[0, 1\], got "):
        upper_mean_bound(mean, 5, confidence=0.95)


def test_so_many_numbers_bring_the_bound_of_their_mean_to_the_bar() -> None:
    enough = enough_for_mean(0.3, 20, 0.4, confidence=0.95)
    assert enough is not None
    assert upper_mean_bound(0.3, enough, confidence=0.95) <= 0.4
    assert upper_mean_bound(0.3, enough - 2, confidence=0.95) > 0.4
    assert enough_for_mean(0.4, 20, 0.4, confidence=0.95) is None
    assert enough_for_mean(0.3, 20, 0.3 + 1e-9, confidence=0.95) is None
