"""What an attack is after: sides for an objective to climb between, and a criterion that says when it is reached."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
import torch.nn.functional as F

from pytest_robustness.attacks.objectives import objective
from pytest_robustness.errors import InputError
from pytest_robustness.types import ABSTAIN, Accepted, Batch, Goal, Logits, Loss

__all__ = ["Mimic", "Miss"]


@dataclass(frozen=True, eq=False)
class Miss:
    """Untargeted: any answer outside the accepted classes. The objective goes from these to all others."""

    accepted: Accepted

    def __post_init__(self) -> None:
        if self.accepted.dtype != torch.bool or self.accepted.ndim != 2:
            raise InputError(
                f"Miss: expected the accepted classes of each image, (n, k) bool, got {self.accepted.dtype} of shape "
                f"{tuple(self.accepted.shape)}; F.one_hot(labels, k).bool() makes them of labels"
            )

    def select(self, rows: torch.Tensor) -> "Miss":
        return Miss(self.accepted[rows])

    def objective(self, logits: Logits, loss: Loss = "log-odds") -> torch.Tensor:
        # Where every class is accepted nothing can be missed: all logits on both sides, a gradient of zero.
        others = ~self.accepted | self.accepted.all(1, keepdim=True)
        return objective(loss, logits, others, self.accepted, alike=self.accepted, targeted=False)

    def reached(self, logits: Logits) -> torch.Tensor:
        return self.satisfied(logits.argmax(1))

    def satisfied(self, answers: torch.Tensor) -> torch.Tensor:
        return ~_among(self.accepted, answers)

    def aims(self, logits: Logits, most: int) -> Sequence[Goal]:
        others = logits.masked_fill(self.accepted, -torch.inf)
        likeliest = others.topk(min(most, logits.shape[1] - 1))
        # An image with fewer other classes than that is aimed at its likeliest one again.
        targets = torch.where(likeliest.values.isfinite(), likeliest.indices, likeliest.indices[:, :1])
        return [_Aimed(self.accepted, column) for column in targets.unbind(1)]


@dataclass(frozen=True, eq=False)
class Mimic:
    """Targeted: the target is the answer; one class per image, (n,) int64. The objective goes from all others to it."""

    targets: torch.Tensor

    @classmethod
    def of(cls, targets: Sequence[int] | torch.Tensor, batch: Batch) -> "Mimic":
        """A target for each image of the batch, in its order.

        Raises InputError for a target that is no class or is accepted already.
        """
        n, k = batch.accepted.shape
        targets = targets.tolist() if isinstance(targets, torch.Tensor) else targets
        if len(targets) != n:
            raise InputError(f"Mimic: expected a target for each of {n} images, got {len(targets)}")
        for target, image_id, accepted in zip(targets, batch.ids, batch.accepted.tolist(), strict=True):
            if not isinstance(target, Integral) or isinstance(target, bool) or not 0 <= int(target) < k:
                raise InputError(
                    f"Mimic: expected targets from 0 to {k - 1}, the classes' numbers, got {target!r} for {image_id}"
                )
            if accepted[target]:
                raise InputError(
                    f"Mimic: expected a target that is not accepted, got {target} for {image_id}, which it is already; "
                    "choose another class"
                )
        return cls(torch.tensor(targets, device=batch.accepted.device))

    def select(self, rows: torch.Tensor) -> "Mimic":
        return Mimic(self.targets[rows])

    def objective(self, logits: Logits, loss: Loss = "log-odds") -> torch.Tensor:
        target = _one(self.targets, logits)
        return objective(loss, logits, target, ~target, alike=target, targeted=True)

    def reached(self, logits: Logits) -> torch.Tensor:
        return self.satisfied(logits.argmax(1))

    def satisfied(self, answers: torch.Tensor) -> torch.Tensor:
        return answers == self.targets

    def aims(self, logits: Logits, most: int) -> Sequence[Goal]:
        return [self]


@dataclass(frozen=True, eq=False)
class _Aimed:
    """A miss by the way of one class: reached by any answer outside the accepted ones, its objective goes to the target."""

    accepted: Accepted
    targets: torch.Tensor

    def select(self, rows: torch.Tensor) -> "_Aimed":
        return _Aimed(self.accepted[rows], self.targets[rows])

    def objective(self, logits: Logits, loss: Loss = "log-odds") -> torch.Tensor:
        target = _one(self.targets, logits)
        return objective(loss, logits, target, self.accepted, alike=self.accepted, targeted=True)

    def reached(self, logits: Logits) -> torch.Tensor:
        return self.satisfied(logits.argmax(1))

    def satisfied(self, answers: torch.Tensor) -> torch.Tensor:
        return ~_among(self.accepted, answers)

    def aims(self, logits: Logits, most: int) -> Sequence[Goal]:
        return [self]


def _among(classes: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """(n,) whether the answer is one of these classes; to abstain is none of them."""
    return classes.gather(1, answers.clamp_min(0).unsqueeze(1)).squeeze(1) & (answers != ABSTAIN)


def _one(targets: torch.Tensor, logits: Logits) -> torch.Tensor:
    """(n, k) bool, True at the target alone."""
    return F.one_hot(targets, logits.shape[1]).bool()
