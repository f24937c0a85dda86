"""What became of the images from one release to the next, as plain numbers."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Change", "Comparison"]


@dataclass(frozen=True)
class Change:
    """What became of the images of one test under one case from one release to the next.

    Of an accuracy, `before` and `after` are the shares that are right; of a breaking point, the mean strengths until which the
    images hold. `lost` are images that were right and are wrong, or hold less long, `gained` those the other way round, of the
    `n` that both releases were asked about; `p` is the exact McNemar p-value of the two. `allowed` is the drop that is not
    held against the release, None where any is; `worse` that it dropped by more.
    """

    test: str
    kind: Literal["accuracy", "breaking_point"]
    case: str
    unit: str
    before: float
    after: float
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    n: int
    p: float
    allowed: float | None = None
    worse: bool = False

    @property
    def drop(self) -> float:
        """By how much it is worse; below 0 where it is better."""
        return self.before - self.after


@dataclass(frozen=True)
class Comparison:
    """A release beside the one before: what both were asked, and what only one of them was.

    `against` names the other results, and `model` the model and its digest that they are of.
    """

    against: str
    model: str
    changes: tuple[Change, ...]
    only_before: tuple[str, ...] = ()
    only_after: tuple[str, ...] = ()

    @property
    def worse(self) -> tuple[Change, ...]:
        """The changes that are worse than is allowed."""
        return tuple(change for change in self.changes if change.worse)
