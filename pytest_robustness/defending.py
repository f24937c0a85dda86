"""What can be measured of defenses: the table of a vote, an attack that knows of it beside one that does not, certificates."""

from collections.abc import Sequence

from pytest_robustness.accuracy_curves import AccuracyCurve, AccuracyCurves
from pytest_robustness.attacks import Oblivious
from pytest_robustness.certificates import CertifiedAccuracy
from pytest_robustness.defenses import RandomizedSmoothing, SmoothingVote
from pytest_robustness.errors import InputError
from pytest_robustness.measuring import Chosen, Measuring
from pytest_robustness.perturbations import BeforeResize
from pytest_robustness.search import sweep
from pytest_robustness.types import Attack, Defense, Perturbation, fits
from pytest_robustness.vote_tables import VoteTable, VoteTables

__all__ = ["Defending", "voters_of"]


class Defending(Measuring):
    """The measurements of a `Robustness` that are about defenses."""

    def vote_tables(
        self,
        stress: Perturbation,
        strengths: Sequence[float],
        vote: Defense | None = None,
        *,
        images: Chosen | None = None,
    ) -> VoteTables:
        """A vote (`SmoothingVote()` without one) beside each of its voters at these strengths, ascending: `print` it for the table.

        At each strength the accuracy of each voter alone; of the vote over the images that it accepts and over all; and the share
        that it accepts and rejects. Where the image set is resized there are two tables: the stress is put to what the
        model sees, and to the files before they are resized.

        Raises InputError as `accuracies` does, and for an attack.
        """
        vote = SmoothingVote() if vote is None else vote
        if fits(stress, Attack):
            raise InputError(
                f"expected a perturbation for the table of a vote, got {stress!r}; use defense_curves, which compares an attack that "
                "knows of the vote with one that doesn't"
            )
        voters = voters_of(vote)
        ids = self._ids(images)
        engine = self.engine.behind(vote)
        own = [stress]
        if self.engine.images.resized and not isinstance(stress, BeforeResize):
            own.append(BeforeResize(stress))
        with engine.steady():
            found = (sweep(engine, ids, path, strengths) for path in own)
            return self._measured(VoteTables(tuple(VoteTable(voters, evaluations) for evaluations in found)))

    def defense_curves(
        self, attack: Attack, epsilons: Sequence[float], defense: Defense, *, images: Chosen | None = None
    ) -> AccuracyCurves:
        """The accuracy of the model alone under an attack, and behind a defense where the attacker knows of it and where not.

        `print` it for one table. Compared with the model alone, image by image. Raises InputError as `accuracy_curves` does, and
        for a perturbation.
        """
        self._check_attack(attack, "vote_tables")
        ids = self._ids(images)
        alone, behind = self.engine.behind(None), self.engine.behind(defense)
        asked = {
            "the model alone": (alone, attack),
            "defended, unknown": (behind, Oblivious(attack)),
            "defended, known": (behind, attack),
        }
        found = (AccuracyCurve(name, sweep(engine, ids, own, epsilons)) for name, (engine, own) in asked.items())
        return self._measured(AccuracyCurves(tuple(found)))

    def certified_accuracy(self, smoothing: RandomizedSmoothing, *, images: Chosen | None = None) -> CertifiedAccuracy:
        """The share of the images that are right and certified to stay so in an L2 ball, for any radius: `print` it for the curve.

        Raises InputError as `accuracy` does.
        """
        ids = self._ids(images)
        return self._measured(self._certified(smoothing, ids))

    def _certified(self, smoothing: RandomizedSmoothing, ids: Sequence[str], radius: float = 0.0) -> CertifiedAccuracy:
        if not isinstance(smoothing, RandomizedSmoothing):
            raise InputError(f"expected RandomizedSmoothing(sigma=...), which certifies, got {smoothing!r}")
        if radius > smoothing.largest_radius:
            raise InputError(
                f"{smoothing!r}: expected a radius up to {smoothing.largest_radius:.4g}, which is certified where all draws agree, got "
                f"{radius:g}; take a larger n or sigma"
            )
        evaluation = self.engine.behind(smoothing.certifying).evaluate(ids)
        return CertifiedAccuracy(evaluation, smoothing.sigma, smoothing.alpha, smoothing.largest_radius)


def voters_of(vote: object) -> tuple[str, ...]:
    """What the voters of a vote are called; InputError for what has none."""
    voters = getattr(vote, "voters", None)
    if isinstance(vote, type) or not isinstance(voters, tuple):
        name = vote.__name__ if isinstance(vote, type) else repr(vote)
        raise InputError(f"expected a vote such as SmoothingVote() or Vote((None, denoiser)), got {name}")
    return voters
