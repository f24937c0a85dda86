"""Proportions with exact bounds, and paired comparisons."""

import functools

from scipy.special import betainc, betaincinv

__all__ = ["paired_p", "proportion_interval"]


@functools.lru_cache(maxsize=4096)
def proportion_interval(k: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a proportion seen as k successes in n trials.

    With probability at least `confidence`, the interval contains the true proportion (Clopper and
    Pearson 1934). Raises ValueError unless 0 <= k <= n, n >= 1 and 0 < confidence < 1.
    """
    if not 0 <= k <= n or n < 1:
        raise ValueError(f"expected 0 <= k <= n and n >= 1, got k={k}, n={n}")
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, got {confidence}")
    tail = (1 - confidence) / 2
    lower = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    upper = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return lower, upper


def paired_p(gained: int, lost: int) -> float:
    """How probable it is that pairs which differ part this unevenly, or more so, if they part by chance.

    Of the same images in two cases, `gained` were right in the second alone and `lost` in the first alone: the exact two-sided
    test of McNemar (1947). 1 where no pair differs. Raises ValueError for negative numbers.
    """
    if min(gained, lost) < 0:
        raise ValueError(f"expected gained >= 0 and lost >= 0, got {gained} and {lost}")
    more, n = max(gained, lost), gained + lost
    return 1.0 if 2 * more == n else min(1.0, 2 * float(betainc(more, n - more + 1, 0.5)))
