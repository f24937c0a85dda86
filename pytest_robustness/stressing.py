"""Images as the model meets them: whatever a stress returns is brought back to its ball and to [0, 1] here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from pytest_robustness.attacks.accounting import Counted, attacked
from pytest_robustness.attacks.goals import Mimic, Miss
from pytest_robustness.attacks.oblivious import Oblivious
from pytest_robustness.attacks.problem import slopes
from pytest_robustness.defenses.elections import Elected, Polled
from pytest_robustness.errors import InputError
from pytest_robustness.explanations.heat import Explainer, Explanation
from pytest_robustness.image_sets import ImageSet
from pytest_robustness.norms import project
from pytest_robustness.perturbations.native import BeforeResize
from pytest_robustness.recent import Recent
from pytest_robustness.running import RunningModel
from pytest_robustness.seeding import Streams
from pytest_robustness.types import (
    Attack,
    Attacked,
    Batch,
    BatchClassifier,
    Defense,
    Goal,
    Images,
    Logits,
    Perturbation,
    SingleStep,
    Strengths,
)

__all__ = ["Aim", "Heard", "Stressing"]

_DIRECTION_BYTES = 256 * 2**20


class Heard:
    """What the model said about the images of a batch while they were attacked, to each about the image itself and about
    the last that was made of it: asked about the same pixels again, it would say the same.
    """

    def __init__(self, images: Images) -> None:
        self._images = images
        self._last = images.clone()
        self._said: dict[str, tuple[Logits, torch.Tensor]] = {}

    def note(self, rows: torch.Tensor, shown: Images, logits: Logits) -> None:
        """The model said `logits` (m, k) to what was `shown` of the images in these rows (m,)."""
        self._last[rows] = shown
        self._keep("last", rows, logits, torch.ones_like(rows, dtype=torch.bool))
        self._keep("clean", rows, logits, _same(shown, self._images[rows]))

    def clean(self) -> dict[int, Logits]:
        """The logits (k,) of the images themselves, by their rows, as far as they were heard."""
        return self._heard("clean", torch.ones(len(self._images), dtype=torch.bool, device=self._images.device))

    def of(self, images: Images) -> dict[int, Logits]:
        """The logits (k,) of these images, made of those in the same rows, as far as they were heard."""
        return self._heard("last", _same(self._last, images))

    def _heard(self, what: str, wanted: torch.Tensor) -> dict[int, Logits]:
        if what not in self._said:
            return {}
        logits, known = self._said[what]
        return {row: logits[row] for row in (known & wanted).nonzero().flatten().tolist()}

    def _keep(self, what: str, rows: torch.Tensor, logits: Logits, heard: torch.Tensor) -> None:
        n = len(self._images)
        if what not in self._said:
            self._said[what] = (
                logits.new_zeros(n, logits.shape[1]),
                torch.zeros(n, dtype=torch.bool, device=rows.device),
            )
        kept, known = self._said[what]
        kept[rows] = torch.where(heard.unsqueeze(1), logits, kept[rows])
        known[rows] |= heard


def _same(images: Images, others: Images) -> torch.Tensor:
    """(n,) whether two images are the same to the bit."""
    return (images == others).flatten(1).all(1)


@dataclass(frozen=True, eq=False)
class Aim:
    """What an attack is after with the rows of a batch, and their names: its random numbers and its steps are kept by them."""

    goal: Goal
    names: tuple[str, ...]

    @classmethod
    def away(cls, batch: Batch) -> "Aim":
        """Any answer that is not accepted."""
        return cls(Miss(batch.accepted), batch.ids)

    @classmethod
    def towards(cls, targets: Sequence[int], batch: Batch, classes: Sequence[str]) -> "Aim":
        """One class for each image, by its number."""
        names = (f"{image_id} towards {classes[target]}" for image_id, target in zip(batch.ids, targets, strict=True))
        return cls(Mimic(torch.tensor(targets, device=batch.accepted.device)), tuple(names))

    def select(self, rows: torch.Tensor) -> "Aim":
        """What it is after with these rows (m,) int64, in that order."""
        return Aim(self.goal.select(rows), tuple(self.names[row] for row in rows.tolist()))


@dataclass(frozen=True)
class _Asked:
    """The model as an attack sees it: asked about images of a batch, it answers precisely or as a search needs it."""

    model: RunningModel
    ids: tuple[str, ...]
    at_a_time: int
    coarse: bool = False
    heard: Heard | None = None
    rows: torch.Tensor | None = None

    def select(self, rows: torch.Tensor) -> "_Asked":
        return replace(self, rows=rows if self.rows is None else self.rows[rows])

    def __call__(self, images: Images) -> Logits:
        ids = self.ids if self.rows is None else [self.ids[row] for row in self.rows.tolist()]
        logits = (self.model.search if self.coarse else self.model.logits)(ids, images)
        if self.heard is not None and self.rows is not None and len(self.rows) == len(images):
            self.heard.note(self.rows, images.detach(), logits.detach())
        return logits


class Stressing:
    """Stresses put to the images of one model with one seed; directions of single steps are kept, up to 256 MB."""

    def __init__(self, model: RunningModel, images: ImageSet, seed: int) -> None:
        self._model = model
        self._images = images
        self._seed = seed
        self._directions: Recent[tuple[SingleStep, Defense | None, str]] = Recent(_DIRECTION_BYTES)
        # How often the model is asked, and differentiated, for the direction of an image.
        self._costs: dict[tuple[SingleStep, Defense | None], tuple[int, int]] = {}

    def forget(self) -> None:
        """The directions, because the model is another one now."""
        self._directions.clear()
        self._costs.clear()

    def gradients(self, batch: Batch, at_a_time: int, defense: Defense | None) -> Images:
        """The gradient of each image's log-odds against its accepted classes, as a search takes it."""
        asked = _Asked(self._model, batch.ids, at_a_time, self._model.searches_coarsely)
        classifier, goal = self._seen(asked, Miss(batch.accepted), defense)
        return slopes(classifier, goal, batch.images, "log-odds", 1).gradients

    def log_odds(self, batch: Batch, at_a_time: int, defense: Defense | None) -> torch.Tensor:
        """(n,) the log-odds of an answer that is not accepted; behind a defense the mean over its views."""
        classifier, goal = self._seen(_Asked(self._model, batch.ids, at_a_time), Miss(batch.accepted), defense)
        rows = torch.split(_rows(batch), at_a_time)
        with torch.no_grad():
            parts = [goal.select(own).objective(classifier.select(own)(batch.images[own])) for own in rows]
        return torch.cat(parts)

    def explained(
        self,
        explainer: Explainer,
        batch: Batch,
        classes: torch.Tensor,
        segments: torch.Tensor | None,
        at_a_time: int,
    ) -> Sequence[Explanation]:
        """What the explainer says of the model's answers to a batch."""
        classifier = self._model.model if explainer.watches_layers else self.classifier(batch, at_a_time)
        return explainer.explain(
            classifier, batch.images, classes, self.streams(batch.ids, explainer), segments=segments
        )

    def classifier(self, batch: Batch, at_a_time: int) -> BatchClassifier:
        """The model as a defense asks it about the images of a batch."""
        return _Asked(self._model, batch.ids, at_a_time).select(_rows(batch))

    def perturbed(self, batch: Batch, perturbation: Perturbation, strengths: Strengths) -> Images:
        """The images, each at its strength, clamped to [0, 1]; InputError where the stress returns something else."""
        streams = self.streams(batch.ids, perturbation)
        with torch.no_grad():
            if isinstance(perturbation, BeforeResize):
                native, fitted = self._images.native, self._images.fitted
                stressed = perturbation.made(batch.images, strengths, streams, native=native, fitted=fitted)
            else:
                stressed = perturbation(batch.images, strengths, streams)
        return _checked(perturbation, stressed, batch.images).clamp(0, 1)

    def attacked(
        self,
        batch: Batch,
        aim: Aim,
        attack: Attack,
        strengths: Strengths,
        at_a_time: int,
        heard: Heard | None = None,
        defense: Defense | None = None,
    ) -> Attacked:
        """What the attack finds, projected to the ball of each strength and clamped to [0, 1], and what it took.

        Behind a defense it goes through all of its views, each of which counts as asked, unless it is `Oblivious`.

        An image that a search in low precision took for a success and that is none in full is attacked again in
        full. What the model says meanwhile is `heard`, where it says it in full precision. The direction of a single step
        counts for every strength, although it is asked for once.
        """
        if isinstance(attack, Oblivious):
            attack, defense = attack.attack, None
        coarse = self._model.searches_coarsely
        asked = _Asked(self._model, batch.ids, at_a_time, coarse, None if coarse else heard)
        if isinstance(attack, SingleStep):
            directions = self._all_directions(batch, aim, attack, asked, defense)
            stepped = batch.images + strengths.reshape(-1, 1, 1, 1) * directions
            return self._of_a_step(attack, defense, _inside(attack, stepped, batch.images, strengths))
        found = self._found(batch, aim, attack, strengths, asked, defense)
        if coarse:
            missed = self._missed(batch, aim.goal, found.images, asked, defense)
            if len(missed):
                again = batch.select(missed.tolist())
                asked = _Asked(self._model, again.ids, at_a_time)
                second = self._found(again, aim.select(missed), attack, strengths[missed], asked, defense)
                found = _merged(found, missed, second)
        return found

    def _found(
        self, batch: Batch, aim: Aim, attack: Attack, strengths: Strengths, asked: _Asked, defense: Defense | None
    ) -> Attacked:
        classifier, goal = self._seen(asked, aim.goal, defense)
        streams = self.streams(aim.names, attack)
        found = attacked(attack, classifier, goal, batch.images, strengths, streams)
        each = 1 if defense is None else defense.view_count
        return replace(
            found,
            images=_inside(attack, found.images, batch.images, strengths),
            queries=each * found.queries,
            gradients=each * found.gradients,
        )

    def _seen(self, asked: _Asked, goal: Goal, defense: Defense | None) -> tuple[BatchClassifier, Goal]:
        """The model and the goal as an attack on a whole batch sees them, through the defense where there is one."""
        every = asked.select(torch.arange(len(asked.ids), device=self._model.device))
        if defense is None:
            return every, goal
        return Polled(every, defense, self.streams(asked.ids, defense)), Elected(goal, defense)

    def _of_a_step(self, attack: SingleStep, defense: Defense | None, images: Images) -> Attacked:
        queries, gradients = (torch.full((len(images),), count) for count in self._costs[attack, defense])
        return Attacked(images, queries, gradients, torch.zeros(len(images), dtype=torch.bool), ("",) * len(images))

    def _missed(
        self, batch: Batch, goal: Goal, attacked: Images, asked: _Asked, defense: Defense | None
    ) -> torch.Tensor:
        """The rows that reach the goal coarsely only."""
        coarse, precise = (
            self._seen(replace(asked, coarse=rounded, heard=None), goal, defense) for rounded in (True, False)
        )
        missed = []
        with torch.no_grad():
            for rows in torch.split(_rows(batch), asked.at_a_time):
                coarsely, truly = (
                    own.select(rows).reached(classifier.select(rows)(attacked[rows]))
                    for classifier, own in (coarse, precise)
                )
                missed.append(rows[coarsely & ~truly])
        return torch.cat(missed)

    def _all_directions(
        self, batch: Batch, aim: Aim, attack: SingleStep, asked: _Asked, defense: Defense | None
    ) -> Images:
        """The direction of each row: one gradient serves every strength, in this batch and in those to come."""
        found = {name: self._directions.get((attack, defense, name)) for name in dict.fromkeys(aim.names)}
        places = [aim.names.index(name) for name, direction in found.items() if direction is None]
        if places:
            rows = torch.tensor(places, device=batch.images.device)
            fresh = batch.select(places)
            classifier, goal = self._seen(asked, aim.goal, defense)
            counted = Counted.of(classifier.select(rows), fresh.images)
            directions = attack.direction(counted, goal.select(rows), fresh.images)
            each = 1 if defense is None else defense.view_count
            self._costs[attack, defense] = (each * int(counted.queries.max()), each * int(counted.gradients.max()))
            for place, direction in zip(places, directions, strict=True):
                found[aim.names[place]] = direction
                # As a copy: a view would keep the directions of the whole batch alive.
                self._directions.put((attack, defense, aim.names[place]), direction.clone())
        return torch.stack([direction for name in aim.names if (direction := found[name]) is not None])

    def streams(self, names: tuple[str, ...], settings: Attack | Perturbation | Defense | Explainer) -> Streams:
        """The random numbers of a stress or a defense, a stream for each name."""
        return Streams(self._seed, repr(settings), names)


def _rows(batch: Batch) -> torch.Tensor:
    return torch.arange(len(batch.ids), device=batch.images.device)


def _merged(found: Attacked, rows: torch.Tensor, again: Attacked) -> Attacked:
    """What was found, with what was found in these rows (m,) when they were attacked again."""
    found_by = list(found.found_by)
    for row, name in zip(rows.tolist(), again.found_by, strict=True):
        found_by[row] = name
    return Attacked(
        found.images.index_copy(0, rows, again.images),
        found.queries.index_add(0, rows, again.queries),
        found.gradients.index_add(0, rows, again.gradients),
        found.silent.index_copy(0, rows, again.silent),
        tuple(found_by),
    )


def _checked(stress: Attack | Perturbation, stressed: object, images: Images) -> Images:
    if not isinstance(stressed, torch.Tensor) or stressed.shape != images.shape:
        got = tuple(stressed.shape) if isinstance(stressed, torch.Tensor) else type(stressed).__name__
        raise InputError(f"{stress!r}: expected it to return images of shape {tuple(images.shape)}, got {got}")
    if not torch.isfinite(stressed).all():
        raise InputError(f"{stress!r}: expected finite pixels, got NaN or infinity; check the stress at this strength")
    return stressed.to(images.dtype)


def _inside(attack: Attack, found: Images, images: Images, strengths: Strengths) -> Images:
    """The nearest images to those found in the ball of the strength and in [0, 1]; what is there already, to the bit."""
    found = _checked(attack, found.detach(), images)
    deltas = found - images
    projected = project(deltas, attack.norm, strengths)
    return torch.where(projected == deltas, found, images + projected).clamp(0, 1)
