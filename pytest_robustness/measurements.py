"""Numbers that remember what they measure, so that a plain `assert` can explain itself."""

import collections
import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_robustness.charts import Chart, Line, Mark, holding
from pytest_robustness.corruption_error import (
    ALEXNET,
    CATEGORIES,
    mean_corruption_error,
    relative_mean_corruption_error,
)
from pytest_robustness.errors import InputError
from pytest_robustness.records import Evaluation, Ladder, Outcome, strength_text
from pytest_robustness.stats import proportion_interval

__all__ = [
    "Accuracy",
    "BreakingPoint",
    "BreakingPoints",
    "CorruptionErrors",
    "SmallestEpsilons",
    "broken_by",
    "check_quantile",
    "furthest_off",
    "missing_text",
    "needed_for",
    "proportion_text",
    "worst_first",
]


class Accuracy(float):
    """The share of images answered with an accepted class: a float with its evaluation."""

    evaluation: Evaluation

    def __new__(cls, evaluation: Evaluation) -> "Accuracy":
        measured = super().__new__(cls, evaluation.correct / len(evaluation.outcomes))
        measured.evaluation = evaluation
        return measured

    def __repr__(self) -> str:
        return f"accuracy under {self.evaluation.case.title} = {proportion_text(self.evaluation)}"

    def explain(self, bound: float) -> list[str]:
        """Lines that say by how much the accuracy misses `bound`, and which images are furthest off."""
        missing = missing_text(self.evaluation, bound)
        lines = [
            f"measured {proportion_text(self.evaluation)}",
            f"compared with {bound:.4g}: {self - bound:+.4g}" + (f", {missing}" if missing else ""),
        ]
        off = furthest_off(self.evaluation)
        return lines + [f"furthest off: {off}"] * bool(off) + broken_by(self.evaluation)


class BreakingPoint(float):
    """The smallest tested strength at which top-1 is not accepted: a float with its ladder.

    Infinity where the image held at every level; 0 where the clean image is wrong already.
    """

    ladder: Ladder

    def __new__(cls, ladder: Ladder) -> "BreakingPoint":
        measured = super().__new__(cls, float("inf") if ladder.broke is None else ladder.broke)
        measured.ladder = ladder
        return measured

    def __repr__(self) -> str:
        ladder = self.ladder
        if ladder.broke is None:
            last = strength_text(ladder.unit, ladder.levels[-1])
            return f"breaking point of {ladder.image} under {ladder.stress} = none up to {ladder.unit} {last}"
        answer = ladder.rungs[-1][1].answer
        return f"breaking point of {ladder.image} under {ladder.stress} = {ladder.unit} {strength_text(ladder.unit, ladder.broke)} ({answer})"

    def explain(self, bound: float) -> list[str]:
        """The levels that were visited, with the probability of the accepted classes and the answer at each."""
        unit = self.ladder.unit
        return [
            f"{unit} {strength_text(unit, strength)}: {outcome.answer}, accepted classes {outcome.subject:.2f}"
            for strength, outcome in self.ladder.rungs
        ]


@dataclass(frozen=True)
class BreakingPoints:
    """Where each image of a set breaks under one stress: what it holds until, and what it breaks at.

    Every image's answer is its own: it broke, never broke up to the last level, or was wrong when clean. An image
    that was right again above its break is not monotone, which shows only where the levels beyond were looked at.
    """

    ladders: tuple[Ladder, ...]

    def __len__(self) -> int:
        return len(self.ladders)

    def __iter__(self) -> Iterator[BreakingPoint]:
        return map(BreakingPoint, self.ladders)

    def __getitem__(self, image: str) -> BreakingPoint:
        """The breaking point of the image of this id."""
        for ladder in self.ladders:
            if ladder.image == image:
                return BreakingPoint(ladder)
        raise InputError(f"expected the id of one of these {len(self)} images, got {image!r}")

    @property
    def wrong_when_clean(self) -> tuple[str, ...]:
        """The images that were wrong without the stress."""
        return tuple(ladder.image for ladder in self.ladders if ladder.held is None)

    @property
    def broken(self) -> tuple[str, ...]:
        """The images that were right when clean and broke."""
        return tuple(ladder.image for ladder in self.ladders if ladder.held is not None and ladder.broke is not None)

    @property
    def unbroken(self) -> tuple[str, ...]:
        """The images that held at every level."""
        return tuple(ladder.image for ladder in self.ladders if ladder.broke is None)

    @property
    def not_monotone(self) -> tuple[str, ...]:
        """The images that were right again above their break."""
        return tuple(ladder.image for ladder in self.ladders if ladder.recovered is not None)

    def quantile(self, share: float) -> float:
        """The largest strength until which all but at most `share`, in [0, 1), of the images hold; 0 for those wrong when clean.

        Never above the last level: an image that holds there may hold longer.
        """
        return _at_quantile((ladder.held or 0.0 for ladder in self.ladders), share)

    @property
    def chart(self) -> Chart:
        """The share of the images that hold until a strength, a step at each that breaks one; marked is the median."""
        ladder = self.ladders[0]
        breaks = [math.inf if own.broke is None else own.broke for own in self.ladders]
        return Chart(
            title=f"breaking points under {ladder.stress}",
            x=ladder.unit,
            y="share of images that hold",
            lines=(holding(breaks, max(own.levels[-1] for own in self.ladders)),),
            marks=(Mark(self.quantile(0.5), "median"),),
        )

    def __repr__(self) -> str:
        ladder = self.ladders[0]
        last = f"{ladder.unit} {strength_text(ladder.unit, ladder.levels[-1])}"
        parts = [f"{len(self.broken)} break", f"{len(self.unbroken)} never up to {last}"]
        parts.append(f"{len(self.wrong_when_clean)} wrong when clean")
        if any(own.above for own in self.ladders):
            named = ", ".join(self.not_monotone[:3]) + (", ..." if len(self.not_monotone) > 3 else "")
            parts.append(f"{len(self.not_monotone)} right again above their break" + (f" ({named})" if named else ""))
        return f"breaking points of {len(self)} images under {ladder.stress}: {', '.join(parts)}"

    def __str__(self) -> str:
        """A row per image, those that break first at the top."""
        rows = [(self._place(ladder), *self._row(ladder)) for ladder in self.ladders]
        lines = [f"{image}: {text}" for _, image, text in sorted(rows)]
        return "\n".join([*lines, repr(self)])

    @staticmethod
    def _place(ladder: Ladder) -> float:
        return -1.0 if ladder.held is None else math.inf if ladder.broke is None else ladder.broke

    @staticmethod
    def _row(ladder: Ladder) -> tuple[str, str]:
        if ladder.held is None:
            return ladder.image, "wrong when clean"
        held = f"holds until {ladder.unit} {strength_text(ladder.unit, ladder.held)}"
        if ladder.broke is None:
            return ladder.image, held
        broke = f", breaks at {strength_text(ladder.unit, ladder.broke)} ({ladder.rungs[-1][1].answer})"
        again = ladder.recovered
        return ladder.image, held + broke + (
            "" if again is None else f", right again at {strength_text(ladder.unit, again)}"
        )


@dataclass(frozen=True)
class SmallestEpsilons:
    """The smallest epsilon at which one attack broke each image of a set: 0 where it is wrong when clean, infinity where it held.

    Found at once, by an attack that looks for the nearest success within epsilon, the length of its change being what
    counts; or by climbing, the level that broke the image being what counts. Another attack may need less.
    """

    found: Evaluation | tuple[Ladder, ...]

    @functools.cached_property
    def points(self) -> tuple[tuple[float, Outcome], ...]:
        """The smallest epsilon of each image, with the outcome there, or with the last one where it held."""
        if isinstance(self.found, Evaluation):
            return tuple((_found_at(outcome, self.up_to), outcome) for outcome in self.found.outcomes)
        return tuple((float(BreakingPoint(ladder)), ladder.rungs[-1][1]) for ladder in self.found)

    @property
    def attack(self) -> str:
        """The attack, and the defense that it goes through, as constructor calls."""
        return self.found.case.under if isinstance(self.found, Evaluation) else self.found[0].stress

    @property
    def up_to(self) -> float:
        """The largest epsilon that was tried."""
        return self.found.case.strength if isinstance(self.found, Evaluation) else self.found[0].levels[-1]

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[float]:
        return (epsilon for epsilon, _ in self.points)

    def __getitem__(self, image: str) -> float:
        """The smallest epsilon of the image of this id."""
        for epsilon, outcome in self.points:
            if outcome.image == image:
                return epsilon
        raise InputError(f"expected the id of one of these {len(self)} images, got {image!r}")

    @property
    def wrong_when_clean(self) -> tuple[str, ...]:
        """The images that were wrong without the attack."""
        return tuple(outcome.image for epsilon, outcome in self.points if epsilon == 0)

    @property
    def broken(self) -> tuple[str, ...]:
        """The images that were right when clean and were broken."""
        return tuple(outcome.image for epsilon, outcome in self.points if 0 < epsilon < math.inf)

    @property
    def unbroken(self) -> tuple[str, ...]:
        """The images that held throughout."""
        return tuple(outcome.image for epsilon, outcome in self.points if epsilon == math.inf)

    def quantile(self, share: float) -> float:
        """The smallest epsilon up to which more than `share`, in [0, 1), of the images are broken; infinity where there is none."""
        return _at_quantile(self, share)

    @property
    def median(self) -> float:
        """The smallest epsilon up to which more than half of the images are broken."""
        return self.quantile(0.5)

    @property
    def worst_first(self) -> list[tuple[float, Outcome]]:
        """The points, those of the smallest epsilons first."""
        return sorted(self.points, key=lambda point: (point[0], point[1].image))

    @property
    def chart(self) -> Chart:
        """The share of the images that are not broken yet, a step at each smallest epsilon; marked is the median, where there is one."""
        return Chart(
            title=f"smallest epsilons under {self.attack}",
            x="epsilon",
            y="share of images that hold",
            lines=(holding(list(self), self.up_to),),
            marks=(Mark(self.median, "median"),) if math.isfinite(self.median) else (),
        )

    def __repr__(self) -> str:
        last, median, tenth = (strength_text("epsilon", e) for e in (self.up_to, self.median, self.quantile(0.1)))
        counts = f"{len(self.broken)} break, {len(self.unbroken)} hold until epsilon {last}"
        return (
            f"smallest epsilons of {len(self)} images under {self.attack}: median {median}, 0.1 quantile {tenth}; "
            f"{counts}, {len(self.wrong_when_clean)} wrong when clean"
        )

    def __str__(self) -> str:
        """A row per image, those that break first at the top."""
        return "\n".join([*(self.told(*point) for point in self.worst_first), repr(self)])

    def told(self, epsilon: float, outcome: Outcome) -> str:
        """One of the points in a sentence."""
        if epsilon == 0:
            return f"{outcome.image} is wrong on the clean image already: {outcome.answer}"
        if epsilon == math.inf:
            return f"{outcome.image} holds until epsilon {strength_text('epsilon', self.up_to)}: {outcome.answer}"
        return f"{outcome.image} breaks at epsilon {strength_text('epsilon', epsilon)}: {outcome.answer}"


@dataclass(frozen=True)
class CorruptionErrors:
    """The errors under common corruptions: by name, an evaluation at each severity, beside that of the clean images."""

    clean: Evaluation
    evaluations: Mapping[str, tuple[Evaluation, ...]]

    @property
    def clean_error(self) -> float:
        """The share of clean images that are wrong."""
        return 1 - Accuracy(self.clean)

    @property
    def errors(self) -> dict[str, tuple[float, ...]]:
        """By name, the share of images that are wrong at severity 1, 2, 3, 4 and 5."""
        return {name: tuple(1 - Accuracy(own) for own in found) for name, found in self.evaluations.items()}

    @property
    def mean(self) -> float:
        """The mean of all errors, without a normalizer: what is reported for CIFAR-10-C."""
        means = [sum(errors) / len(errors) for errors in self.errors.values()]
        return sum(means) / len(means)

    def mean_corruption_error(self, normalizer: Mapping[str, float] = ALEXNET) -> float:
        """mCE, 1 for the normalizer itself: see `corruption_error.mean_corruption_error`."""
        return mean_corruption_error(self.errors, normalizer=normalizer)

    def relative_mean_corruption_error(self) -> float:
        """Relative mCE: what corruptions add to the clean error, 1 for AlexNet; see `corruption_error`."""
        return relative_mean_corruption_error(self.errors, self.clean_error)

    @property
    def chart(self) -> Chart:
        """The mean error at each severity: of each category of corruptions, and of all; severity 0 are the clean images."""
        errors = self.errors
        groups = {name: [errors[one] for one in ones if one in errors] for name, ones in CATEGORIES.items()}
        lines = [_mean_errors(name, self.clean_error, found) for name, found in groups.items() if found]
        return Chart(
            title=f"mean error under {len(errors)} corruptions",
            x="severity",
            y="share of images that are wrong",
            lines=(*lines, _mean_errors("mean", self.clean_error, list(errors.values()))),
        )

    def __repr__(self) -> str:
        n = len(self.clean.outcomes)
        return f"errors under {len(self.evaluations)} corruptions = {self.mean:.4g} (clean {self.clean_error:.4g}, {n} images)"

    def __str__(self) -> str:
        """A row per corruption with its errors at severities 1 to 5 and their mean, in percent."""
        width = max(len(name) for name in ("error, %", *self.evaluations))
        rows = [(name, [*errors, sum(errors) / len(errors)]) for name, errors in self.errors.items()]
        heads = "".join(f"{head:>7}" for head in ("1", "2", "3", "4", "5", "mean"))
        lines = [f"{name:<{width}}" + "".join(f"{100 * e:7.1f}" for e in errors) for name, errors in rows]
        return "\n".join([f"{'error, %':<{width}}{heads}", *lines, repr(self)])


def _mean_errors(name: str, clean: float, errors: Sequence[Sequence[float]]) -> Line:
    means = [sum(at) / len(at) for at in zip(*errors, strict=True)]
    return Line(name, tuple((float(severity), mean) for severity, mean in enumerate([clean, *means])))


def check_quantile(share: float) -> None:
    """Refuse a share of the images that may break earlier outside [0, 1)."""
    if not 0 <= share < 1:
        raise InputError(f"expected a quantile in [0, 1), got {share!r}; 0.1 lets a tenth of the images break earlier")


def _at_quantile(values: Iterable[float], share: float) -> float:
    """The smallest of the values that more than `share` of them are not above."""
    check_quantile(share)
    ordered = sorted(values)
    # The tolerance keeps 0.7 * 10 from being 6.
    return ordered[int(share * len(ordered) + 1e-9)]


def _found_at(outcome: Outcome, up_to: float) -> float:
    """How long the change is that broke the image; the clean image, which has none, is wrong at 0."""
    if outcome.correct:
        return math.inf
    # What lies on the edge of the ball is in it, however its length was rounded.
    return 0.0 if outcome.distance is None else min(outcome.distance, up_to)


def proportion_text(evaluation: Evaluation) -> str:
    """The accuracy with its counts and exact interval: `0.4033 (121 of 300, 95 % interval 0.347 to 0.461)`."""
    k, n = evaluation.correct, len(evaluation.outcomes)
    lower, upper = proportion_interval(k, n)
    return f"{k / n:.4g} ({k} of {n}, 95 % interval {lower:.3f} to {upper:.3f})"


def missing_text(evaluation: Evaluation, bound: float) -> str:
    """How many more images would bring the accuracy to `bound`: `2 more images have to hold`; empty where it is there."""
    missing = needed_for(bound, len(evaluation.outcomes)) - evaluation.correct
    if missing <= 0:
        return ""
    return "1 more image has to hold" if missing == 1 else f"{missing} more images have to hold"


def needed_for(bound: float, n: int) -> int:
    """How many of n images have to be right for an accuracy of at least `bound`."""
    # The tolerance keeps 0.7 * 10 from asking for 8.
    return math.ceil(bound * n - 1e-9)


def furthest_off(evaluation: Evaluation, *, at_most: int = 3) -> str:
    """The wrong images whose accepted classes got least, with the answer: `a.png (zebra 0.99), b.png ...`."""
    return ", ".join(f"{outcome.image} ({outcome.answer})" for outcome in worst_first(evaluation)[:at_most])


def broken_by(evaluation: Evaluation) -> list[str]:
    """Lines that say which of several attacks broke how many images, and what an attack of another library kept to itself."""
    named = collections.Counter(outcome.found_by for outcome in evaluation.outcomes if outcome.found_by)
    silent = sum(outcome.silent for outcome in evaluation.outcomes)
    lines = [f"broken by {', '.join(f'{name}: {count}' for name, count in named.items())}"] * bool(named)
    if silent:
        successes = "1 success" if silent == 1 else f"{silent} successes"
        lines.append(f"{successes} that the attack had shown to the model and did not return")
    return lines


def worst_first(evaluation: Evaluation) -> list[Outcome]:
    """The wrong images, those first whose accepted classes got least."""
    return sorted((o for o in evaluation.outcomes if not o.correct), key=lambda o: (o.subject, o.image))
