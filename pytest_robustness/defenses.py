"""Defenses: several answers to one image, counted."""

from dataclasses import dataclass

import torch

from pytest_robustness.errors import InputError
from pytest_robustness.perturbations.blur import gaussian_blur
from pytest_robustness.types import Classifier, Images, Votes, constructor_call

__all__ = ["ABSTAIN", "SmoothingVote", "majority"]

ABSTAIN = -1


@dataclass(frozen=True, repr=False)
class SmoothingVote:
    """The classifier asked about the image, the image blurred once, twice, ... `passes` times.

    Each pass is a `kernel` x `kernel` Gaussian of `sigma` pixels over the one before. The majority of the
    passes + 1 answers decides; without a majority the vote abstains.

    Raises InputError for an even kernel, a sigma <= 0, or fewer than two passes (two voters that differ
    have no majority).
    """

    kernel: int = 5
    sigma: float = 1.0
    passes: int = 2

    __repr__ = constructor_call

    def __post_init__(self) -> None:
        if self.kernel < 3 or self.kernel % 2 == 0:
            raise InputError(f"{self!r}: expected an odd kernel >= 3 (pixels), got {self.kernel}")
        if not self.sigma > 0:
            raise InputError(f"{self!r}: expected sigma > 0 (pixels), got {self.sigma}")
        if self.passes < 2:
            raise InputError(f"{self!r}: expected passes >= 2, so that a vote can have a majority, got {self.passes}")

    def votes(self, classifier: Classifier, images: Images) -> Votes:
        """The class each voter gives each image, (passes + 1, n): unblurred first."""
        if min(images.shape[-2:]) <= self.kernel // 2:
            height, width = images.shape[-2:]
            raise InputError(f"{self!r}: expected images larger than {self.kernel // 2} pixels, got {width} x {height}")
        answers = [classifier(images).argmax(1)]
        for _ in range(self.passes):
            images = gaussian_blur(images, kernel=self.kernel, sigma=self.sigma)
            answers.append(classifier(images).argmax(1))
        return torch.stack(answers)


def majority(votes: Votes) -> torch.Tensor:
    """The class that more than half of the voters give, (v, n) -> (n,); ABSTAIN where none has so many."""
    winner, _ = votes.mode(0)
    share = (votes == winner).sum(0)
    return torch.where(share * 2 > len(votes), winner, ABSTAIN)
