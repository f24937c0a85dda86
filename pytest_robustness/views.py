"""What is made of images for people to look at: pictures, and curves."""

import collections
import itertools
from collections.abc import Collection, Mapping, Sequence

from pytest_robustness.curves import Curve, Point, intruding
from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.explained import Panel, Picture
from pytest_robustness.explainers import Explainers
from pytest_robustness.images import data_uri
from pytest_robustness.memory import Ask
from pytest_robustness.records import Pair
from pytest_robustness.search import sweep
from pytest_robustness.types import Attack, Batch, Perturbation

__all__ = ["Album", "curves", "pictures", "pictures_towards"]


class Album:
    """How many failing images may still be pictured, in all and of one claim: a big failure must stay readable."""

    def __init__(self, *, limit: int = 20, per_claim: int = 5) -> None:
        self._left = limit
        self._per_claim = per_claim
        self._taken: collections.Counter[str] = collections.Counter()

    def take(self, claim: str, wanted: int) -> int:
        """As many as are wanted and left."""
        taken = min(wanted, self._left, self._per_claim - self._taken[claim])
        self._left -= taken
        self._taken[claim] += taken
        return taken


def pictures(
    engine: Engine,
    image_id: str,
    stress: Attack | Perturbation,
    strength: float,
    explainers: Explainers | None = None,
) -> tuple[Picture, Picture]:
    """The clean and the stressed image as the model sees them, with its top-5 of each; with `explainers`, why it says so."""
    clean, after = (engine.evaluate([image_id], stress, at).outcomes[0].top for at in (0.0, strength))
    ((batch, stressed),) = engine.shown([(image_id, strength)], stress)
    return (
        Picture(image_id, "clean", data_uri(batch.images[0]), clean),
        Picture(
            image_id,
            engine.case(stress, strength).at,
            data_uri(stressed.images[0]),
            after,
            () if explainers is None else _panels(explainers, batch, stressed),
        ),
    )


def _panels(explainers: Explainers, clean: Batch, stressed: Batch) -> tuple[Panel, ...]:
    try:
        return explainers.panels(clean, stressed.images)
    except Exception as error:  # whatever an explainer runs into: a picture is not worth the loss of the verdict
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        return (Panel("not explained", note=f"{kind}{error}".partition("\n")[0]),)


def pictures_towards(engine: Engine, pair: Pair, attack: Attack, epsilon: float) -> tuple[Picture, Picture]:
    """The image of a pair, clean and attacked towards its target, with the model's top-5 of each."""
    target = engine.images.classes.index(pair.target)
    (clean,) = engine.evaluate([pair.image]).outcomes
    ((batch, attacked),) = engine.shown([(pair.image, epsilon, target)], attack)
    return (
        Picture(pair.image, "clean", data_uri(batch.images[0]), clean.top),
        Picture(pair.image, pair.caption, data_uri(attacked.images[0]), pair.outcome.top),
    )


def curves(
    engine: Engine,
    ids: Sequence[str],
    stress: Attack | Perturbation,
    strengths: Sequence[float],
    intruder: str | Collection[str] | None = None,
) -> tuple[Curve, ...]:
    """The curve of each image at these strengths, ascending; all images and strengths share batches.

    `intruder` names classes or groups of classes; without it, it is found for each image: the top-1 at the largest
    strength where that is not accepted. Raises InputError for strengths that don't ascend and an unknown intruder.
    """
    if not strengths or any(low >= high for low, high in itertools.pairwise(strengths)):
        raise InputError(f"{stress!r}: expected ascending strengths, got {tuple(strengths)}")
    named = () if intruder is None else (intruder,) if isinstance(intruder, str) else tuple(intruder)
    known = [index for name in named for index in engine.images.indices(name)]
    with engine.steady():
        levels = [evaluation.outcomes for evaluation in sweep(engine, ids, stress, strengths)]
        by_image = dict(zip(ids, zip(*levels, strict=True), strict=True))
        found = {}
        for image_id, outcomes in by_image.items():
            taken = None if named else intruding(outcomes)
            found[image_id] = known if taken is None else list(engine.images.indices(taken))
        shares = _shares(engine, stress, {(i, s): found[i] for i in ids for s in strengths if found[i]})
    return tuple(
        Curve(
            image=image_id,
            stress=engine.case(stress).under,
            unit=stress.unit,
            accepted=engine.images.accepted(engine.images[image_id]),
            intruder=tuple(engine.images.classes[index] for index in found[image_id]),
            points=tuple(
                Point(strength, outcome, shares.get((image_id, strength), 0.0))
                for strength, outcome in zip(strengths, outcomes, strict=True)
            ),
        )
        for image_id, outcomes in by_image.items()
    )


def _shares(engine: Engine, stress: Attack | Perturbation, wanted: Mapping[Ask, Collection[int]]) -> dict[Ask, float]:
    """The probability of the wanted classes together, for each image at its strength: they need not be in its top-5."""
    shares: dict[Ask, float] = {}
    asks = list(wanted)
    for batch, stressed in engine.shown(asks, stress):
        part = asks[len(shares) : len(shares) + len(batch.ids)]
        for ask, row in zip(part, engine.probabilities(stressed), strict=True):
            shares[ask] = round(row[sorted(wanted[ask])].sum().item(), 6)
    return shares
