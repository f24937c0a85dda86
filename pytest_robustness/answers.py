"""What a model or a vote said about images, as outcomes: from here on there are plain numbers."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from pytest_robustness.defenses import ABSTAIN, majority
from pytest_robustness.loading import ImageSet
from pytest_robustness.records import Outcome
from pytest_robustness.types import Attacked, Batch, Logits, Votes

__all__ = ["answered", "voted"]

_Top = list[tuple[int, float]]


def answered(
    images: ImageSet, batch: Batch, logits: Logits, found: Attacked | None = None, distances: torch.Tensor | None = None
) -> list[Outcome]:
    """One outcome per image of the batch; probabilities are the softmax of the logits.

    Where the images are those that an attack `found`, the outcomes tell what it took; `distances` (n,) are the lengths of
    the changes.
    """
    probabilities = logits.softmax(1)
    subjects = (probabilities * batch.accepted).sum(1).tolist()
    highest, places = probabilities.topk(min(5, probabilities.shape[1]), dim=1)
    # topk may order a tie otherwise than argmax, which is what attacks and users go by.
    predicted = logits.argmax(1).tolist()
    tops = [list(zip(*row, strict=True)) for row in zip(places.tolist(), highest.tolist(), strict=True)]
    outcomes = [_outcome(images, *row) for row in zip(batch.ids, predicted, subjects, tops, strict=True)]
    if found is None or distances is None:
        return outcomes
    told = (found.queries.tolist(), found.gradients.tolist(), distances.tolist(), found.found_by, found.silent.tolist())
    return [_accounted(outcome, *row) for outcome, *row in zip(outcomes, *told, strict=True)]


def voted(images: ImageSet, batch: Batch, votes: Votes) -> list[Outcome]:
    """One outcome per image of the batch; probabilities are the shares of the voters."""
    outcomes = []
    for image_id, said, label in zip(batch.ids, votes.T.tolist(), majority(votes).tolist(), strict=True):
        shares = {answer: said.count(answer) / len(said) for answer in said}
        top = sorted(shares.items(), key=lambda item: -item[1])
        subject = sum(shares.get(right, 0.0) for right in images[image_id].labels)
        outcomes.append(_outcome(images, image_id, label, subject, top, said, queries=len(said)))
    return outcomes


def _accounted(outcome: Outcome, queries: int, gradients: int, distance: float, found_by: str, silent: bool) -> Outcome:
    broke = not outcome.correct
    return replace(
        outcome,
        queries=queries,
        gradients=gradients,
        distance=round(distance, 7),
        found_by=found_by if broke else "",
        silent=silent and broke,
    )


def _outcome(
    images: ImageSet,
    image_id: str,
    label: int,
    subject: float,
    top: _Top,
    votes: Sequence[int] = (),
    queries: int = 1,
) -> Outcome:
    image, names = images[image_id], images.classes
    return Outcome(
        image=image_id,
        accepted=images.accepted(image),
        predicted=None if label == ABSTAIN else names[label],
        correct=label in image.labels,
        confidence=round(dict(top).get(label, 0.0), 6),
        subject=round(subject, 6),
        top=tuple((names[place], round(share, 6)) for place, share in top),
        votes=tuple(names[vote] for vote in votes),
        queries=queries,
    )
