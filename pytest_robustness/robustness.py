"""The one object a test or a notebook talks to: measurements, and assertions over them."""

import collections
import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.gates import AccuracyAtLeast, GateFailed, HoldsUntil, VoteRecovers
from pytest_robustness.loading import ImageSet, LabelledImage
from pytest_robustness.measurements import Accuracy, BreakingPoint, worst_first
from pytest_robustness.records import Evaluation, Ladder, Picture, Verdict
from pytest_robustness.search import climb, evenly, sweep
from pytest_robustness.types import Attack, Perturbation, Voter

__all__ = ["Album", "Chosen", "Robustness"]

Chosen: TypeAlias = LabelledImage | str | ImageSet | Iterable[LabelledImage | str]
"""One image or several, as objects or as ids; an ImageSet stands for all of its images."""

_M = TypeVar("_M", Accuracy, BreakingPoint)


class Album:
    """How many failing images may still be pictured, in all and of one claim: a big failure must stay readable."""

    def __init__(self, *, limit: int = 20, per_claim: int = 5) -> None:
        self._left = limit
        self._per_claim = per_claim
        self._taken: collections.Counter[str] = collections.Counter()

    def take(self, claim: str, wanted: int) -> int:
        """As many as are wanted and left."""
        taken = min(wanted, self._left, self._per_claim - self._taken[claim])
        self._left -= taken
        self._taken[claim] += taken
        return taken


class Robustness:
    """Measurements and assertions over the model and the images of one engine.

    Every judged gate is appended to `verdicts` and every measurement to `measurements`, in the order they
    were made. `company` names, for an image and a question, the images that the same question will be put
    to next and that are evaluated in the same batches; it changes the speed and never a result. A question begins
    with its stress. With `fast`,
    `assert_accuracy` asks about no more images than it takes to decide its verdict on all of them.

        robustness = Robustness(Engine(model, image_folder("images")))
        robustness.accuracy(FGSM(), 2 / 255)
    """

    def __init__(
        self,
        engine: Engine,
        *,
        company: Callable[[str, tuple[Any, ...]], Sequence[str]] | None = None,
        album: Album | None = None,
        fast: bool = False,
    ) -> None:
        self.engine = engine
        self.verdicts: list[Verdict] = []
        self.measurements: list[Accuracy | BreakingPoint] = []
        self._company = company
        self._fast = fast
        self._album = album if album is not None else Album()

    def accuracy(
        self,
        stress: Attack | Perturbation | None = None,
        strength: float = 0.0,
        *,
        defense: Voter | None = None,
        images: Chosen | None = None,
    ) -> Accuracy:
        """The share of the images (all without `images`) that are answered with an accepted class.

        Behind a `defense`, an abstention counts as wrong. Raises InputError as `Engine.evaluate` does.
        """
        ids = self._ids(self.engine.images if images is None else images)
        return self._measured(Accuracy(self._evaluated(ids, stress, strength, defense)))

    def accuracies(
        self, stress: Attack | Perturbation, strengths: Sequence[float], *, images: Chosen | None = None
    ) -> tuple[Accuracy, ...]:
        """The accuracy at each strength, for a curve: cheaper than one by one, because the strengths share their work.

        Under an attack, an image that fell at a smaller epsilon counts as wrong at the larger ones, whose balls
        contain what was found. Raises InputError as `accuracy` does, and where there is no strength.
        """
        ids = self._ids(self.engine.images if images is None else images)
        return tuple(self._measured(Accuracy(evaluation)) for evaluation in sweep(self.engine, ids, stress, strengths))

    def breaking_point(
        self, image: LabelledImage | str, stress: Attack | Perturbation, *, up_to: float | None = None, levels: int = 20
    ) -> BreakingPoint:
        """The smallest of `levels` equal steps up to `up_to` at which the image's top-1 is not accepted.

        `up_to` is the largest strength of the stress where it is left out. Infinity where the image holds
        throughout, 0 where the clean image is wrong already.
        """
        ids = self._ids(image)
        if len(ids) != 1:
            raise InputError(f"expected one image to find the breaking point of, got {len(ids)}; ask image by image")
        if up_to is None and math.isinf(stress.limit):
            raise InputError(f"{stress!r}: expected up_to=, because {stress.unit} has no largest value; name one")
        top = stress.limit if up_to is None else up_to
        return self._measured(BreakingPoint(self._climbed(ids, stress, top, levels)[0]))

    def assert_accuracy(
        self,
        stress: Attack | Perturbation | None = None,
        strength: float = 0.0,
        *,
        at_least: float,
        defense: Voter | None = None,
        images: Chosen | None = None,
    ) -> None:
        """At least the share `at_least`, in (0, 1], of the images is answered with an accepted class.

        Raises GateFailed where it is less, InputError as `accuracy` does.
        """
        gate = AccuracyAtLeast(at_least)
        ids = self._ids(self.engine.images if images is None else images)
        if self._fast and len(ids) > 1 and (stress is not None or defense is not None):
            evaluation = self._until_decided(gate, ids, stress, strength, defense)
        else:
            evaluation = self._evaluated(ids, stress, strength, defense)
        worst = [(outcome.image, strength) for outcome in worst_first(evaluation)]
        self._conclude(gate.judge(evaluation, of=len(ids)), stress, worst)

    def assert_holds_until(
        self, image: Chosen, stress: Attack | Perturbation, strength: float, *, levels: int = 10
    ) -> None:
        """Top-1 stays in the accepted classes at `levels` equal steps up to and including `strength`.

        Of several images, every one has to hold. Raises GateFailed where one does not.
        """
        ladders = self._climbed(self._ids(image), stress, strength, levels)
        broken = [(ladder.image, ladder.broke) for ladder in ladders if ladder.broke is not None]
        worst = sorted(broken, key=lambda pair: (pair[1], pair[0]))
        self._conclude(HoldsUntil(strength).judge(ladders), stress, worst)

    def assert_vote_recovers(self, image: Chosen, stress: Perturbation, strength: float, vote: Voter) -> None:
        """Under the stress, the vote's majority is an accepted class; of several images, for every one.

        Raises GateFailed where the vote answers something else or abstains.
        """
        ids = self._ids(image)
        voted, alone = (self._evaluated(ids, stress, strength, defense) for defense in (vote, None))
        lost = [(outcome.image, strength) for outcome in voted.outcomes if not outcome.correct]
        self._conclude(VoteRecovers().judge(voted, alone), stress, lost)

    def _measured(self, measurement: _M) -> _M:
        self.measurements.append(measurement)
        return measurement

    def _evaluated(
        self, ids: Sequence[str], stress: Attack | Perturbation | None, strength: float, defense: Voter | None
    ) -> Evaluation:
        evaluate = functools.partial(self.engine.evaluate, stress=stress, strength=strength, defense=defense)
        # Refused here, before it becomes part of a question that has to be hashed.
        self.engine.case(stress, strength, defense)
        with self.engine.steady():
            self._along(ids, (stress, strength, defense), evaluate)
            return evaluate(ids)

    def _until_decided(
        self,
        gate: AccuracyAtLeast,
        ids: Sequence[str],
        stress: Attack | Perturbation | None,
        strength: float,
        defense: Voter | None,
    ) -> Evaluation:
        """The outcomes of as many images as it takes to decide the gate for all of them, the shakiest first.

        How many depends on the outcomes alone, never on what was known before or on the size of the batches.
        """
        self.engine.case(stress, strength, defense)
        clean = self.engine.evaluate(ids).outcomes
        order = [outcome.image for outcome in sorted(clean, key=lambda outcome: (outcome.margin, outcome.image))]
        done, size = 0, self.engine.batch_size
        while True:
            done = min(len(order), done + size)
            evaluation = self.engine.evaluate(order[:done], stress, strength, defense)
            decided = gate.decided(evaluation, of=len(order))
            if decided is not None:
                return Evaluation(evaluation.case, evaluation.outcomes[:decided])

    def _climbed(
        self, ids: Sequence[str], stress: Attack | Perturbation, strength: float, levels: int
    ) -> tuple[Ladder, ...]:
        self.engine.case(stress, strength)
        steps = evenly(strength, levels)
        with self.engine.steady():
            self._along(ids, (stress, steps), lambda company: climb(self.engine, company, stress, steps))
            return climb(self.engine, ids, stress, steps)

    def _along(
        self, ids: Sequence[str], question: tuple[Any, ...], evaluate: Callable[[Sequence[str]], object]
    ) -> None:
        """Evaluate a single image in the company it will be asked for with, so that batches are full."""
        if self._company is None or len(ids) != 1:
            return
        company = self._company(ids[0], question)
        if company:
            # An error belongs to some image of the company; the image asked for meets its own when it is alone.
            with contextlib.suppress(InputError):
                evaluate(company)

    def _ids(self, chosen: Chosen) -> tuple[str, ...]:
        if isinstance(chosen, ImageSet):
            chosen = chosen.images
        elif isinstance(chosen, (LabelledImage, str)):
            chosen = (chosen,)
        ids = tuple(dict.fromkeys(image.id if isinstance(image, LabelledImage) else image for image in chosen))
        if not ids:
            raise InputError(
                "expected at least one image to judge, got none; a gate over nothing would pass every model"
            )
        return tuple(self.engine.images[image_id].id for image_id in ids)

    def _conclude(
        self, verdict: Verdict, stress: Attack | Perturbation | None, worst: Sequence[tuple[str, float]]
    ) -> None:
        """Keep the verdict, with pictures of the worst images where it failed, and raise unless it passed."""
        pictures: tuple[Picture, ...] = ()
        if verdict.status != "pass" and stress is not None:
            shown = worst[: self._album.take(verdict.claim, len(worst))]
            pictures = tuple(
                p for image_id, strength in shown for p in self.engine.pictures(image_id, stress, strength)
            )
        verdict = dataclasses.replace(verdict, pictures=pictures, run=self.engine.provenance.key)
        self.verdicts.append(verdict)
        if verdict.status != "pass":
            raise GateFailed(verdict)
