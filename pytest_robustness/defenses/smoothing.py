"""Randomized smoothing: the class that the model gives most often under Gaussian noise, and the ball in which it provably does.

Images are float32 RGB in [0, 1], (n, 3, h, w); sigma and radii are in the same units, radii in L2. Noisy images are not
clamped, as the guarantee is about the very noise that is added.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from pytest_robustness.cases import is_number
from pytest_robustness.defenses.elections import tally
from pytest_robustness.defenses.filters import Filter, check_filter, filtered, name_of
from pytest_robustness.errors import InputError
from pytest_robustness.seeding import Streams
from pytest_robustness.stats import lower_bound, mcnemar, normal_quantile, upper_bound
from pytest_robustness.types import ABSTAIN, BatchClassifier, Decision, Goal, Images, Votes

__all__ = ["Certifying", "RandomizedSmoothing"]

# So many copies of an image share a generator: fewer would cost more than they draw, more would make batches coarser.
_BLOCK = 16
# An attacker looks through so many noisy copies.
_VIEWS = 16


@dataclass(frozen=True, repr=False)
class RandomizedSmoothing:
    """The class that the classifier gives most often to the image under noise of `sigma` (Cohen, Rosenfeld, Kolter 2019).

    As a defense it is PREDICT of their section 3.2.1: with probability at least 1 - alpha over its `n` draws, it abstains or answers
    with the class that is truly the likeliest under noise. `certifying` is CERTIFY of section 3.2.2, which draws `n0` to
    choose the class. A `denoiser` stands between noise and classifier (Salman et al. 2020). An attacker who
    knows of it climbs the mean of the objectives of 16 noisy copies, as Salman et al. 2019 do.

    The noise is seeded by the image. Raises InputError for settings that mean nothing.
    """

    sigma: float
    n: int = 1000
    n0: int = 100
    alpha: float = 0.001
    denoiser: Filter = None

    def __post_init__(self) -> None:
        if not (is_number(self.sigma) and 0 < self.sigma < math.inf):
            raise InputError(f"{self!r}: expected sigma > 0 on the [0, 1] pixel scale, got {self.sigma!r}")
        for name in ("n", "n0"):
            count = getattr(self, name)
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise InputError(f"{self!r}: expected {name} to be a whole number of draws >= 1, got {count!r}")
        if not (is_number(self.alpha) and 0 < self.alpha < 0.5):
            raise InputError(
                f"{self!r}: expected alpha, the chance of a wrong certificate, in (0, 0.5), got {self.alpha!r}"
            )
        check_filter(self, self.denoiser)

    def __repr__(self) -> str:
        settings = [f"sigma={self.sigma!r}"]
        settings += [
            f"{name}={getattr(self, name)!r}"
            for name in ("n", "n0", "alpha")
            if getattr(self, name) != getattr(type(self), name)
        ]
        settings += [f"denoiser={name_of(self.denoiser)}"] * (self.denoiser is not None)
        return f"RandomizedSmoothing({', '.join(settings)})"

    @property
    def certifying(self) -> "Certifying":
        """The same smoothing as a defense that certifies its answers."""
        return Certifying(self)

    @property
    def largest_radius(self) -> float:
        """The radius of an image that has the same answer under every draw: none is certified further."""
        return self.radius(self.n)

    def radius(self, k: int) -> float:
        """The radius that is certified where `k` of the n draws have the class: sigma times the normal quantile of the lower
        bound of its probability (theorem 1 with the second class bounded by the rest); 0 where that is not above 1/2."""
        least = lower_bound(k, self.n, confidence=1 - self.alpha)
        return self.sigma * normal_quantile(least) if least > 0.5 else 0.0

    @property
    def view_count(self) -> int:
        return _VIEWS

    def views(self, images: Images, streams: Streams) -> torch.Tensor:
        return self._noisy(images, streams.child("attacker").normal(_blocks(images, _VIEWS))).transpose(0, 1)

    def decide(self, classifier: BatchClassifier, images: Images, streams: Streams) -> Decision:
        counts = self.counted(classifier, images, streams.child("prediction"), self.n)
        # A class that nothing is, for a model of one class.
        most, second = F.pad(counts, (0, 1)).topk(2, 1).values.T
        sure = [mcnemar(a, b) <= self.alpha for a, b in zip(most.tolist(), second.tolist(), strict=True)]
        answers = torch.where(torch.tensor(sure, device=images.device), counts.argmax(1), ABSTAIN)
        return Decision(answers, counts, counts.sum(1))

    def reached(self, goal: Goal, votes: Votes) -> torch.Tensor:
        # By every copy: few copies say little about the many that decide, and an attack goes on until it is told to stop.
        return torch.stack([goal.satisfied(own) for own in votes]).all(0)

    def counted(self, classifier: BatchClassifier, images: Images, streams: Streams, draws: int) -> torch.Tensor:
        """How often the classifier gives each class to the images under noise, (n, k) int64, of so many draws.

        The memory that it takes does not depend on the number of draws.
        """
        every = torch.arange(len(images), device=images.device)
        found = []
        for rows in torch.split(every, max(1, classifier.at_a_time // _BLOCK)):
            together = max(1, classifier.at_a_time // (_BLOCK * len(rows)))
            some, own = images[rows], streams.select(rows.tolist())
            counts = None
            for start in range(0, draws, _BLOCK * together):
                firsts = range(start, min(draws, start + _BLOCK * together), _BLOCK)
                noise = torch.cat([own.child(str(first)).normal(_blocks(some, _BLOCK)) for first in firsts], 1)
                noisy = self._noisy(some, noise[:, : draws - start])
                said = _said(classifier, rows, noisy)
                counts = said if counts is None else counts + said
            assert counts is not None
            found.append(counts)
        return torch.cat(found)

    def _noisy(self, images: Images, noise: torch.Tensor) -> torch.Tensor:
        """The images under noise, (n, m, c, h, w), denoised where there is a denoiser."""
        n, m = noise.shape[:2]
        noisy = images.unsqueeze(1) + self.sigma * noise
        if self.denoiser is None:
            return noisy
        streams = Streams(0, "denoiser", ("",) * (n * m))
        return filtered(self, self.denoiser, noisy.flatten(0, 1), streams).reshape(noisy.shape)


@dataclass(frozen=True, repr=False)
class Certifying:
    """A smoothing that answers with a certificate: `RandomizedSmoothing(sigma=0.25).certifying`.

    With probability at least 1 - alpha over the draws, it abstains, or the smoothed classifier gives its answer to every image
    within the radius. Where the `n0` draws that choose the class show already that it has no majority, it abstains without the
    other n: to abstain is never wrong.
    """

    smoothing: RandomizedSmoothing

    def __repr__(self) -> str:
        return f"{self.smoothing!r}.certifying"

    @property
    def view_count(self) -> int:
        return _VIEWS

    def views(self, images: Images, streams: Streams) -> torch.Tensor:
        return self.smoothing.views(images, streams)

    def reached(self, goal: Goal, votes: Votes) -> torch.Tensor:
        return self.smoothing.reached(goal, votes)

    def decide(self, classifier: BatchClassifier, images: Images, streams: Streams) -> Decision:
        own = self.smoothing
        counts = own.counted(classifier, images, streams.child("selection"), own.n0)
        chosen = counts.argmax(1)
        asked = counts.sum(1)
        least = 1 - own.alpha
        open_ = [upper_bound(k, own.n0, confidence=least) > 0.5 for k in counts.amax(1).tolist()]
        rows = torch.tensor(open_, device=images.device).nonzero().squeeze(1)
        radii = torch.zeros(len(images), dtype=torch.float64)
        if len(rows):
            selected = streams.select(rows.tolist()).child("estimation")
            counts[rows] = own.counted(classifier.select(rows), images[rows], selected, own.n)
            asked[rows] += own.n
            held = counts[rows, chosen[rows]].tolist()
            radii[rows.cpu()] = torch.tensor([own.radius(k) for k in held], dtype=torch.float64)
        return Decision(torch.where((radii > 0).to(images.device), chosen, ABSTAIN), counts, asked, radii=radii)


def _blocks(images: Images, m: int) -> torch.Tensor:
    """The shape (n, m, c, h, w) of m copies of each image, for noise to be drawn like it."""
    return images.unsqueeze(1).expand(-1, m, -1, -1, -1)


def _said(classifier: BatchClassifier, rows: torch.Tensor, copies: torch.Tensor) -> torch.Tensor:
    """How often the classifier gives each class to these copies, (n, m, c, h, w), of the images in these rows: (n, k)."""
    n, m = copies.shape[:2]
    owners = rows.repeat_interleave(m)
    parts = zip(*(torch.split(own, classifier.at_a_time) for own in (owners, copies.flatten(0, 1))), strict=True)
    logits = torch.cat([classifier.select(own)(shown) for own, shown in parts])
    return tally(logits.argmax(1).reshape(n, m), logits.shape[1])
