"""Proportions with exact bounds, and pairs compared exactly."""

import functools
import math
from collections.abc import Callable

from scipy.special import bdtr, betaincinv, ndtri

__all__ = [
    "enough_for",
    "enough_for_mean",
    "lower_bound",
    "mcnemar",
    "mcnemar_gain",
    "normal_quantile",
    "proportion_interval",
    "upper_bound",
    "upper_mean_bound",
]

_MOST = 10_000_000


@functools.lru_cache(maxsize=4096)
def proportion_interval(k: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a proportion seen as k successes in n trials.

    With probability at least `confidence`, the interval contains the true proportion (Clopper and
    Pearson 1934). Raises ValueError unless 0 <= k <= n, n >= 1 and 0 < confidence < 1.
    """
    _check(k, n, confidence)
    one_sided = (1 + confidence) / 2
    return lower_bound(k, n, confidence=one_sided), upper_bound(k, n, confidence=one_sided)


@functools.lru_cache(maxsize=4096)
def lower_bound(k: int, n: int, *, confidence: float) -> float:
    """The exact one-sided bound of a proportion seen as k successes in n trials.

    With probability at least `confidence`, the true proportion is not below it (Clopper and Pearson 1934). Raises ValueError as
    `proportion_interval` does.
    """
    _check(k, n, confidence)
    return 0.0 if k == 0 else float(betaincinv(k, n - k + 1, 1 - confidence))


def upper_bound(k: int, n: int, *, confidence: float) -> float:
    """`lower_bound` from above: with probability at least `confidence`, the true proportion is not above it."""
    _check(k, n, confidence)
    return 1.0 if k == n else float(betaincinv(k + 1, n - k, confidence))


def upper_mean_bound(mean: float, n: int, *, confidence: float) -> float:
    """The bound of the mean of numbers in [0, 1], of which n that were drawn independently have this mean.

    With probability at least `confidence`, the true mean is not above it: the inequality of Hoeffding (1963) and Bentkus (2004), whichever
    says more, as Bates et al. (2021) join them. For ones and zeros, `upper_bound` is closer. Raises ValueError as
    `proportion_interval` does.
    """
    _check(0, n, confidence)
    if not 0 <= mean <= 1:
        raise ValueError(f"expected a mean in [0, 1], got {mean}")
    # Rounding up is right for a sum that is no whole number, but 0.3 * 10 is 3.
    successes = math.ceil(mean * n - 1e-9)
    low, high = mean, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        if _tail(mean, successes, n, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _tail(mean: float, successes: int, n: int, truth: float) -> float:
    """How likely n numbers of this true mean have a mean as low, at most."""
    divergence = sum(part * math.log(part / of) for part, of in ((mean, truth), (1 - mean, 1 - truth)) if part)
    return min(math.exp(-n * divergence), math.e * float(bdtr(successes, n, truth)))


def enough_for(k: int, n: int, bar: float, *, confidence: float) -> int | None:
    """So many trials, with as large a share of successes as k of n, bring `lower_bound` to the bar; None where none do.

    That is where the share is not above the bar, and where it would take more than ten million.
    """
    if k / n <= bar:
        return None
    return _enough(n, lambda trials: lower_bound(k * trials // n, trials, confidence=confidence) >= bar)


def enough_for_mean(mean: float, n: int, bar: float, *, confidence: float) -> int | None:
    """So many numbers in [0, 1], of the same mean as these n, bring `upper_mean_bound` to the bar; None where none do, as above."""
    if mean >= bar:
        return None
    return _enough(n, lambda numbers: upper_mean_bound(mean, numbers, confidence=confidence) <= bar)


def _enough(n: int, clears: Callable[[int], bool]) -> int | None:
    """The smallest number from n on that clears a bar that all larger ones clear as well, as far as rounding lets them."""
    low, high = n, n
    while not clears(high):
        low, high = high, 2 * high
        if high > _MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if clears(middle):
            high = middle
        else:
            low = middle
    return high


def normal_quantile(share: float) -> float:
    """The value that a standard normal number stays below with this probability, in (0, 1)."""
    return float(ndtri(share))


def mcnemar(b: int, c: int) -> float:
    """The exact two-sided p-value of b pairs that differ one way and c that differ the other way (McNemar 1947).

    Where both ways are as likely, p is above alpha with probability at least 1 - alpha: the binomial distribution, without
    an approximation. Pairs that agree say nothing. Raises ValueError for a count below 0.
    """
    if min(b, c) < 0:
        raise ValueError(f"expected two counts >= 0, got b={b}, c={c}")
    return min(1.0, 2 * float(bdtr(min(b, c), b + c, 0.5)))


def mcnemar_gain(b: int, c: int) -> float:
    """`mcnemar` with a direction: the exact one-sided p-value of b pairs that gained and c that lost."""
    if min(b, c) < 0:
        raise ValueError(f"expected two counts >= 0, got b={b}, c={c}")
    return float(bdtr(c, b + c, 0.5))


def _check(k: int, n: int, confidence: float) -> None:
    if not 0 <= k <= n or n < 1:
        raise ValueError(f"expected 0 <= k <= n and n >= 1, got k={k}, n={n}")
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, got {confidence}")
