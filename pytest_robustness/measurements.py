"""Numbers that remember what they measure, so that a plain `assert` can explain itself."""

import math

from pytest_robustness.records import Evaluation, Ladder, Outcome, strength_text
from pytest_robustness.stats import proportion_interval

__all__ = ["Accuracy", "BreakingPoint", "furthest_off", "missing_text", "needed_for", "proportion_text", "worst_first"]


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
        return lines + [f"furthest off: {off}"] * bool(off)


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


def worst_first(evaluation: Evaluation) -> list[Outcome]:
    """The wrong images, those first whose accepted classes got least."""
    return sorted((o for o in evaluation.outcomes if not o.correct), key=lambda o: (o.subject, o.image))
