"""Two releases on the same images: which images changed under each stress, by how much, and whether that may be chance.

Plain numbers, without torch.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytest_robustness.comparisons import Allowed, Change, Comparison
from pytest_robustness.errors import InputError
from pytest_robustness.nodeids import without_image
from pytest_robustness.records import Evaluation, Outcome, Provenance, Verdict, strength_text
from pytest_robustness.results import Results
from pytest_robustness.stats import mcnemar

__all__ = ["ROUNDING", "alike", "compared", "differing", "of_model"]

ROUNDING = 1e-9
"""What is no drop, but the order in which numbers were added."""

_NAMED = 3
_Kind: TypeAlias = Literal["accuracy", "breaking_point"]
_Key: TypeAlias = tuple[str, _Kind, str]


@dataclass(frozen=True)
class _Measured:
    """What a test measured of a case: a value for each image, 1 or 0 for right or wrong, or the strength until which it holds."""

    unit: str
    run: Provenance
    libraries: frozenset[str]
    values: dict[str, float]


def compared(before: Results, after: Results, allowed: Allowed | None = None, *, against: str) -> Comparison:
    """What changed from one release to the next, image by image, on the images that both were asked about.

    Tests are matched by their node ids without the image, and what they measured by its stress and strength. Rates of targeted
    attacks and of explanations have no answer per image, and are not compared. `against` is what `before` is called.

    Raises InputError, saying what differs, for results of other images, classes or seeds, for a test that measured nothing
    that it did before, for those of a shard, and for a release before that did not finish.
    """
    for name, results in (("before", before), ("now", after)):
        if results.shard is not None:
            raise InputError(
                f"expected the results of whole runs, got those of {results.shard.title} {name}; join the shards by "
                "`python -m pytest_robustness merge`"
            )
    if not before.complete:
        raise InputError(f"{against}: expected the results of a run that finished, got one that stopped early")
    first, second = _measured(before), _measured(after)
    _check_cases(first, second)
    common = [key for key in first if key in second and first[key].values.keys() & second[key].values.keys()]
    for key in common:
        if not alike(first[key].run, second[key].run):
            raise InputError(
                f"{key[0]}: expected results on the same data, got {differing(first[key].run, second[key].run)}; compare runs on the "
                "same images with the same seed, or write the baseline anew"
            )
    pairs = [(first[key], second[key]) for key in common]
    return Comparison(
        against,
        ", ".join(dict.fromkeys(of_model(run) for run in before.runs)),
        tuple(_change(key, *pair, allowed or Allowed()) for key, pair in zip(common, pairs, strict=True)),
        tuple(_title(key) for key in first if key not in common),
        tuple(_title(key) for key in second if key not in common),
        tuple(dict.fromkeys(itertools.chain.from_iterable(_notes(*pair) for pair in pairs))),
    )


def alike(one: Provenance, other: Provenance) -> bool:
    """Whether numbers of the two runs may be compared: the same images, classes and seed, whatever the model."""
    return not list(_differences(one, other))


def differing(before: Provenance, now: Provenance) -> str:
    """In which of the images, the classes and the seed two runs differ: `other images (...) and another seed (...)`."""
    return " and ".join(_differences(before, now))


def _differences(before: Provenance, now: Provenance) -> Iterator[str]:
    if before.images_digest != now.images_digest:
        first, second = (f"{run.n} of {run.images}, {run.images_digest[:8]}" for run in (before, now))
        yield f"other images ({first} before; {second} now)"
    if before.classes != now.classes:
        for place, pair in enumerate(itertools.zip_longest(before.classes, now.classes, fillvalue="none")):
            if pair[0] != pair[1]:
                yield f"other classes (number {place} is {pair[0]} before, {pair[1]} now)"
                break
    if before.seed != now.seed:
        yield f"another seed ({before.seed} before, {now.seed} now)"


def of_model(run: Provenance) -> str:
    """The model with the beginning of its digest: `ResNet 3f2a91bc`."""
    return f"{run.model} {run.model_digest[:8]}" if run.model_digest else run.model


def _measured(results: Results) -> Mapping[_Key, _Measured]:
    """What each test measured of each case, its items put together; of what it measured twice, the first."""
    runs = {run.key: run for run in results.runs}
    found: dict[_Key, _Measured] = {}
    for verdict in results.verdicts:
        run = runs.get(verdict.run)
        if run is None:
            continue
        test = _test(verdict)
        for evaluation in verdict.evaluations:
            kind, case, unit, value = _reading(verdict, evaluation)
            own = found.setdefault((test, kind, case), _Measured(unit, run, frozenset({evaluation.case.library}), {}))
            for outcome in evaluation.outcomes:
                own.values.setdefault(outcome.image, value(outcome))
        for ladder in verdict.ladders:
            steps = "1 level" if len(ladder.levels) == 1 else f"{len(ladder.levels)} levels"
            case = f"{ladder.stress} at {steps} up to {ladder.unit} {strength_text(ladder.unit, ladder.levels[-1])}"
            key: _Key = (test, "breaking_point", case)
            own = found.setdefault(key, _Measured(ladder.unit, run, frozenset({ladder.library}), {}))
            own.values.setdefault(ladder.image, ladder.held or 0.0)
    return found


def _test(verdict: Verdict) -> str:
    """The node id, without the image where the verdict is about one alone."""
    images = {outcome.image for evaluation in verdict.evaluations for outcome in evaluation.outcomes}
    images |= {ladder.image for ladder in verdict.ladders}
    return without_image(verdict.test, images.pop()) if len(images) == 1 else verdict.test


def _reading(verdict: Verdict, evaluation: Evaluation) -> tuple[_Kind, str, str, Callable[[Outcome], float]]:
    """What an evaluation says of an image: mostly whether it is right; of a smallest change or a certificate, how far it holds."""
    case = evaluation.case
    if verdict.gate == "smallest-epsilon":
        return (
            "breaking_point",
            f"{case.under} up to {case.at}",
            case.unit,
            lambda own: case.strength if own.correct else own.distance or 0.0,
        )
    if verdict.gate == "certified-accuracy":
        return (
            "breaking_point",
            f"{case.title}, certified",
            "radius",
            lambda own: own.radius or 0.0 if own.correct else 0.0,
        )
    return "accuracy", case.title, "", lambda own: float(own.correct)


def _check_cases(first: Mapping[_Key, _Measured], second: Mapping[_Key, _Measured]) -> None:
    """Refuse a test that was asked other questions in both: what it says now is no answer to what it was asked before."""
    before, after = _by_test(first), _by_test(second)
    for test in before:
        if test in after and not set(before[test]) & set(after[test]):
            raise InputError(
                f"{test}: expected to be asked what it was before, {_listed(before[test])}, got {_listed(after[test])}; compare runs of "
                "the same tests, or update the baseline of this one"
            )


def _by_test(measured: Mapping[_Key, _Measured]) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for test, _, case in measured:
        found.setdefault(test, []).append(case)
    return found


def _listed(cases: Sequence[str]) -> str:
    more = f" and {len(cases) - _NAMED} more" if len(cases) > _NAMED else ""
    return ", ".join(cases[:_NAMED]) + more


def _title(key: _Key) -> str:
    return f"{key[0]}: {key[2]}"


def _change(key: _Key, before: _Measured, after: _Measured, allowed: Allowed) -> Change:
    test, kind, case = key
    # In the order of the images, so that the sums are the same whatever the order of the tests.
    images = sorted(before.values.keys() & after.values.keys())
    first, second = ([own.values[image] for image in images] for own in (before, after))
    lost = tuple(image for image, was, now in zip(images, first, second, strict=True) if now < was - ROUNDING)
    gained = tuple(image for image, was, now in zip(images, first, second, strict=True) if now > was + ROUNDING)
    most = allowed.accuracy if kind == "accuracy" else allowed.breaking_point
    share, share_now = (math.fsum(values) / len(images) for values in (first, second))
    return Change(
        test=test,
        kind=kind,
        case=case,
        unit=after.unit,
        before=share,
        after=share_now,
        lost=lost,
        gained=gained,
        n=len(images),
        p=mcnemar(len(lost), len(gained)),
        allowed=most,
        worse=most is not None and share - share_now > most + ROUNDING,
    )


def _notes(before: _Measured, after: _Measured) -> Iterator[str]:
    """In what else the two differ: told, as most of it is no reason for other answers."""
    one, other = before.run, after.run
    if one.model_digest and one.model_digest == other.model_digest:
        yield f"both have the same weights: {of_model(one)}"
    for name in ("device", "precision"):
        if getattr(one, name) != getattr(other, name):
            yield f"{name} {getattr(one, name)} before, {getattr(other, name)} now"
    versions = dict(one.versions), dict(other.versions)
    for library in dict.fromkeys(itertools.chain(*versions)):
        first, second = (own.get(library, "none") for own in versions)
        if first != second:
            yield f"{library} {first} before, {second} now"
    if before.libraries != after.libraries:
        first, second = (", ".join(sorted(own.libraries)) for own in (before, after))
        yield f"stresses of {first} before, of {second} now"
