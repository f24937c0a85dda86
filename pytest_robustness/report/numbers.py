"""Every number of a gate as tables of words: a line per image and case, and one per image that was led up to its break.

Pure functions from records to texts. Of more images than a page has room for, those that are wrong come first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pytest_robustness.records import Evaluation, Ladder, Outcome, Verdict, strength_text
from pytest_robustness.report.labels import count
from pytest_robustness.report.summary import Row

__all__ = ["MOST_ROWS", "Entry", "Numbers", "Table", "numbers"]

MOST_ROWS = 20_000
"""So many rows of all tables together, give or take a few of each."""

_LEAST = 50
# A browser lays out what is in view: a table of more rows is cut into such parts.
_PART = 250


@dataclass(frozen=True)
class Entry:
    """The cells of a row; `wrong` where the image has not got an accepted answer."""

    cells: tuple[str, ...]
    wrong: bool


@dataclass(frozen=True)
class Table:
    """Rows below the same heads. `kind` says which columns are numbers; `note` what is left out."""

    kind: Literal["cases", "ladders"]
    caption: str
    heads: tuple[str, ...]
    entries: tuple[Entry, ...]
    note: str = ""

    @property
    def parts(self) -> tuple[tuple[str, tuple[Entry, ...]], ...]:
        """The rows in parts of a few hundred, each with its caption."""
        n = len(self.entries)
        if n <= _PART:
            return ((self.caption, self.entries),)
        return tuple(
            (
                f"{self.caption}, rows {count(start + 1)} to {count(min(start + _PART, n))} of {count(n)}",
                self.entries[start : start + _PART],
            )
            for start in range(0, n, _PART)
        )


@dataclass(frozen=True)
class Numbers:
    """All tables of a gate, and what is `said` of the items that have no numbers; `note` tells how many more those are."""

    tables: tuple[Table, ...]
    said: tuple[str, ...] = ()
    note: str = ""

    @property
    def long(self) -> bool:
        """Whether it would fill many sheets of paper."""
        return sum(len(table.entries) for table in self.tables) + len(self.said) > _PART


def numbers(rows: Sequence[Row], *, most: int = MOST_ROWS) -> tuple[Numbers, ...]:
    """The numbers of each of these gates; the images that are left out where all are more than `most` are told."""
    found = [(tuple(_tables(row.verdicts)), _said(row.verdicts)) for row in rows]
    size = sum(len(table.entries) for tables, _ in found for table in tables) + sum(len(said) for _, said in found)
    parts = sum(len(tables) + bool(said) for tables, said in found)
    room = size if size <= most else max(_LEAST, most // parts)
    return tuple(
        Numbers(
            tuple(_cut(table, room) for table in tables),
            said[:room],
            "" if len(said) <= room else f"{count(len(said) - room)} more items are in the JSON results.",
        )
        for tables, said in found
    )


def _cut(table: Table, room: int) -> Table:
    if len(table.entries) <= room:
        return table
    # Stable: within both kinds the order of the images stays.
    kept = sorted(table.entries, key=lambda entry: not entry.wrong)[:room]
    left = count(len(table.entries) - room)
    return replace(
        table, entries=tuple(kept), note=f"Those that are wrong first; {left} more images are in the JSON results."
    )


def _said(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    return tuple(verdict.reason for verdict in verdicts if not verdict.evaluations and not verdict.ladders)


def _tables(verdicts: Sequence[Verdict]) -> Iterator[Table]:
    """A table for each case and one for each stress that images were led up, over all items of the gate."""
    cases: dict[str, list[Entry]] = {}
    ladders: dict[tuple[str, str], list[Ladder]] = {}
    for verdict in verdicts:
        for evaluation in verdict.evaluations:
            cases.setdefault(evaluation.case.title, []).extend(_entries(evaluation))
        for ladder in verdict.ladders:
            ladders.setdefault((ladder.stress, ladder.unit), []).append(ladder)
    for title, entries in cases.items():
        heads = ("Image", "Accepted", "Answer", "Confidence, %", "Accepted classes, %", "Queries", "Gradients")
        yield Table("cases", title, heads, tuple(entries))
    for (stress, unit), own in ladders.items():
        yield _ladders(stress, unit, own)


def _entries(evaluation: Evaluation) -> Iterator[Entry]:
    for own in evaluation.outcomes:
        shares = (_percent(own.confidence), _percent(own.subject))
        cells = (own.image, " or ".join(own.accepted), _answer(own), *shares, str(own.queries), str(own.gradients))
        yield Entry(cells, not own.correct)


def _ladders(stress: str, unit: str, ladders: Sequence[Ladder]) -> Table:
    """Of levels that all images share, the head names them once; of others, each image names its own."""
    levels = {ladder.levels for ladder in ladders}
    shared = len(levels) == 1 and all(_regular(ladder) for ladder in ladders)
    named = (0.0, *ladders[0].levels)
    on_the_way = "Accepted classes, %, at " + (
        f"{unit} {', '.join(strength_text(unit, level) for level in named)}" if shared else f"each {unit}"
    )
    heads = ("Image", "Accepted", "Holds until", "Breaks at", "Answer there, %", on_the_way, "Queries", "Gradients")
    return Table("ladders", stress, heads, tuple(_climbed(ladder, shared) for ladder in ladders))


def _regular(ladder: Ladder) -> bool:
    return tuple(strength for strength, _ in ladder.rungs) == (0.0, *ladder.levels)[: len(ladder.rungs)]


def _climbed(ladder: Ladder, shared: bool) -> Entry:
    last = ladder.rungs[-1][1]
    asked = (*ladder.rungs, *ladder.above)
    broke = "never" if ladder.broke is None else strength_text(ladder.unit, ladder.broke)
    if ladder.recovered is not None:
        broke += f", right again at {strength_text(ladder.unit, ladder.recovered)}"
    way = [
        f"{100 * own.subject:5.1f}" if shared else f"{strength_text(ladder.unit, strength)}: {_percent(own.subject)}"
        for strength, own in ladder.rungs
    ]
    cells = (
        ladder.image,
        " or ".join(last.accepted),
        "nowhere" if ladder.held is None else strength_text(ladder.unit, ladder.held),
        broke,
        _answer(last, 1 if last.correct else 5),
        (" " if shared else ", ").join(way),
        str(sum(own.queries for _, own in asked)),
        str(sum(own.gradients for _, own in asked)),
    )
    return Entry(cells, not last.correct)


def _answer(own: Outcome, top: int = 0) -> str:
    """The class that was answered, or the `top` likeliest with their probabilities, and what else is known of the answer."""
    told = own.predicted or own.answer
    if top:
        told = ", ".join(f"{name} {_percent(share)}" for name, share in own.top[:top]) or own.answer
    told += f"; certified within {own.radius:.3g}" if own.radius else ""
    told += f"; by {own.found_by}" if own.found_by else ""
    return told + ("; shown to the model by the attack, and not returned" if own.silent else "")


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
