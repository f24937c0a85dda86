"""What can be measured of the model and the images of one engine, for plain asserts and for gates."""

import contextlib
import functools
import itertools
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from pytest_robustness.accuracy_curves import AccuracyCurve, AccuracyCurves
from pytest_robustness.certificates import CertifiedAccuracy
from pytest_robustness.corruptions import COMMON, Corruption
from pytest_robustness.curves import Curve
from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.explained import Explained, Picture
from pytest_robustness.explanation_gates import Attention, ExplanationStability
from pytest_robustness.image_sets import ImageSet, LabelledImage
from pytest_robustness.matrices import TargetedMatrix, illustrating
from pytest_robustness.measurements import (
    Accuracy,
    BreakingPoint,
    BreakingPoints,
    CorruptionErrors,
    SmallestEpsilons,
)
from pytest_robustness.pairs import Targets, planned_pairs, tallied
from pytest_robustness.provenance import model_name
from pytest_robustness.records import Evaluation, Ladder, Matrix
from pytest_robustness.search import climb, planned, sweep
from pytest_robustness.shards import Shard
from pytest_robustness.traces import Trace
from pytest_robustness.types import Attack, Classifier, Perturbation, finds_nearest, fits
from pytest_robustness.views import Album, curves, pictures_towards
from pytest_robustness.vote_tables import VoteTables

__all__ = ["Chosen", "Measuring", "Sample"]

Chosen: TypeAlias = LabelledImage | str | ImageSet | Iterable[LabelledImage | str]
"""One image or several, as objects or as ids; an ImageSet stands for all of its images."""

Sample: TypeAlias = Callable[[Sequence[str]], Sequence[str]]
"""Which of these images, by their ids, are looked at: one at least."""

_Measurement: TypeAlias = (
    Accuracy
    | AccuracyCurves
    | Attention
    | BreakingPoint
    | BreakingPoints
    | CertifiedAccuracy
    | CorruptionErrors
    | Curve
    | Explained
    | ExplanationStability
    | SmallestEpsilons
    | TargetedMatrix
    | Trace
    | VoteTables
)
_M = TypeVar("_M", bound=_Measurement)


class Measuring:
    """The measurements of a `Robustness`, whose `company` and `album` are told there; `measurements` keeps every one, in the
    order they were made, and `pictures` what the examples of matrices look like.

    With a `shard`, a targeted matrix has the pairs of the shard's images. Of the images that a question is about, those
    are looked at that `sample` takes of their ids: all of them without it.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        company: Callable[[str, tuple[Any, ...]], Sequence[str]] | None = None,
        album: Album | None = None,
        shard: Shard | None = None,
        sample: Sample = tuple,
    ) -> None:
        self.engine = engine
        self._sample = sample
        self.shard = shard
        self.pictures: dict[Matrix, tuple[Picture, ...]] = {}
        self._album = album if album is not None else Album()
        self._always_pictured = album is None
        self.measurements: list[_Measurement] = []
        self._company = company

    def accuracy(
        self,
        stress: Attack | Perturbation | None = None,
        strength: float = 0.0,
        *,
        images: Chosen | None = None,
    ) -> Accuracy:
        """The share of the images (all without `images`) that are answered with an accepted class.

        Behind a defense, an abstention counts as wrong. Raises InputError as `Engine.evaluate` does.
        """
        ids = self._ids(images)
        return self._measured(Accuracy(self._evaluated(ids, stress, strength)))

    def accuracies(
        self, stress: Attack | Perturbation, strengths: Sequence[float], *, images: Chosen | None = None
    ) -> tuple[Accuracy, ...]:
        """The accuracy at each strength, for a curve: cheaper than one by one, because the strengths share their work.

        Under an attack, an image that fell at a smaller epsilon counts as wrong at the larger ones, whose balls
        contain what was found. Raises InputError as `accuracy` does, and where there is no strength.
        """
        ids = self._ids(images)
        return tuple(self._measured(Accuracy(evaluation)) for evaluation in sweep(self.engine, ids, stress, strengths))

    def accuracy_curves(
        self,
        stress: Attack | Perturbation,
        strengths: Sequence[float],
        *,
        models: Mapping[str, Classifier] | None = None,
        images: Chosen | None = None,
    ) -> AccuracyCurves:
        """The accuracy at each strength, ascending, of the model and of further `models` by name: `print` it for one table.

        The model itself goes by its class, or by its name in `models` where it is one of them, and is the one that the others
        are compared with, image by image. All meet the same images and noise; an attack looks at each. A model that was
        asked before is not asked again.

        Raises InputError as `accuracies` does, for strengths that don't ascend, for a name that two models would have, and,
        naming it, for what is no model.
        """
        if not strengths or any(low >= high for low, high in itertools.pairwise(strengths)):
            raise InputError(f"{stress!r}: expected ascending strengths, got {tuple(strengths)}")
        ids = self._ids(images)
        own = self.engine.model
        others = {name: model for name, model in (models or {}).items() if model is not own}
        name = next((name for name, model in (models or {}).items() if model is own), model_name(own))
        if name in others:
            raise InputError(
                f"expected a name for each model, got {name!r} twice, as the model itself is called so; "
                "name both of them in models="
            )
        found = [AccuracyCurve(name, sweep(self.engine, ids, stress, strengths))]
        for name, model in others.items():
            try:
                found.append(AccuracyCurve(name, sweep(self.engine.beside(model), ids, stress, strengths)))
            except InputError as error:
                raise InputError(f"{name}: {error}") from error
        return self._measured(AccuracyCurves(tuple(found)))

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
        ladders = self._climbed(ids, stress, self._top(stress, up_to), levels, tolerance=tolerance)
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
        ids = self._ids(images)
        ladders = self._climbed(ids, stress, self._top(stress, up_to), levels, tolerance=tolerance, beyond=beyond)
        return self._measured(BreakingPoints(ladders))

    def smallest_epsilons(
        self,
        attack: Attack,
        *,
        images: Chosen | None = None,
        up_to: float | None = None,
        levels: int = 20,
        tolerance: float | None = None,
    ) -> SmallestEpsilons:
        """The smallest epsilon at which the attack breaks each of the images (all without `images`), as far as it finds it.

        0 where the clean image is wrong already, infinity where it holds until `up_to`. An attack that looks for the smallest change,
        such as FMN, is run once, in balls of radius `up_to`: without it the largest epsilon, in L2 the diagonal of the image,
        so that nothing is out of reach. Any other is climbed as `breaking_points` climbs it, with its `levels` and `tolerance`.

        Raises InputError as `breaking_points` does, and for a perturbation.
        """
        ids = self._ids(images)
        self._check_attack(attack, "breaking_points")
        top = self._top(attack, up_to)
        return self._measured(self._smallest_epsilons(ids, attack, top, levels, tolerance))

    def corruption_errors(
        self, corruptions: Sequence[str] = COMMON, *, images: Chosen | None = None
    ) -> CorruptionErrors:
        """The errors of the images (all without `images`) under each of these corruptions at severities 1 to 5.

        The fifteen common corruptions without names. In memory: errors on the published files, which are JPEG compressed
        after the corruption, differ. Raises InputError for a name that is no corruption, and as `accuracy` does.
        """
        return self._measured(self._corruption_errors(corruptions, images))

    def _corruption_errors(self, corruptions: Sequence[str], images: Chosen | None) -> CorruptionErrors:
        ids = self._ids(images)
        stresses = {name: Corruption(name) for name in corruptions}
        if not stresses:
            raise InputError(
                "expected at least one corruption, got none; leave corruptions out for the fifteen common ones"
            )
        with self.engine.steady():
            clean = self.engine.evaluate(ids)
            found = {name: sweep(self.engine, ids, stress, stress.grades) for name, stress in stresses.items()}
        return CorruptionErrors(clean, found)

    def targeted_matrix(
        self,
        attack: Attack,
        epsilon: float,
        *,
        classes: str | Sequence[str] | None = None,
        images_per_class: int | None = None,
        targets: Targets = None,
    ) -> TargetedMatrix:
        """How often the attack makes images of each class pass as each other one: `print` it for the modify and mimic rates.

        `classes` are names of classes or groups whose images are attacked (all without), `images_per_class` so many of each,
        drawn by the seed. Each image goes towards every other class (of `classes`, where they are named); with a number as
        `targets` towards so many of them, drawn so that every class is met equally often; with names of classes or groups
        towards those; or `targets` are pairs of an image and a class. Images that are wrong when clean are left out, and counted.

        Raises InputError as `Engine.targeted` does, for names that are no class, and where no pair is left to try.
        """
        found = self._measured(self._targeted_matrix(attack, epsilon, classes, images_per_class, targets))
        self._picture(found.record, attack)
        return found

    def _targeted_matrix(
        self,
        attack: Attack,
        epsilon: float,
        classes: str | Sequence[str] | None,
        images_per_class: int | None,
        targets: Targets,
    ) -> TargetedMatrix:
        engine = self.engine
        case = engine.case(attack, epsilon)
        started, before = time.perf_counter(), engine.computed["pairs"]
        plan = planned_pairs(
            engine.images,
            engine.seed,
            classes=classes,
            images_per_class=images_per_class,
            targets=targets,
            sample=self._sample,
        )
        pairs = [pair for pair in plan.pairs if self.shard is None or self.shard.takes(pair[0])]
        with engine.steady():
            outcomes = engine.targeted(pairs, attack, epsilon)
            clean = engine.evaluate(tuple(dict.fromkeys(image_id for image_id, _ in pairs))).outcomes
        wrong = {outcome.image for outcome in clean if not outcome.correct}
        record = tallied(engine.images, case, plan, pairs, outcomes, wrong)
        return TargetedMatrix(record, engine.computed["pairs"] - before, time.perf_counter() - started)

    def _picture(self, matrix: Matrix, attack: Attack) -> None:
        """Keep pictures of the examples at the ends of its lists, once, as far as there is room."""
        if matrix not in self.pictures:
            pairs = tuple(dict.fromkeys(illustrating(matrix).values()))
            shown = pairs[: self._album.take(matrix.case.title, len(pairs))]
            views = (pictures_towards(self.engine, pair, attack, matrix.case.strength) for pair in shown)
            self.pictures[matrix] = tuple(itertools.chain.from_iterable(views))

    def _measured(self, measurement: _M) -> _M:
        self.measurements.append(measurement)
        return measurement

    def _evaluated(self, ids: Sequence[str], stress: Attack | Perturbation | None, strength: float) -> Evaluation:
        evaluate = functools.partial(self.engine.evaluate, stress=stress, strength=strength)
        # Refused here, before it becomes part of a question that has to be hashed.
        self.engine.case(stress, strength)
        with self.engine.steady():
            self._along(ids, (stress, strength, self.engine.defense), evaluate)
            return evaluate(ids)

    def _check_attack(self, attack: Attack, instead: str) -> None:
        self.engine.case(attack, 0.0)
        if not fits(attack, Attack):
            raise InputError(
                f"expected an attack, whose strength is the radius of a ball, got {attack!r}; use {instead} for a perturbation"
            )

    def _top(self, stress: Attack | Perturbation, up_to: float | None) -> float:
        """The strength that a search ends at: the largest of the stress unless it is named."""
        if up_to is None and math.isinf(stress.limit):
            probe = self.engine.images.probe(1) if finds_nearest(stress) else None
            if probe is None:
                raise InputError(f"{stress!r}: expected up_to=, because {stress.unit} has no largest value; name one")
            # No two images are further apart.
            return math.sqrt(probe.numel())
        return stress.limit if up_to is None else up_to

    def _smallest_epsilons(
        self,
        ids: Sequence[str],
        attack: Attack,
        top: float,
        levels: int,
        tolerance: float | None,
        *,
        also: float | None = None,
    ) -> SmallestEpsilons:
        if not finds_nearest(attack):
            return SmallestEpsilons(self._climbed(ids, attack, top, levels, also=also, tolerance=tolerance))
        self.engine.case(attack, top)
        if not top > 0:
            raise InputError(f"{attack!r}: expected up_to > 0, got {top!r}; leave it out for all of the images")
        return SmallestEpsilons(self._evaluated(ids, attack, top))

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
            self._along(
                ids, (stress, steps, self.engine.defense), lambda company: climb(self.engine, company, stress, steps)
            )
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

    def _ids(self, chosen: Chosen | None) -> tuple[str, ...]:
        """The ids of a sample of these images, each once; without a choice of all that there are."""
        if chosen is None or isinstance(chosen, ImageSet):
            chosen = (self.engine.images if chosen is None else chosen).images
        elif isinstance(chosen, (LabelledImage, str)):
            chosen = (chosen,)
        ids = tuple(dict.fromkeys(image.id if isinstance(image, LabelledImage) else image for image in chosen))
        if not ids:
            raise InputError(
                "expected at least one image to judge, got none; a gate over nothing would pass every model"
            )
        return tuple(self._sample([self.engine.images[image_id].id for image_id in ids]))
