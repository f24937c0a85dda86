"""Results of two releases, made by hand: what tests of baselines share."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from pytest_robustness.records import Case, Evaluation, Ladder, Outcome, Provenance, Verdict
from pytest_robustness.results import Results

RUN = Provenance(
    model="Net",
    model_digest="ab" * 32,
    images="images",
    images_digest="cd" * 32,
    n=6,
    classes=("cat", "dog"),
    device="cpu",
    seed=0,
    precision="float32",
    execution="as given",
    versions=(("pytest-robustness", "0.1.0"), ("torch", "2.5.0")),
)
CASE = Case("FGSM()", "epsilon", 2 / 255)
CLEAN = Case("", "", 0.0)


def other(**fields: Any) -> Provenance:
    """Another run than the usual one, in these fields."""
    return dataclasses.replace(RUN, **fields)


def outcome(image: str, right: bool, **fields: Any) -> Outcome:
    said = "cat" if right else "dog"
    subject = 0.75 if right else 0.25
    return Outcome(image, ("cat",), said, right, 0.75, subject, (("cat", subject), ("dog", 1 - subject)), **fields)


def asked(right: Mapping[str, bool] | str, case: Case = CASE, **fields: Any) -> Evaluation:
    """The outcomes of a case: of `a b -c`, a and b are right and c is wrong."""
    if isinstance(right, str):
        right = {name.removeprefix("-"): not name.startswith("-") for name in right.split()}
    return Evaluation(case, tuple(outcome(f"{name}.png", own, **fields) for name, own in right.items()))


def ladder(image: str, held: float | None, levels: tuple[float, ...] = (0.1, 0.2, 0.3)) -> Ladder:
    """An image that holds until this level, None where it is wrong when clean."""
    rungs = [(0.0, outcome(image, held is not None))]
    for level in levels:
        if not rungs[-1][1].correct:
            break
        rungs.append((level, outcome(image, held is not None and level <= held)))
    return Ladder(image, "Blend('white.png')", "alpha", levels, tuple(rungs))


def verdict(test: str, *evaluations: Evaluation, run: Provenance = RUN, **fields: Any) -> Verdict:
    given = {"gate": "accuracy", "claim": "a claim", "status": "pass", "reason": "because", "n": 6}
    return Verdict(**{**given, "evaluations": evaluations, "test": test, "run": run.key, **fields})


def results(*verdicts: Verdict, runs: tuple[Provenance, ...] = (RUN,), **fields: Any) -> Results:
    return Results(verdicts, runs, **fields)
