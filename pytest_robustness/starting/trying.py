"""A model and images tried on each other for the first time: what there is, what it reaches, and what has to be changed."""

import collections
import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from pytest_robustness.classes import check_order
from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.image_sets import Decoded, ImageSet
from pytest_robustness.model_checks import Found, ModelChecks
from pytest_robustness.models import LoadedModel
from pytest_robustness.profiles import Profile
from pytest_robustness.records import Doubt, Outcome, printable
from pytest_robustness.robustness import Robustness
from pytest_robustness.starting.proposing import Guess, Judge, Proposal
from pytest_robustness.starting.subject import How, Subject, asked
from pytest_robustness.starting.trials import first_trials
from pytest_robustness.views import Album

__all__ = ["CLASSES_FILE", "Tried", "tried"]

CLASSES_FILE = "classes.txt"
"""Where the names of the model's classes are written, when the images' folders don't tell their order."""

_LOOKED = 64
_SURE = 0.95
# A sample has to promise what the whole set is going to show.
_SURER = 0.999
_READ_AT_ONCE = 64
_NAMED = 3


@dataclass(frozen=True)
class Tried:
    """What came of a first try: `facts` by name, `proposals` for gates, `notes` on those left out, `changes` that have to be made.

    Where the clean images promise no threshold, there are no proposals. `classes` are to be written to `CLASSES_FILE`, which `subject`
    then names; empty where the images' own are the model's.
    """

    subject: Subject
    classes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    proposals: tuple[Proposal, ...]
    notes: tuple[str, ...]
    changes: tuple[str, ...]


def tried(subject: Subject, how: How, *, folder: Path, terminal: TextIO) -> Tried:
    """Load the model, read all images, and ask about 64 of them, chosen by the seed.

    Raises InputError for what can't be loaded, and where the model has no answer to the images.
    """
    model, images = subject.load_model(), subject.load_images()
    images, classes, origin = _with_classes(model, images, subject)
    if classes:
        subject = dataclasses.replace(subject, images={**subject.images, "classes": CLASSES_FILE})
    with asked(model, images, how, folder=folder, terminal=terminal) as engine:
        images = engine.images
        bad = _bad(images)
        good = [image.id for image in images.images if image.id not in bad]
        if not good:
            raise InputError(next(iter(bad.values())))
        chosen = frozenset(Profile("init", images=_LOOKED).sample(good, how.seed))
        robustness = Robustness(engine, album=Album(limit=0), sample=lambda ids: [own for own in ids if own in chosen])
        sure = _SURE if len(chosen) == len(good) else _SURER
        judge = Judge(robustness, confidence=sure, places=2)
        with _said_of_classes():
            guess = judge.guess
        clean, *rest = first_trials()
        proposals: tuple[Proposal, ...] = (judge.propose(clean),)
        notes = tuple(judge.notes(proposals))
        if not notes:
            proposals += tuple(map(judge.propose, rest))
            notes = tuple(judge.notes([dataclasses.replace(own, doubts=()) for own in proposals]))
        outcomes = robustness.accuracy().evaluation.outcomes
        doubts = _doubts(ModelChecks(engine), proposals)
        facts = tuple(_facts(engine, origin, outcomes, len(good), guess))
    order = _of_order(outcomes)
    changes = [*_of_images(bad, len(images)), *order]
    changes += [f"{doubt.check}: {doubt.said}; {doubt.remedy}" for doubt in doubts]
    if not proposals[0].thresholds:
        changes += [] if order else notes
        return Tried(subject, classes, facts, (), (), tuple(changes))
    return Tried(subject, classes, facts, proposals, notes, tuple(changes))


def _facts(
    engine: Engine, origin: str, outcomes: Sequence[Outcome], usable: int, guess: Guess
) -> Iterator[tuple[str, str]]:
    """What there is, by name; `origin` is who named the classes, and `usable` how many images could be asked about."""
    run, images = engine.provenance, engine.images
    yield "model", f"{run.model}, {len(images.classes):,} classes, on {run.device}"
    yield "classes", f"{_some(images.classes)}: {origin}"
    height, width = images.batch([outcomes[0].image]).images.shape[2:]
    yield "images", f"{run.amount} of {run.images}, {width} x {height} pixels"
    yield "preprocessing", run.preprocessing
    k, n = sum(outcome.correct for outcome in outcomes), len(outcomes)
    sampled = f", a sample of {usable:,}" if n < usable else ""
    yield "clean accuracy", f"{k / n:.3g} ({k} of {n} images{sampled}); {guess}"


def _with_classes(model: LoadedModel, images: ImageSet, subject: Subject) -> tuple[ImageSet, tuple[str, ...], str]:
    """The images with the model's classes in its order, those classes where a file has to name them, and who said so."""
    if "classes" in subject.images:
        return images, (), f"as {subject.images['classes']} has them"
    if not model.classes:
        return images, (), "the images' own, as the model names none"
    if images.classes == model.classes:
        return images, (), "the model's"
    if not set(images.classes) <= set(model.classes) and len(images.classes) != len(model.classes):
        check_order(images.classes, model.classes, images.name)
    if not set(images.classes) <= set(model.classes):
        return images, (), "the images' own, which the model calls otherwise"
    named = Subject(subject.model, {**subject.images, "classes": list(model.classes)})
    return named.load_images(), model.classes, f"the model's, in {CLASSES_FILE}"


@contextlib.contextmanager
def _said_of_classes() -> Iterator[None]:
    """Within it, what is said of a wrong number of classes says how to name them too."""
    try:
        yield
    except InputError as error:
        if "expected float logits of shape" not in str(error):
            raise
        raise InputError(
            f"{error}; a text file with a class on each line, in the model's order, is named by --classes"
        ) from None


def _bad(images: ImageSet) -> Mapping[str, str]:
    """What is wrong with each image that can't be read or is of another size, by id; all are decoded."""

    def faults(read: Decoded) -> list[tuple[str, str]]:
        return [(image_id, str(own)) for image_id, own in read.items() if isinstance(own, InputError)]

    ids = [image.id for image in images.images]
    chunks = (ids[start : start + _READ_AT_ONCE] for start in range(0, len(ids), _READ_AT_ONCE))
    with contextlib.closing(images.streamed(chunks, faults, workers=4)) as stream:
        return dict(itertools.chain.from_iterable(stream))


def _of_images(bad: Mapping[str, str], n: int) -> list[str]:
    if not bad:
        return []
    first = next(iter(bad.values()))
    todo = "mend or remove them, or leave them out by on_bad_image: skip, below images: in robustness.yaml"
    if "give the image set resize=" in first:
        todo = "start again with --resize and --crop, in pixels, and --force"
        first = first.partition("; give the image set")[0]
    return [f"{len(bad)} of {n} images can't be used: {first}; {todo}"]


def _of_order(outcomes: Sequence[Outcome]) -> list[str]:
    """Whether the model's classes seem to be in another order than the images have them."""
    order = _other_order(outcomes)
    told = ", ".join(f"of {own!r} as {other!r}" for own, other in list(order.items())[:_NAMED])
    return [
        f"the classes seem to be in another order: most images are answered otherwise, {told}; list the model's classes in its order, one on "
        "each line of a text file, and start again with --classes and --force"
    ] * bool(order)


def _other_order(outcomes: Sequence[Outcome]) -> Mapping[str, str]:
    """What most images of a class are answered with, where that is another class, each another one, and mostly so; else nothing."""
    answers: dict[str, collections.Counter[str]] = {}
    for outcome in outcomes:
        if len(outcome.accepted) == 1 and outcome.predicted is not None:
            answers.setdefault(outcome.accepted[0], collections.Counter())[outcome.predicted] += 1
    most = {own: counts.most_common(1)[0] for own, counts in sorted(answers.items())}
    moved = {own: answer for own, (answer, _) in most.items() if own != answer}
    explained = sum(count for _, count in most.values())
    k = sum(outcome.correct for outcome in outcomes)
    alike = len({answer for answer, _ in most.values()}) == len(most)
    return moved if len(most) > 1 and alike and moved and 2 * k < explained > len(outcomes) / 2 else {}


def _doubts(checks: ModelChecks, proposals: Sequence[Proposal]) -> Sequence[Doubt]:
    """What the checks find that are made of attacks and, where none was made, of the model alone."""
    found = {doubt.check: doubt for proposal in proposals for doubt in proposal.doubts}
    own: Mapping[str, Callable[[], Found]] = {
        "training-mode": checks.training_mode,
        "repeatable": checks.repeatable,
        "input-range": checks.input_range,
    }
    for name, check in own.items():
        if name not in found and (seen := check()) is not None:
            found[name] = Doubt(name, *seen)
    return tuple(found.values())


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names[:_NAMED])) + (", ..." if len(names) > _NAMED else "")
