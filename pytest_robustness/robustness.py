"""The one object a test or a notebook talks to: measurements, and assertions over them."""

from collections.abc import Collection, Mapping, Sequence

from pytest_robustness.certificates import CertifiedAtLeast
from pytest_robustness.defending import voters_of
from pytest_robustness.defenses import RandomizedSmoothing
from pytest_robustness.errors import InputError
from pytest_robustness.explaining import Region
from pytest_robustness.explanation_gates import AttendsTo, StaysWhere
from pytest_robustness.explanations import Explainer
from pytest_robustness.image_sets import LabelledImage
from pytest_robustness.measuring import Chosen
from pytest_robustness.pairs import Targets
from pytest_robustness.rate_gates import RateAtMost
from pytest_robustness.releasing import Releasing
from pytest_robustness.traces import Trace
from pytest_robustness.tracing import trace
from pytest_robustness.types import Attack, Defense, Perturbation
from pytest_robustness.vote_gates import AcceptedAccuracyAtLeast, VoteGains, VoteRecovers

__all__ = ["Robustness"]


class Robustness(Releasing):
    """Measurements and assertions over the model and the images of one engine.

    Every judged gate is appended to `verdicts` and every measurement to `measurements`, in the order they
    were made. `company` names, for an image and a question, the images that the same question will be put
    to next and that are evaluated in the same batches; it changes the speed and never a result. A question begins
    with its stress. With `fast`, `assert_accuracy` asks about no more images than it takes to decide its verdict on all of them.

    A gate under an attack that would pass is untrusted where a check of `trust` (the engine's own) finds that the attack may
    not be believed, unless `waive` has the name of the check and a reason. Raises InputError for other waivers.

    Assertions that name no `confidence` are judged at this one, None for the images themselves: see `Asserting`. Of
    the images that a question is about, those are looked at that `sample` takes of their ids. `baseline` is the release before, as
    a file of results or as results.

    `explain` says of which gates the pictures come with explanations, and `by` which explainer makes them.

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
        confidence: float | None = None,
        images: Chosen | None = None,
    ) -> None:
        """Of the images that the vote accepts at least the share `at_least` is right, and it accepts the share `coverage_at_least`.

        Both in (0, 1]. The share of all images that is right, where to abstain is wrong, is `behind(vote).assert_accuracy`. Raises
        GateFailed where one of them is less, and InputError as `accuracy` does and without a `coverage_at_least`: a vote that
        rejects all but the easiest image is always right.
        """
        gate = AcceptedAccuracyAtLeast(at_least, coverage_at_least, self._sure(confidence))
        ids, behind = self._ids(images), self.behind(vote)
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
        ids, behind = self._ids(images), self.behind(vote)
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
        gate = CertifiedAtLeast(radius, at_least, self._sure(confidence))
        ids = self._ids(images)
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
        ids = self._ids(images)
        stability = self._stability(ids, stress, strength, by)
        moved = sorted(stability.overlaps, key=lambda own: (own.corrected, own.image))
        self._conclude(gate.judge(stability), stress, [strength], [(own.image, strength) for own in moved])

    def assert_attends_to(
        self,
        regions: "Mapping[LabelledImage | str, Region]",
        *,
        at_least: float = 1.0,
        confidence: float | None = None,
        stress: Attack | Perturbation | None = None,
        strength: float = 0.0,
        by: Explainer | None = None,
    ) -> None:
        """At least the share `at_least`, in (0, 1], of the explanations point into the region of their image.

        A region is a box (left, top, right, bottom), a mask or the path of one. See `attention`. Raises GateFailed where it
        is less, InputError as `attention` does.
        """
        gate = AttendsTo(at_least, self._sure(confidence))
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
        confidence: float | None = None,
        classes: str | Sequence[str] | None = None,
        images_per_class: int | None = None,
        targets: Targets = None,
    ) -> None:
        """The share of attempts to make images pass as another class that succeed is at most this, in [0, 1).

        `of` says of what: the "median" of the classes, the "worst" of them, or one class or group by its name. The other choices
        are those of `targeted_matrix`. Raises GateFailed where it is more, InputError as `targeted_matrix` does.
        """
        gate = RateAtMost("modify", at_most, of, self._sure(confidence))
        view = self._targeted_matrix(attack, epsilon, classes, images_per_class, targets)
        self._conclude(gate.judge(view, part=self._part), attack, [epsilon], ())

    def assert_mimic_rate(
        self,
        attack: Attack,
        epsilon: float,
        *,
        at_most: float,
        of: str = "median",
        confidence: float | None = None,
        classes: str | Sequence[str] | None = None,
        images_per_class: int | None = None,
        targets: Targets = None,
    ) -> None:
        """The share of attempts to make images of other classes pass as one that succeed is at most this, in [0, 1).

        As `assert_modify_rate`, with `of` about the class that is imitated.
        """
        gate = RateAtMost("mimic", at_most, of, self._sure(confidence))
        view = self._targeted_matrix(attack, epsilon, classes, images_per_class, targets)
        self._conclude(gate.judge(view, part=self._part), attack, [epsilon], ())
