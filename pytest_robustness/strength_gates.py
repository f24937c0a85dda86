"""Gates over strengths: until where images hold under a stress."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_robustness.bounds import bound_text, check_confidence, quantile_bound, sure, with_confidence
from pytest_robustness.gates import and_more
from pytest_robustness.measurements import BreakingPoints, SmallestEpsilons, check_quantile
from pytest_robustness.records import Evaluation, Ladder, Verdict, strength_text

__all__ = ["BreaksNoEarlier", "HoldsUntil", "NotBrokenUpTo"]

_NAMED = 5
# Adding epsilon to a pixel and taking it off again is not exact in float32, nor is the length of a difference.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class HoldsUntil:
    """Top-1 stays in the accepted classes at every level up to and including `strength`, for every image."""

    strength: float

    def judge(self, ladders: Sequence[Ladder]) -> Verdict:
        unit, stress = ladders[0].unit, ladders[0].stress
        required = f"{unit} {strength_text(unit, self.strength)}"
        fallen = [ladder for ladder in ladders if ladder.broke is not None]
        # An image that is wrong when clean holds nowhere: it has no measured strength.
        held = [ladder.held for ladder in ladders]
        measured = None if None in held else min(strength for strength in held if strength is not None)
        if len(ladders) == 1:
            reason = _ladder_sentence(ladders[0])
        else:
            reason = f"{len(ladders) - len(fallen)} of {len(ladders)} images hold until {required}"
            worst = sorted(fallen, key=lambda ladder: (ladder.broke, ladder.image))
            reason += "".join(f"\n{_ladder_sentence(ladder)}" for ladder in worst[:_NAMED]) + and_more(worst)
        if fallen:
            reason += f"\nrequired: {required}" + (
                "" if measured is None else f", short by {self.strength - measured:.4g}"
            )
        return Verdict(
            gate="holds-until",
            claim=f"top-1 holds until {required} under {stress}",
            status="fail" if fallen else "pass",
            reason=reason,
            measured=measured,
            required=float(self.strength),
            margin=None if measured is None else measured - self.strength,
            n=len(ladders),
            ladders=tuple(ladders),
        )


@dataclass(frozen=True)
class BreaksNoEarlier:
    """All but at most the share `quantile`, in [0, 1), of the images hold at every level until `at_least`.

    With a `confidence` in [0.5, 1), of all images of which these are a sample, by the exact bound of the share that holds.
    """

    at_least: float
    quantile: float
    confidence: float | None = None

    def __post_init__(self) -> None:
        check_confidence(self.confidence)

    def judge(self, points: BreakingPoints) -> Verdict:
        ladders = points.ladders
        unit, stress = ladders[0].unit, ladders[0].stress
        required = f"{unit} {strength_text(unit, self.at_least)}"
        estimate = points.quantile(self.quantile)
        held = [ladder.held or 0.0 for ladder in ladders]
        holding = sum(strength >= self.at_least for strength in held)
        passed = estimate >= self.at_least
        reason = (
            f"{self.quantile:g} quantile {unit} {strength_text(unit, estimate)}, required >= {strength_text(unit, self.at_least)}"
            f"{'' if passed else f', short by {self.at_least - estimate:.4g}'}\n"
            f"{holding} of {len(ladders)} images hold until {required}; {repr(points).partition(': ')[2]}"
        )
        # Those that are wrong when clean last: they are counted, and show nothing of the stress.
        fallen = sorted(
            (ladder for ladder in ladders if ladder.broke is not None),
            key=lambda own: (own.held is None, own.broke, own.image),
        )
        if not passed:
            reason += "".join(f"\n{_ladder_sentence(ladder)}" for ladder in fallen[:_NAMED]) + and_more(fallen)
        measured = estimate
        if self.confidence is not None:
            measured, told = _promised(held, holding, self.quantile, self.confidence, f" hold until {required}")
            reason += f"\n{told}"
        return Verdict(
            gate="breaking-point",
            claim=f"{self.quantile:g} quantile of the breaking points under {stress} >= {required}{with_confidence(self.confidence)}",
            status=sure(passed, measured >= self.at_least),
            reason=reason,
            measured=measured,
            required=float(self.at_least),
            margin=measured - self.at_least,
            confidence=self.confidence,
            n=len(ladders),
            ladders=ladders,
        )


@dataclass(frozen=True)
class NotBrokenUpTo:
    """No epsilon up to and including `at_least` breaks more than the share `quantile`, in [0, 1), of the images.

    With a `confidence` in [0.5, 1), of all images of which these are a sample, by the exact bound of the share that is not broken.
    """

    at_least: float
    quantile: float
    confidence: float | None = None

    def __post_init__(self) -> None:
        check_quantile(self.quantile)
        check_confidence(self.confidence)

    def breaks(self, epsilon: float) -> bool:
        """Whether an image with this smallest epsilon counts as broken."""
        return epsilon <= self.at_least + _ROUNDING

    def judge(self, epsilons: SmallestEpsilons) -> Verdict:
        measured = epsilons.quantile(self.quantile)
        bar, least = strength_text("epsilon", self.at_least), strength_text("epsilon", measured)
        fallen = [point for point in epsilons.worst_first if self.breaks(point[0])]
        passed = not self.breaks(measured)
        n = len(epsilons)
        reason = (
            f"{self.quantile:g} quantile "
            + (
                f"above epsilon {strength_text('epsilon', epsilons.up_to)}"
                if math.isinf(measured)
                else f"epsilon {least}"
            )
            + f", required > {bar}\n{n - len(fallen)} of {n} images are not broken up to epsilon {bar}; "
            + repr(epsilons).rpartition("; ")[2]
        )
        if not passed:
            # Those that are wrong when clean last, as above.
            fallen.sort(key=lambda point: point[0] == 0)
            reason += "".join(f"\n{epsilons.told(*point)}" for point in fallen[:_NAMED]) + and_more(fallen)
        # An image that held throughout may hold longer.
        capped, bounded = min(measured, epsilons.up_to), True
        if self.confidence is not None:
            holding = f" are not broken up to epsilon {bar}"
            surely, told = _promised(epsilons, n - len(fallen), self.quantile, self.confidence, holding)
            capped, bounded = min(surely, epsilons.up_to), not self.breaks(surely)
            reason += f"\n{told}"
        found = epsilons.found
        return Verdict(
            gate="smallest-epsilon",
            claim=f"no epsilon up to {bar} breaks more than {self.quantile:g} of the images under {epsilons.attack}"
            + with_confidence(self.confidence),
            status=sure(passed, bounded),
            reason=reason,
            measured=capped,
            required=float(self.at_least),
            margin=capped - self.at_least,
            confidence=self.confidence,
            n=n,
            evaluations=(found,) if isinstance(found, Evaluation) else (),
            ladders=() if isinstance(found, Evaluation) else found,
        )


def _promised(
    values: Iterable[float], holding: int, quantile: float, confidence: float, doing: str
) -> tuple[float, str]:
    """The strength that all but the share `quantile` of all such images reach, 0 where none can be promised, and what is said of it."""
    values = list(values)
    bound = quantile_bound(values, quantile, confidence)
    bar = round(1 - quantile, 12)
    return bound or 0.0, bound_text(holding, len(values), bar, confidence, doing=doing, alike="share that holds")


def _ladder_sentence(ladder: Ladder) -> str:
    strength, last = ladder.rungs[-1]
    accepted = " or ".join(last.accepted)
    if ladder.held is None:
        return f"{ladder.image} is wrong on the clean image already: {last.answer}; accepted: {accepted}"
    held = strength_text(ladder.unit, ladder.held)
    if ladder.broke is None:
        return f"{ladder.image} holds until {ladder.unit} {held}: {last.answer}"
    broke = strength_text(ladder.unit, strength)
    return (
        f"{ladder.image} holds until {ladder.unit} {held} and breaks at {broke}: {last.answer}, "
        f"{accepted} {last.subject:.2f}"
    )
