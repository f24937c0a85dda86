"""Several strengths: climbed one by one to where images break, or swept for a curve."""

import functools
import math
from collections.abc import Sequence

from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.records import Evaluation, Ladder, Outcome
from pytest_robustness.types import Attack, Perturbation, fits

__all__ = ["climb", "evenly", "sweep"]

# So many images cost little more than one, also on a CPU.
_ROOM = 8


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
    engine: Engine, ids: Sequence[str], stress: Attack | Perturbation, levels: Sequence[float]
) -> tuple[Ladder, ...]:
    """One ladder per image: strength 0, then the levels in ascending order until top-1 is not accepted.

    Exact at the levels it visits, unlike bisection: a stronger stress is not always the worse one, and an
    image that breaks at one level is not asked about a higher one. Images that hold share batches.

    Raises InputError where `levels` is empty, not ascending or outside the range of the stress.
    """
    if not levels or any(low >= high for low, high in zip((0.0, *levels), levels, strict=False)):
        raise InputError(f"{stress!r}: expected ascending levels > 0, got {tuple(levels)}")
    case = engine.case(stress, levels[-1])
    rungs: dict[str, list[tuple[float, Outcome]]] = {image_id: [] for image_id in ids}
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
    return tuple(Ladder(image_id, case.stress, case.unit, tuple(levels), tuple(rungs[image_id])) for image_id in rungs)


def _evaluated(
    engine: Engine, ids: Sequence[str], stress: Attack | Perturbation, level: float, above: Sequence[float]
) -> Sequence[Outcome]:
    """The outcomes at a level. A few images leave room in their batch for the levels above, which are asked for at once; not
    those of an attack, which are dear and mostly not needed."""
    if level and not fits(stress, Attack):
        engine.prefetch(ids, stress, above[: max(1, _ROOM // len(ids))])
    return engine.evaluate(ids, stress, level).outcomes


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
        engine.prefetch(ids, stress, strengths)
        return tuple(engine.evaluate(ids, stress, strength) for strength in strengths)
    latest: dict[str, Outcome] = {}
    outcomes: dict[float, tuple[Outcome, ...]] = {}
    for strength in sorted(set(strengths)):
        holding = [image_id for image_id in dict.fromkeys(ids) if image_id not in latest or latest[image_id].correct]
        if holding:
            latest.update((outcome.image, outcome) for outcome in engine.evaluate(holding, stress, strength).outcomes)
        outcomes[strength] = tuple(latest[image_id] for image_id in ids)
    return tuple(Evaluation(case, outcomes[strength]) for case, strength in zip(cases, strengths, strict=True))
