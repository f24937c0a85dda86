"""The results of shards joined into those of the one run that they are parts of.

Where the shards ran on one device, the joined results are those of a run without shards, to the byte.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pytest_robustness.doubts import consequences
from pytest_robustness.errors import InputError
from pytest_robustness.explained import Picture
from pytest_robustness.gallery import Gallery
from pytest_robustness.matrices import TargetedMatrix, illustrating
from pytest_robustness.matrices import merged as sum_of
from pytest_robustness.rate_gates import RateAtMost
from pytest_robustness.records import Matrix, Provenance, Verdict
from pytest_robustness.remedies import remedy
from pytest_robustness.results import Results
from pytest_robustness.shards import Shard

__all__ = ["Part", "merged", "read_results"]

# On what device a shard runs, how its model is run there, and where its images lie are its own matter.
_OF_A_SESSION = ("versions", "precision")
_OF_A_TEST = ("model", "model_digest", "images_digest", "n", "classes", "seed")


def read_results(path: Path, what: str = "results") -> Results:
    """The results in this file. Raises InputError, saying what was expected, where it can't be read."""
    try:
        return Results.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: expected {what}, got no file ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


@dataclasses.dataclass(frozen=True)
class Part:
    """The results of one shard, and the file that they are in, as messages name it."""

    file: str
    results: Results

    @classmethod
    def read(cls, path: Path) -> "Part":
        """The results in this file. Raises InputError where it can't be read, and where it has none of a shard."""
        results = read_results(path, "the results of a shard")
        if results.shard is None:
            raise InputError(
                f"{path}: expected the results of a shard, got those of a whole run; write them with --robustness-shard=I/N"
            )
        return cls(str(path), results)

    @property
    def shard(self) -> Shard:
        """Which shard it is."""
        assert self.results.shard is not None
        return self.results.shard

    def __str__(self) -> str:
        return f"{self.file} (shard {self.shard})"


def merged(parts: Sequence[Part], *, partial: bool = False, runs: int | None = None) -> Results:
    """The results of the whole run, in the order of the tests' node ids, whatever the order of the parts.

    Gates over pairs, which every shard has a part of, are judged anew. With `partial`, shards may be missing or have stopped
    early: such results are not complete, and those gates stay undecided. `runs` is how many different models, image sets
    or seeds the tests measure on; where it is None, shards may differ in them only as far as they do within one shard.

    Raises InputError for parts that are not the shards of one run, each once, and unless `partial` all of them.
    """
    parts = sorted(parts, key=lambda part: (part.shard.number, part.file))
    _check_shards(parts)
    whole = not _lacking(parts)
    if not whole and not partial:
        raise InputError(f"{_lacking(parts)}, or merge what there is with --partial")
    _check_runs(parts, runs)
    by_test = _by_test(parts)
    gallery = Gallery()
    found = {test: _joined(test, owners, parts[0].shard.of) for test, owners in sorted(by_test.items())}
    for test, verdicts in found.items():
        gallery.take(test, verdicts)
    shown = (verdict for test, own in found.items() for verdict in gallery.hang(test, own))
    known = {run.key: run for part in parts for run in part.results.runs}
    return Results(
        tuple(shown), tuple(run for _, run in sorted(known.items())), complete=whole, profile=parts[0].results.profile
    )


def _check_shards(parts: Sequence[Part]) -> None:
    """Refuse what are not different shards of the same number and of the same tests."""
    if not parts:
        raise InputError("expected the results of shards, got none; name their files")
    first = parts[0]
    for part in parts[1:]:
        if part.shard.of != first.shard.of:
            raise InputError(
                f"expected shards of one run, got {first} and {part}; run all of them with the same N in --robustness-shard=I/N"
            )
    for part in parts[1:]:
        if part.results.profile != parts[0].results.profile:
            raise InputError(
                f"expected shards of one profile, got {parts[0].results.profile} in {parts[0]} and {part.results.profile} in {part}; "
                "run all of them with the same --robustness-profile"
            )
    for before, part in itertools.pairwise(parts):
        if part.shard.number == before.shard.number:
            raise InputError(f"expected every shard once, got {before} and {part}; leave one of them out")
    known = [part for part in parts if part.shard.items]
    for part in known[1:]:
        if part.shard.items != known[0].shard.items:
            raise InputError(
                f"expected shards of the same tests, got others in {part} than in {known[0]}; run all of them on the same files "
                "with the same selection"
            )


def _lacking(parts: Sequence[Part]) -> str:
    """What is missing of the whole run, and what to do about it; empty where nothing is."""
    of = parts[0].shard.of
    missing = sorted(set(range(1, of + 1)) - {part.shard.number for part in parts})
    if missing:
        return f"expected shards 1 to {of} of {of}, missing {_listed(missing)}; add their files"
    stopped = [part for part in parts if not part.results.complete]
    if stopped:
        return (
            f"expected shards that ran to their end, got {', '.join(map(str, stopped))}, which stopped early; run again what "
            "stopped, it goes on where it was"
        )
    return ""


def _check_runs(parts: Sequence[Part], runs: int | None) -> None:
    """Refuse shards that were measured on different things.

    Tests may measure on several models, but then one of the shards is likely to have met any two of them: only what no shard has
    met together is taken for a mistake.
    """
    owned = [(part, run) for part in parts for run in part.results.runs]
    for found in owned[1:]:
        difference = _difference(owned[0], found, _OF_A_SESSION)
        if difference:
            raise InputError(
                f"expected shards that ran alike, got {difference}; run all of them with the same versions and settings"
            )
    met: dict[tuple[object, ...], list[tuple[Part, Provenance]]] = {}
    for part, run in owned:
        met.setdefault(tuple(getattr(run, name) for name in _OF_A_TEST), []).append((part, run))
    if runs is not None:
        if len(met) > runs:
            raise InputError(
                f"expected {runs} different models, image sets or seeds in all shards together, got {len(met)}:"
                + "".join(f"\n{_told(owners)}" for owners in met.values())
            )
        return
    for one, other in itertools.combinations(met.values(), 2):
        if not {part.file for part, _ in one} & {part.file for part, _ in other}:
            raise InputError(
                f"expected shards that were measured on the same, got {_difference(one[0], other[0], _OF_A_TEST)}; run all "
                f"shards on the same model and images with the same seed, or, where the tests measure several, say how many with --runs={len(met)}"
            )


def _value(run: Provenance, name: str) -> object:
    if name == "versions":
        # Of torch, what follows the plus names the device that it was built for.
        return tuple((library, number.partition("+")[0]) for library, number in run.versions)
    return getattr(run, name)


def _difference(one: tuple[Part, Provenance], other: tuple[Part, Provenance], names: Sequence[str]) -> str:
    """The first of these in which two runs differ, with the files that say so; empty where they differ in none."""
    (part, run), (part_2, run_2) = one, other
    differing = [name for name in names if _value(run, name) != _value(run_2, name)]
    if not differing:
        return ""
    name = differing[0]
    value, value_2 = _value(run, name), _value(run_2, name)
    if isinstance(value, tuple) and isinstance(value_2, tuple):
        longer = itertools.zip_longest(value, value_2, fillvalue="nothing")
        value, value_2 = next((a, b) for a, b in longer if a != b)
        value, value_2 = (" ".join(v) if isinstance(v, tuple) else v for v in (value, value_2))
    label = name.replace("_", " ")
    return f"{label} {_short(value)} in {part} and {_short(value_2)} in {part_2}"


def _told(owners: Sequence[tuple[Part, Provenance]]) -> str:
    run = owners[0][1]
    digest = f" {run.model_digest[:12]}" if run.model_digest else ""
    files = ", ".join(str(part) for part, _ in owners)
    return f"{run.model}{digest} on {run.amount} of {run.images}, seed {run.seed}: {files}"


def _short(value: object) -> str:
    text = str(value)
    # Of a digest, as much as reports show.
    return text[:12] if len(text) == 64 and text.isalnum() else text


def _by_test(parts: Sequence[Part]) -> "Mapping[str, Mapping[int, Sequence[Verdict]]]":
    """The verdicts of each test by the number of the shard; only tests that are shared out by their pairs are on several."""
    found: dict[str, dict[int, list[Verdict]]] = {}
    for part in parts:
        for verdict in part.results.verdicts:
            found.setdefault(verdict.test, {}).setdefault(part.shard.number, []).append(verdict)
    files = {part.shard.number: str(part) for part in parts}
    twice = [test for test, owners in found.items() if len(owners) > 1 and not _by_pairs(owners)]
    if twice:
        first, *_ = twice
        one, other = list(found[first])[:2]
        raise InputError(
            f"expected every test on one shard, got {len(twice)} on several, first {first} in {files[one]} and {files[other]}; "
            "run all shards with this version"
        )
    return found


def _by_pairs(owners: Mapping[int, Sequence[Verdict]]) -> bool:
    """Whether no shard has judged a gate of this test: gates over pairs are open, and errors or rules of its own have ended it."""
    verdicts = itertools.chain.from_iterable(owners.values())
    return all(v.status in ("undecided", "error") or (v.gate == "own-rule" and v.status == "fail") for v in verdicts)


def _joined(test: str, owners: Mapping[int, Sequence[Verdict]], of: int) -> "Sequence[Verdict]":
    """The verdicts of a test, those over pairs judged anew as far as the test would have gone on."""
    every = [verdict for own in owners.values() for verdict in own]
    if all(verdict.status != "undecided" for verdict in every) and len(owners) == 1:
        return every
    ended: dict[tuple[str, str], Verdict] = {}
    for verdict in every:
        if verdict.status != "undecided":
            ended.setdefault((verdict.gate, verdict.reason), verdict)
    if ended:
        # Of what a test does after an error nothing is known.
        return list(ended.values())
    asked = {tuple((v.gate, v.claim, len(v.matrices)) for v in own): number for number, own in owners.items()}
    if len(asked) > 1:
        one, other = list(asked.values())[:2]
        raise InputError(
            f"{test}: expected the same gates on every shard, got others on shard {other} than on shard {one}; run all of them on "
            "the same files"
        )
    numbers = list(owners)
    part = "" if len(numbers) == of else f"shard{'s' * (len(numbers) > 1)} {_listed(numbers)} of {of}"
    found: list[Verdict] = []
    for verdicts in zip(*owners.values(), strict=True):
        found.append(_judged(test, verdicts, part))
        if found[-1].status != "pass":
            # There the test would have ended.
            break
    return found


def _judged(test: str, verdicts: Sequence[Verdict], part: str) -> Verdict:
    """The gate over the pairs of these shards, which are all or but a `part` of them, as `shards 1 and 3 of 8`."""
    first = verdicts[0]
    gate = RateAtMost.of_verdict(first)
    # What the last verdict of a test has besides was measured beside it.
    try:
        matrices = tuple(sum_of(shares) for shares in zip(*(verdict.matrices for verdict in verdicts), strict=True))
    except InputError as error:
        raise InputError(f"{test}: {error}") from None
    found = first
    # A rule of a test's own is known to nobody here, and stays undecided.
    if gate is not None:
        try:
            found = gate.judge(TargetedMatrix(matrices[0]), part=part)
            if found.status == "fail":
                todo = remedy(found, under="attack", defended=bool(matrices[0].case.defense))
                found = dataclasses.replace(found, reason=f"{found.reason}\n{todo}")
        except InputError as error:
            name, bracket, parameters = test.partition("[")
            claim = f"{name.rpartition('::')[2]}{bracket}{parameters}"
            own = Verdict("error", claim, "error", str(error), test=test, run=first.run, expected=first.expected)
            return dataclasses.replace(own, reproduce=first.reproduce)
        # On one device every shard was in the same doubts: the checks look at images of the whole set.
        checks = dict.fromkeys(check for verdict in verdicts for check in verdict.checks)
        doubts = dict.fromkeys(doubt for verdict in verdicts for doubt in verdict.doubts)
        found = dataclasses.replace(found, **consequences(found, tuple(checks), tuple(doubts)))
    return dataclasses.replace(
        found,
        matrices=matrices,
        pictures=tuple(view for matrix in matrices for view in _pictures(matrix, verdicts)),
        traces=first.traces,
        test=test,
        run=first.run,
        reproduce=first.reproduce,
        expected=first.expected and found.status not in ("pass", "undecided"),
    )


def _pictures(matrix: Matrix, verdicts: Sequence[Verdict]) -> Iterator[Picture]:
    """Those of the matrix' examples, clean and attacked, as far as a shard has made them: each pictures examples of its own share."""
    known: dict[tuple[str, str], tuple[Picture, Picture]] = {}
    for verdict in verdicts:
        for clean, attacked in zip(verdict.pictures[::2], verdict.pictures[1::2], strict=True):
            known.setdefault((attacked.image, attacked.caption), (clean, attacked))
    for pair in dict.fromkeys(illustrating(matrix).values()):
        yield from known.get((pair.image, pair.caption), ())


def _listed(numbers: Sequence[int]) -> str:
    texts = list(map(str, numbers))
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
