"""Known failures: images that a gate fell by, each with what it takes to ask again, kept from run to run.

Plain numbers, without torch.
"""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_robustness.errors import InputError
from pytest_robustness.nodeids import without_image
from pytest_robustness.records import Case, Outcome, Verdict, from_builtin, to_builtin
from pytest_robustness.results import Results

__all__ = ["SCHEMA", "Failure", "failures_of", "from_text", "named", "to_text", "updated"]

SCHEMA = "pytest-robustness-corpus/1"
_NAMED = 5


@dataclass(frozen=True)
class Failure:
    """One image that one gate fell by.

    `test` is the node id that asks about it, `gate` the kind of the gate, `answer` what the model said in place of one of the
    `accepted`. `stress` is as in `Case`, empty for the clean image. `fell` is False where the image has held since.
    """

    test: str
    gate: str
    image: str
    stress: str
    unit: str
    strength: float
    seed: int
    answer: str
    accepted: tuple[str, ...]
    fell: bool = True

    @property
    def key(self) -> str:
        """Eight digits that name the test, whatever its image, the image, the stress, the strength and the seed."""
        what = [without_image(self.test, self.image), self.image, self.stress, self.strength, self.seed]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:8]

    @property
    def title(self) -> str:
        """The image and what it was put to: `dark_2.png under Blend('white.png') at alpha 0.2`, `dark_2.png clean`."""
        if not self.strength:
            return f"{self.image} clean"
        return f"{self.image} under {Case(self.stress, self.unit, self.strength).title}"


def failures_of(verdict: Verdict, seed: int) -> Iterator[Failure]:
    """The images that a verdict fell by, the worst first, as far as it has their answers."""
    if not verdict.fallen:
        return
    wrong = {(own.image, at): (stress, unit, own) for stress, unit, at, own in _answers(verdict) if not own.correct}
    for image, strength in verdict.fallen:
        if (image, strength) in wrong:
            stress, unit, own = wrong[image, strength]
            yield Failure(verdict.test, verdict.gate, image, stress, unit, strength, seed, own.answer, own.accepted)


def _answers(verdict: Verdict) -> Iterator[tuple[str, str, float, Outcome]]:
    """Every answer of a verdict, with its stress, the stress's unit and the strength; the evaluation that it is about last."""
    for evaluation in reversed(verdict.evaluations):
        case = evaluation.case
        # Clean images behind a defense are under no stress, and have a title of their own.
        stress = case.under if case.stress else f"behind {case.defense}" if case.defense else ""
        for outcome in evaluation.outcomes:
            yield stress, case.unit, float(case.strength), outcome
    for ladder in verdict.ladders:
        for strength, outcome in ladder.rungs:
            yield ladder.stress, ladder.unit, float(strength), outcome


def updated(known: Sequence[Failure], results: Results, *, grows: bool) -> tuple[Failure, ...]:
    """The failures after this run: what fell is added, and what was asked again with the same seed and held is dropped.

    Where the corpus `grows` it stays instead, as one that no longer falls. What fell again at another strength takes its place
    where the corpus does not grow. What was not asked stays as it is. In the order of the tests, the images and the strengths.
    """
    seeds = {run.key: run.seed for run in results.runs}
    tests = {failure.test for failure in known}
    found: dict[str, Failure] = {}
    held: set[tuple[str, str, str, int, float]] = set()
    fell: set[tuple[str, str, str, int]] = set()
    for verdict in results.verdicts:
        if verdict.run in seeds:
            test, seed = verdict.test, seeds[verdict.run]
            own = () if verdict.expected else tuple(failures_of(verdict, seed))
            found |= {failure.key: failure for failure in own}
            fell |= {(test, failure.image, failure.stress, seed) for failure in own}
            if test in tests:
                held |= {(test, o.image, stress, seed, at) for stress, _, at, o in _answers(verdict) if o.correct}
    kept: dict[str, Failure] = {}
    for failure in known:
        asked = (failure.test, failure.image, failure.stress, failure.seed)
        if (*asked, failure.strength) in held:
            if grows:
                kept[failure.key] = dataclasses.replace(failure, fell=False)
        elif grows or asked not in fell:
            kept[failure.key] = failure
    return tuple(sorted((kept | found).values(), key=lambda own: (own.test, own.image, own.strength, own.key)))


def named(known: Sequence[Failure], key: str) -> Failure:
    """The failure whose key begins with this. Raises InputError, with the nearest of those that are known, where it is not one."""
    found = [failure for failure in known if failure.key.startswith(key)]
    if len(found) == 1:
        return found[0]
    if not known:
        raise InputError(f"expected the key of a known failure, got {key!r}, and none is known; run the tests first")
    if found:
        raise InputError(
            f"expected the key of one known failure, got {key!r}, with which {len(found)} begin; write more of it:{_told(found)}"
        )
    near = sorted(known, key=lambda own: -_shared(own.key, key))
    raise InputError(f"expected the key of a known failure, got {key!r}; known are:{_told(near)}")


def _shared(one: str, other: str) -> int:
    """How many letters both begin with."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _told(failures: Sequence[Failure]) -> str:
    lines = [f"  {own.key}  {own.title}, {own.test}" for own in failures[:_NAMED]]
    more = [f"  and {len(failures) - _NAMED} more"] * (len(failures) > _NAMED)
    return "\n" + "\n".join(lines + more)


def to_text(failures: Sequence[Failure]) -> str:
    """A versioned JSON document, the same bytes for the same failures; `key` is there to be read."""
    rows = [{"key": failure.key, **to_builtin(failure)} for failure in failures]
    return json.dumps({"schema": SCHEMA, "failures": rows}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_text(text: str) -> tuple[Failure, ...]:
    """What `to_text` wrote, back as records. Raises InputError for anything else."""
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r}")
        rows = [{name: value for name, value in row.items() if name != "key"} for row in document["failures"]]
        return tuple(from_builtin(Failure, row) for row in rows)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"expected known failures as {SCHEMA!r}, got something else ({error}); delete the file"
        ) from None
