"""The stresses that a project starts with, and the gates that are made of what they measure.

Strengths are in the unit of their stress; they are written as a file of gates has them, `1/255`.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from pytest_robustness.attacks import FGSM, PGD
from pytest_robustness.corruptions import Corruption
from pytest_robustness.defenses import SmoothingVote
from pytest_robustness.perturbations import Blend, GaussianNoise
from pytest_robustness.types import Attack, Perturbation

__all__ = ["Trial", "all_trials", "first_trials", "yaml_text"]

_EPSILONS = ("1/255", "2/255", "4/255")
# One or two of each family that a camera or a pipeline brings about; noise has strengths of its own.
_CORRUPTIONS = {
    "motion_blur": "a camera or a thing that moves",
    "fog": "weather in front of what is to be seen",
    "brightness": "more light than there was in training",
    "contrast": "less contrast than there was in training",
    "pixelate": "a small picture that was made larger",
    "jpeg_compression": "a picture that was stored with little quality",
}
_SEVERITY = "3"
_VOTED = "0.1"


@dataclass(frozen=True)
class Trial:
    """One stress at its strengths, ascending, and what a gate over it is called; without a stress, the clean images.

    `written` is the stress as a file of gates has it, and `asks` what the gate asks for and why. One strength makes a gate over an
    accuracy, several make one over a curve. With a `vote`, it is about the images that the vote accepts, at one strength.
    """

    name: str
    asks: str
    stress: Attack | Perturbation | None = None
    written: str = ""
    strengths: tuple[str, ...] = ()
    vote: SmoothingVote | None = None

    @property
    def values(self) -> tuple[float, ...]:
        """The strengths as numbers; 0 for the clean images."""
        return tuple(float(Fraction(text)) for text in self.strengths) or (0.0,)

    def gate(self, thresholds: Sequence[str]) -> list[str]:
        """The lines of the gate below its name, with a threshold for each strength, weakest first; fewer where the last have none.

        Of a vote, the two are those of the accuracy and of the coverage.
        """
        if self.vote is not None:
            accuracy, coverage = thresholds
            voted = ["vote: SmoothingVote", f"at_least: {accuracy}", f"coverage_at_least: {coverage}"]
            return ["assert: vote_accuracy", *self._stressed, *voted]
        if len(self.strengths) > 1:
            floors = ", ".join(f"{at}: {floor}" for at, floor in zip(self.strengths, thresholds, strict=False))
            return ["assert: curve_above", f"stress: {self.written}", f"floors: {{{floors}}}"]
        at_least = f"at_least: {thresholds[0]}"
        if isinstance(self.stress, Corruption):
            return [
                "assert: corruption_accuracy",
                f"corruption: {self.stress.name}",
                f"severity: {self.strengths[0]}",
                at_least,
            ]
        return ["assert: accuracy", *self._stressed, at_least]

    @property
    def _stressed(self) -> list[str]:
        return [f"stress: {self.written}", f"strength: {self.strengths[0]}"] if self.stress is not None else []


_CLEAN = Trial("clean accuracy", "The images as they are: a model that fell back here fell back everywhere.")


def first_trials() -> tuple[Trial, ...]:
    """What a new file of gates asks for: few things of different kinds, which take seconds."""
    return (
        _CLEAN,
        Trial(
            "slight noise",
            "Noise as of a dark room, sigma on the [0, 1] scale of pixels. Other perturbations: UniformNoise, ShotNoise, GaussianBlur, "
            "MotionBlur, Brightness, Contrast, JPEG, Rotation, {Blend: overlay.png}.",
            GaussianNoise(),
            "GaussianNoise",
            ("0.05",),
        ),
        Trial(
            "jpeg compression",
            "A common corruption at a severity from 1 to 5. Others: motion_blur, defocus_blur, fog, snow, frost, brightness, contrast, "
            "pixelate, elastic_transform.",
            Corruption("jpeg_compression"),
            "{Corruption: jpeg_compression}",
            (_SEVERITY,),
        ),
        Trial(
            "smallest fgsm",
            "The smallest attack there is: every value moves by one level of 255, where it harms most. Stronger ones: PGD, APGD; "
            "without gradients: Square.",
            FGSM(),
            "FGSM",
            ("1/255",),
        ),
        _vote(
            "A vote over the image, blurred once and blurred twice, under stronger noise: so many of the answers that it gives are right, "
            "and it gives one for so many of the images. Other defenses: Vote, RandomizedSmoothing.",
        ),
    )


def all_trials(overlay: Path | None = None, *, seen_from: Path = Path()) -> tuple[Trial, ...]:
    """What `measure` measures, the cheapest first; with an `overlay`, written as the path from the folder `seen_from`, blends too."""
    blends: tuple[Trial, ...] = ()
    if overlay is not None:
        path = overlay if overlay.is_absolute() else Path(os.path.relpath(overlay, seen_from))
        written = f"{{Blend: {yaml_text(path.as_posix())}}}"
        asks = f"{overlay.name} laid over the image, opaque to this share"
        blends = (Trial("overlay", asks, Blend(overlay), written, ("0.1", "0.25")),)
    return (
        _CLEAN,
        *blends,
        Trial(
            "gaussian noise",
            "noise that is hardly seen, seen, and strong",
            GaussianNoise(),
            "GaussianNoise",
            ("0.025", "0.05", "0.1"),
        ),
        *(
            Trial(name.replace("_", " "), asks, Corruption(name), f"{{Corruption: {name}}}", (_SEVERITY,))
            for name, asks in _CORRUPTIONS.items()
        ),
        _vote("a vote over the image, blurred once and blurred twice"),
        Trial("fgsm", "one step along the gradient, linf", FGSM(), "FGSM", _EPSILONS),
        Trial("pgd", "twenty steps along the gradient, linf", PGD(), "PGD", _EPSILONS),
    )


def _vote(asks: str) -> Trial:
    return Trial("vote under noise", asks, GaussianNoise(), "GaussianNoise", (_VOTED,), SmoothingVote())


def yaml_text(text: str) -> str:
    """A text as a scalar of YAML, in quotes where it could be read as something else."""
    plain = re.fullmatch(r"[A-Za-z_./][\w./@+-]*(:[\w./@+-]+)*", text) and text.lower() not in ("true", "false", "null")
    # JSON's quoting is YAML's.
    return text if plain else json.dumps(text, ensure_ascii=False)
