"""Perturbations one after the other: of several, one is swept."""

from dataclasses import dataclass
from typing import TypeAlias

import torch

from pytest_robustness.cases import case_of
from pytest_robustness.errors import InputError
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Attack, Images, Perturbation, Strengths, fits

__all__ = ["Chain", "Fixed", "Part", "fixed", "then"]


@dataclass(frozen=True, repr=False)
class Fixed:
    """A perturbation at one strength, as a part of a chain; made by `fixed`."""

    perturbation: Perturbation
    strength: float

    def __post_init__(self) -> None:
        _check_perturbation(self.perturbation)
        case_of(self.perturbation, self.strength, None)

    def __repr__(self) -> str:
        return f"fixed({self.perturbation!r}, {self.strength!r})"


Part: TypeAlias = Perturbation | Fixed


@dataclass(frozen=True, repr=False)
class Chain:
    """Perturbations one after the other, of which one is swept; made by `then`."""

    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        for part in self.parts:
            if not isinstance(part, Fixed):
                _check_perturbation(part)
        swept = self._swept
        if len(swept) != 1:
            named = f": {', '.join(map(repr, swept))}" if swept else ""
            remedy = "fix the others, as in fixed(GaussianBlur(), 1.5)" if swept else "leave one of them free"
            raise InputError(f"{self!r}: expected one perturbation that is swept, got {len(swept)}{named}; {remedy}")

    def __repr__(self) -> str:
        return f"then({', '.join(map(repr, self.parts))})"

    @property
    def unit(self) -> str:
        return self._swept[0].unit

    @property
    def limit(self) -> float:
        return self._swept[0].limit

    @property
    def _swept(self) -> list[Perturbation]:
        return [part for part in self.parts if not isinstance(part, Fixed)]

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        current = images
        for place, part in enumerate(self.parts):
            # By its place: the same noise twice is two noises.
            own = streams.child(str(place))
            if isinstance(part, Fixed):
                current = part.perturbation(current, torch.full_like(strengths, part.strength), own)
            else:
                current = part(current, strengths, own)
            current = current.clamp(0, 1)
        return torch.where(strengths.reshape(-1, 1, 1, 1) > 0, current, images)


def fixed(perturbation: Perturbation, strength: float) -> Fixed:
    """This perturbation at this strength, whatever is swept: a part for `then`.

    Raises InputError for what is no perturbation and for a strength that it doesn't have.
    """
    return Fixed(perturbation, strength)


def then(first: Part, second: Part, *more: Part) -> Chain:
    """The first, then the second and so on, each given what the one before made of the image, clamped to [0, 1].

    One part is swept and gives the chain its unit and limit; the others are `fixed`:

        then(fixed(GaussianBlur(), 1.5), JPEG())    # how much compression does a blurred photo bear?

    Strength 0 is the clean image, as for every stress; the fixed parts come with any larger one. Each part has random
    numbers of its own. Raises InputError unless all are perturbations and exactly one of them is free.
    """
    return Chain((first, second, *more))


def _check_perturbation(part: object) -> None:
    if fits(part, Attack):
        raise InputError(
            f"{part!r}: expected a perturbation such as GaussianBlur(), got an attack; chain perturbations"
        )
    if isinstance(part, type) or not (callable(part) and hasattr(part, "limit")):
        name = part.__name__ if isinstance(part, type) else repr(part)
        raise InputError(
            f"expected a perturbation such as GaussianBlur(), got {name}; make an instance of a perturbation"
        )
