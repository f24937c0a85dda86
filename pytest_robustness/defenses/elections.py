"""A model behind a defense as an attacker sees it who knows of it: through all of its views, and with its own rule.

v views of n images, k classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from pytest_robustness.errors import InputError
from pytest_robustness.seeding import Streams
from pytest_robustness.types import BatchClassifier, Defense, Goal, Images, Logits, Loss

__all__ = ["Elected", "Polled", "asked", "tally"]


def asked(classifier: BatchClassifier, views: torch.Tensor) -> torch.Tensor:
    """The logits (v, n, k) of views (v, n, c, h, w) of the images of a batch; all views share the model's batches."""
    v, n = views.shape[:2]
    rows = torch.arange(n, device=views.device).repeat(v)
    parts = zip(*(torch.split(own, classifier.at_a_time) for own in (rows, views.flatten(0, 1))), strict=True)
    return torch.cat([classifier.select(own)(shown) for own, shown in parts]).reshape(v, n, -1)


def tally(answers: torch.Tensor, k: int) -> torch.Tensor:
    """How often each of k classes is among the answers of each row: (n, m) int64 -> (n, k) int64."""
    counts = torch.zeros(len(answers), k, dtype=torch.long, device=answers.device)
    return counts.scatter_add_(1, answers, torch.ones_like(answers))


@dataclass(frozen=True, eq=False)
class Polled:
    """A classifier that is asked about the views of a defense: its answers, (n, v, k), are those to all of them.

    For an `Elected` goal. The views of an image are the same ones whenever it is asked: so is their noise.
    """

    classifier: BatchClassifier
    defense: Defense
    streams: Streams

    @property
    def at_a_time(self) -> int:
        return max(1, self.classifier.at_a_time // self.defense.view_count)

    def select(self, rows: torch.Tensor) -> "Polled":
        return replace(self, classifier=self.classifier.select(rows), streams=self.streams.select(rows.tolist()))

    def __call__(self, images: Images) -> Logits:
        if len(images) != len(self.streams.ids):
            raise InputError(
                f"{self.defense!r}: expected to be asked about the {len(self.streams.ids)} images that were selected, row by row, got "
                f"{len(images)}; let the attack select those it asks about"
            )
        return asked(self.classifier, self.defense.views(images, self.streams)).transpose(0, 1)


@dataclass(frozen=True, eq=False)
class Elected:
    """A goal against a defense: its objective is the mean of those of the answers to all views, (n, v, k).

    The mean over views is an expectation over transformations (Athalye, Engstrom, Ilyas, Kwok 2018); whether the goal is reached is
    the defense's own rule.
    """

    goal: Goal
    defense: Defense

    def select(self, rows: torch.Tensor) -> "Elected":
        return replace(self, goal=self.goal.select(rows))

    def objective(self, logits: Logits, loss: Loss = "log-odds") -> torch.Tensor:
        n, v, _ = logits.shape
        rows = torch.arange(n, device=logits.device).repeat_interleave(v)
        return self.goal.select(rows).objective(logits.flatten(0, 1), loss).reshape(n, v).mean(1)

    def reached(self, logits: Logits) -> torch.Tensor:
        return self.defense.reached(self.goal, logits.argmax(2).T)

    def satisfied(self, answers: torch.Tensor) -> torch.Tensor:
        return self.goal.satisfied(answers)

    def aims(self, logits: Logits, most: int) -> Sequence[Goal]:
        return [replace(self, goal=aim) for aim in self.goal.aims(logits.mean(1), most)]
