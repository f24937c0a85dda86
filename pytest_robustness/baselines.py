"""Baselines: the results of the release before, in a file that is committed; looked up in, and renewed.

Plain numbers, without torch.
"""

import copy
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

from pytest_robustness.comparing import alike, differing
from pytest_robustness.errors import InputError
from pytest_robustness.merging import read_results
from pytest_robustness.records import Case, Outcome, Provenance, Verdict, path_text
from pytest_robustness.results import Results

__all__ = ["Baseline", "renewed", "slim"]


class Baseline:
    """The release before, as gates look it up: read when the first of them does.

    `source` is a file of results, or results; `test` the node id of the test that asks.
    """

    def __init__(self, source: Path | Results, *, test: str = "") -> None:
        self._known = _Known(source)
        self.test = test

    def of(self, test: str) -> "Baseline":
        """The same for the test of this node id: of a case that several tests have been asked, its own answers come first."""
        own = copy.copy(self)
        own.test = test
        return own

    @property
    def name(self) -> str:
        """What messages call it."""
        source = self._known.source
        return path_text(source) if isinstance(source, Path) else "the results given as baseline"

    def before(self, case: Case, run: Provenance, images: Sequence[str]) -> list[Outcome | None]:
        """What became of these images in this case, None of one that it doesn't know.

        Raises InputError where the file can't be read, and, saying what differs, where the case is there on other data alone.
        """
        found = self._known.cases.get(case.title, ())
        usual = [own for own in found if alike(own.run, run)]
        if found and not usual:
            raise InputError(
                f"{self.name}: expected {case.title} on the same data, got {differing(found[0].run, run)}; run on the same images with "
                "the same seed, or write the baseline anew with --robustness-update-baseline"
            )
        told: list[Outcome | None] = []
        for image in images:
            tests: dict[str, Outcome] = {}
            for own in usual:
                for test, outcome in own.outcomes.get(image, {}).items():
                    tests.setdefault(test, outcome)
            told.append(tests.get(self.test, next(iter(tests.values()), None)))
        return told

    def beside(self, case: Case) -> tuple[str, ...]:
        """The other cases of the same stress that it knows: `FGSM() at epsilon 1/255`."""
        titles = (own.case.title for own in self._known.ordered if own.case.under == case.under)
        return tuple(title for title in dict.fromkeys(titles) if title != case.title)


@dataclasses.dataclass
class _Asked:
    """What became of the images in one case of one run: outcomes by image, and by the test that asked."""

    case: Case
    run: Provenance
    outcomes: dict[str, dict[str, Outcome]]


class _Known:
    """The cases of a baseline, read once for all tests that ask."""

    def __init__(self, source: Path | Results) -> None:
        self.source = source

    @functools.cached_property
    def ordered(self) -> Sequence[_Asked]:
        if isinstance(self.source, Path):
            # A baseline that is yet to be made knows nothing.
            results = read_results(self.source, "a baseline") if self.source.exists() else Results()
        else:
            results = self.source
        runs = {run.key: run for run in results.runs}
        found: dict[tuple[str, str], _Asked] = {}
        for verdict in results.verdicts:
            if verdict.run not in runs:
                continue
            for evaluation in verdict.evaluations:
                case = evaluation.case
                own = found.setdefault((case.title, verdict.run), _Asked(case, runs[verdict.run], {}))
                for outcome in evaluation.outcomes:
                    own.outcomes.setdefault(outcome.image, {}).setdefault(verdict.test, outcome)
        return list(found.values())

    @functools.cached_property
    def cases(self) -> dict[str, list[_Asked]]:
        found: dict[str, list[_Asked]] = {}
        for own in self.ordered:
            found.setdefault(own.case.title, []).append(own)
        return found


def slim(results: Results) -> Results:
    """The results without pictures, traces, explanations and charts: what a baseline keeps of them."""
    bare = (dataclasses.replace(v, pictures=(), traces=(), explained=(), charts=()) for v in results.verdicts)
    return dataclasses.replace(results, verdicts=tuple(bare), comparison=None)


def renewed(before: Results | None, now: Results, *, prune: bool = False) -> Results:
    """The baseline with what this run has measured in place of what it had of the same tests; the other tests stay.

    A test that ended in an error, or whose attack may not be believed, has measured nothing. With `prune`, tests that did not run
    are dropped. Raises InputError where what stays was measured on other images, classes or with another seed.
    """
    doubtful = {v.test for v in now.verdicts if v.status in ("error", "untrusted")}
    fresh = [v for v in slim(now).verdicts if v.test not in doubtful]
    ran, replaced = {v.test for v in now.verdicts}, {v.test for v in fresh}
    known = {run.key: run for results in (before, now) if results is not None for run in results.runs}
    kept = [v for v in before.verdicts if v.test not in replaced and (v.test in ran or not prune)] if before else []
    _check_kept(kept, fresh, known)
    verdicts = sorted([*kept, *fresh], key=lambda own: own.test)
    used = {v.run for v in verdicts}
    runs = tuple(run for key, run in sorted(known.items()) if key in used)
    return Results(tuple(verdicts), runs, profile=now.profile)


def _check_kept(kept: Sequence[Verdict], fresh: Sequence[Verdict], runs: dict[str, Provenance]) -> None:
    """Refuse to put numbers beside each other that were measured on different data."""
    own = [runs[key] for key in dict.fromkeys(v.run for v in fresh) if key in runs]
    for verdict in kept:
        run = runs.get(verdict.run)
        if run is not None and own and not any(alike(run, other) for other in own):
            raise InputError(
                f"expected what stays in the baseline to be of the same data, got {differing(run, own[0])} of {verdict.test}; run all tests "
                "with --robustness-update-baseline, and --robustness-prune-baseline for those that are gone, or delete the file"
            )
