"""Objectives: how near an answer is to a goal, as a number for an attack to climb.

n images, k classes. Logits (n, k) float; the classes of a side (n, k) bool; objectives (n,), one per image, larger = nearer.
"""

import warnings

import torch
import torch.nn.functional as F

from pytest_robustness.types import Logits, Loss

__all__ = ["objective"]


def objective(
    loss: Loss,
    logits: Logits,
    towards: torch.Tensor,
    away: torch.Tensor,
    *,
    alike: torch.Tensor,
    targeted: bool,
) -> torch.Tensor:
    """How far the logits of the classes `towards` which an attack goes are above those it goes `away` from.

    "log-odds" is log(P(towards) / P(away)), the difference of the logarithms of the sums of exp(logits). It rises exactly as
    the cross-entropy falls or grows, log(1 + odds), and so has the direction of its gradient; but it keeps its length where
    the model is certain, while that of the cross-entropy is rounded to zero from a margin of about 15 in float32 on, and a
    model would look robust for being loud.

    "margin" is the difference of the highest logits of both sides (Carlini and Wagner 2017, section V.A, f6, without a limit):
    above 0 where a class of `towards` wins.

    "dlr" is the margin in units of the spread of the logits, which no scaling of them changes (Croce and Hein 2020): with the
    logits in descending order z1 >= z2 >= ..., the spread is z1 - z3 (equation 6), and z1 - (z3 + z4) / 2 where it is
    `targeted` at one class (equation 7). Of the classes that are `alike`, of which any is as right as another, only the
    highest takes part in the order: two right classes in front would make a constant of the quotient. Where fewer classes
    are left than the spread is made of, 3 or 4, there is no DLR, and the margin takes its place; a model that has no more is
    warned about.
    """
    if loss == "log-odds":
        towards, away = (logits.masked_fill(~side, -torch.inf).logsumexp(1) for side in (towards, away))
        return towards - away
    towards, away = (logits.masked_fill(~side, -torch.inf).amax(1) for side in (towards, away))
    margin = towards - away
    return margin if loss == "margin" else margin / _spread(logits, alike, targeted=targeted)


def _spread(logits: Logits, alike: torch.Tensor, *, targeted: bool) -> torch.Tensor:
    """What DLR divides by; 1 where there are not as many classes as it takes."""
    least, k = 4 if targeted else 3, logits.shape[1]
    if k < least:
        # Told once, as Python tells every warning that is given again.
        warnings.warn(
            f"loss='dlr': expected a model of at least {least} classes for the {'targeted ' * targeted}DLR, got {k}; the margin takes its place",
            stacklevel=2,
        )
    highest = F.one_hot(logits.masked_fill(~alike, -torch.inf).argmax(1), logits.shape[1]).bool()
    others = F.pad(logits.masked_fill(alike & ~highest, -torch.inf), (0, 3), value=-torch.inf)
    first, _, third, fourth = others.topk(4).values.unbind(1)
    low = (third + fourth) / 2 if targeted else third
    # The floor only keeps 0/0 away, where all of them are equal.
    return torch.where(low.isfinite(), first - low, 1.0).clamp_min(1e-12)
