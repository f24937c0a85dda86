"""Several strengths: climbed one by one to where images break, or swept for a curve."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.records import Evaluation, Ladder, Outcome
from pytest_robustness.types import Attack, Perturbation, fits, grades_of

__all__ = ["climb", "evenly", "planned", "sweep"]

_Rungs: TypeAlias = list[tuple[float, Outcome]]

# So many images cost little more than one, also on a CPU.
_ROOM = 8


def planned(stress: Attack | Perturbation, strength: float, levels: int) -> tuple[float, ...]:
    """The levels up to and including `strength`: `levels` equal steps, or those that the stress comes in."""
    grades = grades_of(stress)
    return evenly(strength, levels) if grades is None else tuple(grade for grade in grades if grade <= strength)


def evenly(strength: float, levels: int) -> tuple[float, ...]:
    """`levels` equal steps up to and including `strength`; InputError for fewer than one level."""
    if isinstance(levels, bool) or not isinstance(levels, int) or levels < 1:
        raise InputError(f"expected levels to be a whole number >= 1, got {levels!r}")
    return _steps(float(strength), levels)


@functools.lru_cache(maxsize=64)
def _steps(strength: float, levels: int) -> tuple[float, ...]:
    return (*(_tidy(strength * step / levels) for step in range(1, levels)), strength)


def _tidy(level: float) -> float:
    """The decimal that a rounding error hides: 3 * 0.3 / 9 as 0.1; any other level as it is."""
    decimal = round(level, 10)
    return decimal if math.isclose(decimal, level, rel_tol=1e-14) else level


def climb(
    engine: Engine,
    ids: Sequence[str],
    stress: Attack | Perturbation,
    levels: Sequence[float],
    *,
    tolerance: float | None = None,
    beyond: bool = False,
) -> tuple[Ladder, ...]:
    """One ladder per image: strength 0, then the levels in ascending order until top-1 is not accepted.

    Exact at the levels it visits, unlike bisection: a stronger stress is not always the worse one, and an
    image that breaks at one level is not asked about a higher one. Images that hold share batches.

    With a `tolerance`, what lies between the last level that held and the first that did not is halved, for each
    image, until they are no further apart; the break is then one of those in between, where there are several. With
    `beyond`, the levels above the break are visited too.

    Raises InputError where `levels` is empty, not ascending or outside the range of the stress, and for a tolerance
    that is not > 0.
    """
    if not levels or any(low >= high for low, high in zip((0.0, *levels), levels, strict=False)):
        raise InputError(f"{stress!r}: expected ascending levels > 0, got {tuple(levels)}")
    if tolerance is not None and not tolerance > 0:
        raise InputError(
            f"expected a tolerance > 0 in {stress.unit}, got {tolerance!r}; leave it out for the levels alone"
        )
    if tolerance is not None and grades_of(stress) is not None:
        raise InputError(
            f"{stress!r}: expected no tolerance, as there is nothing between two steps of {stress.unit}; leave it out"
        )
    case = engine.case(stress, levels[-1])
    rungs: dict[str, _Rungs] = {image_id: [] for image_id in ids}
    standing: Sequence[str] = list(rungs)
    with engine.steady():
        recall = engine.recall(stress)
        for place, level in enumerate((0.0, *levels)):
            outcomes = recall(standing, level)
            if outcomes is None:
                outcomes = _evaluated(engine, standing, stress, level, levels[max(0, place - 1) :])
            for outcome in outcomes:
                rungs[outcome.image].append((level, outcome))
            standing = [outcome.image for outcome in outcomes if outcome.correct]
        if tolerance is not None:
            _refine(engine, stress, rungs, tolerance)
        above = _above(engine, stress, rungs, levels) if beyond else {}
    return tuple(
        Ladder(image_id, case.under, case.unit, tuple(levels), tuple(own), tuple(above.get(image_id, ())), case.library)
        for image_id, own in rungs.items()
    )


def _evaluated(
    engine: Engine, ids: Sequence[str], stress: Attack | Perturbation, level: float, above: Sequence[float]
) -> Sequence[Outcome]:
    """The outcomes at a level. A few images leave room in their batch for the levels above, which are asked for at once; not
    those of an attack, which are dear and mostly not needed."""
    if level and not fits(stress, Attack):
        ahead = above[: max(1, _ROOM // len(ids))]
        engine.prefetch([(image_id, strength) for image_id in ids for strength in ahead], stress)
    return engine.evaluate(ids, stress, level).outcomes


def _asked(engine: Engine, stress: Attack | Perturbation, asks: Sequence[tuple[str, float]]) -> list[Outcome]:
    """The outcome of each image at its own strength; all of them share batches."""
    engine.prefetch(asks, stress)
    recall = engine.recall(stress)
    return [
        (recall([image_id], strength) or engine.evaluate([image_id], stress, strength).outcomes)[0]
        for image_id, strength in asks
    ]


def _refine(engine: Engine, stress: Attack | Perturbation, rungs: Mapping[str, _Rungs], tolerance: float) -> None:
    """Halve what lies between the last two rungs of every image that broke, all images at once."""
    while True:
        asks = []
        for image_id, own in rungs.items():
            if len(own) < 2 or own[-1][1].correct:
                continue
            held, broke = own[-2][0], own[-1][0]
            middle = _tidy((held + broke) / 2)
            # The comparison is of decimals: 0.15 - 0.1 is not more than 0.05.
            if _tidy(broke - held) > tolerance * (1 + 1e-9) and held < middle < broke:
                asks.append((image_id, middle))
        if not asks:
            return
        for (image_id, middle), outcome in zip(asks, _asked(engine, stress, asks), strict=True):
            own = rungs[image_id]
            own[-1:] = [(middle, outcome), own[-1]] if outcome.correct else [(middle, outcome)]


def _above(
    engine: Engine, stress: Attack | Perturbation, rungs: Mapping[str, _Rungs], levels: Sequence[float]
) -> dict[str, _Rungs]:
    """The rungs at the levels above the break of every image that was right when clean and broke."""
    broken = {image_id: own[-1][0] for image_id, own in rungs.items() if len(own) > 1 and not own[-1][1].correct}
    asks = [(image_id, level) for image_id, broke in broken.items() for level in levels if level > broke]
    found: dict[str, _Rungs] = {}
    for (image_id, level), outcome in zip(asks, _asked(engine, stress, asks), strict=True):
        found.setdefault(image_id, []).append((level, outcome))
    return found


def sweep(
    engine: Engine, ids: Sequence[str], stress: Attack | Perturbation, strengths: Sequence[float]
) -> tuple[Evaluation, ...]:
    """One evaluation per strength, in the given order.

    The strengths of a perturbation share batches and one decoding of the images. Under an attack an image that fell
    at a smaller strength keeps that outcome at the larger ones, whose balls contain it: only those that hold are
    attacked again.

    Raises InputError where `strengths` is empty or one is outside the range of the stress.
    """
    if not strengths:
        raise InputError(f"{stress!r}: expected at least one strength, got none")
    cases = [engine.case(stress, strength) for strength in strengths]
    if not isinstance(stress, Attack):
        engine.prefetch([(image_id, strength) for image_id in ids for strength in strengths], stress)
        return tuple(engine.evaluate(ids, stress, strength) for strength in strengths)
    latest: dict[str, Outcome] = {}
    outcomes: dict[float, tuple[Outcome, ...]] = {}
    for strength in sorted(set(strengths)):
        holding = [image_id for image_id in dict.fromkeys(ids) if image_id not in latest or latest[image_id].correct]
        if holding:
            latest.update((outcome.image, outcome) for outcome in engine.evaluate(holding, stress, strength).outcomes)
        outcomes[strength] = tuple(latest[image_id] for image_id in ids)
    return tuple(Evaluation(case, outcomes[strength]) for case, strength in zip(cases, strengths, strict=True))
