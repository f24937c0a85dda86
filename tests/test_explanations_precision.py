"""Bounds against brute force and closed forms, the contest by what it promises."""

import math

import pytest
import torch

from pytest_robustness.explanations.precision import contest, exploration, kl_bounds


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def divergence(p: float, q: float) -> float:
    """Of Bernoulli distributions, by the definition."""
    return sum(a * math.log(a / b) for a, b in ((p, q), (1 - p, 1 - q)) if a > 0)


@pytest.mark.parametrize("n", [1, 7, 100, 3000])
@pytest.mark.parametrize("level", [0.1, 3.0, 15.0])
def test_the_bounds_are_the_ends_of_what_brute_force_finds_within_the_level(n: int, level: float) -> None:
    grid = [step / 20_000 for step in range(1, 20_000)]
    for k in {0, 1, n // 3, n - 1, n}:
        lower, upper = (float(bound) for bound in kl_bounds(column(k), column(n), column(level)))
        held = [q for q in grid if n * divergence(k / n, q) <= level] or [k / n]
        assert lower <= min(held) <= lower + 1.1e-4
        assert upper >= max(held) >= upper - 1.1e-4


@pytest.mark.parametrize("n", [1, 20, 500])
def test_where_all_draws_agree_the_bounds_have_a_closed_form(n: int) -> None:
    """n KL(1, q) = -n log q, and the same upside down."""
    lower, upper = kl_bounds(column(0, n), column(n, n), column(2, 2))
    assert (float(lower[0]), float(upper[1])) == (0, 1)
    assert upper[0] == pytest.approx(1 - math.exp(-2 / n), abs=1e-10)
    assert lower[1] == pytest.approx(math.exp(-2 / n), abs=1e-10)


@pytest.mark.parametrize("n", [1, 10, 1000, 100_000])
def test_at_a_bound_the_divergence_is_the_level(n: int) -> None:
    for level in (0.1, 4.0, 30.0):
        hits = torch.linspace(0.01, 0.99, 50, dtype=torch.float64) * n
        bounds = kl_bounds(hits, torch.full_like(hits, n), torch.full_like(hits, level))
        for share, lower, upper in zip((hits / n).tolist(), *(bound.tolist() for bound in bounds), strict=True):
            assert lower < share < upper
            for bound in (lower, upper):
                # Within what rounding makes of 1 - q where q is next to 1.
                if 1e-9 < bound < 1 - 1e-9:
                    assert n * divergence(share, bound) == pytest.approx(level, rel=1e-5)


def test_without_draws_nothing_is_known() -> None:
    lower, upper = kl_bounds(column(0), column(0), column(3))
    assert (lower.tolist(), upper.tolist()) == ([0], [1])


def test_more_draws_tighten_the_bounds_and_a_higher_level_widens_them() -> None:
    counts = column(10, 20, 40, 80)
    lower, upper = kl_bounds(counts * 0.7, counts, torch.full_like(counts, 3.0))
    assert (lower.diff() > 0).all()
    assert (upper.diff() < 0).all()
    lower, upper = kl_bounds(column(7, 7, 7), column(10, 10, 10), column(1, 2, 4))
    assert (lower.diff() < 0).all()
    assert (upper.diff() > 0).all()


def test_the_risks_of_all_draws_of_all_arms_add_up_to_at_most_delta() -> None:
    """The sum of exp(-level) over the draws, which the proof goes by; what is beyond a million is bounded by the integral."""
    draws = torch.arange(1, 1_000_001, dtype=torch.float64)
    for arms, delta in ((1, 0.1), (49, 0.05)):
        risk = float((-exploration(draws, arms, delta)).exp().sum())
        rest = delta / (11 * arms) * 1_000_000**-0.1 / 0.1
        assert 0.9 * delta <= arms * (risk + rest) <= delta


def test_the_true_share_is_never_beyond_its_bounds_more_often_than_promised() -> None:
    """400 arms watched over 400 draws each, the lower bound at every draw."""
    generator = torch.Generator().manual_seed(0)
    for p in (0.3, 0.8, 0.95):
        hits = torch.bernoulli(torch.full((400, 400), p, dtype=torch.float64), generator=generator).cumsum(1)
        counts = torch.arange(1, 401, dtype=torch.float64).expand_as(hits).flatten()
        lower, upper = kl_bounds(hits.flatten(), counts, exploration(counts, 1, 0.2))
        assert (lower.reshape(400, 400) > p).any(1).double().mean() <= 0.2
        assert (upper.reshape(400, 400) < p).any(1).double().mean() <= 0.2


def test_the_best_are_those_with_the_highest_share_the_earlier_one_of_equals() -> None:
    standing = contest(column(3, 9, 5, 9, 0), column(10, 10, 10, 10, 0), most=3, delta=0.1)
    assert standing.best == (1, 3, 2)
    assert standing.means.tolist() == [0.3, 0.9, 0.5, 0.9, 0]


def test_the_contested_arms_are_the_weakest_of_the_best_and_the_strongest_of_the_others() -> None:
    # The third has been drawn so rarely that it might be the best of all.
    standing = contest(column(90, 80, 1, 50), column(100, 100, 3, 100), most=2, delta=0.1)
    assert standing.best == (0, 1)
    assert standing.contested == (1, 2)
    assert standing.gap == float(standing.upper[2] - standing.lower[1]) > 0


@pytest.mark.parametrize("most", [2, 5])
def test_without_others_nothing_is_contested(most: int) -> None:
    standing = contest(column(1, 2), column(4, 4), most=most, delta=0.1)
    assert (standing.best, standing.contested, standing.gap) == ((1, 0), (), -math.inf)


def test_arms_that_are_drawn_until_the_gap_is_closed_are_as_good_as_promised() -> None:
    """40 bandits of 8 arms, the 2 best to a tolerance of 0.2, in batches of 40."""
    generator = torch.Generator().manual_seed(0)
    wrong, spread = 0, []
    for _ in range(40):
        shares = torch.rand(8, generator=generator, dtype=torch.float64)
        counts = torch.full((8,), 40.0, dtype=torch.float64)
        hits = torch.binomial(counts, shares, generator=generator)
        while (standing := contest(hits, counts, most=2, delta=0.1)).gap > 0.2:
            for arm in standing.contested:
                hits[arm] += torch.binomial(column(40), shares[arm : arm + 1], generator=generator)[0]
                counts[arm] += 40
        wrong += bool(shares[list(standing.best)].min() < shares.sort(descending=True).values[1] - 0.2)
        spread.append(float(counts.max() / counts.min()))
    assert wrong <= 4
    # Draws go where the contest is.
    assert sorted(spread)[20] >= 3
