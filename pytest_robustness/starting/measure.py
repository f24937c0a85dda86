"""`python -m pytest_robustness measure`: every default stress once, and gates with thresholds to start from."""

import contextlib
import dataclasses
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from pytest_robustness.engine import Engine
from pytest_robustness.records import path_text
from pytest_robustness.robustness import Robustness
from pytest_robustness.starting.files import check_folder, check_free, write
from pytest_robustness.starting.proposing import Judge, Proposal, Row
from pytest_robustness.starting.subject import How, Subject, asked, declared_subject, importable
from pytest_robustness.starting.trials import Trial, all_trials
from pytest_robustness.views import Album

__all__ = ["CONFIDENCE", "measure"]

CONFIDENCE = 0.95
"""At which the bounds hold that are proposed: the one of the profile `release`."""

_NOTHING = (
    "nothing else was measured: a stress leaves less; look at the order of the classes and at the preprocessing, which python -m "
    "pytest_robustness init checks, or take more images"
)
_WIDTH = 80
_HEADS = ("right", "n", "bound", "threshold")
_LABEL = 44


def measure(
    file: Path,
    subject: Subject,
    options: Mapping[str, Any],
    *,
    overlay: Path | None = None,
    output: Path | None = None,
    force: bool = False,
) -> int:
    """Measure the model and the images of a file of gates, or of a `subject` where it names them, and write gates with thresholds.

    `options` are fields of `How`, and stand before those in the file. The table goes to standard output and the gates to `output`; without one, the gates go to standard output and the table to standard
    error. Returns 0, or 1 where no threshold can be proposed for the clean images or an attack is in doubt: what is to be done is said.
    Raises InputError for what can't be read or evaluated, and for an `output` that is there already, unless `force` replaces it.
    """
    if output is not None:
        check_folder(output)
        if not force:
            check_free([output])
    table = sys.stdout if output is not None else sys.stderr
    folder = Path() if subject.model else file.parent
    with contextlib.ExitStack() as stack:
        stack.enter_context(importable(folder))
        if subject.model:
            model, images, how = subject.load_model(), subject.load_images(), How()
        else:
            document = declared_subject(file)
            assert document.model is not None
            assert document.images is not None
            model, images, how = document.model.load(), document.images.load(), How().over(document.options)
        how = dataclasses.replace(how, **options)
        engine = stack.enter_context(asked(model, images, how, folder=folder, terminal=table))
        trials = all_trials(overlay, seen_from=folder if output is None else output.parent)
        proposals = _measured(engine, trials, table)
    text = "".join(f"{line}\n" for line in _gates(proposals, engine))
    if output is None:
        sys.stdout.write(text)
    else:
        write(output, text)
        told = f"wrote {path_text(output)}: put its gates in place of those of robustness.yaml, or write there extends: {output.name}"
        table.writelines(f"{line}\n" for line in ("", *_wrapped(told)))
    return int(not proposals[0].gate or any(proposal.doubts for proposal in proposals))


def _measured(engine: Engine, trials: Sequence[Trial], table: TextIO) -> list[Proposal]:
    """The proposals, each shown in the table as soon as it is there, and the notes below it."""
    judge = Judge(Robustness(engine, album=Album(limit=0)), confidence=CONFIDENCE)
    guess, run = judge.guess, engine.provenance
    about = f"{run.model} on {run.amount} of {run.images}, {run.device}, seed {run.seed}; {guess}"
    table.writelines(f"{line}\n" for line in _wrapped(about))
    table.write(_line("", _HEADS))
    proposals = []
    for trial in trials:
        proposal = judge.propose(trial)
        proposals.append(proposal)
        table.writelines(_line(row.label, _cells(row)) for row in proposal.rows)
        table.flush()
        if not proposals[0].gate:
            # Nothing that is stronger can promise more.
            break
    table.write(f"bound: of all such images, at confidence {CONFIDENCE:g}\n")
    for note in judge.notes(proposals):
        table.writelines(f"{line}\n" for line in _wrapped(note))
    if not proposals[0].gate:
        table.writelines(f"{line}\n" for line in _wrapped(_NOTHING))
    table.flush()
    return proposals


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _cells(row: Row) -> tuple[str, ...]:
    return f"{row.k / row.n:.3f}", f"{row.n:,}", f"{row.bound:.3f}", row.threshold or "none"


def _line(label: str, cells: Sequence[str]) -> str:
    widths = (7, 9, 7, 10)
    return f"{label:<{_LABEL}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)) + "\n"


def _gates(proposals: Sequence[Proposal], engine: Engine) -> Iterator[str]:
    """The proposals as a section of a file of gates."""
    run = engine.provenance
    yield f"# Measured by python -m pytest_robustness measure: {run.model} on {run.amount} of {run.images}, seed {run.seed}."
    yield f"# A threshold is what the measurement promises of all such images, at confidence {CONFIDENCE:g}."
    gated = [proposal for proposal in proposals if proposal.gate]
    if not gated:
        yield "# No threshold could be proposed."
        return
    yield "gates:"
    for proposal in gated:
        yield from _gate(proposal)


def _gate(proposal: Proposal) -> Iterator[str]:
    """The gate of a proposal with its name, and what was measured as a comment."""
    seen = ", ".join(f"{row.k} of {row.n}" for row in proposal.rows)
    about = f"{proposal.trial.asks}: " if proposal.trial.stress is not None else ""
    yield f"  {proposal.trial.name}: # {about}{seen}"
    yield from (f"    {line}" for line in proposal.gate)
