"""What an attack is after, as an objective to climb and a criterion that says when it is reached."""

from dataclasses import dataclass

import torch

from pytest_robustness.types import Accepted, Logits

__all__ = ["Miss"]


@dataclass(frozen=True, eq=False)
class Miss:
    """Untargeted: any answer outside the accepted classes.

    The objective is the cross-entropy of the accepted classes taken together,
    -log sum_{c accepted} softmax(logits)_c, which for one accepted class is the usual cross-entropy.
    """

    accepted: Accepted

    def objective(self, logits: Logits) -> torch.Tensor:
        right = logits.masked_fill(~self.accepted, -torch.inf).logsumexp(1)
        return logits.logsumexp(1) - right

    def reached(self, logits: Logits) -> torch.Tensor:
        return ~self.accepted.gather(1, logits.argmax(1, keepdim=True)).squeeze(1)
