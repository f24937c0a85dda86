"""Settings that attacks share: which values mean something, and what is said of others."""

import math
from typing import Any, get_args

from pytest_robustness.errors import InputError
from pytest_robustness.types import Loss, Norm

__all__ = ["check_loss", "check_norm", "check_switch", "check_whole", "limit"]


def check_norm(attack: Any) -> None:
    """Refuse an attack whose `norm` is none."""
    if attack.norm not in get_args(Norm):
        raise InputError(f"{attack!r}: expected norm 'linf' or 'l2', got {attack.norm!r}")


def check_loss(attack: Any) -> None:
    """Refuse an attack whose `loss` is none."""
    if attack.loss not in get_args(Loss):
        raise InputError(
            f"{attack!r}: expected loss 'log-odds' (the direction of the cross-entropy), 'margin' or 'dlr', got {attack.loss!r}"
        )


def check_whole(attack: Any, name: str, *, least: int) -> None:
    """Refuse an attack whose setting of this name is not a whole number >= `least`."""
    value = getattr(attack, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{attack!r}: expected {name} to be a whole number >= {least}, got {value}")


def check_switch(attack: Any, name: str) -> None:
    """Refuse an attack whose setting of this name is neither True nor False."""
    if not isinstance(getattr(attack, name), bool):
        raise InputError(f"{attack!r}: expected {name} to be True or False, got {getattr(attack, name)!r}")


def limit(norm: Norm) -> float:
    """The largest epsilon: in Linf 1 is every image; an L2 ball has no largest radius that fits all sizes."""
    return 1.0 if norm == "linf" else math.inf
