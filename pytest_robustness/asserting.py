"""Assertions about stresses: how many images withstand them, and how strong they may be."""

from collections.abc import Mapping, Sequence

from pytest_robustness.attacks import Oblivious
from pytest_robustness.corruption_error import ALEXNET
from pytest_robustness.corruptions import COMMON, Corruption
from pytest_robustness.errors import InputError
from pytest_robustness.gates import AccuracyAtLeast, CorruptionErrorAtMost, CurveAbove
from pytest_robustness.judging import Judging
from pytest_robustness.measurements import BreakingPoints, worst_first
from pytest_robustness.measuring import Chosen
from pytest_robustness.search import sweep
from pytest_robustness.strength_gates import BreaksNoEarlier, HoldsUntil, NotBrokenUpTo
from pytest_robustness.types import Attack, Perturbation, finds_nearest, fits
from pytest_robustness.vote_gates import beside

__all__ = ["Asserting"]

_IMAGENET_CLASSES = 1000


class Asserting(Judging):
    """The assertions of a `Robustness` about one stress, or one kind of stresses.

    `confidence=`, in [0.5, 1), has an assertion judge all images of which those that are given are a sample, by an exact bound: where the
    estimate clears the bar and the bound does not, the gate is undecided, which is not green, and says how many images would
    decide. Without it, the images that are given are judged, or what the session's profile says.
    """

    def assert_accuracy(
        self,
        stress: Attack | Perturbation | None = None,
        strength: float = 0.0,
        *,
        at_least: float,
        confidence: float | None = None,
        images: Chosen | None = None,
    ) -> None:
        """At least the share `at_least`, in (0, 1], of the images is answered with an accepted class.

        With a `confidence` in [0.5, 1) the share of all such images is judged, by an exact lower bound; where the estimate is high
        enough and its bound is not, the gate is undecided, which is not green, and says how many images would decide. Behind a
        defense, what an attack achieves that does not know of it is told beside. Raises GateFailed where it is less, InputError as
        `accuracy` does.
        """
        gate = AccuracyAtLeast(at_least, self._sure(confidence))
        ids = self._ids(images)
        if self._fast and len(ids) > 1 and (stress is not None or self.engine.defense is not None):
            evaluation = self._until_decided(gate, ids, stress, strength)
        else:
            evaluation = self._evaluated(ids, stress, strength)
        worst = [(outcome.image, strength) for outcome in worst_first(evaluation)]
        verdict = gate.judge(evaluation, of=len(ids))
        known = self.engine.defense is not None and fits(stress, Attack) and not isinstance(stress, Oblivious)
        if known and not self._fast:
            other = self._evaluated(ids, Oblivious(stress), strength)  # type: ignore[arg-type]
            verdict = beside(verdict, other)
        self._conclude(verdict, stress, [strength], worst)

    def assert_holds_until(
        self, image: Chosen, stress: Attack | Perturbation, strength: float, *, levels: int = 10
    ) -> None:
        """Top-1 stays in the accepted classes at `levels` equal steps up to and including `strength`.

        Of several images, every one has to hold. Raises GateFailed where one does not.
        """
        ladders = self._climbed(self._ids(image), stress, strength, levels)
        broken = [(ladder.image, ladder.broke) for ladder in ladders if ladder.broke is not None]
        worst = sorted(broken, key=lambda pair: (pair[1], pair[0]))
        self._conclude(HoldsUntil(strength).judge(ladders), stress, [strength], worst)

    def assert_breaking_point(
        self,
        stress: Attack | Perturbation,
        *,
        at_least: float,
        quantile: float = 0.1,
        confidence: float | None = None,
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
        gate = BreaksNoEarlier(at_least, quantile, self._sure(confidence))
        ids = self._ids(images)
        self.engine.case(stress, at_least)
        top = at_least if up_to is None else up_to
        _check_bar(stress, at_least, top)
        ladders = self._climbed(ids, stress, top, levels, also=at_least, tolerance=tolerance)
        # An image that is wrong when clean has no stressed picture to show.
        broken = [(ladder.image, ladder.broke) for ladder in ladders if ladder.held is not None and ladder.broke]
        worst = sorted(broken, key=lambda pair: (pair[1], pair[0]))
        self._conclude(gate.judge(BreakingPoints(ladders)), stress, [at_least], worst)

    def assert_curve_above(
        self,
        stress: Attack | Perturbation,
        floors: Mapping[float, float],
        *,
        confidence: float | None = None,
        images: Chosen | None = None,
    ) -> None:
        """At each of these strengths the accuracy is at least the share beside it: `{2 / 255: 0.5, 4 / 255: 0.2}`.

        Shares are in [0, 1] and not all 0: the `points` of another model's accuracy curve, which may come down to 0, are
        `floors` too. Raises GateFailed where it is less at one of them, InputError as `accuracies` does.
        """
        gate = CurveAbove(floors, self._sure(confidence))
        ids = self._ids(images)
        for strength in floors:
            self.engine.case(stress, strength)
        evaluations = sweep(self.engine, ids, stress, sorted(floors))
        short = [own for own in evaluations if own.correct / len(own.outcomes) < floors[own.case.strength]]
        # Each image where it first fell; one that is wrong when clean has no stressed picture to show.
        fell: dict[str, float] = {}
        for own in reversed(evaluations):
            fell.update((outcome.image, own.case.strength) for outcome in own.outcomes if not outcome.correct)
        worst = dict.fromkeys(outcome.image for own in short for outcome in worst_first(own) if fell[outcome.image])
        asked = [strength for strength, floor in sorted(floors.items()) if floor]
        self._conclude(gate.judge(evaluations), stress, asked, [(image, fell[image]) for image in worst])

    def assert_smallest_epsilon(
        self,
        attack: Attack,
        *,
        at_least: float,
        quantile: float = 0.1,
        confidence: float | None = None,
        images: Chosen | None = None,
        up_to: float | None = None,
        levels: int = 10,
        tolerance: float | None = None,
    ) -> None:
        """No epsilon up to and including `at_least` breaks more than the share `quantile` of the images (all without `images`).

        With an attack that looks for the smallest change, such as FMN, the rest is as in `smallest_epsilons`. With another, the
        levels are those of `assert_breaking_point`, and so is the verdict. An image that is wrong when clean is broken at 0.

        Raises GateFailed where more images break, InputError as `smallest_epsilons` does.
        """
        gate = NotBrokenUpTo(at_least, quantile, self._sure(confidence))
        ids = self._ids(images)
        self._check_attack(attack, "assert_breaking_point")
        self.engine.case(attack, at_least)
        top = at_least if up_to is None and not finds_nearest(attack) else self._top(attack, up_to)
        _check_bar(attack, at_least, top)
        found = self._smallest_epsilons(ids, attack, top, levels, tolerance, also=at_least)
        # A change that was found at once is found again in the ball that it was looked for in.
        broken = [
            (own.image, top if finds_nearest(attack) else e) for e, own in found.worst_first if e and gate.breaks(e)
        ]
        self._conclude(gate.judge(found), attack, [at_least], broken)

    def assert_corruption_accuracy(
        self,
        corruption: str,
        severity: int,
        *,
        at_least: float,
        confidence: float | None = None,
        images: Chosen | None = None,
    ) -> None:
        """`assert_accuracy` under one of the common corruptions at a severity from 1 to 5."""
        stress = Corruption(corruption)
        self.assert_accuracy(stress, severity, at_least=at_least, confidence=confidence, images=images)

    def assert_mean_corruption_error(
        self,
        *,
        at_most: float,
        normalizer: Mapping[str, float] | None = ALEXNET,
        corruptions: Sequence[str] = COMMON,
        confidence: float | None = None,
        images: Chosen | None = None,
    ) -> None:
        """The mean corruption error of the images (all without `images`) is at most this; AlexNet's is 1.

        `normalizer` has the mean error, in [0, 1], of the model that every corruption's error is divided by; None
        stands for no division, as is usual for CIFAR-10-C. Raises GateFailed where it is more, InputError as
        `corruption_errors` does, and for AlexNet's errors on other classes than ImageNet's.
        """
        gate = CorruptionErrorAtMost(at_most, normalizer, self._sure(confidence))
        classes = len(self.engine.images.classes)
        if normalizer is ALEXNET and classes != _IMAGENET_CLASSES:
            raise InputError(
                f"expected normalizer=, because AlexNet's errors are on ImageNet's 1000 classes and this set has {classes}; "
                "give None for the plain mean error"
            )
        measured = self._corruption_errors(corruptions, images)
        self._conclude(gate.judge(measured), None, (), ())


def _check_bar(stress: Attack | Perturbation, at_least: float, top: float) -> None:
    """Refuse a bar that no search up to `top` can reach."""
    if not 0 < at_least <= top:
        raise InputError(f"{stress!r}: expected at_least in (0, {top:g}], got {at_least!r}")
