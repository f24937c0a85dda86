"""What the settings of perturbations may be, and directions: given, or drawn for each image."""

import math
from typing import Literal, TypeAlias, get_args

import torch

from pytest_robustness.errors import InputError
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Strengths

__all__ = ["Side", "angles_of", "check_angle", "check_choice", "signs_of"]

Side: TypeAlias = Literal["left", "right"]


def check_choice(stress: object, name: str, choices: object, *, drawn: bool = False) -> None:
    """Refuse a setting that is none of these (a Literal); where it may be `drawn`, None is as good. InputError names them."""
    value = getattr(stress, name)
    if value in get_args(choices) or (drawn and value is None):
        return
    *others, last = (repr(choice) for choice in get_args(choices))
    remedy = "; leave it out to have it drawn" if drawn else ""
    raise InputError(f"{stress!r}: expected {name} {', '.join(others)} or {last}, got {value!r}{remedy}")


def check_angle(stress: object, angle: float | None) -> None:
    """Refuse an angle that is given and no finite number; InputError names the stress."""
    number = isinstance(angle, (int, float)) and not isinstance(angle, bool) and math.isfinite(angle)
    if angle is not None and not number:
        raise InputError(
            f"{stress!r}: expected angle to be a number of degrees, got {angle!r}; leave it out to have it drawn"
        )


def angles_of(angle: float | None, strengths: Strengths, streams: Streams) -> torch.Tensor:
    """An angle per image in radians, (n,): the one given in degrees, or a drawn one."""
    if angle is None:
        return 2 * math.pi * streams.uniform(strengths)
    return torch.full_like(strengths, math.radians(angle))


def signs_of(side: Side | None, strengths: Strengths, streams: Streams) -> torch.Tensor:
    """1 for left and -1 for right per image, (n,): as given, or drawn."""
    if side is None:
        return torch.where(streams.uniform(strengths) < 0.5, 1.0, -1.0)
    return torch.full_like(strengths, 1 if side == "left" else -1)
