"""What attacks take: how often they ask the model about each image, and for how many of those a gradient."""

from dataclasses import dataclass, replace

import torch

from pytest_robustness.seeding import Streams
from pytest_robustness.types import (
    Attack,
    Attacked,
    BatchClassifier,
    Classifier,
    Goal,
    Images,
    Logits,
    Strengths,
    Telling,
    fits,
)

__all__ = ["Counted", "attacked"]


def attacked(
    attack: Attack, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
) -> Attacked:
    """What the attack finds, with what it took: its own account where it keeps one, else what it is seen to ask."""
    if fits(attack, Telling):
        return attack.attacked(classifier, goal, images, strengths, streams)  # type: ignore[attr-defined, no-any-return]
    counted = Counted.of(classifier, images)
    found = attack.against(counted, goal, images, strengths, streams)
    n = len(images)
    return Attacked(found, counted.queries, counted.gradients, torch.zeros_like(counted.queries).bool(), ("",) * n)


@dataclass(frozen=True, eq=False)
class Counted:
    """A classifier of a batch that counts what it is asked about each image; all that is selected of it counts as well.

    A classifier is asked about images row by row: of an attack that asks about another number of images than it has
    selected, each image is taken to have had its share of them, rounded up.
    """

    classifier: Classifier
    rows: torch.Tensor
    queries: torch.Tensor
    gradients: torch.Tensor

    @classmethod
    def of(cls, classifier: Classifier, images: Images) -> "Counted":
        """One for these images, none of which has been asked about."""
        queries, gradients = torch.zeros(2, len(images), dtype=torch.long, device=images.device)
        return cls(classifier, torch.arange(len(images), device=images.device), queries, gradients)

    @property
    def at_a_time(self) -> int:
        return self.classifier.at_a_time if isinstance(self.classifier, BatchClassifier) else len(self.queries)

    def select(self, rows: torch.Tensor) -> "Counted":
        inner = self.classifier.select(rows) if isinstance(self.classifier, BatchClassifier) else self.classifier
        return replace(self, classifier=inner, rows=self.rows[rows])

    def __call__(self, images: Images) -> Logits:
        logits = self.classifier(images)
        each = -(-len(images) // max(1, len(self.rows)))
        self.queries[self.rows] += each
        if logits.requires_grad:
            # Where the gradient is taken, which need not happen.
            logits.register_hook(lambda _: self._took(each))  # type: ignore[no-untyped-call]
        return logits

    def _took(self, each: int) -> None:
        self.gradients[self.rows] += each
