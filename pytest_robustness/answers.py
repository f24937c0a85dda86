"""What a model or a defense said about images, as outcomes: from here on there are plain numbers."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from pytest_robustness.attacks.oblivious import Oblivious
from pytest_robustness.image_sets import ImageSet
from pytest_robustness.memory import Ask, Memory, Question, Targeted
from pytest_robustness.norms import length
from pytest_robustness.records import Outcome
from pytest_robustness.running import RunningModel
from pytest_robustness.stressing import Aim, Heard, Stressing
from pytest_robustness.types import (
    ABSTAIN,
    Attack,
    Attacked,
    Batch,
    Decision,
    Defense,
    Images,
    Logits,
    LooksFirst,
    Perturbation,
    Strengths,
)

__all__ = ["Answering", "answered", "decided"]

_Top = list[tuple[int, float]]


class Answering:
    """Batches answered: shown to the model, or to the model behind a defense, clean, perturbed or attacked.

    `clean` gives the outcomes of clean images by their ids, behind a defense; `at_a_time` says how many images the model is shown together.
    """

    def __init__(
        self,
        running: RunningModel,
        images: ImageSet,
        memory: Memory,
        stressing: Stressing,
        *,
        clean: Callable[[Sequence[str], Defense | None], Sequence[Outcome]],
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
            if isinstance(stress, Oblivious):
                return self._transferred(batch, stress, strengths, defense)
            if isinstance(stress, (Targeted, Attack)):
                attack = stress.attack if isinstance(stress, Targeted) else stress
                return self._attacked(batch, self.aim(asks, batch), attack, strengths, defense)
            stressed = (
                batch if stress is None else replace(batch, images=self._stressing.perturbed(batch, stress, strengths))
            )
            return self._told(stressed, defense)

    def aim(self, asks: Sequence[Ask], batch: Batch) -> Aim:
        """What an attack is after: the target of each ask, or where they have none any other answer."""
        targets = [ask[2] for ask in asks if len(ask) == 3]
        return Aim.towards(targets, batch, self._images.classes) if targets else Aim.away(batch)

    def logits(self, batch: Batch) -> Logits:
        """What the model says to a batch."""
        parts = torch.split(batch.images, self._at_a_time())
        return torch.cat([self._running.logits(batch.ids, part) for part in parts])

    def stressed(
        self, batch: Batch, stress: Attack | Perturbation, strengths: Strengths, aim: Aim, defense: Defense | None
    ) -> Images:
        """The images of a batch as the stress leaves them; an attack leaves those alone that are wrong already."""
        if not isinstance(stress, Attack):
            return self._stressing.perturbed(batch, stress, strengths)
        clean = self._clean(batch.ids, None if isinstance(stress, Oblivious) else defense)
        right = [row for row, outcome in enumerate(clean) if outcome.correct]
        if not right:
            return batch.images
        rows = torch.tensor(right, device=batch.images.device)
        found = self._stressing.attacked(
            batch.select(right), aim.select(rows), stress, strengths[right], self._at_a_time(), defense=defense
        )
        return batch.images.index_copy(0, rows, found.images)

    def probabilities(self, batch: Batch, defense: Defense | None) -> torch.Tensor:
        """(n, k) what is said of each class: the softmax of the model's logits, behind a defense the shares of its views."""
        if defense is None:
            return self.logits(batch).softmax(1)
        counts = self._decision(batch, defense).counts
        return counts / counts.sum(1, keepdim=True)

    def _told(
        self,
        batch: Batch,
        defense: Defense | None,
        found: Attacked | None = None,
        distances: torch.Tensor | None = None,
    ) -> list[Outcome]:
        """What is said of the images of a batch; `found` and `distances` as in `answered`."""
        if defense is None:
            return answered(self._images, batch, self.logits(batch), found, distances)
        return decided(self._images, batch, self._decision(batch, defense), found, distances)

    def _decision(self, batch: Batch, defense: Defense) -> Decision:
        classifier = self._stressing.classifier(batch, self._at_a_time())
        return defense.decide(classifier, batch.images, self._stressing.streams(batch.ids, defense))

    def _transferred(
        self, batch: Batch, stress: Oblivious, strengths: Strengths, defense: Defense | None
    ) -> list[Outcome]:
        """What the attack on the model alone, on images that it has right, comes to behind the defense."""
        right = [row for row, outcome in enumerate(self._clean(batch.ids, None)) if outcome.correct]
        outcomes = list(self._clean(batch.ids, defense))
        if right:
            tried = batch.select(right)
            aim = Aim.away(tried)
            found = self._stressing.attacked(tried, aim, stress.attack, strengths[right], self._at_a_time())
            distances = length(found.images - tried.images, stress.norm)
            told = self._told(replace(tried, images=found.images), defense, found, distances)
            for row, outcome in zip(right, told, strict=True):
                outcomes[row] = outcome
        return outcomes

    def _attacked(
        self, batch: Batch, aim: Aim, attack: Attack, strengths: Strengths, defense: Defense | None
    ) -> list[Outcome]:
        """An image that is wrong when clean needs no attack: its outcome is the clean one.

        What the model says to the images themselves, and to those that the attack ends with, is not asked again where
        it was heard during the attack.
        """
        alone = defense is None and not self._running.searches_coarsely
        listening = alone and self._running.repeats(tuple(batch.images.shape[1:]))
        if not (listening and isinstance(attack, LooksFirst) and attack.looks_first):
            self._clean(batch.ids, defense)
        rows = self._memory.not_known_wrong(batch.ids, defense)
        tried = batch.select(rows)
        heard = Heard(tried.images) if listening else None
        found = None
        if rows:
            aim = aim.select(torch.tensor(rows, device=batch.images.device))
            found = self._stressing.attacked(tried, aim, attack, strengths[rows], self._at_a_time(), heard, defense)
        if heard is not None:
            self._keep_clean(tried, heard)
        outcomes = list(self._clean(batch.ids, defense))
        places = [place for place, row in enumerate(rows) if outcomes[row].correct]
        if found is not None and places:
            distances = length(found.images - tried.images, attack.norm)[places]
            after = replace(tried, images=found.images)
            if heard is None:
                told = self._told(after.select(places), defense, found.select(places), distances)
            else:
                logits = self._logits_heard(after, heard, places)
                told = answered(self._images, after.select(places), logits, found.select(places), distances)
            for place, outcome in zip(places, told, strict=True):
                outcomes[rows[place]] = outcome
        return outcomes

    def _logits_heard(self, batch: Batch, heard: Heard, rows: Sequence[int]) -> Logits:
        """What the model says to the images in these rows of an attacked batch, as it was heard or else asked now."""
        said = heard.of(batch.images)
        unheard = [row for row in rows if row not in said]
        if unheard:
            said.update(zip(unheard, self.logits(batch.select(unheard)), strict=True))
        return torch.stack([said[row] for row in rows])

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
    return _accounted(outcomes, found, distances)


def decided(
    images: ImageSet,
    batch: Batch,
    decision: Decision,
    found: Attacked | None = None,
    distances: torch.Tensor | None = None,
) -> list[Outcome]:
    """One outcome per image of the batch, from what a defense decided; probabilities are the shares of its views.

    `found` and `distances` as in `answered`.
    """
    n = len(batch.ids)
    votes = [()] * n if decision.votes is None else decision.votes.T.tolist()
    radii = [None] * n if decision.radii is None else decision.radii.tolist()
    counts = decision.counts
    shares = (counts / counts.sum(1, keepdim=True)).tolist()
    outcomes = []
    for row, image_id in enumerate(batch.ids):
        # Of those with equal shares the one first that was said first, else the one of the smallest number.
        said = list(dict.fromkeys(votes[row])) or counts[row].nonzero().flatten().tolist()
        top = sorted(((place, shares[row][place]) for place in said), key=lambda item: -item[1])
        outcome = _outcome(
            images,
            image_id,
            int(decision.answers[row]),
            sum(shares[row][label] for label in images[image_id].labels),
            top[:5],
        )
        named = tuple(images.classes[vote] for vote in votes[row])
        outcomes.append(
            replace(
                outcome,
                votes=named,
                queries=int(decision.asked[row]),
                radius=radii[row],
            )
        )
    return _accounted(outcomes, found, distances)


def _accounted(outcomes: list[Outcome], found: Attacked | None, distances: torch.Tensor | None) -> list[Outcome]:
    """The outcomes with what the attack took that `found` their images, by changes of these lengths; without one as they are."""
    if found is None or distances is None:
        return outcomes
    told = (found.queries.tolist(), found.gradients.tolist(), distances.tolist(), found.found_by, found.silent.tolist())
    accounted = []
    for outcome, queries, gradients, distance, found_by, silent in zip(outcomes, *told, strict=True):
        broke = not outcome.correct
        accounted.append(
            replace(
                outcome,
                queries=queries,
                gradients=gradients,
                distance=round(distance, 7),
                found_by=found_by if broke else "",
                silent=silent and broke,
            )
        )
    return accounted


def _outcome(
    images: ImageSet,
    image_id: str,
    label: int,
    subject: float,
    top: _Top,
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
    )
