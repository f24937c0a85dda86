"""The one object a test or a notebook talks to: measurements, and assertions over them."""

from collections.abc import Collection, Mapping, Sequence

from pytest_robustness.attacks import Oblivious
from pytest_robustness.certificates import CertifiedAtLeast
from pytest_robustness.corruption_error import ALEXNET
from pytest_robustness.corruptions import COMMON, Corruption
from pytest_robustness.defending import voters_of
from pytest_robustness.defenses import RandomizedSmoothing
from pytest_robustness.errors import InputError
from pytest_robustness.explaining import Region
from pytest_robustness.explanation_gates import AttendsTo, StaysWhere
from pytest_robustness.explanations import Explainer
from pytest_robustness.gates import (
    AccuracyAtLeast,
    BreaksNoEarlier,
    CorruptionErrorAtMost,
    CurveAbove,
    HoldsUntil,
    NotBrokenUpTo,
)
from pytest_robustness.loading import LabelledImage
from pytest_robustness.measurements import BreakingPoints, worst_first
from pytest_robustness.measuring import Chosen
from pytest_robustness.pairs import Targets
from pytest_robustness.rate_gates import RateAtMost
from pytest_robustness.releasing import Releasing
from pytest_robustness.search import sweep
from pytest_robustness.traces import Trace
from pytest_robustness.tracing import trace
from pytest_robustness.types import Attack, Defense, Perturbation, finds_nearest, fits
from pytest_robustness.vote_gates import AcceptedAccuracyAtLeast, VoteGains, VoteRecovers, beside

__all__ = ["Robustness"]

_IMAGENET_CLASSES = 1000


class Robustness(Releasing):
    """Measurements and assertions over the model and the images of one engine.

    Every judged gate is appended to `verdicts` and every measurement to `measurements`, in the order they
    were made. `company` names, for an image and a question, the images that the same question will be put
    to next and that are evaluated in the same batches; it changes the speed and never a result. A question begins
    with its stress. With `fast`, `assert_accuracy` asks about no more images than it takes to decide its verdict on all of them.

    A gate under an attack that would pass is untrusted where a check of `trust` (the engine's own) finds that the attack may
    not be believed, unless `waive` has the name of the check and a reason. Raises InputError for other waivers.

    `explain` says which gates' pictures come with explanations, `by` which explainer makes them; `baseline` is the release before.

        robustness = Robustness(Engine(model, image_folder("images")))
        robustness.accuracy(FGSM(), 2 / 255)
        robustness.behind(SmoothingVote()).accuracy(FGSM(), 2 / 255)
    """

    def trace(
        self,
        image: LabelledImage | str,
        attack: Attack,
        epsilon: float,
        target: str | None = None,
        *,
        steps: Collection[int] | None = None,
    ) -> Trace:
        """One attack on one image as it is altered: `print` it for a row per step.

        The attack goes for the class `target`, without one for any that is not accepted. Step 0 is the image itself, step k where
        the attack took its next gradient after k moves, and the last what it ended with: the image by which every other question
        about this attack is answered. Frames are kept of `steps`, without them of 0, 1, 2, 4, 8 and so on, and of the last.

        Raises InputError as `accuracy` does, for a perturbation, for more than one image, for an epsilon of 0, and for a
        target that is no class or is accepted.
        """
        ids = self._ids(image)
        if len(ids) != 1:
            raise InputError(f"expected one image to follow an attack on, got {len(ids)}; ask for a trace of each")
        self._check_attack(attack, "sweep")
        self.engine.case(attack, epsilon)
        pictured = self._always_pictured or self._album.take(f"trace of {ids[0]}", 1) == 1
        why = None if self._explain == "none" else self._explainers(self._by)
        with self.engine.steady():
            found = trace(
                self.engine, ids[0], attack, epsilon, target=target, steps=steps, pictured=pictured, explainers=why
            )
        self.measurements.append(found)
        return found

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
        enough and its bound is not, the gate is undecided, which is not green, and says how many images would decide. Behind a defense, what an attack achieves that does not know of it is told beside. Raises GateFailed where it is less,
        InputError as `accuracy` does.
        """
        gate = AccuracyAtLeast(at_least, confidence)
        ids = self._ids(self.engine.images if images is None else images)
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
        _check_bar(stress, at_least, top)
        ladders = self._climbed(ids, stress, top, levels, also=at_least, tolerance=tolerance)
        # An image that is wrong when clean has no stressed picture to show.
        broken = [(ladder.image, ladder.broke) for ladder in ladders if ladder.held is not None and ladder.broke]
        worst = sorted(broken, key=lambda pair: (pair[1], pair[0]))
        self._conclude(BreaksNoEarlier(at_least, quantile).judge(BreakingPoints(ladders)), stress, [at_least], worst)

    def assert_curve_above(
        self, stress: Attack | Perturbation, floors: Mapping[float, float], *, images: Chosen | None = None
    ) -> None:
        """At each of these strengths the accuracy is at least the share beside it: `{2 / 255: 0.5, 4 / 255: 0.2}`.

        Shares are in [0, 1] and not all 0: the `points` of another model's accuracy curve, which may come down to 0, are
        `floors` too. Raises GateFailed where it is less at one of them, InputError as `accuracies` does.
        """
        gate = CurveAbove(floors)
        ids = self._ids(self.engine.images if images is None else images)
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
        gate = NotBrokenUpTo(at_least, quantile)
        ids = self._ids(self.engine.images if images is None else images)
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
        self._conclude(gate.judge(measured), None, (), ())

    def assert_vote_recovers(
        self, image: Chosen, stress: Attack | Perturbation, strength: float, vote: Defense
    ) -> None:
        """Under the stress, the vote's majority is an accepted class; of several images, for every one.

        An attack goes through the vote; `Oblivious(attack)` doesn't know of it.

        Raises GateFailed where the vote answers something else or abstains.
        """
        ids = self._ids(image)
        behind, alone = self.behind(vote), self.behind(None)
        voted, single = (own._evaluated(ids, stress, strength) for own in (behind, alone))
        lost = [(outcome.image, strength) for outcome in voted.outcomes if not outcome.correct]
        behind._conclude(VoteRecovers().judge(voted, single), stress, [strength], lost)

    def assert_vote_accuracy(
        self,
        stress: Attack | Perturbation | None,
        strength: float,
        vote: Defense,
        *,
        at_least: float,
        coverage_at_least: float | None = None,
        images: Chosen | None = None,
    ) -> None:
        """Of the images that the vote accepts at least the share `at_least` is right, and it accepts the share `coverage_at_least`.

        Both in (0, 1]. The share of all images that is right, where to abstain is wrong, is `behind(vote).assert_accuracy`. Raises
        GateFailed where one of them is less, and InputError as `accuracy` does and without a `coverage_at_least`: a vote that
        rejects all but the easiest image is always right.
        """
        gate = AcceptedAccuracyAtLeast(at_least, coverage_at_least)
        ids, behind = self._ids(self.engine.images if images is None else images), self.behind(vote)
        evaluation = behind._evaluated(ids, stress, strength)
        lost = [outcome for outcome in evaluation.outcomes if not outcome.correct]
        # Wrong answers before none.
        worst = sorted(lost, key=lambda outcome: (outcome.predicted is None, outcome.subject, outcome.image))
        behind._conclude(gate.judge(evaluation), stress, [strength], [(own.image, strength) for own in worst])

    def assert_vote_gains(
        self,
        stress: Attack | Perturbation,
        strength: float,
        vote: Defense,
        *,
        over: str = "none",
        margin: float = 0.0,
        images: Chosen | None = None,
    ) -> None:
        """The vote is right on more images than one of its voters alone, by more than chance and by the share `margin` at least.

        `over` names the voter: "none" is the image as it is, "single" and "double" are those of a `SmoothingVote`. All images count,
        and to abstain is wrong. Image by image by an exact McNemar test, one-sided at 5 %; a gain that may be chance is undecided.

        Under an attack it is the voter's answer to what was made of the image to fool the vote. Raises GateFailed where there
        is no such gain, InputError as `accuracy` does, for a voter that the vote doesn't have and a margin outside [0, 1).
        """
        gate = VoteGains(over, margin)
        ids, behind = self._ids(self.engine.images if images is None else images), self.behind(vote)
        voters = voters_of(vote)
        gate.check(voters, repr(vote))
        evaluation = behind._evaluated(ids, stress, strength)
        verdict, lost = gate.judge(evaluation, voters)
        behind._conclude(verdict, stress, [strength], [(image_id, strength) for image_id in lost])

    def assert_certified_accuracy(
        self,
        smoothing: RandomizedSmoothing,
        radius: float,
        *,
        at_least: float,
        confidence: float | None = None,
        images: Chosen | None = None,
    ) -> None:
        """At least the share `at_least`, in (0, 1], of the images is right, and certified to stay so within an L2 ball of `radius`.

        The radius is on the [0, 1] pixel scale. Each image's certificate is wrong with probability at most the smoothing's alpha. With
        a `confidence` the share among all such images is judged, not among these: an exact lower bound of it, less alpha; where
        only the estimate is high enough, the gate is undecided.

        Raises GateFailed where it is less, InputError as `accuracy` does and for a radius that no number of agreeing draws certifies.
        """
        gate = CertifiedAtLeast(radius, at_least, confidence)
        ids = self._ids(self.engine.images if images is None else images)
        certified = self._certified(smoothing, ids, radius)
        self.behind(smoothing.certifying)._conclude(gate.judge(certified), None, (), ())

    def assert_explanation_stable(
        self,
        stress: Attack | Perturbation,
        strength: float,
        *,
        at_least: float,
        by: Explainer | None = None,
        images: Chosen | None = None,
    ) -> None:
        """Under a stress that leaves the answer, the explanation stays where it was: a stability of `at_least`, in (0, 1].

        The mean over the images of the overlap of the two explanations, corrected by that with other images': 1 for the same
        maps, 0 for no more than any two of this model have in common. See `explanation_stability`.

        Raises GateFailed where it is less, InputError as `explanation_stability` does.
        """
        gate = StaysWhere(at_least)
        ids = self._ids(self.engine.images if images is None else images)
        stability = self._stability(ids, stress, strength, by)
        moved = sorted(stability.overlaps, key=lambda own: (own.corrected, own.image))
        self._conclude(gate.judge(stability), stress, [strength], [(own.image, strength) for own in moved])

    def assert_attends_to(
        self,
        regions: "Mapping[LabelledImage | str, Region]",
        *,
        at_least: float = 1.0,
        stress: Attack | Perturbation | None = None,
        strength: float = 0.0,
        by: Explainer | None = None,
    ) -> None:
        """At least the share `at_least`, in (0, 1], of the explanations point into the region of their image.

        A region is a box (left, top, right, bottom), a mask or the path of one. See `attention`. Raises GateFailed where it
        is less, InputError as `attention` does.
        """
        gate = AttendsTo(at_least)
        attention = self._attention(regions, stress, strength, by)
        missed = [(hit.image, strength) for hit in attention.hits if not hit.inside]
        self._conclude(gate.judge(attention), stress, [strength], missed if stress is not None else ())

    def assert_modify_rate(
        self,
        attack: Attack,
        epsilon: float,
        *,
        at_most: float,
        of: str = "median",
        classes: str | Sequence[str] | None = None,
        images_per_class: int | None = None,
        targets: Targets = None,
    ) -> None:
        """The share of attempts to make images pass as another class that succeed is at most this, in [0, 1).

        `of` says of what: the "median" of the classes, the "worst" of them, or one class or group by its name. The other choices
        are those of `targeted_matrix`. Raises GateFailed where it is more, InputError as `targeted_matrix` does.
        """
        gate = RateAtMost("modify", at_most, of)
        view = self._targeted_matrix(attack, epsilon, classes, images_per_class, targets)
        self._conclude(gate.judge(view, part=self._part), attack, [epsilon], ())

    def assert_mimic_rate(
        self,
        attack: Attack,
        epsilon: float,
        *,
        at_most: float,
        of: str = "median",
        classes: str | Sequence[str] | None = None,
        images_per_class: int | None = None,
        targets: Targets = None,
    ) -> None:
        """The share of attempts to make images of other classes pass as one that succeed is at most this, in [0, 1).

        As `assert_modify_rate`, with `of` about the class that is imitated.
        """
        gate = RateAtMost("mimic", at_most, of)
        view = self._targeted_matrix(attack, epsilon, classes, images_per_class, targets)
        self._conclude(gate.judge(view, part=self._part), attack, [epsilon], ())


def _check_bar(stress: Attack | Perturbation, at_least: float, top: float) -> None:
    """Refuse a bar that no search up to `top` can reach."""
    if not 0 < at_least <= top:
        raise InputError(f"{stress!r}: expected at_least in (0, {top:g}], got {at_least!r}")
