"""One attack on one image followed step by step: what it showed to the model, and what the model makes of that."""

from collections.abc import Callable, Collection, Sequence

import torch

from pytest_robustness.attacks.steps import Followed, Track
from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.explainers import Explainers, speaks
from pytest_robustness.images import data_uri, heat_uri
from pytest_robustness.memory import Ask
from pytest_robustness.norms import length
from pytest_robustness.traces import Ending, Frame, Trace
from pytest_robustness.types import Attack, Batch, Images, Logits, SingleStep, fits

__all__ = ["followed", "number_of", "trace"]


def trace(
    engine: Engine,
    image_id: str,
    attack: Attack,
    epsilon: float,
    *,
    target: str | None = None,
    steps: Collection[int] | None = None,
    pictured: bool = True,
    explainers: Explainers | None = None,
) -> Trace:
    """The trace of an attack on an image, with frames at these `steps` (0, 1, 2, 4, 8 and so on without them) and at the end.

    The attack goes for the class called `target`, without one for any that is not accepted. `attacks.steps.Track` says what a
    step is. The frames have pictures where they are `pictured`, and over them, with `explainers`, what speaks for the target.

    Raises InputError as `Engine.evaluate` does, for an epsilon of 0, for a target that is no class or is accepted, and for
    steps that are no whole numbers >= 0.
    """
    if engine.defense is not None:
        raise InputError(
            f"expected to follow an attack on the model alone, got one behind {engine.defense!r}; trace it without"
        )
    if not epsilon > 0:
        raise InputError(f"{attack!r}: expected an epsilon > 0 to follow the attack at, got {epsilon!r}")
    aim = None if target is None else number_of(engine, image_id, target)
    (outcome,) = engine.evaluate([image_id]).outcomes
    batch, numbers, images = followed(engine, image_id, attack, epsilon, _wanted(steps), aim)
    logits = engine.logits(Batch(images, batch.accepted.expand(len(images), -1), (image_id,) * len(images)))
    right = engine.images[image_id].labels
    answer = int(logits[-1].argmax())
    reached = answer not in right if aim is None else answer == aim
    ending: Ending = "wrong when clean" if not outcome.correct else "reached" if reached else "held"
    if aim is None:
        others = logits[-1].index_fill(0, torch.tensor(right, device=logits.device), -torch.inf)
        aim = int(others.argmax())
    overlays = _overlays(explainers, batch, images, aim) if pictured else ("",) * len(images)
    return Trace(
        image=image_id,
        case=engine.case(attack, epsilon).title,
        norm=attack.norm,
        accepted=engine.images.accepted(engine.images[image_id]),
        target=engine.images.classes[aim],
        aimed=target is not None,
        ending=ending,
        answer=f"{engine.images.classes[answer]} {logits[-1].softmax(0)[answer].item():.2f}",
        frames=_frames(attack, batch, numbers, images, logits, aim, overlays, pictured=pictured),
    )


def followed(
    engine: Engine,
    image_id: str,
    attack: Attack,
    epsilon: float,
    wanted: Callable[[int], bool],
    target: int | None = None,
) -> tuple[Batch, tuple[int, ...], Images]:
    """The image as a batch of one, the steps (m,) that are wanted and the last one, and the image at each (m, c, h, w).

    The last is what the engine verifies where it is asked about the image, to the bit where its answers don't depend on the
    batch. `target` is the number of the class that the attack goes for. Raises InputError as `Engine.shown` does.
    """
    track = Track(wanted, expectation=getattr(attack, "expectation", 1))
    # The image of a single step is on a line that is known; the engine keeps its direction.
    single = fits(attack, SingleStep)
    ask: Ask = (image_id, epsilon) if target is None else (image_id, epsilon, target)
    ((batch, found),) = engine.shown([ask], attack if single else Followed(attack, track))
    if single and engine.evaluate([image_id]).outcomes[0].correct:
        track.begin(batch.images)
    return batch, *track.ended(found.images)


def number_of(engine: Engine, image_id: str, target: str) -> int:
    """The number of the class of this name, of several the first; InputError for a group, and for one that is accepted."""
    images = engine.images
    number, *others = images.indices(target)
    if images.classes[number] != target:
        raise InputError(
            f"expected one class as the target, got {target!r}, a group of {1 + len(others)}; name one of its classes"
        )
    if number in images[image_id].labels:
        raise InputError(
            f"{image_id}: expected a target that is not accepted, got {target!r}, which is right; choose another class"
        )
    return number


def _wanted(steps: Collection[int] | None) -> Callable[[int], bool]:
    if steps is None:
        return lambda step: step & (step - 1) == 0
    chosen = list(steps)
    if not all(isinstance(step, int) and not isinstance(step, bool) and step >= 0 for step in chosen):
        raise InputError(
            f"expected steps to be whole numbers >= 0, got {chosen!r}; leave them out for 0, 1, 2, 4, 8 ..."
        )
    return {0, *chosen}.__contains__


def _frames(
    attack: Attack,
    batch: Batch,
    steps: tuple[int, ...],
    images: Images,
    logits: Logits,
    target: int,
    overlays: Sequence[str],
    *,
    pictured: bool,
) -> tuple[Frame, ...]:
    probabilities = logits.softmax(1)
    subjects = (probabilities * batch.accepted).sum(1).tolist()
    targets = probabilities[:, target].tolist()
    distances = length(images - batch.images, attack.norm).tolist()
    return tuple(
        Frame(step, round(subject, 6), round(aimed, 6), round(distance, 7), data_uri(image) if pictured else "", over)
        for step, subject, aimed, distance, image, over in zip(
            steps, subjects, targets, distances, images, overlays, strict=True
        )
    )


def _overlays(explainers: Explainers | None, clean: Batch, images: Images, target: int) -> Sequence[str]:
    """What is laid over each frame, (m, c, h, w) made of the one clean image; nothing where it can't be explained."""
    m = len(images)
    if explainers is None:
        return ("",) * m
    batch = Batch(clean.images.expand(m, -1, -1, -1), clean.accepted.expand(m, -1), clean.ids * m)
    try:
        found = explainers.of(batch, images, [target] * m)
    except Exception:  # whatever an explainer runs into: what is laid over a picture is not worth the trace
        return ("",) * m
    return [heat_uri(own.heat.heat) if speaks(own.heat) else "" for own in found]
