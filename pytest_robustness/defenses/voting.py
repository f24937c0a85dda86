"""Votes: the model is asked about several views of an image, and the majority of its answers counts.

Images are float32 RGB in [0, 1], (n, 3, h, w).
"""

from dataclasses import dataclass

import torch

from pytest_robustness.defenses.elections import asked, tally
from pytest_robustness.defenses.filters import Filter, check_filter, filtered, name_of
from pytest_robustness.errors import InputError
from pytest_robustness.perturbations.blur import gaussian_blur
from pytest_robustness.seeding import Streams
from pytest_robustness.types import (
    ABSTAIN,
    BatchClassifier,
    Decision,
    Goal,
    Images,
    Votes,
    constructor_call,
)

__all__ = ["SmoothingVote", "Vote", "by_majority", "majority"]


@dataclass(frozen=True, repr=False)
class Vote:
    """The classifier asked about the image through each of these filters: `Vote((None, denoiser, fixed(JPEG(), 0.4)))`.

    More than half of the answers decide; without a majority the vote abstains. With one filter it is that filter in front of the
    classifier.

    Raises InputError for no filter, and for what is none.
    """

    filters: tuple[Filter, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.filters, tuple) or not self.filters:
            raise InputError(
                f"Vote: expected a tuple of filters, got {self.filters!r}; write Vote((None, denoiser, ...)), None for the image as it is"
            )
        for own in self.filters:
            check_filter(self, own)

    def __repr__(self) -> str:
        named = ["None" if own is None else name_of(own) for own in self.filters]
        return f"Vote(({', '.join(named)}{',' * (len(named) == 1)}))"

    @property
    def voters(self) -> tuple[str, ...]:
        """What the voters are called, in the order of the votes; of those with one name, later ones are numbered."""
        names = [name_of(own) for own in self.filters]
        times = (names[: place + 1].count(name) for place, name in enumerate(names))
        return tuple(name if time == 1 else f"{name} {time}" for name, time in zip(names, times, strict=True))

    @property
    def view_count(self) -> int:
        return len(self.voters)

    def views(self, images: Images, streams: Streams) -> torch.Tensor:
        seen = (filtered(self, own, images, streams.child(str(place))) for place, own in enumerate(self.filters))
        return torch.stack(list(seen))

    def decide(self, classifier: BatchClassifier, images: Images, streams: Streams) -> Decision:
        return by_majority(classifier, self.views(images, streams))

    def reached(self, goal: Goal, votes: Votes) -> torch.Tensor:
        return goal.satisfied(majority(votes))


@dataclass(frozen=True, repr=False)
class SmoothingVote:
    """The classifier asked about the image, the image blurred once, twice, ... `passes` times.

    Each pass is a `kernel` x `kernel` Gaussian of `sigma` pixels over the one before. More than half of the
    passes + 1 answers decide; without a majority the vote abstains.

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

    @property
    def voters(self) -> tuple[str, ...]:
        """What the voters are called, by how often the image is smoothed: none, single, double, 3 times."""
        return ("none", "single", "double", *(f"{count} times" for count in range(3, self.passes + 1)))

    @property
    def view_count(self) -> int:
        return len(self.voters)

    def views(self, images: Images, streams: Streams) -> torch.Tensor:
        if min(images.shape[-2:]) <= self.kernel // 2:
            height, width = images.shape[-2:]
            raise InputError(f"{self!r}: expected images larger than {self.kernel // 2} pixels, got {width} x {height}")
        seen = [images]
        for _ in range(self.passes):
            seen.append(gaussian_blur(seen[-1], kernel=self.kernel, sigma=self.sigma))
        return torch.stack(seen)

    def decide(self, classifier: BatchClassifier, images: Images, streams: Streams) -> Decision:
        return by_majority(classifier, self.views(images, streams))

    def reached(self, goal: Goal, votes: Votes) -> torch.Tensor:
        return goal.satisfied(majority(votes))


def by_majority(classifier: BatchClassifier, views: torch.Tensor) -> Decision:
    """The decision of a vote over these views, (v, n, c, h, w)."""
    logits = asked(classifier, views)
    votes = logits.argmax(2)
    return Decision(majority(votes), tally(votes.T, logits.shape[2]), torch.full_like(votes[0], len(votes)), votes)


def majority(votes: Votes) -> torch.Tensor:
    """The class that more than half of the voters give, (v, n) -> (n,); ABSTAIN where none has so many."""
    winner, _ = votes.mode(0)
    share = (votes == winner).sum(0)
    return torch.where(share * 2 > len(votes), winner, ABSTAIN)
