"""An attack that does not know of the defense in front of the model."""

from dataclasses import dataclass

from pytest_robustness.errors import InputError
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Attack, Classifier, Goal, Images, Norm, Strengths, fits

__all__ = ["Oblivious"]


@dataclass(frozen=True, repr=False)
class Oblivious:
    """The attack made on the model alone, and what it finds shown to the model behind its defense.

    The figure that papers on defenses used to print, and no measure of one: an attacker who knows of the defense attacks
    through it (Carlini and Wagner 2017b call this one zero-knowledge). Raises InputError for what is no attack.
    """

    attack: Attack

    def __post_init__(self) -> None:
        if isinstance(self.attack, type) or not fits(self.attack, Attack) or isinstance(self.attack, Oblivious):
            raise InputError(f"Oblivious: expected an attack such as FGSM(), got {self.attack!r}")

    def __repr__(self) -> str:
        return f"Oblivious({self.attack!r})"

    @property
    def unit(self) -> str:
        return self.attack.unit

    @property
    def limit(self) -> float:
        return self.attack.limit

    @property
    def norm(self) -> Norm:
        return self.attack.norm

    def against(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Images:
        return self.attack.against(classifier, goal, images, strengths, streams)
