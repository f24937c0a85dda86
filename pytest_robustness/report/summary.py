"""One view of the results that every format prints: a row per gate, and the failures with what they show."""

import collections
from dataclasses import dataclass

from pytest_robustness.records import Doubt, Provenance, Status, Verdict
from pytest_robustness.results import Results

__all__ = ["Row", "headline", "libraries", "rows"]

_WORST_FIRST: tuple[Status, ...] = ("error", "untrusted", "fail", "undecided", "pass")


@dataclass(frozen=True)
class Row:
    """A gate as a person counts it: one assertion of one test, over all the items it was asked for.

    `margin` is that of the worst item, `n` how many images, or pairs, all items have judged together. `interval` is empty where the gate measured no proportion. `expected`
    marks a gate whose every failure a test expected.
    """

    claim: str
    status: Status
    measured: str
    required: str
    margin: str
    interval: str
    verdicts: tuple[Verdict, ...]
    expected: bool
    n: int = 0

    @property
    def test(self) -> str:
        """The node id of the test, without the part that names an item."""
        return self.verdicts[0].test.partition("[")[0]

    @property
    def numbers(self) -> tuple[float | None, float | None, float | None]:
        """Measured, required and margin; of a gate over items, the share that passed, of which all have to, and the worst margin."""
        if _over_a_set(self.verdicts):
            return self.verdicts[0].measured, self.verdicts[0].required, self.verdicts[0].margin
        passed = len(self.verdicts) - len(self.failures)
        return passed / len(self.verdicts), 1.0, _worst(self.verdicts)

    @property
    def failures(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if verdict.status != "pass")

    @property
    def checks(self) -> tuple[str, ...]:
        """The checks that its attack has been through."""
        return tuple(dict.fromkeys(name for verdict in self.verdicts for name in verdict.checks))

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """What they found, each once: items of one test share the attack."""
        return tuple(dict.fromkeys(doubt for verdict in self.verdicts for doubt in verdict.doubts))


def rows(results: Results) -> tuple[Row, ...]:
    """One row per gate, those that are not green first, otherwise in the order of the tests."""
    groups: dict[tuple[str, str, str], list[Verdict]] = collections.defaultdict(list)
    for verdict in results.verdicts:
        # Errors and rules of different items have claims of their own; the test holds them together.
        claim = verdict.claim if verdict.gate not in ("error", "own-rule") else ""
        groups[verdict.test.partition("[")[0], claim, verdict.run].append(verdict)
    made = [_row(tuple(group), waits=results.shard is not None) for group in groups.values()]
    return tuple(sorted(made, key=lambda row: (row.expected, _WORST_FIRST.index(row.status))))


def headline(results: Results) -> str:
    """The outcome of the whole session in one line."""
    table = rows(results)
    waiting = sum(row.status == "undecided" for row in table) if results.shard is not None else 0
    red = [row for row in table if row.status not in ("pass", "undecided" if waiting else "pass") and not row.expected]
    expected = sum(row.expected for row in table)
    passed = len(table) - len(red) - expected - waiting
    said = "" if results.shard is None else f"{results.shard.title}: "
    said += (
        f"{len(red)} of {len(table)} gates not passed"
        if red
        else f"{passed} {'gate' if passed == 1 else 'gates'} passed"
    )
    said += f", {expected} failed as expected" if expected else ""
    said += f", {waiting} to be judged when the shards are merged" if waiting else ""
    return said + ("" if results.complete else "; the session did not finish, these are the results so far")


def libraries(results: Results, run: Provenance) -> tuple[str, ...]:
    """The libraries that stresses of this run are of, with their versions, in alphabetical order."""
    named: set[str] = set()
    for verdict in results.verdicts:
        if verdict.run == run.key:
            named.update(evaluation.case.library for evaluation in verdict.evaluations)
            named.update(ladder.library for ladder in verdict.ladders)
            named.update(matrix.case.library for matrix in verdict.matrices)
    return tuple(sorted(named - {""}))


def _row(verdicts: tuple[Verdict, ...], *, waits: bool) -> Row:
    """The row of a gate; what is undecided `waits` for the other shards of a run that has some."""
    status = min((verdict.status for verdict in verdicts), key=_WORST_FIRST.index)
    first, passed = verdicts[0], sum(verdict.status == "pass" for verdict in verdicts)
    interval = ""
    if _over_a_set(verdicts):
        measured, required = _number(first.measured), _number(first.required)
        margin = first.margin
        if first.interval is not None:
            interval = f"n = {first.n}, 95 % interval {first.interval[0]:.3f} to {first.interval[1]:.3f}"
    else:
        measured, required = f"{passed} of {len(verdicts)}", "all"
        margin = _worst(verdicts)
    bad = [verdict for verdict in verdicts if verdict.status != "pass"]
    return Row(
        claim=first.claim if first.gate not in ("error", "own-rule") else f"{first.gate} in {_name(first.test)}",
        status=status,
        measured=measured,
        required=required,
        margin="-" if margin is None else f"{margin:+.4g}",
        interval=interval,
        verdicts=verdicts,
        expected=not (waits and status == "undecided") and bool(bad) and all(verdict.expected for verdict in bad),
        n=sum(verdict.n for verdict in verdicts),
    )


def _over_a_set(verdicts: tuple[Verdict, ...]) -> bool:
    """Whether a gate was judged once over a set, and not item by item."""
    return len(verdicts) == 1 and verdicts[0].n != 1


def _worst(verdicts: tuple[Verdict, ...]) -> float | None:
    return min((verdict.margin for verdict in verdicts if verdict.margin is not None), default=None)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _name(nodeid: str) -> str:
    return nodeid.partition("[")[0].rpartition("::")[2]
