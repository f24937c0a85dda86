"""Whether explanations stay where they are under a stress, and whether they lie where they should.

Plain numbers, without torch.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_robustness.bounds import bound_text, check_confidence, sure, with_confidence
from pytest_robustness.errors import InputError
from pytest_robustness.gates import and_more, check_share
from pytest_robustness.measurements import needed_for
from pytest_robustness.records import Case, Verdict
from pytest_robustness.stats import lower_bound, proportion_interval

__all__ = ["AttendsTo", "Attention", "ExplanationStability", "Hit", "Overlap", "StaysWhere", "check_some"]

_NAMED = 5


@dataclass(frozen=True)
class Overlap:
    """How alike the explanations of one image are, clean and stressed: intersection over union of the top fifth of both.

    `null` is the same of the clean explanation and those of the other images of the run: what maps of one model have in common
    whatever they show, such as the centre. `corrected` is 1 for the same map, 0 for one no more alike than those.
    """

    image: str
    common: float
    null: float

    @property
    def corrected(self) -> float:
        """(common - null) / (1 - null), at most 1; below 0 for maps that are less alike than those of other images."""
        return (self.common - self.null) / (1 - self.null) if self.null < 1 else 0.0


@dataclass(frozen=True)
class ExplanationStability:
    """Overlaps of the explanations of images whose answer stays what it was; `excluded` counts the others by the reason."""

    case: Case
    method: str
    overlaps: tuple[Overlap, ...]
    excluded: tuple[tuple[str, int], ...]

    @property
    def value(self) -> float:
        """The mean corrected overlap."""
        return statistics.fmean(own.corrected for own in self.overlaps)

    @property
    def common(self) -> float:
        """The mean overlap, as it is."""
        return statistics.fmean(own.common for own in self.overlaps)

    @property
    def null(self) -> float:
        """The mean overlap with the explanations of other images."""
        return statistics.fmean(own.null for own in self.overlaps)

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        return (
            f"explanations by {self.method} under {self.case.title}: stability {self.value:.3f} (overlap {self.common:.3f}, that of "
            f"other images {self.null:.3f}), {_counted(len(self.overlaps))}{_excluded(self.excluded)}"
        )

    def __str__(self) -> str:
        """A line per image, the least stable at the top."""
        rows = sorted(self.overlaps, key=lambda own: (own.corrected, own.image))
        lines = [f"{own.image}: {own.corrected:.3f} (overlap {own.common:.3f}, null {own.null:.3f})" for own in rows]
        return "\n".join([*lines, repr(self)])


@dataclass(frozen=True)
class Hit:
    """Whether the explanation of an image points into its region, at the pixel (x, y), and how much of its heat lies there.

    `chance` is the share of the image that the region covers.
    """

    image: str
    label: str
    inside: bool
    at: tuple[int, int]
    share: float
    chance: float


@dataclass(frozen=True)
class Attention:
    """The pointing game (Zhang et al. 2018) over images with a region each; `excluded` counts those without a believable map."""

    case: Case
    method: str
    hits: tuple[Hit, ...]
    excluded: tuple[tuple[str, int], ...]

    @property
    def inside(self) -> int:
        """How many explanations point into their region."""
        return sum(hit.inside for hit in self.hits)

    @property
    def value(self) -> float:
        """The share of the explanations that point into their region."""
        return self.inside / len(self.hits)

    @property
    def chance(self) -> float:
        """The share that would by chance."""
        return statistics.fmean(hit.chance for hit in self.hits)

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        energy = statistics.fmean(hit.share for hit in self.hits)
        return (
            f"explanations by {self.method} of {self.case.title}: {self.inside} of {len(self.hits)} point into their region (by chance "
            f"{self.chance:.2f}), {energy:.2f} of the heat lies there{_excluded(self.excluded)}"
        )

    def __str__(self) -> str:
        """A line per image, those that point elsewhere at the top."""
        rows = sorted(self.hits, key=lambda hit: (hit.inside, hit.image))
        return "\n".join([*(_told(hit) for hit in rows), repr(self)])


@dataclass(frozen=True)
class StaysWhere:
    """The mean corrected overlap is at least this, in (0, 1]."""

    at_least: float

    def __post_init__(self) -> None:
        check_share("at_least", self.at_least)

    def judge(self, stability: ExplanationStability) -> Verdict:
        """The verdict; the images that moved most are named where it fails."""
        value = stability.value
        passed = value >= self.at_least
        reason = (
            f"stability {value:.4g}, required >= {self.at_least:g}\n"
            f"overlap {stability.common:.3f}, that of other images {stability.null:.3f}; "
            f"{_counted(len(stability.overlaps))}{_excluded(stability.excluded)}"
        )
        if not passed:
            rows = sorted(stability.overlaps, key=lambda own: (own.corrected, own.image))
            named = ", ".join(f"{own.image} ({own.corrected:.2f})" for own in rows[:_NAMED])
            reason += f"\nshort by {self.at_least - value:.4g}\nmoved most: {named}"
        return Verdict(
            gate="explanation-stable",
            claim=f"stability of explanations by {stability.method} under {stability.case.title} >= {self.at_least:g}",
            status="pass" if passed else "fail",
            reason=reason,
            measured=value,
            required=float(self.at_least),
            margin=value - self.at_least,
            n=len(stability.overlaps),
        )


@dataclass(frozen=True)
class AttendsTo:
    """At least this share, in (0, 1], of the explanations point into their region.

    With a `confidence` in [0.5, 1), of those of all images of which these are a sample, by an exact bound.
    """

    at_least: float
    confidence: float | None = None

    def __post_init__(self) -> None:
        check_confidence(self.confidence)
        check_share("at_least", self.at_least)

    def judge(self, attention: Attention) -> Verdict:
        """The verdict; the images whose explanation points elsewhere are named."""
        k, n = attention.inside, len(attention.hits)
        passed = k >= needed_for(self.at_least, n)
        lower, upper = proportion_interval(k, n)
        missed = [_told(hit) for hit in attention.hits if not hit.inside]
        reason = (
            f"{k / n:.4g} ({k} of {n}, 95 % interval {lower:.3f} to {upper:.3f}) point into their region, required >= "
            f"{self.at_least:g}\nby chance {attention.chance:.2f}{_excluded(attention.excluded)}"
        )
        reason += "".join(f"\n{line}" for line in missed[:_NAMED]) + and_more(missed)
        measured = k / n
        if self.confidence is not None:
            measured = lower_bound(k, n, confidence=self.confidence)
            reason += f"\n{bound_text(k, n, self.at_least, self.confidence, doing=' do', alike='share')}"
        return Verdict(
            gate="attends-to",
            claim=f"explanations by {attention.method} of {attention.case.title} point into their regions >= "
            f"{self.at_least:g}{with_confidence(self.confidence)}",
            status=sure(passed, self.confidence is None or measured >= self.at_least),
            reason=reason,
            measured=measured,
            required=float(self.at_least),
            margin=measured - self.at_least,
            confidence=self.confidence,
            n=n,
            interval=(lower, upper),
        )


def check_some(what: Sequence[object], excluded: Sequence[tuple[str, int]], needed: int = 1) -> None:
    """Refuse to judge fewer than `needed` explanations: InputError says what became of the others."""
    if len(what) < needed:
        raise InputError(
            f"expected at least {needed} explanation{'s' * (needed > 1)} to judge, got {len(what)}{_excluded(excluded)}; "
            "a gate over nothing would pass every model"
        )


def _told(hit: Hit) -> str:
    where = "inside" if hit.inside else "outside"
    return f"{hit.image}: {hit.label} points at {hit.at}, {where}; {hit.share:.2f} of the heat lies in the region"


def _counted(n: int) -> str:
    return f"{n} image{'s' * (n != 1)}"


def _excluded(excluded: Sequence[tuple[str, int]]) -> str:
    told = ", ".join(f"{n} {reason}" for reason, n in excluded if n)
    return f"; left out: {told}" if told else ""
