"""Certified accuracy: how many images are right and provably stay so within a radius."""

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_robustness.bounds import check_confidence, sure, with_confidence
from pytest_robustness.charts import Chart, Line, Mark
from pytest_robustness.errors import InputError
from pytest_robustness.gates import check_share
from pytest_robustness.measurements import needed_for
from pytest_robustness.records import Evaluation, Verdict
from pytest_robustness.stats import lower_bound, proportion_interval

__all__ = ["CertifiedAccuracy", "CertifiedAtLeast"]

_ROWS = 9


@dataclass(frozen=True)
class CertifiedAccuracy:
    """The certificates of a set of images: a radius for each that is answered rightly, in L2 on the [0, 1] pixel scale.

    `evaluation` has the outcomes behind a smoothing of noise `sigma`, whose certificates are each wrong with probability at most
    `alpha`; `largest` is the largest radius that its draws can certify.
    """

    evaluation: Evaluation
    sigma: float
    alpha: float
    largest: float

    def __len__(self) -> int:
        return len(self.evaluation.outcomes)

    @property
    def radii(self) -> tuple[float, ...]:
        """The radius of each image: 0 where its answer is wrong, or there is none."""
        return tuple(own.radius or 0.0 if own.correct else 0.0 for own in self.evaluation.outcomes)

    @property
    def abstained(self) -> int:
        """How many images have no answer."""
        return sum(own.predicted is None for own in self.evaluation.outcomes)

    @property
    def mean_radius(self) -> float:
        """The average certified radius (Zhai et al. 2020), in which a wrong answer counts as 0."""
        return sum(self.radii) / len(self)

    def certified(self, radius: float) -> int:
        """How many images are right, and certified to stay so up to this radius, >= 0."""
        _check_radius(radius)
        return sum(own.correct and (own.radius or 0.0) >= radius for own in self.evaluation.outcomes)

    def at(self, radius: float) -> float:
        """The certified accuracy at this radius: the share of the images that `certified` counts."""
        return self.certified(radius) / len(self)

    def curve(self, radii: Sequence[float] | None = None) -> dict[float, float]:
        """The certified accuracy at each of these radii; without them at multiples of half of sigma up to the largest."""
        if radii is None:
            step = self.sigma / 2
            step *= max(1, math.ceil(self.largest / step / (_ROWS - 1)))
            radii = [place * step for place in range(math.floor(self.largest / step) + 1)]
        return {radius: self.at(radius) for radius in radii}

    @property
    def chart(self) -> Chart:
        """The certified accuracy against the radius, a step at every radius that an image has: past it, the image is not counted."""
        steps = sorted({0.0, *self.radii})
        return Chart(
            title=f"certified accuracy of {self.evaluation.case.defense}",
            x="L2 radius",
            y="share of images that are right, and certified to stay so",
            lines=(
                Line(
                    name="certified",
                    points=tuple((step, sum(radius > step for radius in self.radii) / len(self)) for step in steps),
                    steps=True,
                ),
            ),
            marks=(Mark(self.mean_radius, "mean"),),
        )

    def __repr__(self) -> str:
        half = self.sigma
        return (
            f"certified accuracy of {self.evaluation.case.defense} on {len(self)} images: {self.at(0):.4g} at radius 0, "
            f"{self.at(half):.4g} at {half:g}; mean radius {self.mean_radius:.4g}, {self.abstained} without an answer"
        )

    def __str__(self) -> str:
        """A row per radius with the share, its count and its 95 % interval."""
        lines = ["L2 radius  certified accuracy"]
        for radius, share in self.curve().items():
            k, n = self.certified(radius), len(self)
            lower, upper = proportion_interval(k, n)
            lines.append(f"{radius:<9.4g}  {share:.4f} ({k} of {n}, 95 % interval {lower:.3f} to {upper:.3f})")
        return "\n".join([*lines, repr(self)])


@dataclass(frozen=True)
class CertifiedAtLeast:
    """At least the share `at_least`, in (0, 1], of the images is right and certified within `radius`.

    With a `confidence` in [0.5, 1), the share among all images of which these are a sample: an image that is counted is truly robust
    but for its certificate's alpha, so that share is not below the exact bound of the one that is counted, less alpha.
    """

    radius: float
    at_least: float
    confidence: float | None = None

    def __post_init__(self) -> None:
        check_share("at_least", self.at_least)
        _check_radius(self.radius)
        check_confidence(self.confidence)

    def judge(self, certified: CertifiedAccuracy) -> Verdict:
        """The verdict on these certificates."""
        n, k = len(certified), certified.certified(self.radius)
        passed = k >= needed_for(self.at_least, n)
        lower, upper = proportion_interval(k, n)
        right = certified.certified(0.0)
        reason = (
            f"certified accuracy {k / n:.4g} ({k} of {n}, 95 % interval {lower:.3f} to {upper:.3f}), required >= {self.at_least:g}\n"
            f"right with any certificate: {right}, without an answer: {certified.abstained}, wrong: "
            f"{n - right - certified.abstained}; mean radius {certified.mean_radius:.4g}, at most {certified.largest:.4g}"
        )
        if not passed:
            reason += (
                f"\nshort by {self.at_least - k / n:.4g}: {needed_for(self.at_least, n) - k} more have to be certified"
            )
        measured, status = k / n, sure(passed, bound=True)
        if self.confidence is not None:
            measured = max(0.0, lower_bound(k, n, confidence=self.confidence) - certified.alpha)
            status = sure(passed, measured >= self.at_least)
            reason += (
                f"\nat confidence {self.confidence:g}, at least {measured:.4g} of all such images are robust: the exact bound "
                f"less alpha {certified.alpha:g}"
            )
            best = lower_bound(n, n, confidence=self.confidence) - certified.alpha
            if status == "undecided" and best < self.at_least:
                reason += f"\nundecided: were all {n} certified, the bound would be {best:.4g}; take more images, a smaller alpha, or ask for less"
            elif status == "undecided":
                reason += "\nundecided: the estimate is high enough, its bound is not; take more images"
        return Verdict(
            gate="certified-accuracy",
            claim=f"certified accuracy of {certified.evaluation.case.defense} at L2 radius {self.radius:g} >= "
            f"{self.at_least:g}{with_confidence(self.confidence)}",
            status=status,
            reason=reason,
            measured=measured,
            required=float(self.at_least),
            margin=measured - self.at_least,
            confidence=self.confidence,
            n=n,
            interval=(lower, upper),
            evaluations=(certified.evaluation,),
            charts=(certified.chart,),
        )


def _check_radius(radius: object) -> None:
    if not _is_number(radius) or not radius >= 0:  # type: ignore[operator]
        raise InputError(f"expected a radius >= 0, in L2 on the [0, 1] pixel scale, got {radius!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
