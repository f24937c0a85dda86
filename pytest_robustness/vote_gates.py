"""Gates over votes: whether they recover a class, how often they are right where they answer, what they gain."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_robustness.bounds import bound_text, check_confidence, sure, with_confidence
from pytest_robustness.errors import InputError
from pytest_robustness.gates import and_more, check_share
from pytest_robustness.measurements import needed_for, proportion_text
from pytest_robustness.records import Evaluation, Outcome, Status, Verdict
from pytest_robustness.stats import lower_bound, mcnemar_gain, proportion_interval
from pytest_robustness.vote_tables import VoteRow, accepted, right_by

__all__ = ["AcceptedAccuracyAtLeast", "VoteGains", "VoteRecovers", "beside"]

_NAMED = 5
_CHANCE = 0.05


def beside(verdict: Verdict, oblivious: Evaluation) -> Verdict:
    """The verdict on an attack that knows of the defense, with what one comes to that does not."""
    line = f"an attack that does not know of the defense leaves {proportion_text(oblivious)}"
    return dataclasses.replace(
        verdict, reason=f"{verdict.reason}\n{line}", evaluations=(*verdict.evaluations, oblivious)
    )


@dataclass(frozen=True)
class VoteRecovers:
    """The vote's majority is an accepted class, for every image; an abstention does not recover it."""

    def judge(self, voted: Evaluation, alone: Evaluation) -> Verdict:
        """The verdict on what the vote says, beside what the model alone does."""
        pairs = list(zip(voted.outcomes, alone.outcomes, strict=True))
        lost = [(vote, single) for vote, single in pairs if not vote.correct]
        k, n = voted.correct, len(pairs)
        sentences = [
            f"{vote.image}: {_said(vote)}; without the vote the model says {single.answer}; "
            f"accepted: {' or '.join(vote.accepted)}"
            for vote, single in (pairs if n == 1 else lost)
        ]
        summary = [] if n == 1 else [f"{k} of {n} images are recovered; right without the vote: {alone.correct}"]
        return Verdict(
            gate="vote-recovers",
            claim=f"{voted.case.defense} recovers the class under {alone.case.title}",
            status="fail" if lost else "pass",
            reason="\n".join(summary + sentences[:_NAMED]) + and_more(sentences),
            measured=k / n,
            required=1.0,
            margin=k / n - 1.0,
            n=n,
            interval=proportion_interval(k, n),
            evaluations=(voted, alone),
        )


@dataclass(frozen=True)
class AcceptedAccuracyAtLeast:
    """Of the images that a vote accepts at least the share `at_least` is right, and at least `coverage_at_least` are accepted.

    With a `confidence` in [0.5, 1) both shares are those of all images of which these are a sample, by exact bounds: that both are as
    large is wrong no more often than that one is. Raises InputError for shares outside (0, 1], and without a coverage.
    """

    at_least: float
    coverage_at_least: float | None
    confidence: float | None = None

    def __post_init__(self) -> None:
        check_confidence(self.confidence)
        check_share("at_least", self.at_least)
        if self.coverage_at_least is None:
            raise InputError(
                "expected coverage_at_least=, the share of the images that the vote has to accept, got none; a vote that rejects all "
                "but the easiest image is always right, so its accuracy means nothing without its coverage"
            )
        check_share("coverage_at_least", self.coverage_at_least)

    def judge(self, evaluation: Evaluation) -> Verdict:
        """The verdict on what the vote says; what is measured is the one of the two that is nearer to its bound or further below."""
        assert self.coverage_at_least is not None
        n, k = len(evaluation.outcomes), evaluation.correct
        taken = accepted(evaluation.outcomes)
        right, covered = k / taken if taken else 0.0, taken / n
        # Of nothing that is accepted, nothing is right.
        enough = [taken > 0 and k >= needed_for(self.at_least, taken), taken >= needed_for(self.coverage_at_least, n)]
        bounds = [(right, self.at_least, k, taken), (covered, self.coverage_at_least, taken, n)]
        texts = [
            f"{name} {_share_text(k, n)}, required >= {bound:g}"
            + (f", short by {bound - share:.4g}" if n and not met else "")
            for name, (share, bound, k, n), met in zip(
                ("accuracy over the accepted images", "coverage"), bounds, enough, strict=True
            )
        ]
        promised = []
        if self.confidence is not None and taken:
            bounds = [(lower_bound(k, n, confidence=self.confidence), bound, k, n) for _, bound, k, n in bounds]
            names = (" that it accepts", " are accepted")
            promised = [
                bound_text(k, n, bar, self.confidence, doing=name, alike="share")
                for (_, bar, k, n), name in zip(bounds, names, strict=True)
            ]
        measured, required, part, whole = min(bounds, key=lambda own: own[0] - own[1])
        # Those that keep the gate from passing.
        lost = [o for o in evaluation.outcomes if not o.correct and not enough[o.predicted is None]]
        told = [f"{o.image}: {_said(o)}; accepted: {' or '.join(o.accepted)}" for o in lost]
        lines = [*texts, f"over all images, a reject being wrong: {proportion_text(evaluation)}", *promised]
        if not all(enough):
            lines += told[:_NAMED]
        return Verdict(
            gate="vote-accuracy",
            claim=(
                f"accuracy over accepted images under {evaluation.case.title} >= {self.at_least:g} with coverage >= "
                f"{self.coverage_at_least:g}{with_confidence(self.confidence)}"
            ),
            status=sure(all(enough), self.confidence is None or measured >= required),
            reason="\n".join(lines) + ("" if all(enough) else and_more(told)),
            measured=measured,
            required=float(required),
            margin=measured - required,
            confidence=self.confidence,
            n=n,
            interval=proportion_interval(part, whole) if whole else None,
            evaluations=(evaluation,),
        )


@dataclass(frozen=True)
class VoteGains:
    """A vote is right on more images than the voter `over` alone, by the share `margin`, in [0, 1), at least, and not by chance."""

    over: str
    margin: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.margin, bool) or not isinstance(self.margin, (int, float)) or not 0 <= self.margin < 1:
            raise InputError(f"expected margin to be a share of the images in [0, 1), got {self.margin!r}")

    def check(self, voters: Sequence[str], vote: str) -> None:
        """Refuse to compare with a voter that the vote doesn't have."""
        if self.over not in voters:
            named = ", ".join(map(repr, voters))
            raise InputError(f"{vote}: expected over= to be one of its voters {named}, got {self.over!r}")

    def judge(self, evaluation: Evaluation, voters: tuple[str, ...]) -> tuple[Verdict, list[str]]:
        """The verdict, and the images that the voter has right and the vote has not."""
        place, n = voters.index(self.over), len(evaluation.outcomes)
        won = [o.image for o in evaluation.outcomes if o.correct and not right_by(o)[place]]
        lost = [o.image for o in evaluation.outcomes if not o.correct and right_by(o)[place]]
        gain = (len(won) - len(lost)) / n
        chance = mcnemar_gain(len(won), len(lost))
        large, sure = gain > 0 and gain >= self.margin - 1e-9, chance < _CHANCE
        status: Status = "pass" if large and sure else "undecided" if large else "fail"
        row = VoteRow(voters, evaluation)
        required = f">= {self.margin:g}" if self.margin else "> 0"
        reason = (
            f"the vote is right on {_share_text(*row.overall)} of all images, {self.over!r} alone on {_share_text(*row.alone[self.over])}\n"
            f"gain {gain:+.4g} (won {len(won)}, lost {len(lost)} images), required {required}; exact McNemar p {chance:.2g}, "
            f"one-sided\ncoverage {_share_text(*row.coverage)}"
        )
        if status == "undecided":
            reason += f"\nundecided: so much may be chance (p >= {_CHANCE:g}); take more images"
        if status == "fail":
            reason += f"\nshort by {self.margin - gain:.4g}" * (gain < self.margin)
            reason += (f"\nlost: {', '.join(lost[:_NAMED])}" + and_more(lost)) * bool(lost)
        return Verdict(
            gate="vote-gains",
            claim=f"{evaluation.case.defense} gains {required} over {self.over!r} under {_alone(evaluation)}",
            status=status,
            reason=reason,
            measured=gain,
            required=float(self.margin),
            margin=gain - self.margin,
            n=n,
            evaluations=(evaluation,),
        ), lost


def _said(outcome: Outcome) -> str:
    if not outcome.votes:
        return "the defense has no answer" if outcome.predicted is None else f"the defense says {outcome.answer}"
    said = f"the voters say {', '.join(outcome.votes)}"
    return said if outcome.predicted is not None else f"{said} (no majority)"


def _alone(evaluation: Evaluation) -> str:
    """The case without its defense."""
    return dataclasses.replace(evaluation.case, defense="").title


def _share_text(k: int, n: int) -> str:
    return f"{k / n:.4g} ({k} of {n})" if n else "unknown, as none is accepted"
