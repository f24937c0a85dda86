"""Gates as numbers under names that stay the same from one release to the next, for what keeps numbers over time."""

import collections
import re
from dataclasses import dataclass

from pytest_robustness.records import Status, Verdict
from pytest_robustness.report.summary import rows
from pytest_robustness.results import Results

__all__ = ["Series", "Totals", "models", "series", "totals"]

# What a claim requires: ` >= 0.4`, ` > 0`, ` <= epsilon 2/255`; and in a list of them the numbers in front of each `at`.
_BAR = re.compile(r" (?:>=|<=|>) (?:[a-z]+ )?[\d.]+(?:/255)?|(?<=, )[\d.]+ (?=at )")


@dataclass(frozen=True)
class Series:
    """A gate of one release, to be laid beside the same gate of the next.

    `test` is the node id without the part that names an item, `model` the name of the model, numbered where two have the same.
    `question` is the claim without its bar, which is in `required`: so that a bar that is raised does not begin another
    series. It is numbered where a test asks the same twice; test, model and question together name one gate.

    Of a gate over items, `measured` is the share of them that passed and `required` is 1; `margin` is that of the worst item.
    """

    test: str
    model: str
    question: str
    gate: str
    status: Status
    expected: bool
    measured: float | None
    required: float | None
    margin: float | None
    n: int


@dataclass(frozen=True)
class Totals:
    """How many gates came to what, each counted once; those that failed and were expected to are `expected` alone.

    `images` counts each image set once. `green` is whether all of it would let a release pass.
    """

    gates: int
    passed: int
    failed: int
    undecided: int
    untrusted: int
    errors: int
    expected: int
    images: int
    complete: bool
    green: bool


def models(results: Results) -> dict[str, str]:
    """The name of the model of each run, by the run's key; two of one name are numbered in the order of the tests."""
    names = {run.key: run.model for run in results.runs}
    met = dict.fromkeys([*(v.run for v in results.verdicts if v.run in names), *names])
    seen: collections.Counter[str] = collections.Counter()
    return {key: _numbered(names[key], seen) for key in met}


def series(results: Results) -> tuple[Series, ...]:
    """The gates in the order of the tests."""
    place = {id(verdict): number for number, verdict in enumerate(results.verdicts)}
    named, seen = models(results), collections.Counter[str]()
    found = []
    for row in sorted(rows(results), key=lambda row: place[id(row.verdicts[0])]):
        first = row.verdicts[0]
        model = named.get(first.run, "")
        question = _numbered(_question(first), seen, within=f"{row.test}\n{model}\n")
        measured, required, margin = map(_plain, row.numbers)
        found.append(
            Series(row.test, model, question, first.gate, row.status, row.expected, measured, required, margin, row.n)
        )
    return tuple(found)


def totals(results: Results) -> Totals:
    """The gates counted by what they came to."""
    table = rows(results)
    count = collections.Counter("expected" if row.expected else row.status for row in table)
    sets = {(run.images, run.images_digest): run.n for run in results.runs}
    return Totals(
        gates=len(table),
        passed=count["pass"],
        failed=count["fail"],
        undecided=count["undecided"],
        untrusted=count["untrusted"],
        errors=count["error"],
        expected=count["expected"],
        images=sum(sets.values()),
        complete=results.complete,
        green=bool(table) and results.complete and not results.failed and not results.open,
    )


def _question(verdict: Verdict) -> str:
    return verdict.gate if verdict.gate in ("error", "own-rule") else _BAR.sub("", verdict.claim)


def _plain(number: float | None) -> float | None:
    """Without the last digits, in which 0.5 - 0.4 is not 0.1."""
    return None if number is None else float(f"{number:.12g}")


def _numbered(name: str, seen: "collections.Counter[str]", *, within: str = "") -> str:
    """The name where it comes for the first time, `name (2)` where it comes again."""
    seen[within + name] += 1
    times = seen[within + name]
    return name if times == 1 else f"{name} ({times})"
