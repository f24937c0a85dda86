"""The checks of a model by itself: whether it runs as it was trained, and what it is shown is what it expects.

Images are float32 RGB in [0, 1], (n, c, h, w).
"""

import contextlib
import functools
import hashlib
import heapq
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import nn
from torch.nn.modules import module as hooks

from pytest_robustness.defenses import Vote
from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.readings import READINGS, Reading
from pytest_robustness.records import Outcome
from pytest_robustness.stats import mcnemar
from pytest_robustness.types import Batch

__all__ = ["Found", "ModelChecks", "Sample", "count"]

# So many images that are right when clean are attacked, out of so many that are looked at.
_ATTACKED, _LOOKED = 8, 32
# So many images are asked about alone, each at the price of a batch.
_ALONE = 2
# More than rounding moves logits by, relative to the largest one.
_ROUNDING = 1e-3
_LOUD = 50.0
_SIGNIFICANT = 0.01

Found: TypeAlias = tuple[str, str] | None
"""What a check saw and what to do about it; None where there is nothing to doubt."""


class Sample:
    """A few images of an engine's set, chosen by its seed: 32 to look at, and of those that are right when clean 8 to attack.

    Where none of them is right, further ones are looked at.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @functools.cached_property
    def _looked_at(self) -> tuple[tuple[Outcome, ...], tuple[str, ...]]:
        """What the model says to the images that are looked at, and which of them are to be attacked."""
        images = self._engine.images
        looked: list[Outcome] = []
        order = heapq.nsmallest(len(images), (image.id for image in images.images), key=self._place)
        for start in range(0, len(order), _LOOKED):
            looked += self._clean(order[start : start + _LOOKED])
            # An image that accepts every class can't be broken.
            right = [o.image for o in looked if o.correct and len(o.accepted) < len(images.classes)]
            if right:
                return tuple(looked[-_LOOKED:]), tuple(right[:_ATTACKED])
        return tuple(looked[:_LOOKED]), ()

    @property
    def looked(self) -> tuple[Outcome, ...]:
        """What is said to the images that are looked at."""
        return self._looked_at[0]

    @property
    def right(self) -> tuple[str, ...]:
        """Those that are to be attacked."""
        return self._looked_at[1]

    def _place(self, image_id: str) -> bytes:
        return hashlib.sha256(f"{self._engine.seed} trust {image_id}".encode()).digest()

    def _clean(self, ids: Sequence[str]) -> Sequence[Outcome]:
        """The outcomes of those images that can be evaluated: the gates of the others say what is wrong with them."""
        try:
            return self._engine.evaluate(ids).outcomes
        except InputError:
            found: list[Outcome] = []
            for image_id in ids:
                with contextlib.suppress(InputError):
                    found += self._engine.evaluate([image_id]).outcomes
            return found

    def batch(self, ids: Sequence[str]) -> Batch:
        """These images on the engine's device."""
        read, device = self._engine.images.batch(ids), self._engine.device
        return Batch(read.images.to(device), read.accepted.to(device), read.ids)

    @property
    def some(self) -> Batch:
        """A few images to ask the model about; whether its answers are right does not matter."""
        return self.batch(self.right or [outcome.image for outcome in self.looked[:_ATTACKED]])


class ModelChecks:
    """The checks of the model of an engine alone, whatever it is behind, with the `sample` that they look at."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.behind(None)
        self.sample = Sample(self._engine)

    def training_mode(self) -> Found:
        """Layers that ran in training mode."""
        some, seen = self.sample.some, dict[nn.Module, str]()

        def look(module: nn.Module, inputs: object) -> None:
            if module.training and _goes_by_its_mode(module):
                seen[module] = type(module).__name__

        watching = hooks.register_module_forward_pre_hook(look)
        try:
            self._engine.logits(some)
        finally:
            watching.remove()
        if not seen:
            return None
        return (
            f"{count(len(seen), 'layer')} of the model ran in training mode, {next(iter(seen.values()))} first",
            "call eval() on all of it, layers in plain lists too, and let the model's own train() and eval() reach them",
        )

    def repeatable(self) -> Found:
        """Whether it answers alike when it is asked again."""
        some = self.sample.some
        once, again = self._engine.logits(some), self._engine.logits(some)
        moved = _moved(once, again)
        if moved <= _ROUNDING:
            return None
        return (
            f"asked again about the same images, the model's logits differ by {moved:.1%} of the largest",
            "switch off what draws random numbers, dropout for example",
        )

    def company(self) -> Found:
        """Whether an answer depends on the other images of the batch."""
        some = self.sample.some
        # With their negatives, so that there is company for an image that is the only one.
        others = Batch(torch.cat([some.images, 1 - some.images]), some.accepted.repeat(2, 1), some.ids * 2)
        together = self._engine.logits(others)
        rows = range(min(_ALONE, len(some.ids)))
        moved = max(_moved(together[row : row + 1], self._engine.logits(some.select([row]))) for row in rows)
        if moved <= _ROUNDING:
            return None
        return (
            f"alone, an image's logits differ by {moved:.1%} of the largest from those among other images",
            "let batch norms use their running statistics, as eval() does, and nothing else look across the batch",
        )

    def input_range(self) -> Found:
        """Whether another reading of the images is better by more than chance, in an exact McNemar test."""
        looked = self.sample.looked
        right = [outcome.image for outcome in looked if outcome.correct]
        wrong = [outcome.image for outcome in looked if not outcome.correct]
        best, most = None, len(right)
        for reading in READINGS:
            if mcnemar(len(wrong), 0) >= _SIGNIFICANT:
                break
            gained = self._read(reading, wrong)
            # Few readings right so many that it is worth while to ask what they lose.
            if mcnemar(_correct(gained), 0) >= _SIGNIFICANT:
                continue
            kept = self._read(reading, right)
            # What is answered alike by all images, as the dark ones of too small a range are, was not read.
            if len({outcome.predicted for outcome in (*gained, *kept)}) == 1:
                continue
            found = _correct(gained) + _correct(kept)
            if found > most and mcnemar(_correct(gained), len(right) - _correct(kept)) < _SIGNIFICANT:
                best, most = reading, found
        if best is None:
            return None
        return (
            f"{most} of {len(looked)} images are right with {best.name}, {len(right)} as they are",
            "let the model take RGB in [0, 1] and normalise it itself, once, as it was trained",
        )

    def _read(self, reading: Reading, ids: Sequence[str]) -> Sequence[Outcome]:
        """The outcomes of the images with this reading; none where the model has no answer to it."""
        try:
            return self._engine.behind(Vote((reading,))).evaluate(ids).outcomes
        except InputError:
            return ()

    def logit_scale(self) -> Found:
        """How far the right classes lead."""
        batch = self.sample.batch(self.sample.right)
        lead = -self._engine.log_odds(batch).median().item()
        if lead <= _LOUD:
            return None
        return (
            f"the right classes lead by log-odds of {lead:.0f} in the median of {count(len(batch.ids), 'image')}",
            "divide the logits by a temperature: in float32 the cross-entropy of such answers has no gradient, and attacks of "
            "other libraries go by it",
        )


def _goes_by_its_mode(module: nn.Module) -> bool:
    """Whether the layer's forward asks whether it is in training mode; taken to be so where its code can't be looked at."""
    code = getattr(type(module).forward, "__code__", None)
    return code is None or "training" in code.co_names


def _moved(logits: torch.Tensor, others: torch.Tensor) -> float:
    """How far logits are apart, in units of the largest."""
    return float((logits - others).abs().max() / logits.abs().max().clamp_min(1e-12))


def _correct(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.correct for outcome in outcomes)


def count(n: int, noun: str) -> str:
    """`1 image`, `8 images`."""
    return f"{n} {noun}{'s' * (n != 1)}"
