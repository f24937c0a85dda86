"""The one object a test or a notebook talks to: measurements, and assertions over them."""

import collections
import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from pytest_robustness.corruption_error import ALEXNET
from pytest_robustness.corruptions import COMMON, Corruption
from pytest_robustness.curves import Curve
from pytest_robustness.doubts import checked_waivers, judged, waived
from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.gates import (
    AccuracyAtLeast,
    BreaksNoEarlier,
    CorruptionErrorAtMost,
    GateFailed,
    HoldsUntil,
    VoteRecovers,
)
from pytest_robustness.loading import ImageSet, LabelledImage
from pytest_robustness.measurements import Accuracy, BreakingPoint, BreakingPoints, CorruptionErrors, worst_first
from pytest_robustness.records import Evaluation, Ladder, Picture, Verdict
from pytest_robustness.search import climb, planned, sweep
from pytest_robustness.trust import Trust
from pytest_robustness.types import Attack, Perturbation, Voter, fits
from pytest_robustness.views import curves, pictures

__all__ = ["Album", "Chosen", "Robustness"]

Chosen: TypeAlias = LabelledImage | str | ImageSet | Iterable[LabelledImage | str]
"""One image or several, as objects or as ids; an ImageSet stands for all of its images."""

_M = TypeVar("_M", Accuracy, BreakingPoint, BreakingPoints, CorruptionErrors)

_IMAGENET_CLASSES = 1000


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

    A gate under an attack that would pass is untrusted where a check of `trust` (the engine's own) finds that the attack may
    not be believed, unless `waive` has the name of the check and a reason. Raises InputError for other waivers.

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
        waive: Mapping[str, str] | None = None,
        trust: Trust | None = None,
    ) -> None:
        self.engine = engine
        self.verdicts: list[Verdict] = []
        self.measurements: list[Accuracy | BreakingPoint | BreakingPoints | CorruptionErrors | Curve] = []
        self._company = company
        self._fast = fast
        self._album = album if album is not None else Album()
        self._waive = checked_waivers({} if waive is None else waive)
        self._trust = trust if trust is not None else Trust(engine)

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

    def sweep(
        self,
        image: LabelledImage | str,
        stress: Attack | Perturbation,
        strengths: Sequence[float],
        *,
        intruder: str | Collection[str] | None = None,
    ) -> Curve:
        """The image's answers at all these strengths, ascending, in one table: `print(robustness.sweep(...))`.

        `intruder` names the class, or the group of classes, that is expected to take over; without it, it is the top-1 at
        the largest strength that is not accepted. Raises InputError as `accuracy` does, for strengths that don't ascend,
        and for an intruder that is no class.
        """
        return self.sweeps(image, stress, strengths, intruder=intruder)[0]

    def sweeps(
        self,
        images: Chosen,
        stress: Attack | Perturbation,
        strengths: Sequence[float],
        *,
        intruder: str | Collection[str] | None = None,
    ) -> tuple[Curve, ...]:
        """The curve of each of these images; they share batches. Raises InputError as `sweep` does."""
        found = curves(self.engine, self._ids(images), stress, strengths, intruder)
        self.measurements.extend(found)
        return found

    def breaking_point(
        self,
        image: LabelledImage | str,
        stress: Attack | Perturbation,
        *,
        up_to: float | None = None,
        levels: int = 20,
        tolerance: float | None = None,
    ) -> BreakingPoint:
        """The smallest of `levels` equal steps up to `up_to` at which the image's top-1 is not accepted.

        `up_to` is the largest strength of the stress where it is left out. With a `tolerance`, in the unit of the stress,
        the step before the break is halved until the image is known to hold no further below it than that. Infinity
        where the image holds throughout, 0 where the clean image is wrong already.
        """
        ids = self._ids(image)
        if len(ids) != 1:
            raise InputError(
                f"expected one image to find the breaking point of, got {len(ids)}; ask for the breaking_points of several"
            )
        ladders = self._climbed(ids, stress, _top(stress, up_to), levels, tolerance=tolerance)
        return self._measured(BreakingPoint(ladders[0]))

    def breaking_points(
        self,
        stress: Attack | Perturbation,
        *,
        images: Chosen | None = None,
        up_to: float | None = None,
        levels: int = 20,
        tolerance: float | None = None,
        beyond: bool = False,
    ) -> BreakingPoints:
        """The breaking point of each of the images (all without `images`), as `breaking_point` finds it.

        With `beyond`, the levels above an image's break are visited as well, and images that are right again there are
        counted and named. It costs what a sweep costs; without it, an image leaves at its first break.
        """
        ids = self._ids(self.engine.images if images is None else images)
        ladders = self._climbed(ids, stress, _top(stress, up_to), levels, tolerance=tolerance, beyond=beyond)
        return self._measured(BreakingPoints(ladders))

    def corruption_errors(
        self, corruptions: Sequence[str] = COMMON, *, images: Chosen | None = None
    ) -> CorruptionErrors:
        """The errors of the images (all without `images`) under each of these corruptions at severities 1 to 5.

        The fifteen common corruptions without names. In memory: errors on the published files, which are JPEG compressed
        after the corruption, differ. Raises InputError for a name that is no corruption, and as `accuracy` does.
        """
        ids = self._ids(self.engine.images if images is None else images)
        stresses = {name: Corruption(name) for name in corruptions}
        if not stresses:
            raise InputError(
                "expected at least one corruption, got none; leave corruptions out for the fifteen common ones"
            )
        with self.engine.steady():
            clean = self.engine.evaluate(ids)
            found = {name: sweep(self.engine, ids, stress, stress.grades) for name, stress in stresses.items()}
        return self._measured(CorruptionErrors(clean, found))

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
        self._conclude(gate.judge(evaluation, of=len(ids)), stress, strength, worst)

    def assert_holds_until(
        self, image: Chosen, stress: Attack | Perturbation, strength: float, *, levels: int = 10
    ) -> None:
        """Top-1 stays in the accepted classes at `levels` equal steps up to and including `strength`.

        Of several images, every one has to hold. Raises GateFailed where one does not.
        """
        ladders = self._climbed(self._ids(image), stress, strength, levels)
        broken = [(ladder.image, ladder.broke) for ladder in ladders if ladder.broke is not None]
        worst = sorted(broken, key=lambda pair: (pair[1], pair[0]))
        self._conclude(HoldsUntil(strength).judge(ladders), stress, strength, worst)

    def assert_breaking_point(
        self,
        stress: Attack | Perturbation,
        *,
        at_least: float,
        quantile: float = 0.1,
        images: Chosen | None = None,
        up_to: float | None = None,
        levels: int = 10,
        tolerance: float | None = None,
    ) -> None:
        """All but at most the share `quantile` of the images (all without `images`) hold at every level until `at_least`.

        The levels are `levels` equal steps up to `up_to`, and `at_least`, which `up_to` is where it is left out: a larger one tells
        by how much the bar is cleared. An image that is wrong when clean holds until 0.

        Raises GateFailed where more images break earlier, InputError as `accuracy` does.
        """
        ids = self._ids(self.engine.images if images is None else images)
        self.engine.case(stress, at_least)
        top = at_least if up_to is None else up_to
        if not 0 < at_least <= top:
            raise InputError(f"{stress!r}: expected at_least in (0, {top:g}], got {at_least!r}")
        ladders = self._climbed(ids, stress, top, levels, also=at_least, tolerance=tolerance)
        # An image that is wrong when clean has no stressed picture to show.
        broken = [(ladder.image, ladder.broke) for ladder in ladders if ladder.held is not None and ladder.broke]
        worst = sorted(broken, key=lambda pair: (pair[1], pair[0]))
        self._conclude(BreaksNoEarlier(at_least, quantile).judge(BreakingPoints(ladders)), stress, at_least, worst)

    def assert_corruption_accuracy(
        self, corruption: str, severity: int, *, at_least: float, images: Chosen | None = None
    ) -> None:
        """`assert_accuracy` under one of the common corruptions at a severity from 1 to 5."""
        self.assert_accuracy(Corruption(corruption), severity, at_least=at_least, images=images)

    def assert_mean_corruption_error(
        self,
        *,
        at_most: float,
        normalizer: Mapping[str, float] | None = ALEXNET,
        corruptions: Sequence[str] = COMMON,
        images: Chosen | None = None,
    ) -> None:
        """The mean corruption error of the images (all without `images`) is at most this; AlexNet's is 1.

        `normalizer` has the mean error, in [0, 1], of the model that every corruption's error is divided by; None
        stands for no division, as is usual for CIFAR-10-C. Raises GateFailed where it is more, InputError as
        `corruption_errors` does, and for AlexNet's errors on other classes than ImageNet's.
        """
        gate = CorruptionErrorAtMost(at_most, normalizer)
        classes = len(self.engine.images.classes)
        if normalizer is ALEXNET and classes != _IMAGENET_CLASSES:
            raise InputError(
                f"expected normalizer=, because AlexNet's errors are on ImageNet's 1000 classes and this set has {classes}; "
                "give None for the plain mean error"
            )
        measured = self.corruption_errors(corruptions, images=images)
        self._conclude(gate.judge(measured), None, 0.0, ())

    def assert_vote_recovers(self, image: Chosen, stress: Perturbation, strength: float, vote: Voter) -> None:
        """Under the stress, the vote's majority is an accepted class; of several images, for every one.

        Raises GateFailed where the vote answers something else or abstains.
        """
        ids = self._ids(image)
        voted, alone = (self._evaluated(ids, stress, strength, defense) for defense in (vote, None))
        lost = [(outcome.image, strength) for outcome in voted.outcomes if not outcome.correct]
        self._conclude(VoteRecovers().judge(voted, alone), stress, strength, lost)

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
        self,
        ids: Sequence[str],
        stress: Attack | Perturbation,
        strength: float,
        levels: int,
        *,
        also: float | None = None,
        tolerance: float | None = None,
        beyond: bool = False,
    ) -> tuple[Ladder, ...]:
        self.engine.case(stress, strength)
        steps = planned(stress, strength, levels)
        if also is not None and also not in steps:
            steps = tuple(sorted((*steps, also)))
        with self.engine.steady():
            self._along(ids, (stress, steps), lambda company: climb(self.engine, company, stress, steps))
            return climb(self.engine, ids, stress, steps, tolerance=tolerance, beyond=beyond)

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
        self,
        verdict: Verdict,
        stress: Attack | Perturbation | None,
        strength: float,
        worst: Sequence[tuple[str, float]],
    ) -> None:
        """Keep the verdict, with pictures of the worst images where it failed, and raise unless it passed and is trusted."""
        views: tuple[Picture, ...] = ()
        if verdict.status != "pass" and stress is not None:
            shown = worst[: self._album.take(verdict.claim, len(worst))]
            views = tuple(view for image, strength in shown for view in pictures(self.engine, image, stress, strength))
        verdict = dataclasses.replace(verdict, pictures=views, run=self.engine.provenance.key)
        if strength and fits(stress, Attack):
            checks, doubts = self._trust.doubts(stress, strength)  # type: ignore[arg-type]
            verdict = judged(verdict, checks, waived(doubts, self._waive))
        self.verdicts.append(verdict)
        if verdict.status != "pass":
            raise GateFailed(verdict)


def _top(stress: Attack | Perturbation, up_to: float | None) -> float:
    """The strength that a search ends at: the largest of the stress unless it is named."""
    if up_to is None and math.isinf(stress.limit):
        raise InputError(f"{stress!r}: expected up_to=, because {stress.unit} has no largest value; name one")
    return stress.limit if up_to is None else up_to
