"""What AutoAttack leaves standing (Croce and Hein 2020): the cascade of this package and pyautoattack's, image by image.

Both run the four attacks of its standard version in Linf, each on the images that hold under those before: APGD on the
cross-entropy, APGD and FAB on the nine likeliest other classes, and Square. All settings are the version's but one: Square has
1000 queries on both sides, as its 5000 take hours on a CPU. Everybody has the same images and one thread, and is measured
once, in seconds of the processor: nobody leaves a machine alone for as long as a round takes. pyautoattack has batches of 32
and is called once for each attack, which tells what broke an image and changes nothing else. Our FAB is torchattacks', and left
out where that is missing.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmarks.material import PUBLISHED, ROOT, Classifier, Material, classifier, read
from benchmarks.measure import Figure, Worker
from benchmarks.parts import FULL, Setting, installed
from benchmarks.table import Headline, Row, Section

__all__ = ["Cause", "Fared", "Pair", "Task", "agreement", "compared", "ours", "theirs"]

Cause = Literal["apgd-ce", "apgd-t", "fab-t", "square", "clean", "nothing"]

# By pyautoattack's names, in their order.
_ATTACKS: tuple[Cause, ...] = ("apgd-ce", "apgd-t", "fab-t", "square")
_BATCH = 32
# How many images more may hold under one than under the other.
_APART = 1


@dataclass(frozen=True)
class Task:
    """What both are asked: `images` of a folder of class folders, spread evenly over it, at an epsilon in units of 1/255."""

    classifier: Classifier
    folder: Path
    images: int
    epsilon: float
    queries: int

    @property
    def ids(self) -> list[str]:
        """The images' ids: their paths inside the folder."""
        every = sorted(path.relative_to(self.folder).as_posix() for path in self.folder.glob("*/*"))
        return [every[place * len(every) // self.images] for place in range(self.images)]


@dataclass(frozen=True)
class Fared:
    """Seconds of the processor, and what broke each image: an attack, "clean" where none was needed, "nothing" where it holds."""

    seconds: float
    causes: Mapping[str, Cause]

    def count(self, cause: Cause) -> int:
        """How many images that is so of."""
        return list(self.causes.values()).count(cause)


@dataclass(frozen=True)
class Pair:
    """A task with how its images fared here and, where pyautoattack is there, in its hands."""

    task: Task
    ours: Fared
    theirs: Fared | None

    @property
    def epsilon(self) -> str:
        """The epsilon as people write it."""
        return f"{self.task.epsilon:g}/255"


# Epsilons at which some of the images hold and some break.
_ROUNDS: Sequence[tuple[Material, Sequence[float]]] = (
    (
        Material("ResNet-20 on CIFAR-10 JPEGs, 32 px", "cifar_resnet20", PUBLISHED / "cifar10" / "images", True),
        (0.5, 0.75, 1),
    ),
    (
        Material(
            "SmallCNN (hardened) on the fixtures' pictures, 64 px",
            "fixtures_hardened",
            ROOT / "fixtures" / "images",
            False,
        ),
        (12, 16, 20),
    ),
)


def agreement(setting: Setting) -> Iterator[Section]:
    """The published classifier, where it is there, and the hardened one of the fixtures."""
    full = setting.sizes is FULL
    for material, epsilons in _ROUNDS:
        if not material.images.is_dir():
            yield Section(f"h. AutoAttack: {material.title}", "", [Row("images", remark="not there")])
            continue
        task = Task(material.classifier, material.images, 200 if full else 12, epsilons[-1], 1000 if full else 20)
        tasks = [replace(task, epsilon=epsilon) for epsilon in (epsilons if full else epsilons[-1:])]
        there = installed("pyautoattack")
        with Worker(threads=1) as own, Worker(threads=1) as peer:
            pairs = [Pair(task, own.call(ours, task), peer.call(theirs, task) if there else None) for task in tasks]
        yield compared(material.title, pairs, judged=full)


def compared(title: str, pairs: Sequence[Pair], *, judged: bool) -> Section:
    """The table of one classifier: seconds, and below them what holds; where it is `judged`, whether that agrees."""
    task = pairs[0].task
    return Section(
        f"h. AutoAttack in Linf: {title}, {task.images} images, Square with {task.queries} queries, cpu, 1 thread",
        "seconds of the processor over pyautoattack's",
        [row for pair in pairs for row in _rows(pair)],
        notes=[*_holding(pairs, judged=judged), *_broken(pairs), *_differing(pairs)],
    )


def _rows(pair: Pair) -> Iterator[Row | Headline]:
    yield Headline(f"epsilon {pair.epsilon}")
    seconds = Figure((pair.ours.seconds,))
    if pair.theirs is None:
        yield Row("pyautoattack", remark="not installed")
        yield Row("pytest-robustness", seconds)
    else:
        peer = Figure((pair.theirs.seconds,))
        yield Row("pyautoattack", peer, peer.over(peer))
        yield Row("pytest-robustness", seconds, seconds.over(peer))


def _holding(pairs: Sequence[Pair], *, judged: bool) -> Iterator[str]:
    yield "Images that are right when clean, and that hold under the attacks of each:"
    yield f"  {'epsilon':10}{'clean':>7}{'ours':>7}{'theirs':>8}"
    for pair in pairs:
        holding = pair.ours.count("nothing")
        line = f"  {pair.epsilon:10}{pair.task.images - pair.ours.count('clean'):>7}{holding:>7}"
        if pair.theirs is not None:
            peers = pair.theirs.count("nothing")
            line += f"{peers:>8}"
            if judged:
                line += f"  +-{_APART} {'ok' if abs(holding - peers) <= _APART else 'no'}"
        yield line


def _broken(pairs: Sequence[Pair]) -> Iterator[str]:
    yield "Images that each attack broke of those left to it, ours and theirs:"
    yield f"  {'epsilon':10}{''.join(f'{attack:>11}' for attack in _ATTACKS)}"
    for pair in pairs:
        line = f"  {pair.epsilon:10}"
        for attack in _ATTACKS:
            both = (str(fared.count(attack)) for fared in (pair.ours, pair.theirs) if fared is not None)
            line += f"{' '.join(both):>11}"
        yield line


def _differing(pairs: Sequence[Pair]) -> Iterator[str]:
    """Every image that holds by one alone."""
    if any(pair.theirs is None for pair in pairs):
        return
    yield "Images that hold under one alone, and what broke them under the other:"
    some = False
    for pair in pairs:
        assert pair.theirs is not None
        for image, cause in pair.ours.causes.items():
            peers = pair.theirs.causes[image]
            if (cause == "nothing") != (peers == "nothing"):
                some = True
                yield f"  {pair.epsilon:10} {image}: ours {cause}, theirs {peers}"
    if not some:
        yield "  none"


# What workers run. They import torch and this package; the process that starts them does not.


def ours(task: Task) -> Fared:
    """How the images fare by this package: from the folder and a new engine to outcomes."""
    from pytest_robustness import Engine, image_folder
    from pytest_robustness.attacks import autoattack_like

    fab = installed("torchattacks")
    cascade = autoattack_like(queries=task.queries, fab=fab)
    names = dict(zip(map(repr, cascade.attacks), (name for name in _ATTACKS if fab or name != "fab-t"), strict=True))
    model, ids = classifier(task.classifier), task.ids
    began = time.process_time()
    engine = Engine(model, image_folder(task.folder), device="cpu")
    attacked = engine.evaluate(ids, cascade, task.epsilon / 255).outcomes
    seconds = time.process_time() - began
    causes: dict[str, Cause] = {}
    for clean, outcome in zip(engine.evaluate(ids).outcomes, attacked, strict=True):
        if outcome.correct:
            causes[outcome.image] = "nothing"
        else:
            causes[outcome.image] = names[outcome.found_by] if clean.correct else "clean"
    return Fared(seconds, causes)


def theirs(task: Task) -> Fared:
    """How they fare by pyautoattack: from images in memory to verdicts."""
    import torch
    from pyautoattack import AutoAttack

    model, ids = classifier(task.classifier), task.ids
    images = torch.stack([read(task.folder / image) for image in ids])
    classes = sorted(path.name for path in task.folder.iterdir())
    labels = torch.tensor([classes.index(image.partition("/")[0]) for image in ids])
    autoattack = AutoAttack(model, norm="Linf", eps=task.epsilon / 255, version="standard", device="cpu", seed=0)
    autoattack.square.n_queries = task.queries
    autoattack.verbose = False
    # It warns where Square is the one that breaks an image.
    logging.getLogger("auto-attack").setLevel(logging.ERROR)
    began = time.process_time()
    with torch.no_grad():
        right = torch.cat([model(part) for part in torch.split(images, _BATCH)]).argmax(1) == labels
    causes: dict[str, Cause] = {
        image: "nothing" if correct else "clean" for image, correct in zip(ids, right.tolist(), strict=True)
    }
    for attack in _ATTACKS:
        rows = [row for row, image in enumerate(ids) if causes[image] == "nothing"]
        if not rows:
            break
        autoattack.attacks_to_run = [attack]
        _, answers = autoattack.run_standard_evaluation(images[rows], labels[rows], batch_size=_BATCH)
        for row, held in zip(rows, (answers == labels[rows]).tolist(), strict=True):
            if not held:
                causes[ids[row]] = attack
    return Fared(time.process_time() - began, causes)
