"""Results as a section of a model card, in the form that the cards of Hugging Face have, with their metadata."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_robustness.records import Case, Provenance
from pytest_robustness.report.series import models
from pytest_robustness.report.summary import headline, rows
from pytest_robustness.results import Results
from pytest_robustness.stats import proportion_interval

__all__ = ["Stressed", "render", "stressed"]

_LIMITS = """\
- A gate proves what it measured: these images, these stresses at these strengths, this seed. Other images of the same kind may
  fare otherwise; the intervals say by how much, as far as they are drawn alike.
- No attack proves that there is no better one: the accuracy under an attack is an upper bound of the accuracy under all changes
  of that size. Only certified accuracies are more than that, within their radius and their stated risk.
- Images that the model takes as inputs were stressed. What a camera, a print or a crop does on the way to them was not measured,
  unless a stress says so.
- Nothing here tells how the model fares on classes that it does not know, or on data of another kind."""


@dataclass(frozen=True)
class Stressed:
    """How many of the images that any gate asked about one case are right; `run` is the key of what it was measured on."""

    run: str
    case: Case
    right: int
    n: int


def render(results: Results) -> str:
    """A card's metadata (`model-index`) and its section on evaluation. Every string of a user's is escaped.

    Of results over several models, all are in it, each under its name. Without an accuracy there is no metadata, as the form
    asks for numbers.
    """
    found = stressed(results)
    return "\n".join([*_metadata(results, found), *_section(results, found), ""])


def stressed(results: Results) -> tuple[Stressed, ...]:
    """The accuracies that gates asked for, each case once, over all images that any gate asked about it.

    A gate that was decided early looked at the shakiest images only, and tells of no accuracy.
    """
    asked: dict[tuple[str, Case], dict[str, bool]] = {}
    for verdict in results.verdicts:
        if verdict.gate == "accuracy" and verdict.interval is None:
            continue
        for evaluation in verdict.evaluations:
            known = asked.setdefault((verdict.run, evaluation.case), {})
            known.update((outcome.image, outcome.correct) for outcome in evaluation.outcomes)
    order = sorted(asked.items(), key=lambda item: (item[0][1].defense, item[0][1].stress, item[0][1].strength))
    return tuple(Stressed(run, case, sum(known.values()), len(known)) for (run, case), known in order)


def _metadata(results: Results, found: tuple[Stressed, ...]) -> Iterator[str]:
    """YAML between two fences; strings are written as JSON has them, which YAML reads."""
    if not found:
        return
    yield "---"
    yield "model-index:"
    named = models(results)
    for run in results.runs:
        own = [one for one in found if one.run == run.key]
        if own:
            yield f"- name: {_quoted(named[run.key])}"
            yield from (
                "  results:",
                "  - task:",
                "      type: image-classification",
                "      name: Image Classification",
            )
            yield from (
                "    dataset:",
                f"      type: {_quoted(_slug(run.images))}",
                f"      name: {_quoted(run.images)}",
            )
            yield "    metrics:"
            for one in own:
                yield "    - type: accuracy"
                yield f"      name: {_quoted(f'accuracy, {one.case.title}')}"
                yield f"      value: {one.right / one.n:.6g}"
    yield from ("---", "")


def _section(results: Results, found: tuple[Stressed, ...]) -> Iterator[str]:
    yield from ("## Evaluation", "", _text(_sentence(headline(results))), "")
    yield from ("### Testing Data, Factors & Metrics", "", "#### Testing Data", "")
    for run in results.runs:
        yield f"- {run.n} images of {_text(run.images)} in {len(run.classes)} classes, SHA-256 `{_code(run.images_digest)}`"
    yield from ("", "#### Factors", "")
    for run in results.runs:
        yield f"- {_factors(run, models(results)[run.key])}"
    if results.profile:
        yield f"- profile {_text(results.profile)}"
    yield from ("", "#### Metrics", "")
    yield (
        "Accuracy is the share of images that are answered with an accepted class; an answer that a defense withholds is wrong. "
        "Intervals are exact, at 95 %."
    )
    yield from ("", "### Results", "")
    yield from _gates(results)
    if found:
        yield from ("", "#### Accuracy under stress", "")
        yield from _stresses(found, models(results))
    yield from ("", "### What a pass does not prove", "", _LIMITS)


def _factors(run: Provenance, name: str) -> str:
    digest = f", SHA-256 `{_code(run.model_digest)}`" if run.model_digest else ""
    versions = ", ".join(f"{_text(what)} {_text(version)}" for what, version in run.versions)
    return f"{_text(name)}{digest}; seed {run.seed}, {_text(run.device)}, {_text(run.precision)}; {versions or 'versions unknown'}"


def _gates(results: Results) -> Iterator[str]:
    yield "| gate | verdict | measured | required | margin | n |"
    yield "|---|---|--:|--:|--:|--:|"
    for row in rows(results):
        verdict = "failed as expected" if row.expected else row.status
        yield f"| {_text(row.claim)} | {verdict} | {row.measured} | {row.required} | {row.margin} | {row.n or '-'} |"


def _stresses(found: tuple[Stressed, ...], named: dict[str, str]) -> Iterator[str]:
    several = len({one.run for one in found}) > 1
    yield f"|{' model |' * several} stress | strength | right | accuracy | 95 % interval |"
    yield f"|{'---|' * several}---|--:|--:|--:|--:|"
    for one in found:
        low, high = proportion_interval(one.right, one.n)
        who = f" {_text(named.get(one.run, ''))} |" * several
        what, at = (one.case.under, one.case.at) if one.case.stress else (one.case.title, "-")
        yield f"|{who} {_text(what)} | {_text(at)} | {one.right} of {one.n} | {one.right / one.n:.4g} | {low:.3f} to {high:.3f} |"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _slug(name: str) -> str:
    """A name as the identifiers of datasets are written."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.") or "images"


def _quoted(text: str) -> str:
    return json.dumps(_printable(text), ensure_ascii=False)


def _text(text: str) -> str:
    """A text on one line, which Markdown and HTML leave as it is."""
    whole = _printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|~#$!])", r"\\\1", whole)


def _code(text: str) -> str:
    return re.sub(r"[^0-9a-f]", "", text)


def _printable(text: str) -> str:
    """On one line, without what is no letter on paper: YAML refuses it even in quotes."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
