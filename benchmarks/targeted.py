"""Every image towards every other class: this package, and a loop over the targets with torchattacks' PGD.

Both have the same classifier, images, steps and step sizes, start at the images and use one thread; the loop has batches of 32
images, one target at a time, and is given only images that are right when clean, decoded. Seconds are those of the processor;
this package begins with the path of the folder and a new engine, and answers the images without an attack first.
"""

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.material import Classifier, classifier, copy_images, material, preloaded
from benchmarks.measure import Figure, Worker, interleaved
from benchmarks.parts import FULL, Setting, installed
from benchmarks.table import Headline, Row, Section, Target

__all__ = ["Cost", "Goal", "every_target", "ours", "theirs"]

_BATCH = 32
# Five times cheaper, where it is usual to attack.
_EPSILON, _TARGET = 8.0, Target("<=", 0.20)


@dataclass(frozen=True)
class Goal:
    """What both are asked: all images of a folder towards every other class, by PGD at an epsilon in units of 1/255."""

    classifier: Classifier
    folder: Path
    epsilon: float
    steps: int


@dataclass(frozen=True)
class Cost:
    """Seconds of the processor for so many pairs, and how many of them reached their target."""

    seconds: float
    pairs: int
    reached: int


def every_target(setting: Setting) -> Iterator[Section]:
    """The cost of a pair, with as many steps as either takes by itself, at epsilons where nearly all are reached and fewer."""
    chosen, full = material(), setting.sizes is FULL
    folder = setting.scratch / "towards"
    count = copy_images(chosen.images, folder, per_class=5 if full else 1)
    rows: list[Row | Headline] = []
    notes = ["Pairs that reached their target, of all pairs:"]
    goals = [
        Goal(chosen.classifier, folder, epsilon, steps)
        for epsilon, steps in ([(8.0, 20), (8.0, 10), (2.0, 20)] if full else [(8.0, 5)])
    ]
    with Worker(threads=1) as own, Worker(threads=1) as peer:
        # What is imported and built once.
        first = replace(goals[0], steps=1)
        own.call(ours, first)
        if installed("torchattacks"):
            peer.call(theirs, first)
        for goal in goals:
            runs: dict[str, Callable[[], Cost]] = {}
            if installed("torchattacks"):
                runs["torchattacks, a loop"] = functools.partial(peer.call, theirs, goal)
            runs["pytest-robustness"] = functools.partial(own.call, ours, goal)
            found = interleaved(runs, setting.repeats)
            judged = full and chosen.published and goal.epsilon == _EPSILON
            rows += [Headline(f"epsilon {goal.epsilon:g}/255, {goal.steps} steps"), *_rows(found, judged=judged)]
            told = ", ".join(f"{name} {costs[0].reached}/{costs[0].pairs}" for name, costs in found.items())
            notes.append(f"  {goal.epsilon:g}/255, {goal.steps} steps: {told}")
    yield Section(
        f"i. PGD towards every other class: {chosen.title}, {count} images, cpu, 1 thread",
        "the processor's time for a pair over that of the loop",
        rows,
        unit="ms/pair",
        notes=notes,
    )


def _rows(found: dict[str, list[Cost]], *, judged: bool) -> Iterator[Row]:
    figures = {name: Figure(tuple(1000 * cost.seconds / cost.pairs for cost in costs)) for name, costs in found.items()}
    loop = figures.get("torchattacks, a loop")
    if loop is None:
        yield Row("torchattacks", remark="not installed")
    for name, figure in figures.items():
        target = _TARGET if judged and name == "pytest-robustness" else None
        yield Row(name, figure, None if loop is None else figure.over(loop), target if loop is not None else None)


# What workers run. They import torch and this package; the process that starts them does not.


def ours(goal: Goal) -> Cost:
    """By this package: from the folder and a new engine to the matrix."""
    from pytest_robustness import PGD, Engine, Robustness, image_folder

    model = classifier(goal.classifier)
    began = time.process_time()
    robustness = Robustness(Engine(model, image_folder(goal.folder), device="cpu"))
    matrix = robustness.targeted_matrix(PGD(steps=goal.steps), goal.epsilon / 255)
    return Cost(time.process_time() - began, matrix.pairs, matrix.overall.successes)


def theirs(goal: Goal) -> Cost:
    """By a loop over the targets: from images in memory, all of them right when clean, to the last iterates' answers."""
    import torch
    import torchattacks

    model = classifier(goal.classifier)
    images, labels = preloaded(goal.folder)
    with torch.no_grad():
        answers = torch.cat([model(part) for part in torch.split(images, _BATCH)]).argmax(1)
    images, labels = images[answers == labels], labels[answers == labels]
    epsilon = goal.epsilon / 255
    began = time.process_time()
    attack = torchattacks.PGD(
        model, eps=epsilon, alpha=2.5 / goal.steps * epsilon, steps=goal.steps, random_start=False
    )
    attack.set_mode_targeted_by_label(quiet=True)
    pairs = reached = 0
    for target in range(len(list(goal.folder.iterdir()))):
        others = images[labels != target]
        for part in torch.split(others, _BATCH):
            targets = torch.full((len(part),), target)
            found = attack(part, targets)
            with torch.no_grad():
                reached += int((model(found).argmax(1) == targets).sum())
        pairs += len(others)
    return Cost(time.process_time() - began, pairs, reached)
