"""A vote beside each of its voters, at several strengths: accuracies with and without rejects, and coverage."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pytest_robustness.charts import Chart, Line
from pytest_robustness.records import Evaluation, Outcome, strength_text
from pytest_robustness.stats import proportion_interval

__all__ = ["Share", "VoteRow", "VoteTable", "VoteTables", "accepted", "right_by"]

_COLUMN = 10


class Share(NamedTuple):
    """`k` of `n` images; of none, a share is 0 and can be anything."""

    k: int
    n: int

    @property
    def value(self) -> float:
        """The share, in [0, 1]."""
        return self.k / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Its exact 95 % interval."""
        return proportion_interval(self.k, self.n) if self.n else (0.0, 1.0)


@dataclass(frozen=True)
class VoteRow:
    """A vote at one strength: `alone` are the accuracies of its voters, each of which answers every image.

    `majority` is the accuracy over the images that the vote accepts, `overall` the one over all, where a reject is wrong. The two
    mean nothing without the `coverage`, the share that it accepts.
    """

    voters: tuple[str, ...]
    evaluation: Evaluation

    @property
    def strength(self) -> float:
        return self.evaluation.case.strength

    @property
    def alone(self) -> dict[str, Share]:
        """The accuracy of each voter by its name."""
        n = len(self.evaluation.outcomes)
        right = [right_by(outcome) for outcome in self.evaluation.outcomes]
        return {name: Share(sum(own[place] for own in right), n) for place, name in enumerate(self.voters)}

    @property
    def majority(self) -> Share:
        """The accuracy over the accepted images."""
        return Share(self.evaluation.correct, self.coverage.k)

    @property
    def overall(self) -> Share:
        """The accuracy over all images."""
        return Share(self.evaluation.correct, len(self.evaluation.outcomes))

    @property
    def coverage(self) -> Share:
        """How many images are accepted."""
        return Share(accepted(self.evaluation.outcomes), len(self.evaluation.outcomes))

    @property
    def rejected(self) -> Share:
        """How many images are rejected, for lack of a majority."""
        return Share(len(self.evaluation.outcomes) - self.coverage.k, len(self.evaluation.outcomes))

    @property
    def columns(self) -> dict[str, Share]:
        """All shares by their heads, in the order of the published table."""
        return {
            **self.alone,
            "majority": self.majority,
            "of all": self.overall,
            "coverage": self.coverage,
            "rejected": self.rejected,
        }


@dataclass(frozen=True)
class VoteTable:
    """A vote under one stress, an evaluation for each strength."""

    voters: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]

    def __len__(self) -> int:
        return len(self.evaluations)

    def __iter__(self) -> Iterator[VoteRow]:
        return (VoteRow(self.voters, own) for own in self.evaluations)

    def __repr__(self) -> str:
        first, last = self.evaluations[0], VoteRow(self.voters, self.evaluations[-1])
        right = f"{last.majority.value:.3f} of the accepted are right, " if last.coverage.k else ""
        return (
            f"{first.case.under}, {_images(first)}: at {last.evaluation.case.at}, {right}"
            f"{last.overall.value:.3f} of all are right, {last.rejected.value:.3f} are rejected"
        )

    def __str__(self) -> str:
        """Two lines for each strength: the shares, and their 95 % intervals."""
        case = self.evaluations[0].case
        rows = [(strength_text(case.unit, row.strength), row.columns) for row in self]
        heads = list(rows[0][1])
        widths = [max(_COLUMN, len(head) + 2) for head in heads]
        lines = [_line(case.unit, heads, widths)]
        for strength, columns in rows:
            lines.append(_line(strength, [f"{share.value:.3f}" for share in columns.values()], widths))
            lines.append(_line("", [_range(share) for share in columns.values()], widths))
        return "\n".join([f"{case.under}, {_images(self.evaluations[0])}", *lines])


@dataclass(frozen=True)
class VoteTables:
    """The tables of one vote on one or two paths: the stress put to what the model sees, and to the files before they are resized."""

    tables: tuple[VoteTable, ...]

    def __len__(self) -> int:
        return len(self.tables)

    def __iter__(self) -> Iterator[VoteTable]:
        return iter(self.tables)

    def __getitem__(self, place: int) -> VoteTable:
        return self.tables[place]

    @property
    def chart(self) -> Chart:
        """A line per column of the tables, but for the rejects, which are what is missing to the coverage.

        Where nothing is accepted, a majority has no share.
        """
        case = self.tables[0].evaluations[0].case
        lines = []
        for table, where in zip(self.tables, ("", ", before the resize"), strict=False):
            for head in [*table.voters, "majority", "of all", "coverage"]:
                found = [(row.strength, row.columns[head]) for row in table if row.columns[head].n]
                lines.append(
                    Line(
                        name=head + where,
                        points=tuple((strength, share.value) for strength, share in found),
                        band=tuple(share.interval for _, share in found),
                    )
                )
        return Chart(title=case.under, x=case.unit, y="share of images", lines=tuple(lines))

    def __repr__(self) -> str:
        return "; ".join(map(repr, self.tables))

    def __str__(self) -> str:
        note = "majority: right of the accepted images; of all: a rejected one is wrong"
        return "\n".join(["\n\n".join(map(str, self.tables)), note])


def right_by(outcome: Outcome) -> tuple[bool, ...]:
    """Whether each voter of a vote is right, by the name of the class that it gives."""
    return tuple(vote in outcome.accepted for vote in outcome.votes)


def accepted(outcomes: Sequence[Outcome]) -> int:
    """How many outcomes have an answer."""
    return sum(outcome.predicted is not None for outcome in outcomes)


def _line(first: str, cells: Sequence[str], widths: Sequence[int]) -> str:
    return f"{first:<8}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _images(evaluation: Evaluation) -> str:
    n = len(evaluation.outcomes)
    return f"{n} image{'s' * (n != 1)}"


def _range(share: Share) -> str:
    """`.24-.37`: two decimals, as there are seven to a line."""
    return "-".join(f"{bound:.2f}".removeprefix("0") for bound in share.interval) if share.n else "none"
