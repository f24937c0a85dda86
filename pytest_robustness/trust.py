"""The checks that decide whether an attack's answer may be believed, or whether the model only looks robust.

They look at a few images of the whole set, the same ones whatever runs and in whatever order. Images are float32 RGB in
[0, 1], (n, c, h, w); strengths are epsilons.
"""

import contextlib
import dataclasses
import functools
import hashlib
import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn.modules import module as hooks

from pytest_robustness.attacks import FGSM, PGD, Miss, Square
from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.readings import READINGS, Reading
from pytest_robustness.records import Doubt, Outcome, Provenance
from pytest_robustness.stats import mcnemar
from pytest_robustness.types import Attack, Batch, Norm, SingleStep, fits

__all__ = ["Trust"]

# So many images that are right when clean are attacked, out of so many that are looked at.
_ATTACKED, _LOOKED = 8, 32
# So many images are asked about alone, each at the price of a batch.
_ALONE = 2
# More than rounding moves logits by, relative to the largest one.
_ROUNDING = 1e-3
_LOUD = 50.0
_SIGNIFICANT = 0.01
# Of the images that hold, so many are attacked with half the steps. The other half may add this share to what they gained; of
# an attack of fewer than ten steps it is twice the steps, which may add less.
_HALVED, _FEW = 4, 10
_STILL_RISING, _STILL_RISING_OF_FEW = 0.1, 0.05
# What the short search without a gradient may ask about an image.
_QUERIES = 25
# Outcomes have six decimals: the logarithm of a smaller probability says too little.
_FAINT = 1e-5

_Found: TypeAlias = tuple[str, str] | None
"""What a check saw and what to do about it; None where there is nothing to doubt."""
_Check: TypeAlias = tuple[str, tuple[Any, ...], Callable[[], _Found]]
"""A check's name, what its answer depends on besides the model, and the check."""


class Trust:
    """Doubts about attacks on the model of an engine; each is looked into once, until the model is another one.

    The images are chosen by the engine's seed from all of its set: 32 are looked at, and 8 of those that are right when clean
    are attacked. Where none of them is right, further ones are looked at, and where none is right at all, what takes an attack is
    not checked. What can be put as a question to the engine is: its answers are stored, and shared between processes.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._of: Provenance | None = None
        self._answers: dict[tuple[Attack, float], tuple[tuple[str, ...], tuple[Doubt, ...]]] = {}
        self._known: dict[tuple[Any, ...], Doubt | None] = {}

    def doubts(self, attack: Attack, strength: float) -> tuple[tuple[str, ...], tuple[Doubt, ...]]:
        """The names of the checks that were made of this attack at this strength, and what they found.

        Of the model that the engine was last asked about. A check that could not be made is a doubt too. Raises InputError for a
        strength that is none of the attack's.
        """
        provenance = self.engine.provenance
        if provenance is not self._of:
            self._of = provenance
            self._answers.clear()
            self._known.clear()
            self.__dict__.pop("_sample", None)
        answer = self._answers.get((attack, strength))
        if answer is None:
            self.engine.case(attack, strength)
            with self.engine.steady():
                answer = self._answers[attack, strength] = self._looked_into(attack, strength)
        return answer

    def _looked_into(self, attack: Attack, strength: float) -> tuple[tuple[str, ...], tuple[Doubt, ...]]:
        made: dict[str, Doubt | None] = {}
        for name, about, check in self._checks(attack, strength):
            if (name, *about) not in self._known:
                self._known[name, *about] = _doubt(name, check)
            made[name] = self._known[name, *about]
        return tuple(made), tuple(doubt for doubt in made.values() if doubt is not None)

    def _checks(self, attack: Attack, strength: float) -> Iterator[_Check]:
        """The checks that mean something for this attack, in the order of `CHECKS`."""
        yield "training-mode", (), self._training_mode
        yield "repeatable", (), self._repeatable
        if self._known["repeatable",] is None:
            yield "company", (), self._company
        yield "input-range", (), self._input_range
        if not self._right or not strength:
            return
        yield "logit-scale", (), self._logit_scale
        gradients, queries = self._most_asked(attack, strength)
        if gradients:
            yield "gradients", (), self._gradients
        by_gradient, about = gradients > 0, (attack, strength)
        yield "unbounded", (attack.norm, by_gradient), functools.partial(self._unbounded, attack.norm, by_gradient)
        if not by_gradient and queries >= _QUERIES:
            # It searches by itself: a step along the gradient may well outdo it, and another short search by luck.
            return
        single = gradients == 1 or fits(attack, SingleStep)
        if not single:
            yield "single-step", about, functools.partial(self._single_step, attack, strength)
        yield "black-box", about, functools.partial(self._black_box, attack, strength, single)
        steps = not fits(attack, SingleStep) and "steps" in getattr(attack, "__dataclass_fields__", ())
        if steps and self._known["repeatable",] is None:
            yield "converged", about, functools.partial(self._converged, attack, strength)

    @functools.cached_property
    def _sample(self) -> tuple[tuple[Outcome, ...], tuple[str, ...]]:
        """What the model says to the images that are looked at, and which of them are to be attacked."""
        images = self.engine.images
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
    def _right(self) -> tuple[str, ...]:
        return self._sample[1]

    def _place(self, image_id: str) -> bytes:
        return hashlib.sha256(f"{self.engine.seed} trust {image_id}".encode()).digest()

    def _clean(self, ids: Sequence[str]) -> Sequence[Outcome]:
        """The outcomes of those images that can be evaluated: the gates of the others say what is wrong with them."""
        try:
            return self.engine.evaluate(ids).outcomes
        except InputError:
            found: list[Outcome] = []
            for image_id in ids:
                with contextlib.suppress(InputError):
                    found += self.engine.evaluate([image_id]).outcomes
            return found

    def _batch(self, ids: Sequence[str]) -> Batch:
        read, device = self.engine.images.batch(ids), self.engine.device
        return Batch(read.images.to(device), read.accepted.to(device), read.ids)

    @property
    def _some(self) -> Batch:
        """A few images to ask the model about; whether its answers are right does not matter."""
        return self._batch(self._right or [outcome.image for outcome in self._sample[0][:_ATTACKED]])

    def _attacked(self, attack: Attack, strength: float, ids: Sequence[str] | None = None) -> dict[str, Outcome]:
        """The outcomes of these images, or of all that are to be attacked, by their ids."""
        outcomes = self.engine.evaluate(self._right if ids is None else ids, attack, strength).outcomes
        return {outcome.image: outcome for outcome in outcomes}

    def _most_asked(self, attack: Attack, strength: float) -> tuple[int, int]:
        """How many gradients the attack took of an image, and how often it asked about one, where it did most."""
        try:
            outcomes = self._attacked(attack, strength).values()
        except InputError:
            # Whatever looks at what the attack does meets the error again, and tells it.
            return 2, 2
        return max(outcome.gradients for outcome in outcomes), max(outcome.queries for outcome in outcomes)

    def _training_mode(self) -> _Found:
        some, seen = self._some, dict[nn.Module, str]()

        def look(module: nn.Module, inputs: object) -> None:
            if module.training and _goes_by_its_mode(module):
                seen[module] = type(module).__name__

        watching = hooks.register_module_forward_pre_hook(look)
        try:
            self.engine.logits(some)
        finally:
            watching.remove()
        if not seen:
            return None
        return (
            f"{_count(len(seen), 'layer')} of the model ran in training mode, {next(iter(seen.values()))} first",
            "call eval() on all of it, layers in plain lists too, and let the model's own train() and eval() reach them",
        )

    def _repeatable(self) -> _Found:
        some = self._some
        once, again = self.engine.logits(some), self.engine.logits(some)
        moved = _moved(once, again)
        if moved <= _ROUNDING:
            return None
        return (
            f"asked again about the same images, the model's logits differ by {moved:.1%} of the largest",
            "switch off what draws random numbers, dropout for example",
        )

    def _company(self) -> _Found:
        some = self._some
        # With their negatives, so that there is company for an image that is the only one.
        others = Batch(torch.cat([some.images, 1 - some.images]), some.accepted.repeat(2, 1), some.ids * 2)
        together = self.engine.logits(others)
        rows = range(min(_ALONE, len(some.ids)))
        moved = max(_moved(together[row : row + 1], self.engine.logits(some.select([row]))) for row in rows)
        if moved <= _ROUNDING:
            return None
        return (
            f"alone, an image's logits differ by {moved:.1%} of the largest from those among other images",
            "let batch norms use their running statistics, as eval() does, and nothing else look across the batch",
        )

    def _input_range(self) -> _Found:
        """Whether another reading of the images is better by more than chance, in an exact McNemar test."""
        looked, _ = self._sample
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
            return self.engine.evaluate(ids, defense=reading).outcomes
        except InputError:
            return ()

    def _logit_scale(self) -> _Found:
        batch = self._batch(self._right)
        lead = -self._log_odds(batch).median().item()
        if lead <= _LOUD:
            return None
        return (
            f"the right classes lead by log-odds of {lead:.0f} in the median of {_count(len(batch.ids), 'image')}",
            "divide the logits by a temperature: in float32 the cross-entropy of such answers has no gradient, and attacks of "
            "other libraries go by it",
        )

    def _gradients(self) -> _Found:
        slopes = self.engine.gradients(self._batch(self._right)).flatten(1)
        wild = int((~slopes.isfinite().all(1)).sum())
        flat = int((slopes == 0).all(1).sum())
        if not wild and not flat:
            return None
        kinds = [f"zero at {flat}"] * bool(flat) + [f"NaN or infinite at {wild}"] * bool(wild)
        return (
            f"the gradient with respect to the image is {' and '.join(kinds)} of {_count(len(slopes), 'image')}",
            "look for rounding, thresholds, saturation and divisions by zero in the model's forward, or gate on Square(), which "
            "needs no gradient",
        )

    def _unbounded(self, norm: Norm, by_gradient: bool) -> _Found:
        attack = PGD(norm=norm) if by_gradient else _square(norm)
        everything = 1.0 if norm == "linf" else self._batch(self._right[:1]).images.numel() ** 0.5
        outcomes = self._attacked(attack, everything).values()
        held, classes = sum(outcome.correct for outcome in outcomes), len(self.engine.images.classes)
        chance = sum(len(outcome.accepted) for outcome in outcomes) / classes
        if held <= chance:
            return None
        return (
            f"{attack!r} leaves {held} of {_count(len(outcomes), 'image')} right in a ball that holds every image, guessing leaves "
            f"{chance:.2g}",
            "look for what hides the gradient, or leads it astray, in the model's forward",
        )

    def _single_step(self, attack: Attack, strength: float) -> _Found:
        step = FGSM(norm=attack.norm)
        own, other = self._attacked(attack, strength), self._attacked(step, strength)
        if _broken(other) <= _broken(own):
            return None
        return (
            f"{step!r} breaks {_broken(other)} of {_count(len(own), 'image')}, {attack!r} {_broken(own)}",
            "take an attack that breaks no fewer than its first step, such as PGD()",
        )

    def _black_box(self, attack: Attack, strength: float, single: bool) -> _Found:
        square, named = _square(attack.norm), repr(attack)
        own = self._attacked(attack, strength)
        held = [image_id for image_id, outcome in own.items() if outcome.correct]
        if single and held:
            # A single step may well fall behind a search; its gradient is good if many steps don't.
            more = PGD(steps=10, norm=attack.norm)
            held = [image_id for image_id, o in self._attacked(more, strength, held).items() if o.correct]
            named = f"{attack!r} and {more!r} together"
        found = _broken(self._attacked(square, strength, held)) if held else 0
        if not found:
            return None
        fallen = [image_id for image_id in own if image_id not in held]
        both = _broken(self._attacked(square, strength, fallen)) if fallen else 0
        if found + both <= len(fallen):
            return None
        return (
            f"{square!r}, which takes no gradient, breaks {found + both} of {_count(len(own), 'image')}, "
            f"{named} {len(fallen)}",
            "look for what hides the gradient in the model's forward, or gate on Square() as well",
        )

    def _converged(self, attack: Any, strength: float) -> _Found:
        own = sorted(self._attacked(attack, strength).values(), key=lambda outcome: (outcome.margin, outcome.image))
        held = [outcome for outcome in own if outcome.correct]
        # Of answers that are nearly certain the outcomes don't tell enough.
        shaky = [outcome.image for outcome in held if outcome.subject < 1 - _FAINT]
        ids = (shaky or [outcome.image for outcome in held])[:_HALVED]
        if not ids:
            return None
        few = attack.steps < _FEW
        fewer, more = (attack.steps, 2 * attack.steps) if few else (attack.steps // 2, attack.steps)
        clean = float(self._log_odds(self._batch(ids)).sum())
        under = self._told if shaky else self._remade
        once, twice = (under(dataclasses.replace(attack, steps=n), strength, ids) for n in (fewer, more))
        # The floor keeps rounding from being a share of nothing.
        share = (twice - once) / max(once - clean, 0.01 * len(ids))
        if share <= (_STILL_RISING_OF_FEW if few else _STILL_RISING):
            return None
        return (
            f"with {more} steps, images that hold move {share:.0%} further towards another answer than with {fewer} "
            f"({len(ids)} tried)",
            "take more steps or larger ones, or APGD(), which sizes its steps itself",
        )

    def _log_odds(self, batch: Batch) -> torch.Tensor:
        """(n,) the log-odds of a wrong answer."""
        return Miss(batch.accepted).objective(self.engine.logits(batch))

    def _told(self, attack: Attack, strength: float, ids: Sequence[str]) -> float:
        """The sum of the log-odds of a wrong answer under the attack, from its outcomes."""
        chances = [outcome.subject for outcome in self._attacked(attack, strength, ids).values()]
        return -float(torch.tensor(chances, dtype=torch.float64).clamp(_FAINT, 1 - _FAINT).logit().sum())

    def _remade(self, attack: Attack, strength: float, ids: Sequence[str]) -> float:
        """The same from logits, for which the images are attacked anew."""
        shown = self.engine.shown([(image_id, strength) for image_id in ids], attack)
        return sum(float(self._log_odds(stressed).sum()) for _, stressed in shown)


def _doubt(name: str, check: Callable[[], _Found]) -> Doubt | None:
    try:
        found = check()
    except InputError as error:
        said = str(error).partition("\n")[0]
        return Doubt(name, f"it could not be checked: {said}", "mend that first")
    return None if found is None else Doubt(name, *found)


def _square(norm: Norm) -> Square:
    """A short search; small squares are what breaks models that are not hardened soonest."""
    return Square(queries=_QUERIES, norm=norm, share=0.1)


def _goes_by_its_mode(module: nn.Module) -> bool:
    """Whether the layer's forward asks whether it is in training mode; taken to be so where its code can't be looked at."""
    code = getattr(type(module).forward, "__code__", None)
    return code is None or "training" in code.co_names


def _moved(logits: torch.Tensor, others: torch.Tensor) -> float:
    """How far logits are apart, in units of the largest."""
    return float((logits - others).abs().max() / logits.abs().max().clamp_min(1e-12))


def _correct(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.correct for outcome in outcomes)


def _broken(outcomes: dict[str, Outcome]) -> int:
    return sum(not outcome.correct for outcome in outcomes.values())


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"
