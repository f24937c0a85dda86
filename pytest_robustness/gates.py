"""Gates: what is required of a measurement, and the sentences that say why it passed or failed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_robustness.bounds import bound_text, check_confidence, sure, undecided_text, with_confidence
from pytest_robustness.errors import InputError
from pytest_robustness.measurements import (
    CorruptionErrors,
    broken_by,
    furthest_off,
    missing_text,
    needed_for,
    proportion_text,
)
from pytest_robustness.records import Evaluation, Verdict
from pytest_robustness.stats import enough_for, enough_for_mean, lower_bound, proportion_interval, upper_mean_bound

__all__ = [
    "AccuracyAtLeast",
    "CorruptionErrorAtMost",
    "CurveAbove",
    "GateFailed",
    "and_more",
    "check_share",
]

_NAMED = 5


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
        measured = k / n
        if self.confidence is not None:
            measured = lower_bound(k, n, confidence=self.confidence)
            reason += f"\n{bound_text(k, n, self.at_least, self.confidence)}"
        reason = "\n".join([reason, *broken_by(evaluation)])
        return Verdict(
            gate="accuracy",
            claim=self._claim(evaluation),
            status=sure(not missing, self.confidence is None or measured >= self.at_least),
            reason=reason,
            measured=measured,
            required=float(self.at_least),
            margin=measured - self.at_least,
            confidence=self.confidence,
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
            confidence=self.confidence,
            n=of,
            evaluations=(evaluation,),
        )

    def _claim(self, evaluation: Evaluation) -> str:
        return f"accuracy under {evaluation.case.title} >= {self.at_least:g}{with_confidence(self.confidence)}"


@dataclass(frozen=True)
class CurveAbove:
    """At each of these strengths at least this share of the images, in [0, 1], is answered with an accepted class.

    A share of 0, where a curve has come down, asks for nothing; one at least has to ask for something. With a `confidence` in
    [0.5, 1) the bound of `AccuracyAtLeast` has to clear each bar: that all of them do is wrong no more often than that one does.
    """

    floors: Mapping[float, float]
    confidence: float | None = None

    def __post_init__(self) -> None:
        check_confidence(self.confidence)
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
        values = [self._value(own) for own in evaluations]
        margins = [value - floor for value, floor in zip(values, floors, strict=True)]
        place = min(range(len(margins)), key=lambda at: margins[at])
        worst, failing = evaluations[place], [text for text in missing if text]
        reason = f"{len(floors) - len(failing)} of {len(floors)} accuracies are as high as required"
        for own, floor, value, text in zip(evaluations, floors, values, missing, strict=True):
            reason += f"\n{own.case.at}: accuracy {proportion_text(own)}, required >= {floor:.4g}"
            reason += f", short by {floor - own.correct / len(own.outcomes):.4g}: {text}" if text else ""
            if self.confidence is not None and floor:
                reason += f"\nat confidence {self.confidence:g}, at least {value:.4g} of all such images"
        # A floor of 0 asks for nothing.
        bounded = self.confidence is None or all(m >= 0 for m, floor in zip(margins, floors, strict=True) if floor)
        status = sure(not failing, bounded)
        if failing:
            reason += f"\nfurthest off at {worst.case.at}: {furthest_off(worst)}"
        elif self.confidence is not None and status == "undecided":
            k, n = worst.correct, len(worst.outcomes)
            enough = enough_for(k, n, floors[place], confidence=self.confidence)
            reason += f"\nat {worst.case.at} {undecided_text(enough, 'accuracy')}"
        required = ", ".join(f"{floor:.4g} at {own.case.at}" for own, floor in zip(evaluations, floors, strict=True))
        return Verdict(
            gate="accuracy-curve",
            claim=f"accuracy under {worst.case.under} >= {required}{with_confidence(self.confidence)}",
            status=status,
            reason=reason,
            measured=values[place],
            required=floors[place],
            margin=margins[place],
            confidence=self.confidence,
            n=len(worst.outcomes),
            interval=proportion_interval(worst.correct, len(worst.outcomes)),
            evaluations=tuple(evaluations),
        )

    def _value(self, evaluation: Evaluation) -> float:
        """What is held against the floor: the accuracy, or its bound."""
        k, n = evaluation.correct, len(evaluation.outcomes)
        return k / n if self.confidence is None else lower_bound(k, n, confidence=self.confidence)


@dataclass(frozen=True)
class CorruptionErrorAtMost:
    """The mean corruption error is at most this: normalized, 1 being the error of the normalizer, or the plain mean error.

    With a `confidence` in [0.5, 1), that of all images of which these are a sample: an upper bound of the mean over the images, each of which
    has one number, its errors under all corruptions together.
    """

    at_most: float
    normalizer: Mapping[str, float] | None
    confidence: float | None = None

    def __post_init__(self) -> None:
        check_confidence(self.confidence)
        top = 1.0 if self.normalizer is None else 3.0
        if isinstance(self.at_most, bool) or not isinstance(self.at_most, (int, float)) or not 0 < self.at_most < top:
            raise InputError(
                f"expected at_most in (0, {top:g}), a share, got {self.at_most!r}; what papers print as 76.7 is 0.767"
            )

    def judge(self, measured: CorruptionErrors) -> Verdict:
        plain = self.normalizer is None
        estimate = measured.mean if self.normalizer is None else measured.mean_corruption_error(self.normalizer)
        # The tolerance keeps 0.3 + 0.2 from being more than 0.5.
        passed = estimate <= self.at_most + 1e-9
        means = {name: sum(errors) / len(errors) for name, errors in measured.errors.items()}
        worst = sorted(means.items(), key=lambda pair: (-pair[1], pair[0]))[:_NAMED]
        name = "mean error" if plain else "mean corruption error"
        reason = (
            f"{name} {estimate:.4g}, required <= {self.at_most:g}{'' if passed else f', above by {estimate - self.at_most:.4g}'}"
            f"\n{'' if plain else f'mean error {measured.mean:.4g}, '}clean error {measured.clean_error:.4g}, {len(measured.clean.outcomes)} images"
            f"\nlargest: {', '.join(f'{name} {error:.4g}' for name, error in worst)}"
        )
        if not passed:
            evaluations = [own for found in measured.evaluations.values() for own in found]
            wrong = Counter(each.image for own in evaluations for each in own.outcomes if not each.correct)
            often = sorted(wrong.items(), key=lambda pair: (-pair[1], pair[0]))[:_NAMED]
            reason += f"\nwrong most often: {', '.join(f'{image} ({k} of {len(evaluations)})' for image, k in often)}"
        value, bounded = estimate, True
        if self.confidence is not None:
            # What an image adds at most: with every error that there is.
            norms = self.normalizer or dict.fromkeys(means, 1.0)
            most = sum(1 / norms[name] for name in means) / len(means)
            n = len(measured.clean.outcomes)
            value = most * upper_mean_bound(min(1.0, estimate / most), n, confidence=self.confidence)
            bounded = value <= self.at_most
            reason += f"\nat confidence {self.confidence:g}, at most {value:.4g} over all such images"
            if passed and not bounded:
                enough = enough_for_mean(estimate / most, n, self.at_most / most, confidence=self.confidence)
                reason += f"\n{undecided_text(enough, 'error')}"
        return Verdict(
            gate="corruption-error",
            claim=f"{name} under {len(means)} common corruptions <= {self.at_most:g}{with_confidence(self.confidence)}",
            status=sure(passed, bounded),
            reason=reason,
            measured=value,
            required=float(self.at_most),
            margin=self.at_most - value,
            confidence=self.confidence,
            n=len(measured.clean.outcomes),
            evaluations=(measured.clean, *(own for found in measured.evaluations.values() for own in found)),
            charts=(measured.chart,),
        )


def and_more(rows: Sequence[object]) -> str:
    """What is said below the first five of these."""
    return f"\n... and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""


def check_share(name: str, share: object) -> None:
    """Refuse what is no share in (0, 1] to ask for."""
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise InputError(f"expected {name} to be a share in (0, 1], got {share!r}; a gate at 0 would pass every model")
