"""What a model or a vote said about images, as outcomes: from here on there are plain numbers."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from pytest_robustness.defenses import ABSTAIN, majority
from pytest_robustness.loading import ImageSet
from pytest_robustness.memory import Ask, Memory, Question, Targeted
from pytest_robustness.norms import length
from pytest_robustness.records import Outcome
from pytest_robustness.running import RunningModel
from pytest_robustness.stressing import Aim, Heard, Stressing
from pytest_robustness.types import Attack, Attacked, Batch, Logits, LooksFirst, Strengths, Votes

__all__ = ["Answering", "answered", "voted"]

_Top = list[tuple[int, float]]


class Answering:
    """Batches answered: shown to the model clean, perturbed, behind a vote or attacked.

    `clean` gives the outcomes of clean images by their ids; `at_a_time` says how many images the model is shown together.
    """

    def __init__(
        self,
        running: RunningModel,
        images: ImageSet,
        memory: Memory,
        stressing: Stressing,
        *,
        clean: Callable[[Sequence[str]], Sequence[Outcome]],
        at_a_time: Callable[[], int],
    ) -> None:
        self._running = running
        self._images = images
        self._memory = memory
        self._stressing = stressing
        self._clean = clean
        self._at_a_time = at_a_time

    def outcomes(self, question: Question, asks: Sequence[Ask], batch: Batch) -> list[Outcome]:
        """One outcome per ask, of which the batch has the images, row by row."""
        stress, defense = question
        strengths = torch.tensor([ask[1] for ask in asks], device=batch.images.device)
        with torch.no_grad():
            if isinstance(stress, (Targeted, Attack)):
                attack = stress.attack if isinstance(stress, Targeted) else stress
                return self._attacked(batch, self.aim(asks, batch), attack, strengths)
            stressed = (
                batch if stress is None else replace(batch, images=self._stressing.perturbed(batch, stress, strengths))
            )
            if defense is not None:
                classifier = functools.partial(self._running.logits, batch.ids)
                return voted(self._images, batch, defense.votes(classifier, stressed.images))
            return answered(self._images, stressed, self.logits(stressed))

    def aim(self, asks: Sequence[Ask], batch: Batch) -> Aim:
        """What an attack is after: the target of each ask, or where they have none any other answer."""
        targets = [ask[2] for ask in asks if len(ask) == 3]
        return Aim.towards(targets, batch, self._images.classes) if targets else Aim.away(batch)

    def logits(self, batch: Batch) -> Logits:
        """What the model says to a batch."""
        parts = torch.split(batch.images, self._at_a_time())
        return torch.cat([self._running.logits(batch.ids, part) for part in parts])

    def _attacked(self, batch: Batch, aim: Aim, attack: Attack, strengths: Strengths) -> list[Outcome]:
        """An image that is wrong when clean needs no attack: its outcome is the clean one.

        What the model says to the images themselves, and to those that the attack ends with, is not asked again where
        it was heard during the attack.
        """
        listening = not self._running.searches_coarsely and self._running.repeats(tuple(batch.images.shape[1:]))
        if not (listening and isinstance(attack, LooksFirst) and attack.looks_first):
            self._clean(batch.ids)
        rows = self._memory.not_known_wrong(batch.ids)
        tried = batch.select(rows)
        heard = Heard(tried.images) if listening else None
        found = None
        if rows:
            aim = aim.select(torch.tensor(rows, device=batch.images.device))
            found = self._stressing.attacked(tried, aim, attack, strengths[rows], self._at_a_time(), heard)
        if heard is not None:
            self._keep_clean(tried, heard)
        outcomes = list(self._clean(batch.ids))
        places = [place for place, row in enumerate(rows) if outcomes[row].correct]
        if found is not None and places:
            said = {} if heard is None else heard.of(found.images)
            distances = length(found.images - tried.images, attack.norm)[places]
            tried = replace(tried, images=found.images)
            unheard = [place for place in places if place not in said]
            if unheard:
                said.update(zip(unheard, self.logits(tried.select(unheard)), strict=True))
            logits = torch.stack([said[place] for place in places])
            right = answered(self._images, tried.select(places), logits, found.select(places), distances)
            for place, outcome in zip(places, right, strict=True):
                outcomes[rows[place]] = outcome
        return outcomes

    def _keep_clean(self, batch: Batch, heard: Heard) -> None:
        """Keep the answers to clean images that were heard during an attack."""
        known = self._memory.known((None, None))
        said = {row: logits for row, logits in heard.clean().items() if (batch.ids[row], 0.0) not in known}
        if said:
            answers = answered(self._images, batch.select(list(said)), torch.stack(list(said.values())))
            self._memory.keep((None, None), {(outcome.image, 0.0): outcome for outcome in answers})


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
