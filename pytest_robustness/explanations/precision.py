"""Which of many proportions are the highest, found with few draws: KL-LUCB (Kaufmann and Kalyanakrishnan 2013).

An arm is a thing that succeeds with a probability of its own; `hits` and `counts` (a,) say how often each of a arms did, of how
many draws. All tensors are float64 and on the CPU.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

__all__ = ["Contest", "contest", "exploration", "kl_bounds"]

# Theorem 1 of the paper asks for alpha > 1 and k1 > 1 + 1 / (alpha - 1).
_ALPHA = 1.1
_K1 = 11.0
# Newton's steps, which are few because the function is nearly straight where they begin; after 12 no digit changes any more.
_STEPS = 15
# So near to 0 or 1 is a share that is 0 or 1, so that its log-odds are finite; beyond so much a level is infinite.
_NEARLY = 1e-12
_INFINITE = 1e3


def kl_bounds(hits: torch.Tensor, counts: torch.Tensor, levels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The lowest and the highest q in [0, 1] with counts * KL(hits / counts, q) <= levels, arm by arm.

    KL is the divergence of Bernoulli distributions (section 3 of the paper). Levels are > 0; an arm without draws has the
    bounds 0 and 1.
    """
    means = _means(hits, counts).clamp(_NEARLY, 1 - _NEARLY)
    # In the log-odds t of q, KL + entropy = log(1 + exp t) - p t: convex, and above both of its asymptotes. From where the
    # steeper one of each side reaches the level, Newton's steps come nearer without stepping over the bound.
    levels = (levels / counts).clamp_max(_INFINITE) - torch.xlogy(means, means) - torch.xlogy(1 - means, 1 - means)
    odds = torch.stack([-levels / means, levels / (1 - means)])
    for _ in range(_STEPS):
        odds = odds - (F.softplus(odds) - means * odds - levels) / (odds.sigmoid() - means)
    lower, upper = odds.sigmoid()
    return lower, upper


def exploration(counts: torch.Tensor, arms: int, delta: float) -> torch.Tensor:
    """The levels for `kl_bounds` at which, with probability at least 1 - delta, no arm is beyond the bound that matters for it.

    That is the lower one of an arm that is not among the best, the upper one of the others, after any number of draws
    (theorem 1). The paper counts rounds, we the draws of the arm itself: the proof's sum goes over those.
    """
    return math.log(_K1 * arms / delta) + _ALPHA * counts.clamp_min(1).log()


@dataclass(frozen=True, eq=False)
class Contest:
    """How the arms stand: the share of hits of each and its bounds, (a,), and which are `best` by that share, highest first.

    An arm without draws has a share of 0 and no other bounds than 0 and 1. `contested` are the two arms that could most easily
    change places: the one of the best with the lowest lower bound, and the one of the others with the highest upper bound; by
    so much as `gap` the second might be better than the first. Without others there is nothing to contest: `gap` is -inf.
    """

    means: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    best: tuple[int, ...]
    contested: tuple[int, ...]
    gap: float


def contest(hits: torch.Tensor, counts: torch.Tensor, *, most: int, delta: float) -> Contest:
    """How the arms stand in the search for the `most` best of them.

    Whoever draws from the contested arms until the gap is at most epsilon has, with probability at least 1 - delta, found arms
    none of which is worse than the worst of the true best by more than epsilon (theorem 1, stopping rule of LUCB).
    """
    means = _means(hits, counts)
    lower, upper = kl_bounds(hits, counts, exploration(counts, len(counts), delta))
    order = means.argsort(descending=True, stable=True)
    best, others = order[:most], order[most:]
    contested: tuple[int, ...] = ()
    gap = -math.inf
    if len(others):
        weakest, strongest = best[lower[best].argmin()], others[upper[others].argmax()]
        contested, gap = (int(weakest), int(strongest)), float(upper[strongest] - lower[weakest])
    return Contest(means, lower, upper, tuple(best.tolist()), contested, gap)


def _means(hits: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    return hits / counts.clamp_min(1)
