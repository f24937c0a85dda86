"""Images as the model meets them: whatever a stress returns is brought back to its ball and to [0, 1] here."""

from dataclasses import dataclass

import torch

from pytest_robustness.attacks.goals import Miss
from pytest_robustness.errors import InputError
from pytest_robustness.norms import project
from pytest_robustness.recent import Recent
from pytest_robustness.running import RunningModel
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Attack, Batch, Goal, Images, Logits, Perturbation, SingleStep, Strengths

__all__ = ["Stressing"]

_DIRECTION_BYTES = 256 * 2**20


@dataclass(frozen=True)
class _Asked:
    """The model as an attack sees it: `at_a_time` images of a batch, answered precisely or as a search needs it."""

    model: RunningModel
    ids: tuple[str, ...]
    at_a_time: int
    coarse: bool = False
    said: list[Logits] | None = None

    def __call__(self, images: Images) -> Logits:
        logits = (self.model.search if self.coarse else self.model.logits)(self.ids, images)
        if self.said is not None:
            self.said.append(logits.detach())
        return logits


class Stressing:
    """Stresses put to the images of one model with one seed; directions of single steps are kept, up to 256 MB."""

    def __init__(self, model: RunningModel, seed: int) -> None:
        self._model = model
        self._seed = seed
        self._directions: Recent[tuple[SingleStep, str]] = Recent(_DIRECTION_BYTES)

    def forget(self) -> None:
        """The directions, because the model is another one now."""
        self._directions.clear()

    def perturbed(self, batch: Batch, perturbation: Perturbation, strengths: Strengths) -> Images:
        """The images, each at its strength, clamped to [0, 1]; InputError where the stress returns something else."""
        with torch.no_grad():
            stressed = perturbation(batch.images, strengths, self._streams(batch, perturbation))
        return _checked(perturbation, stressed, batch.images).clamp(0, 1)

    def attacked(self, batch: Batch, attack: Attack, strengths: Strengths, at_a_time: int) -> Images:
        """What the attack finds, projected to the ball of each strength and clamped to [0, 1].

        An image that a search in low precision took for a success and that is none in full is attacked again in
        full.
        """
        goal = Miss(batch.accepted)
        coarse = self._model.searches_coarsely
        if isinstance(attack, SingleStep):
            directions = self._all_directions(batch, attack, goal, at_a_time)
            return _inside(attack, batch.images + strengths.reshape(-1, 1, 1, 1) * directions, batch.images, strengths)
        attacked = self._found(batch, attack, goal, strengths, at_a_time, coarse=coarse)
        if coarse:
            missed = self._missed(batch, goal, attacked, at_a_time)
            if len(missed):
                again = batch.select(missed.tolist())
                found = self._found(again, attack, goal.select(missed), strengths[missed], at_a_time, coarse=False)
                attacked = attacked.index_copy(0, missed, found)
        return attacked

    def _found(
        self, batch: Batch, attack: Attack, goal: Goal, strengths: Strengths, at_a_time: int, *, coarse: bool
    ) -> Images:
        classifier = _Asked(self._model, batch.ids, at_a_time, coarse)
        found = attack.against(classifier, goal, batch.images, strengths, self._streams(batch, attack))
        return _inside(attack, found, batch.images, strengths)

    def _missed(self, batch: Batch, goal: Goal, attacked: Images, at_a_time: int) -> torch.Tensor:
        """The rows that reach the goal coarsely only."""
        missed = []
        with torch.no_grad():
            for rows in torch.split(torch.arange(len(attacked), device=attacked.device), at_a_time):
                coarsely, truly = (
                    goal.select(rows).reached(answer([], attacked[rows]))
                    for answer in (self._model.search, self._model.logits)
                )
                missed.append(rows[coarsely & ~truly])
        return torch.cat(missed)

    def look(self, batch: Batch, attack: SingleStep, at_a_time: int) -> Logits:
        """The logits of the clean images, for the price of the gradient that the attack will need of them."""
        said: list[Logits] = []
        classifier = _Asked(self._model, batch.ids, at_a_time, said=said)
        self._keep(batch, attack, attack.direction(classifier, Miss(batch.accepted), batch.images))
        return torch.cat(said)

    def _all_directions(self, batch: Batch, attack: SingleStep, goal: Goal, at_a_time: int) -> Images:
        """The direction of each image: one gradient serves every strength, in this batch and in those to come."""
        found = {image_id: self._directions.get((attack, image_id)) for image_id in dict.fromkeys(batch.ids)}
        places = [batch.ids.index(image_id) for image_id, direction in found.items() if direction is None]
        if places:
            rows = torch.tensor(places, device=batch.images.device)
            fresh = batch.select(places)
            classifier = _Asked(self._model, fresh.ids, at_a_time, self._model.searches_coarsely)
            directions = attack.direction(classifier, goal.select(rows), fresh.images)
            self._keep(fresh, attack, directions)
            found.update(zip(fresh.ids, directions, strict=True))
        return torch.stack([direction for image_id in batch.ids if (direction := found[image_id]) is not None])

    def _keep(self, batch: Batch, attack: SingleStep, directions: Images) -> None:
        for image_id, direction in zip(batch.ids, directions, strict=True):
            # As a copy: a view would keep the directions of the whole batch alive.
            self._directions.put((attack, image_id), direction.clone())

    def _streams(self, batch: Batch, stress: Attack | Perturbation) -> Streams:
        return Streams(self._seed, repr(stress), batch.ids)


def _checked(stress: Attack | Perturbation, stressed: object, images: Images) -> Images:
    if not isinstance(stressed, torch.Tensor) or stressed.shape != images.shape:
        got = tuple(stressed.shape) if isinstance(stressed, torch.Tensor) else type(stressed).__name__
        raise InputError(f"{stress!r}: expected it to return images of shape {tuple(images.shape)}, got {got}")
    if not torch.isfinite(stressed).all():
        raise InputError(f"{stress!r}: expected finite pixels, got NaN or infinity; check the stress at this strength")
    return stressed.to(images.dtype)


def _inside(attack: Attack, found: Images, images: Images, strengths: Strengths) -> Images:
    """The nearest images to those found in the ball of the strength and in [0, 1]."""
    found = _checked(attack, found.detach(), images)
    return (images + project(found - images, attack.norm, strengths)).clamp(0, 1)
