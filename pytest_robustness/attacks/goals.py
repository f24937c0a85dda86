"""What an attack is after, as an objective to climb and a criterion that says when it is reached."""

from dataclasses import dataclass

import torch

from pytest_robustness.types import Accepted, Logits

__all__ = ["Miss"]


@dataclass(frozen=True, eq=False)
class Miss:
    """Untargeted: any answer outside the accepted classes.

    The objective is the log-odds of the other classes, log(P(others) / P(accepted)) =
    logsumexp(other logits) - logsumexp(accepted logits). It grows exactly as the cross-entropy of the accepted
    classes does, log(1 + odds), and so has the gradient's direction of the cross-entropy; but it keeps its length
    where the model is certain, while that of the cross-entropy is rounded to zero from a margin of about 15 in
    float32 on, and a model would look robust for being loud.
    """

    accepted: Accepted

    def select(self, rows: torch.Tensor) -> "Miss":
        return Miss(self.accepted[rows])

    def objective(self, logits: Logits) -> torch.Tensor:
        # Where every class is accepted nothing can be missed: all logits on both sides, a gradient of zero.
        others = ~self.accepted | self.accepted.all(1, keepdim=True)
        other, right = (logits.masked_fill(~side, -torch.inf).logsumexp(1) for side in (others, self.accepted))
        return other - right

    def reached(self, logits: Logits) -> torch.Tensor:
        return ~self.accepted.gather(1, logits.argmax(1, keepdim=True)).squeeze(1)
