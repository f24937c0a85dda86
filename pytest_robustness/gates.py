"""Gates: what is required of a measurement, and the sentences that say why it passed or failed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_robustness.errors import InputError
from pytest_robustness.measurements import (
    BreakingPoints,
    CorruptionErrors,
    SmallestEpsilons,
    broken_by,
    check_quantile,
    furthest_off,
    missing_text,
    needed_for,
    proportion_text,
)
from pytest_robustness.records import Evaluation, Ladder, Status, Verdict, strength_text
from pytest_robustness.stats import enough_for, lower_bound, proportion_interval

__all__ = [
    "AccuracyAtLeast",
    "BreaksNoEarlier",
    "CorruptionErrorAtMost",
    "CurveAbove",
    "GateFailed",
    "HoldsUntil",
    "NotBrokenUpTo",
    "and_more",
    "bound_text",
    "check_confidence",
    "check_share",
]

_NAMED = 5
# Adding epsilon to a pixel and taking it off again is not exact in float32, nor is the length of a difference.
_ROUNDING = 1e-6


class GateFailed(AssertionError):
    """A gate that did not pass; `verdict` has the numbers, the message its sentences."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(f"{verdict.claim}\n{verdict.reason}")
        self.verdict = verdict


@dataclass(frozen=True)
class AccuracyAtLeast:
    """At least this share of the images is answered with an accepted class; abstaining counts as wrong.

    With a `confidence` in [0.5, 1), at least this share of all such images, of which these are a sample: an exact lower bound has to
    clear the bar, and where the estimate alone does the gate is undecided.
    """

    at_least: float
    confidence: float | None = None

    def __post_init__(self) -> None:
        check_share("at_least", self.at_least)
        check_confidence(self.confidence)

    def decided(self, evaluation: Evaluation, *, of: int) -> int | None:
        """After how many of these outcomes the verdict on `of` images stands, whatever the others are; None if it doesn't."""
        if self.confidence is not None:
            # It takes the bound over all of them.
            return of if len(evaluation.outcomes) == of else None
        needed = needed_for(self.at_least, of)
        right = 0
        for k, outcome in enumerate(evaluation.outcomes, start=1):
            right += outcome.correct
            if right >= needed or k - right > of - needed:
                return k
        return None

    def judge(self, evaluation: Evaluation, *, of: int | None = None) -> Verdict:
        """The verdict on `of` images, of which `evaluation` has all (or `of` is None) or enough to decide it."""
        k, n = evaluation.correct, len(evaluation.outcomes)
        if of is not None and n < of:
            return self._judge_early(evaluation, of)
        reason = f"accuracy {proportion_text(evaluation)}, required >= {self.at_least:g}"
        missing = missing_text(evaluation, self.at_least)
        if missing:
            reason += f"\nshort by {self.at_least - k / n:.4g}: {missing}\nfurthest off: {furthest_off(evaluation)}"
        status: Status = "fail" if missing else "pass"
        measured = k / n
        if self.confidence is not None:
            measured = lower_bound(k, n, confidence=self.confidence)
            reason += f"\n{bound_text(k, n, self.at_least, self.confidence)}"
            status = "fail" if missing else "pass" if measured >= self.at_least else "undecided"
        reason = "\n".join([reason, *broken_by(evaluation)])
        return Verdict(
            gate="accuracy",
            claim=self._claim(evaluation),
            status=status,
            reason=reason,
            measured=measured,
            required=float(self.at_least),
            margin=measured - self.at_least,
            n=n,
            interval=proportion_interval(k, n),
            evaluations=(evaluation,),
        )

    def _judge_early(self, evaluation: Evaluation, of: int) -> Verdict:
        """What is measured is the bound that decides: at least the right ones so far, at most all but the wrong ones."""
        k, n = evaluation.correct, len(evaluation.outcomes)
        passed = k >= needed_for(self.at_least, of)
        bound = k / of if passed else (of - (n - k)) / of
        reason = (
            f"accuracy at {'least' if passed else 'most'} {bound:.4g}, required >= {self.at_least:g}\n"
            f"decided after {n} of {of} images, the shakiest first: {k} right, {n - k} wrong"
        )
        if not passed:
            reason += f"\nfurthest off: {furthest_off(evaluation)}"
        reason = "\n".join([reason, *broken_by(evaluation)])
        return Verdict(
            gate="accuracy",
            claim=self._claim(evaluation),
            status="pass" if passed else "fail",
            reason=reason,
            measured=bound,
            required=float(self.at_least),
            margin=bound - self.at_least,
            n=of,
            evaluations=(evaluation,),
        )

    def _claim(self, evaluation: Evaluation) -> str:
        sure = "" if self.confidence is None else f" at confidence {self.confidence:g}"
        return f"accuracy under {evaluation.case.title} >= {self.at_least:g}{sure}"


@dataclass(frozen=True)
class CurveAbove:
    """At each of these strengths at least this share of the images, in [0, 1], is answered with an accepted class.

    A share of 0, where a curve has come down, asks for nothing; one at least has to ask for something.
    """

    floors: Mapping[float, float]

    def __post_init__(self) -> None:
        if not isinstance(self.floors, Mapping) or not self.floors:
            raise InputError(
                f"expected accuracies by strength such as {{2/255: 0.5, 4/255: 0.2}}, got {self.floors!r}; "
                "a gate over nothing would pass every model"
            )
        for strength, share in self.floors.items():
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
                raise InputError(
                    f"expected accuracies as shares in [0, 1], got {share!r} at {strength!r}; divide percents by 100"
                )
        if not any(self.floors.values()):
            raise InputError(
                "expected an accuracy > 0 at one strength at least, got 0 at all of them; such a gate would pass every model"
            )

    def judge(self, evaluations: Sequence[Evaluation]) -> Verdict:
        """The verdict on one evaluation per strength, in ascending order; what is measured is the point nearest to its floor."""
        floors = [float(self.floors[own.case.strength]) for own in evaluations]
        missing = [missing_text(own, floor) for own, floor in zip(evaluations, floors, strict=True)]
        margins = [own.correct / len(own.outcomes) - floor for own, floor in zip(evaluations, floors, strict=True)]
        place = min(range(len(margins)), key=lambda at: margins[at])
        worst, failing = evaluations[place], [text for text in missing if text]
        reason = f"{len(floors) - len(failing)} of {len(floors)} accuracies are as high as required"
        for own, floor, margin, text in zip(evaluations, floors, margins, missing, strict=True):
            reason += f"\n{own.case.at}: accuracy {proportion_text(own)}, required >= {floor:.4g}"
            reason += f", short by {-margin:.4g}: {text}" if text else ""
        if failing:
            reason += f"\nfurthest off at {worst.case.at}: {furthest_off(worst)}"
        required = ", ".join(f"{floor:.4g} at {own.case.at}" for own, floor in zip(evaluations, floors, strict=True))
        return Verdict(
            gate="accuracy-curve",
            claim=f"accuracy under {worst.case.under} >= {required}",
            status="fail" if failing else "pass",
            reason=reason,
            measured=worst.correct / len(worst.outcomes),
            required=floors[place],
            margin=margins[place],
            n=len(worst.outcomes),
            interval=proportion_interval(worst.correct, len(worst.outcomes)),
            evaluations=tuple(evaluations),
        )


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
    """All but at most the share `quantile`, in [0, 1), of the images hold at every level until `at_least`."""

    at_least: float
    quantile: float

    def judge(self, points: BreakingPoints) -> Verdict:
        ladders = points.ladders
        unit, stress = ladders[0].unit, ladders[0].stress
        required = f"{unit} {strength_text(unit, self.at_least)}"
        measured = points.quantile(self.quantile)
        holding = sum((ladder.held or 0.0) >= self.at_least for ladder in ladders)
        passed = measured >= self.at_least
        reason = (
            f"{self.quantile:g} quantile {unit} {strength_text(unit, measured)}, required >= {strength_text(unit, self.at_least)}\n"
            f"{holding} of {len(ladders)} images hold until {required}; {repr(points).partition(': ')[2]}"
        )
        # Those that are wrong when clean last: they are counted, and show nothing of the stress.
        fallen = sorted(
            (ladder for ladder in ladders if ladder.broke is not None),
            key=lambda own: (own.held is None, own.broke, own.image),
        )
        if not passed:
            reason += "".join(f"\n{_ladder_sentence(ladder)}" for ladder in fallen[:_NAMED]) + and_more(fallen)
        return Verdict(
            gate="breaking-point",
            claim=f"{self.quantile:g} quantile of the breaking points under {stress} >= {required}",
            status="pass" if passed else "fail",
            reason=reason,
            measured=measured,
            required=float(self.at_least),
            margin=measured - self.at_least,
            n=len(ladders),
            ladders=ladders,
        )


@dataclass(frozen=True)
class NotBrokenUpTo:
    """No epsilon up to and including `at_least` breaks more than the share `quantile`, in [0, 1), of the images."""

    at_least: float
    quantile: float

    def __post_init__(self) -> None:
        check_quantile(self.quantile)

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
        capped = min(measured, epsilons.up_to)
        found = epsilons.found
        return Verdict(
            gate="smallest-epsilon",
            claim=f"no epsilon up to {bar} breaks more than {self.quantile:g} of the images under {epsilons.attack}",
            status="pass" if passed else "fail",
            reason=reason,
            measured=capped,
            required=float(self.at_least),
            margin=capped - self.at_least,
            n=n,
            evaluations=(found,) if isinstance(found, Evaluation) else (),
            ladders=() if isinstance(found, Evaluation) else found,
        )


@dataclass(frozen=True)
class CorruptionErrorAtMost:
    """The mean corruption error is at most this: normalized, 1 being the error of the normalizer, or the plain mean error."""

    at_most: float
    normalizer: Mapping[str, float] | None

    def __post_init__(self) -> None:
        top = 1.0 if self.normalizer is None else 3.0
        if isinstance(self.at_most, bool) or not isinstance(self.at_most, (int, float)) or not 0 < self.at_most < top:
            raise InputError(
                f"expected at_most in (0, {top:g}), a share, got {self.at_most!r}; what papers print as 76.7 is 0.767"
            )

    def judge(self, measured: CorruptionErrors) -> Verdict:
        plain = self.normalizer is None
        value = measured.mean if self.normalizer is None else measured.mean_corruption_error(self.normalizer)
        # The tolerance keeps 0.3 + 0.2 from being more than 0.5.
        passed = value <= self.at_most + 1e-9
        means = {name: sum(errors) / len(errors) for name, errors in measured.errors.items()}
        worst = sorted(means.items(), key=lambda pair: (-pair[1], pair[0]))[:_NAMED]
        name = "mean error" if plain else "mean corruption error"
        reason = (
            f"{name} {value:.4g}, required <= {self.at_most:g}"
            f"\n{'' if plain else f'mean error {measured.mean:.4g}, '}clean error {measured.clean_error:.4g}, {len(measured.clean.outcomes)} images"
            f"\nlargest: {', '.join(f'{name} {error:.4g}' for name, error in worst)}"
        )
        return Verdict(
            gate="corruption-error",
            claim=f"{name} under {len(means)} common corruptions <= {self.at_most:g}",
            status="pass" if passed else "fail",
            reason=reason,
            measured=value,
            required=float(self.at_most),
            margin=self.at_most - value,
            n=len(measured.clean.outcomes),
            evaluations=(measured.clean, *(own for found in measured.evaluations.values() for own in found)),
        )


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


def and_more(rows: Sequence[object]) -> str:
    """What is said below the first five of these."""
    return f"\n... and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""


def check_share(name: str, share: object) -> None:
    """Refuse what is no share in (0, 1] to ask for."""
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise InputError(f"expected {name} to be a share in (0, 1], got {share!r}; a gate at 0 would pass every model")


def check_confidence(confidence: object) -> None:
    """Refuse what is neither None nor a confidence in [0.5, 1)."""
    if confidence is None:
        return
    if not isinstance(confidence, (int, float)) or isinstance(confidence, bool) or not 0.5 <= confidence < 1:
        raise InputError(f"expected a confidence in [0.5, 1), such as 0.95, or none, got {confidence!r}")


def bound_text(k: int, n: int, bar: float, confidence: float) -> str:
    """What k of n tell of all images: the exact lower bound and, where it is too low alone, how many images would decide."""
    bound = lower_bound(k, n, confidence=confidence)
    told = f"at confidence {confidence:g}, at least {bound:.4g} of all such images"
    if bound >= bar or k / n < bar:
        return told
    enough = enough_for(k, n, bar, confidence=confidence)
    remedy = (
        f"{enough:,} images with the same accuracy would decide"
        if enough
        else "no number of images with this accuracy would"
    )
    return f"{told}\nundecided: the estimate clears the bar, its bound does not; {remedy}"
