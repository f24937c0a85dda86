"""The checks that decide whether an attack's answer may be believed, or whether the model only looks robust.

They look at a few images of the whole set, the same ones whatever runs and in whatever order. Images are float32 RGB in
[0, 1], (n, c, h, w); strengths are epsilons.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch

from pytest_robustness.attacks import FGSM, PGD, Oblivious, Square
from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.model_checks import Found, ModelChecks, Sample, count
from pytest_robustness.records import Doubt, Outcome, Provenance
from pytest_robustness.types import Attack, Defense, Norm, SingleStep, fits

__all__ = ["Trust"]

# Of the images that hold, so many are attacked with half the steps. The other half may add this share to what they gained; of
# an attack of fewer than ten steps it is twice the steps, which may add less.
_HALVED, _FEW = 4, 10
_STILL_RISING, _STILL_RISING_OF_FEW = 0.1, 0.05
# What the short search without a gradient may ask about an image.
_QUERIES = 25
# Outcomes have six decimals: the logarithm of a smaller probability says too little.
_FAINT = 1e-5

_Check: TypeAlias = tuple[str, tuple[Any, ...], Callable[[], Found]]
"""A check's name, what its answer depends on besides the model, and the check."""


class Trust:
    """Doubts about attacks on the model of an engine; each is looked into once, until the model is another one.

    The images are chosen by the engine's seed from all of its set: 32 are looked at, and 8 of those that are right when clean
    are attacked. Where none of them is right, further ones are looked at, and where none is right at all, what takes an attack is
    not checked. What can be put as a question to the engine is: its answers are stored, and shared between processes.

    Behind a defense, attacks are looked into as they go through it; what is about the model is asked of the model alone.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._of: Provenance | None = None
        self._answers: dict[tuple[Attack, float], tuple[tuple[str, ...], tuple[Doubt, ...]]] = {}
        self._known: dict[tuple[Any, ...], Doubt | None] = {}
        self._model, self._sample = ModelChecks(engine), Sample(engine)
        self._behind: dict[Defense | None, Trust] = {engine.defense: self}

    def behind(self, defense: Defense | None) -> "Trust":
        """The checks of the same model behind this defense, None for none, in place of its own; each is kept."""
        if defense not in self._behind:
            other = self._behind[defense] = Trust(self.engine.behind(defense))
            other._behind = self._behind
        return self._behind[defense]

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
            self._model, self._sample = ModelChecks(self.engine), Sample(self.engine)
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
        yield "training-mode", (), self._model.training_mode
        yield "repeatable", (), self._model.repeatable
        if self._known["repeatable",] is None:
            yield "company", (), self._model.company
        yield "input-range", (), self._model.input_range
        if not self._sample.right or not strength:
            return
        if self._model.sample.right:
            yield "logit-scale", (), self._model.logit_scale
        if isinstance(attack, Oblivious):
            yield "oblivious", (attack, strength), functools.partial(self._unknowing, attack, strength)
            return
        gradients, queries = self._most_asked(attack, strength)
        if gradients:
            yield "gradients", (), self._gradients
        each = 1 if self.engine.defense is None else self.engine.defense.view_count
        by_gradient, about = gradients > 0, (attack, strength)
        yield "unbounded", (attack.norm, by_gradient), functools.partial(self._unbounded, attack.norm, by_gradient)
        if not by_gradient and queries >= _QUERIES:
            # It searches by itself: a step along the gradient may well outdo it, and another short search by luck.
            return
        if self.engine.defense is not None:
            yield "oblivious", about, functools.partial(self._masked, attack, strength)
        single = gradients == each or fits(attack, SingleStep)
        if not single:
            yield "single-step", about, functools.partial(self._single_step, attack, strength)
        yield "black-box", about, functools.partial(self._black_box, attack, strength, single)
        steps = not fits(attack, SingleStep) and "steps" in getattr(attack, "__dataclass_fields__", ())
        if steps and self._known["repeatable",] is None:
            yield "converged", about, functools.partial(self._converged, attack, strength)

    def _attacked(self, attack: Attack, strength: float, ids: Sequence[str] | None = None) -> dict[str, Outcome]:
        """The outcomes of these images, or of all that are to be attacked, by their ids."""
        outcomes = self.engine.evaluate(self._sample.right if ids is None else ids, attack, strength).outcomes
        return {outcome.image: outcome for outcome in outcomes}

    def _most_asked(self, attack: Attack, strength: float) -> tuple[int, int]:
        """How many gradients the attack took of an image, and how often it asked about one, where it did most."""
        try:
            outcomes = self._attacked(attack, strength).values()
        except InputError:
            # Whatever looks at what the attack does meets the error again, and tells it.
            return 2, 2
        return max(outcome.gradients for outcome in outcomes), max(outcome.queries for outcome in outcomes)

    def _gradients(self) -> Found:
        slopes = self.engine.gradients(self._sample.batch(self._sample.right)).flatten(1)
        wild = int((~slopes.isfinite().all(1)).sum())
        flat = int((slopes == 0).all(1).sum())
        if not wild and not flat:
            return None
        kinds = [f"zero at {flat}"] * bool(flat) + [f"NaN or infinite at {wild}"] * bool(wild)
        return (
            f"the gradient with respect to the image is {' and '.join(kinds)} of {count(len(slopes), 'image')}",
            "look for rounding, thresholds, saturation and divisions by zero in the model's forward, or gate on Square(), which "
            "needs no gradient",
        )

    def _unbounded(self, norm: Norm, by_gradient: bool) -> Found:
        attack = PGD(norm=norm) if by_gradient else _square(norm)
        everything = 1.0 if norm == "linf" else self._sample.batch(self._sample.right[:1]).images.numel() ** 0.5
        outcomes = self._attacked(attack, everything).values()
        held, classes = sum(outcome.correct for outcome in outcomes), len(self.engine.images.classes)
        chance = sum(len(outcome.accepted) for outcome in outcomes) / classes
        if held <= chance:
            return None
        return (
            f"{attack!r} leaves {held} of {count(len(outcomes), 'image')} right in a ball that holds every image, guessing leaves "
            f"{chance:.2g}",
            "look for what hides the gradient, or leads it astray, in the model's forward",
        )

    def _single_step(self, attack: Attack, strength: float) -> Found:
        step = FGSM(norm=attack.norm)
        own, other = self._attacked(attack, strength), self._attacked(step, strength)
        if _broken(other) <= _broken(own):
            return None
        return (
            f"{step!r} breaks {_broken(other)} of {count(len(own), 'image')}, {attack!r} {_broken(own)}",
            "take an attack that breaks no fewer than its first step, such as PGD()",
        )

    def _black_box(self, attack: Attack, strength: float, single: bool) -> Found:
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
            f"{square!r}, which takes no gradient, breaks {found + both} of {count(len(own), 'image')}, "
            f"{named} {len(fallen)}",
            "look for what hides the gradient in the model's forward, or gate on Square() as well",
        )

    def _converged(self, attack: Any, strength: float) -> Found:
        own = sorted(self._attacked(attack, strength).values(), key=lambda outcome: (outcome.margin, outcome.image))
        held = [outcome for outcome in own if outcome.correct]
        # Of answers that are nearly certain the outcomes don't tell enough.
        shaky = [outcome.image for outcome in held if outcome.subject < 1 - _FAINT]
        ids = (shaky or [outcome.image for outcome in held])[:_HALVED]
        if not ids:
            return None
        few = attack.steps < _FEW
        fewer, more = (attack.steps, 2 * attack.steps) if few else (attack.steps // 2, attack.steps)
        clean = float(self.engine.log_odds(self._sample.batch(ids)).sum())
        under = self._told if shaky and self.engine.defense is None else self._remade
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

    def _unknowing(self, blind: Oblivious, strength: float) -> Found:
        """Whether an attack that knows of the defense breaks more."""
        known, unknown = (_broken(self._attacked(own, strength)) for own in (blind.attack, blind))
        if known > unknown:
            return (
                f"{blind.attack!r}, which knows of the defense, breaks {known} of {count(len(self._sample.right), 'image')}, {blind!r} {unknown}",
                f"gate on {blind.attack!r}, and look at this one beside it",
            )
        return None

    def _masked(self, knowing: Attack, strength: float) -> Found:
        """Whether the attack breaks more where it knows nothing of the defense."""
        blind, images = Oblivious(knowing), count(len(self._sample.right), "image")
        known, unknown = (_broken(self._attacked(own, strength)) for own in (knowing, blind))
        if unknown > known:
            return (
                f"{blind!r}, made on the model alone, breaks {unknown} of {images}, and through the defense {knowing!r} {known}",
                "look for what hides the gradient in the defense's filters, or gate on Square() as well, which needs none",
            )
        return None

    def _told(self, attack: Attack, strength: float, ids: Sequence[str]) -> float:
        """The sum of the log-odds of a wrong answer under the attack, from its outcomes."""
        chances = [outcome.subject for outcome in self._attacked(attack, strength, ids).values()]
        return -float(torch.tensor(chances, dtype=torch.float64).clamp(_FAINT, 1 - _FAINT).logit().sum())

    def _remade(self, attack: Attack, strength: float, ids: Sequence[str]) -> float:
        """The same from logits, for which the images are attacked anew."""
        shown = self.engine.shown([(image_id, strength) for image_id in ids], attack)
        return sum(float(self.engine.log_odds(stressed).sum()) for _, stressed in shown)


def _doubt(name: str, check: Callable[[], Found]) -> Doubt | None:
    try:
        found = check()
    except InputError as error:
        said = str(error).partition("\n")[0]
        return Doubt(name, f"it could not be checked: {said}", "mend that first")
    return None if found is None else Doubt(name, *found)


def _square(norm: Norm) -> Square:
    """A short search; small squares are what breaks models that are not hardened soonest."""
    return Square(queries=_QUERIES, norm=norm, share=0.1)


def _broken(outcomes: dict[str, Outcome]) -> int:
    return sum(not outcome.correct for outcome in outcomes.values())
