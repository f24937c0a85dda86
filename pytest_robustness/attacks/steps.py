"""What an attack goes through: the images it shows to the model, noted on the way to it, whatever the attack.

Images are float32 RGB in [0, 1], (n, c, h, w); a track is that of one image, (1, c, h, w).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from pytest_robustness.attacks.accounting import attacked
from pytest_robustness.seeding import Streams
from pytest_robustness.types import (
    Attack,
    Attacked,
    BatchClassifier,
    Classifier,
    Goal,
    Images,
    Logits,
    Norm,
    Strengths,
)

__all__ = ["Followed", "Track"]


class Track:
    """The image at the steps of one attack on it; those steps are kept that are `wanted`.

    Step 0 is the image itself. The steps after it are the places where the attack took a gradient, in order, so that step k of
    PGD, BIM, MI-FGSM and APGD is the image after k moves; with a random start, step 1 is that start. Of an attack that takes
    no gradients step k is what it asks the model about for the k-th time. Of `expectation` gradients whose mean is taken one
    is a step.
    """

    def __init__(self, wanted: Callable[[int], bool], *, expectation: int = 1) -> None:
        self._wanted = wanted
        self._expectation = expectation
        self._gradients: _Steps | None = None
        self._queries: _Steps | None = None

    def begin(self, images: Images) -> None:
        """The attack begins at this image (1, c, h, w), or begins again."""
        if self._gradients is None:
            self._gradients = _Steps(images, self._wanted, self._expectation)
            self._queries = _Steps(images, self._wanted, 1)

    def note(self, images: Images, reached: torch.Tensor, *, gradient: bool) -> None:
        """The model is shown these (m, c, h, w) one after the other, or differentiated there; which reach the goal, (m,)."""
        kind = self._gradients if gradient else self._queries
        assert kind is not None, "begin first"
        for image, success in zip(images.unsqueeze(1), reached.tolist(), strict=True):
            kind.note(image, success)

    def ended(self, found: Images) -> tuple[tuple[int, ...], Images]:
        """The steps (m,) and the images at them (m, c, h, w); the last is what was found (1, c, h, w).

        That is the last step where it reached the goal there, else one more: gradient attacks move on from where they took the
        last gradient. An image that was not attacked has no step but 0.
        """
        if self._gradients is None or self._queries is None:
            return (0,), found
        if self._queries.noted and not self._gradients.noted:
            return self._queries.ended(found, self._queries.step)
        stayed = self._gradients.reached and torch.equal(found, self._gradients.last)
        return self._gradients.ended(found, self._gradients.step + (not stayed))


class _Steps:
    """What was noted of one kind: where gradients were taken, or what was asked about."""

    def __init__(self, clean: Images, wanted: Callable[[int], bool], every: int) -> None:
        self.noted, self.step, self.last, self.reached = 0, 0, clean, False
        self._every = every
        self._wanted = wanted
        self._kept = {0: clean}

    def note(self, image: Images, reached: bool) -> None:
        again, first = self.noted % self._every > 0, self.noted == 0
        self.noted += 1
        if again:
            return
        self.reached = reached
        if first and torch.equal(image, self.last):
            return
        self.step, self.last = self.step + 1, image
        if self._wanted(self.step):
            self._kept[self.step] = image

    def ended(self, found: Images, last: int) -> tuple[tuple[int, ...], Images]:
        kept = {step: image for step, image in self._kept.items() if step < last} | {last: found}
        return tuple(kept), torch.cat(list(kept.values()))


@dataclass(frozen=True, repr=False)
class Followed:
    """The attack as it is, on one image, with a track of the steps it takes; to the engine it is the same stress."""

    attack: Attack
    track: Track = field(compare=False)

    def __repr__(self) -> str:
        # By which random numbers are drawn.
        return repr(self.attack)

    @property
    def unit(self) -> str:
        return self.attack.unit

    @property
    def limit(self) -> float:
        return self.attack.limit

    @property
    def norm(self) -> Norm:
        return self.attack.norm

    def against(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Images:
        return self.attacked(classifier, goal, images, strengths, streams).images

    def attacked(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Attacked:
        """What the attack finds, with what it took."""
        self.track.begin(images)
        watched = _Watched(classifier, goal, self.track)
        return attacked(self.attack, watched, goal, images, strengths, streams)


@dataclass(frozen=True, eq=False)
class _Watched:
    """The classifier as it is, with a note of what it is shown."""

    classifier: Classifier
    goal: Goal
    track: Track

    @property
    def at_a_time(self) -> int:
        return self.classifier.at_a_time if isinstance(self.classifier, BatchClassifier) else 1

    def select(self, rows: torch.Tensor) -> "_Watched":
        if not isinstance(self.classifier, BatchClassifier):
            return self
        return replace(self, classifier=self.classifier.select(rows))

    def __call__(self, images: Images) -> Logits:
        shown = images.detach().clone()
        logits = self.classifier(images)
        # The image is one, whatever is made of it.
        reached = self.goal.select(torch.zeros(len(shown), dtype=torch.long, device=shown.device)).reached(
            logits.detach()
        )
        self.track.note(shown, reached, gradient=False)
        if logits.requires_grad:
            # Where the gradient is taken, which need not happen.
            logits.register_hook(lambda _: self.track.note(shown, reached, gradient=True))  # type: ignore[no-untyped-call]
        return logits
