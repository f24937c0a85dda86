"""Cases: a stress at a strength, behind a defense or not, in plain words; what is no case is refused here."""

import math

from pytest_robustness.errors import InputError
from pytest_robustness.records import Case
from pytest_robustness.types import Attack, Borrowed, Defense, Perturbation, fits, grades_of

__all__ = ["case_of", "is_number"]


def case_of(stress: Attack | Perturbation | None, strength: float, defense: Defense | None) -> Case:
    """The case of these three.

    Raises InputError for a strength outside the stress's range, and for what is no stress or no defense.
    """
    if defense is not None:
        _check_settings(defense, fits(defense, Defense), "a defense", "SmoothingVote()")
    behind = "" if defense is None else repr(defense)
    if stress is None:
        if strength:
            raise InputError(f"expected a stress for strength {strength:g}, got None; name one, as in FGSM()")
        return Case("", "", 0.0, behind)
    _check_settings(stress, hasattr(stress, "limit"), "a stress", "FGSM() or GaussianNoise()")
    _check_strength(stress, strength)
    library = stress.library if fits(stress, Borrowed) else ""  # type: ignore[union-attr]
    return Case(repr(stress), stress.unit, float(strength), behind, library)


def _check_settings(settings: object, fits: bool, kind: str, examples: str) -> None:
    """Refuse what is not an instance of its kind, or has no value of its own: answers are kept, and noise is seeded, by it."""
    if isinstance(settings, type) or not fits:
        name = settings.__name__ if isinstance(settings, type) else repr(settings)
        raise InputError(f"expected {kind} such as {examples}, got {name}; make an instance of {kind}")
    if type(settings).__hash__ is None or type(settings).__repr__ is object.__repr__:
        raise InputError(
            f"{type(settings).__name__}: expected a repr that is its constructor call and a hash to match, because answers are kept "
            "and noise is seeded by them; make it a frozen dataclass"
        )


def _check_strength(stress: Attack | Perturbation, strength: float) -> None:
    if not is_number(strength) or not 0 <= strength <= stress.limit:
        upper = "" if math.isinf(stress.limit) else f" in [0, {stress.limit:g}]"
        # The sigma of a blur is in pixels, and has no largest one.
        of_values = stress.unit == "epsilon" or (stress.unit == "sigma" and stress.limit == 1)
        scale = ", in units of the [0, 1] pixel scale" if of_values else ""
        at_least = " >= 0" if math.isinf(stress.limit) else ""
        hint = (
            f"; did you mean {strength:g}/255?"
            if stress.unit == "epsilon" and is_number(strength) and strength > 1
            else ""
        )
        raise InputError(f"{stress!r}: expected {stress.unit}{upper}{at_least}{scale}, got {strength!r}{hint}")
    grades = grades_of(stress)
    if grades is not None and strength not in (0, *grades):
        *others, last = (f"{grade:g}" for grade in grades)
        raise InputError(f"{stress!r}: expected {stress.unit} {', '.join(others)} or {last}, got {strength!r}")


def is_number(value: object) -> bool:
    """Whether it is an int or a float, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
