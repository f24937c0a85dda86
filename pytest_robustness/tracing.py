"""One attack on one image followed step by step: what it showed to the model, and what the model makes of that."""

from collections.abc import Callable, Collection

import torch

from pytest_robustness.attacks.steps import Followed, Track
from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.images import data_uri
from pytest_robustness.norms import length
from pytest_robustness.traces import Ending, Frame, Trace
from pytest_robustness.types import Attack, Batch, Images, Logits, SingleStep, fits

__all__ = ["followed", "trace"]


def trace(
    engine: Engine,
    image_id: str,
    attack: Attack,
    epsilon: float,
    *,
    steps: Collection[int] | None = None,
    pictured: bool = True,
) -> Trace:
    """The trace of an attack on an image, with frames at these `steps` (0, 1, 2, 4, 8 and so on without them) and at the end.

    `attacks.steps.Track` says what a step is. The frames have pictures where they are `pictured`. Raises InputError as
    `Engine.evaluate` does, for an epsilon of 0, and for steps that are no whole numbers >= 0.
    """
    if not epsilon > 0:
        raise InputError(f"{attack!r}: expected an epsilon > 0 to follow the attack at, got {epsilon!r}")
    (outcome,) = engine.evaluate([image_id]).outcomes
    batch, numbers, images = followed(engine, image_id, attack, epsilon, _wanted(steps))
    logits = engine.logits(Batch(images, batch.accepted.expand(len(images), -1), (image_id,) * len(images)))
    right = engine.images[image_id].labels
    reached = int(logits[-1].argmax()) not in right
    ending: Ending = "wrong when clean" if not outcome.correct else "reached" if reached else "held"
    target = int(logits[-1].index_fill(0, torch.tensor(right, device=logits.device), -torch.inf).argmax())
    return Trace(
        image=image_id,
        case=engine.case(attack, epsilon).title,
        norm=attack.norm,
        accepted=engine.images.accepted(engine.images[image_id]),
        target=engine.images.classes[target],
        aimed=False,
        ending=ending,
        answer=_answer(engine, logits[-1]),
        frames=_frames(attack, batch, numbers, images, logits, target, pictured=pictured),
    )


def followed(
    engine: Engine, image_id: str, attack: Attack, epsilon: float, wanted: Callable[[int], bool]
) -> tuple[Batch, tuple[int, ...], Images]:
    """The image as a batch of one, the steps (m,) that are wanted and the last one, and the image at each (m, c, h, w).

    The last is what the engine verifies where it is asked about the image, to the bit where its answers don't depend on the
    batch. Raises InputError as `Engine.shown` does.
    """
    track = Track(wanted, expectation=getattr(attack, "expectation", 1))
    # The image of a single step is on a line that is known; the engine keeps its direction.
    single = fits(attack, SingleStep)
    ((batch, found),) = engine.shown([(image_id, epsilon)], attack if single else Followed(attack, track))
    if single and engine.evaluate([image_id]).outcomes[0].correct:
        track.begin(batch.images)
    return batch, *track.ended(found.images)


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
    *,
    pictured: bool,
) -> tuple[Frame, ...]:
    probabilities = logits.softmax(1)
    subjects = (probabilities * batch.accepted).sum(1).tolist()
    targets = probabilities[:, target].tolist()
    distances = length(images - batch.images, attack.norm).tolist()
    return tuple(
        Frame(step, round(subject, 6), round(aimed, 6), round(distance, 7), data_uri(image) if pictured else "")
        for step, subject, aimed, distance, image in zip(steps, subjects, targets, distances, images, strict=True)
    )


def _answer(engine: Engine, logits: Logits) -> str:
    """The answer with its probability: `zebra 0.61`."""
    place = int(logits.argmax())
    return f"{engine.images.classes[place]} {logits.softmax(0)[place].item():.2f}"
