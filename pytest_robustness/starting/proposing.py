"""Thresholds to start from: what the model reaches under a stress, and what that promises of all such images."""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_robustness.defenses import SmoothingVote
from pytest_robustness.errors import InputError
from pytest_robustness.gates import GateFailed
from pytest_robustness.records import Doubt, Verdict, strength_text
from pytest_robustness.robustness import Robustness
from pytest_robustness.starting.trials import Trial
from pytest_robustness.stats import enough_for, lower_bound
from pytest_robustness.vote_tables import accepted

__all__ = ["Guess", "Judge", "Proposal", "Row"]


@dataclass(frozen=True)
class Guess:
    """The one answer that is right most often, and the share of the images that it is right on: what a gate has to be above."""

    answer: str
    share: float

    @classmethod
    def of(cls, accepted: Sequence[Sequence[str]]) -> "Guess":
        """That of images with these accepted classes."""
        counts = Counter(name for names in accepted for name in set(names))
        answer, most = min(counts.items(), key=lambda own: (-own[1], own[0]))
        return cls(answer, most / len(accepted))

    def __str__(self) -> str:
        return f"a model that always answers {self.answer!r} has {self.share:.3g}"


@dataclass(frozen=True)
class Row:
    """A share of the images, k of n, its exact lower bound, and the threshold proposed, as text; empty where there is none."""

    label: str
    k: int
    n: int
    bound: float
    threshold: str


@dataclass(frozen=True)
class Proposal:
    """What was measured in a trial; without rows, `said` is why it could not be. `doubts` are why the attack may not be believed."""

    trial: Trial
    rows: tuple[Row, ...]
    said: str = ""
    doubts: tuple[Doubt, ...] = ()

    @property
    def thresholds(self) -> tuple[str, ...]:
        """Those of the gate: of ascending strengths as far as there are some, of a vote both or none."""
        found = []
        for row in self.rows:
            if not row.threshold:
                break
            found.append(row.threshold)
        return () if self.trial.vote is not None and len(found) < len(self.rows) else tuple(found)

    @property
    def gate(self) -> list[str]:
        """The lines of the gate below its name; none where no threshold is proposed, or the attack is in doubt."""
        return self.trial.gate(self.thresholds) if self.thresholds and not self.doubts else []


class Judge:
    """Proposes thresholds of one `robustness`: exact lower bounds at a `confidence`, rounded down to so many `places`.

    With probability at least `confidence`, what was measured is a sample of images of which the share of right ones is no smaller than the
    threshold. A bound that one answer to all images reaches as well is no threshold.
    """

    def __init__(self, robustness: Robustness, *, confidence: float = 0.95, places: int = 3) -> None:
        self._robustness = robustness
        self._confidence = confidence
        self._places = places
        self._guess: Guess | None = None

    @property
    def guess(self) -> Guess:
        """What one answer to all of the images that are looked at would reach. Raises InputError as `Robustness.accuracy` does."""
        if self._guess is None:
            outcomes = self._robustness.accuracy().evaluation.outcomes
            self._guess = Guess.of([outcome.accepted for outcome in outcomes])
        return self._guess

    def propose(self, trial: Trial) -> Proposal:
        """What the model reaches in the trial, and thresholds for a gate over it, which passes on the same images.

        The gate is judged here, at the confidence: what its attack is doubted for is found before it is written down. Raises
        InputError where the images or the model can't be evaluated even without a stress; of a stress that can't be, the proposal says why.
        """
        guess = self.guess
        try:
            rows = tuple(self._rows(trial, guess))
        except InputError as error:
            return Proposal(trial, (), str(error).partition("\n")[0])
        proposal = Proposal(trial, rows)
        if not proposal.thresholds:
            return proposal
        verdict = self._judged(trial, [float(text) for text in proposal.thresholds])
        standing = tuple(doubt for doubt in verdict.doubts if not doubt.waiver)
        return dataclasses.replace(proposal, doubts=standing)

    def notes(self, proposals: Sequence[Proposal]) -> Iterator[str]:
        """Why thresholds are missing and gates left out, and what to do about it, a sentence each."""
        missing = [row for proposal in proposals for row in proposal.rows if not row.threshold]
        enough = {
            row.label: max(needed, row.n + 1)
            for row in missing
            if (needed := enough_for(row.k, row.n, self.guess.share, confidence=self._confidence)) is not None
        }
        weak = [row.label for row in missing if row.label not in enough]
        stressed = any(own.trial.stress is not None for own in proposals)
        if weak:
            todo = "ask for less strength" if stressed else "look at the labels, the order of the classes, mean and std"
            yield f"no threshold for {'; '.join(weak)}: no more is right there than by guessing, as {self.guess}; {todo}"
        if enough:
            yield (
                f"no threshold for {'; '.join(enough)}: so few images promise no more than guessing, as {self.guess}; with the same accuracy "
                f"{max(enough.values()):,} would be enough"
            )
        yield from (f"{own.trial.name} is left out: {own.said}" for own in proposals if own.said)
        doubts = {doubt.check: (own.trial.name, doubt) for own in reversed(proposals) for doubt in own.doubts}
        for name, doubt in doubts.values():
            yield f"{name} may not be believed: {doubt.check}: {doubt.said}; {doubt.remedy}"

    def _rows(self, trial: Trial, guess: Guess) -> Iterator[Row]:
        if trial.vote is not None:
            yield from self._voted(trial, trial.vote, guess)
            return
        if len(trial.strengths) > 1:
            assert trial.stress is not None
            measured = self._robustness.accuracies(trial.stress, trial.values)
        else:
            measured = (self._robustness.accuracy(trial.stress, trial.values[0]),)
        unit = trial.stress.unit if trial.stress is not None else ""
        for strength, accuracy in zip(trial.values, measured, strict=True):
            label = f"{trial.name}, {unit} {strength_text(unit, strength)}" if trial.stress is not None else trial.name
            yield self._row(label, accuracy.evaluation.correct, len(accuracy.evaluation.outcomes), guess.share)

    def _voted(self, trial: Trial, vote: SmoothingVote, guess: Guess) -> Iterator[Row]:
        evaluation = self._robustness.behind(vote).accuracy(trial.stress, trial.values[0]).evaluation
        taken = accepted(evaluation.outcomes)
        if not taken:
            raise InputError("the vote accepts none of the images")
        yield self._row(f"{trial.name}, of its answers", evaluation.correct, taken, guess.share)
        yield self._row(f"{trial.name}, answers", taken, len(evaluation.outcomes), 0.0)

    def _row(self, label: str, k: int, n: int, above: float) -> Row:
        bound = lower_bound(k, n, confidence=self._confidence)
        threshold = _floored(bound, self._places)
        return Row(label, k, n, bound, f"{threshold:g}" if threshold > above else "")

    def _judged(self, trial: Trial, thresholds: Sequence[float]) -> Verdict:
        """The verdict of the gate with these thresholds."""
        ask, sure, stress = self._robustness, self._confidence, trial.stress
        try:
            if trial.vote is not None:
                accuracy, coverage = thresholds
                ask.assert_vote_accuracy(
                    stress,
                    trial.values[0],
                    trial.vote,
                    at_least=accuracy,
                    coverage_at_least=coverage,
                    confidence=sure,
                )
            elif len(trial.strengths) > 1:
                assert stress is not None
                floors = dict(zip(trial.values, thresholds, strict=False))
                ask.assert_curve_above(stress, floors, confidence=sure)
            else:
                ask.assert_accuracy(stress, trial.values[0], at_least=thresholds[0], confidence=sure)
        except GateFailed as failed:
            return failed.verdict
        return self._robustness.verdicts[-1]


def _floored(bound: float, places: int) -> float:
    """The largest number of so many places that is not above the bound."""
    whole = 10.0**places
    steps = math.floor(bound * whole)
    # The product may have been rounded up.
    return (steps if steps / whole <= bound else steps - 1) / whole
