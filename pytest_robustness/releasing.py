"""What a release is held against beside fixed bars: the release before."""

from pytest_robustness.asserting import Asserting
from pytest_robustness.baseline_gates import NoWorseThan
from pytest_robustness.errors import InputError
from pytest_robustness.measuring import Chosen
from pytest_robustness.types import Attack, Perturbation

__all__ = ["Releasing"]


class Releasing(Asserting):
    """The assertions of a `Robustness` that need the `baseline` it was given."""

    def assert_no_worse_than_baseline(
        self,
        stress: Attack | Perturbation | None = None,
        strength: float = 0.0,
        *,
        drop: float = 0.0,
        images: Chosen | None = None,
    ) -> None:
        """The accuracy is at most `drop`, a share in [0, 1), below the baseline's on the same images (all without `images`).

        The images are compared one by one: the verdict says which were lost and gained, and by an exact McNemar test whether so
        uneven a change may be chance. That p-value is told and does not decide.

        Raises GateFailed where more is lost, and where the baseline does not have the case or an image; InputError as `accuracy`
        does, without a baseline, and for one that was measured on other images, classes or with another seed.
        """
        gate = NoWorseThan(drop)
        if self._baseline is None:
            raise InputError(
                "expected a baseline to compare with, got none; name one with --robustness-baseline, or in a notebook as "
                "Robustness(engine, baseline=Path('release.json'))"
            )
        ids = self._ids(self.engine.images if images is None else images)
        baseline, now = self._baseline, self._evaluated(ids, stress, strength)
        before = baseline.before(now.case, self.engine.provenance, [own.image for own in now.outcomes])
        verdict, lost = gate.judge(now, before, name=baseline.name, beside=baseline.beside(now.case))
        self._conclude(verdict, stress, [strength], [(own.image, strength) for own in lost])
