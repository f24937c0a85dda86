"""`python -m pytest_robustness init`: a commented robustness.yaml and test_robustness.py, tried on the model and the images."""

import math
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pytest_robustness.config.schema import config_schema_text
from pytest_robustness.starting.drafting import MARK, SCHEMA_FILE, gates_text, tests_text
from pytest_robustness.starting.files import check_free, write
from pytest_robustness.starting.finding import found_images, found_models, found_weights
from pytest_robustness.starting.proposing import Proposal
from pytest_robustness.starting.subject import How, Subject, importable
from pytest_robustness.starting.trying import CLASSES_FILE, Tried, tried
from pytest_robustness.stats import upper_bound

__all__ = ["init"]

_WIDTH = 80
_LABEL = 16
_SURE = 0.999
_GATES, _TESTS = "robustness.yaml", "test_robustness.py"


def init(folder: Path, subject: Subject, how: How, *, force: bool = False) -> int:
    """Write the files into a folder, the working directory, and say what was found and what is to be changed.

    What the `subject` does not name is looked for in the folder. Returns 0 where pytest is going to be green, 1 where something has to
    be changed first. Raises InputError, with nothing written, for files that are there, unless `force` replaces them, and for a model
    or images that can't be loaded.
    """
    if not force:
        check_free(folder / name for name in (_GATES, _TESTS, SCHEMA_FILE))
    subject, missing = _completed(subject, folder)
    with importable(folder):
        if missing:
            # What is named may be wrong all the same.
            if subject.model["source"] != MARK:
                subject.load_model()
            if subject.images["source"] != MARK:
                subject.load_images()
            found = Tried(subject, (), (), (), (), tuple(missing))
        else:
            found = tried(subject, how, folder=folder, terminal=sys.stdout)
    files = dict(_files(found, how))
    if not force:
        check_free(folder / name for name in files)
    for name, text in files.items():
        write(folder / name, text)
    for line in _told(found, files):
        sys.stdout.write(f"{line}\n")
    return int(bool(found.changes))


def _completed(subject: Subject, folder: Path) -> tuple[Subject, list[str]]:
    """The subject with what the folder holds for sure, and what has to be changed for the rest."""
    model, images, missing = subject.model, subject.images, []
    if "source" not in model:
        found = found_models(folder)
        if len(found) == 1:
            model = {"source": found[0], **model}
        else:
            weights = found_weights(folder)
            hint = f"found several, {_listed(found)}" if found else "found none in this folder"
            if weights and not found:
                hint = f"{weights[0]} has weights alone, which need an architecture, such as --model torchvision:resnet18 --weights {weights[0]}"
            missing.append(
                f"model: {hint}; name it in {_GATES}, where it says {MARK}, or start again with --model and --force"
            )
            model = {"source": MARK, **model}
    if "source" not in images:
        found = found_images(folder)
        if len(found) == 1:
            images = {"source": found[0], **images}
        else:
            hint = f"found several, {_listed(found)}" if found else "found no folder of class folders here"
            missing.append(
                f"images: {hint}; name them in {_GATES}, where it says {MARK}, or start again with --images and --force"
            )
            images = {"source": MARK, **images}
    return Subject(model, images), missing


def _files(found: Tried, how: How) -> Iterator[tuple[str, str]]:
    yield _GATES, gates_text(found.subject, how, found.proposals)
    yield _TESTS, tests_text(_left(found.proposals))
    yield SCHEMA_FILE, config_schema_text()
    if found.classes:
        yield CLASSES_FILE, "".join(f"{name}\n" for name in found.classes)


def _left(proposals: Sequence[Proposal]) -> float:
    """The share of the accuracy that noise leaves for sure, to a tenth; one half where nothing was measured."""
    rows = [proposal.rows[0] for proposal in proposals[:2] if proposal.rows]
    if len(rows) < 2:
        return 0.5
    clean, noisy = rows
    most = upper_bound(clean.k, clean.n, confidence=_SURE)
    return max(1, math.floor(10 * noisy.bound / most)) / 10


def _told(found: Tried, files: Mapping[str, str]) -> Iterator[str]:
    for name, text in found.facts:
        yield from _wrapped(f"{name:<{_LABEL}}{text}", " " * _LABEL)
    for proposal in found.proposals:
        said = f"at least {_listed(proposal.thresholds)}" if proposal.thresholds else "left out"
        yield from _wrapped(f"{'gate':<{_LABEL}}{proposal.trial.name}: {said}{_seen(proposal)}", " " * _LABEL)
    for note in found.notes:
        yield from _wrapped(f"{'note':<{_LABEL}}{note}", " " * _LABEL)
    yield from _wrapped(f"{'wrote':<{_LABEL}}{_listed(list(files))}", " " * _LABEL)
    for change in found.changes:
        yield from _wrapped(f"{'to change':<{_LABEL}}{change}", " " * _LABEL)
    if not found.changes:
        yield f"{'ready':<{_LABEL}}run pytest --robustness-report=robustness.html"


def _seen(proposal: Proposal) -> str:
    return f" ({', '.join(f'{row.k} of {row.n}' for row in proposal.rows)})" if proposal.rows else ""


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
