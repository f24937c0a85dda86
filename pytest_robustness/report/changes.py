"""The comparison with the release before in words: a row per change, those that are worse than is allowed first."""

from dataclasses import dataclass

from pytest_robustness.comparisons import Change, Comparison
from pytest_robustness.report.labels import NAMED
from pytest_robustness.report.releases import numbers, outcome, worst_first

__all__ = ["Names", "Shift", "compared", "shifts"]

_LISTED = 200


@dataclass(frozen=True)
class Names:
    """Images that were `lost` or `gained`, `n` in all; `folded` where they are too many to be read in passing, `left` more than are named."""

    what: str
    n: int
    images: tuple[str, ...]
    folded: bool
    left: int


@dataclass(frozen=True)
class Shift:
    """A change as a table has it: its numbers as texts, and what is made of it."""

    change: Change
    before: str
    after: str
    by: str
    allowed: str
    verdict: str

    @property
    def names(self) -> tuple[Names, ...]:
        """The images that were lost, and those that were gained, where there are any."""
        found = (("lost", self.change.lost), ("gained", self.change.gained))
        return tuple(
            Names(what, len(images), images[:_LISTED], len(images) > NAMED, max(0, len(images) - _LISTED))
            for what, images in found
            if images
        )


def compared(comparison: Comparison) -> str:
    """What came of the comparison, in a sentence."""
    return f"Against {comparison.against}: {outcome(comparison)}."


def shifts(comparison: Comparison) -> tuple[Shift, ...]:
    """All changes: the worse ones first, then the largest drops."""
    return tuple(_shift(change) for change in worst_first(comparison))


def _shift(change: Change) -> Shift:
    if change.worse:
        verdict = "worse"
    elif change.drop <= 0:
        verdict = "no worse"
    else:
        verdict = "not judged" if change.allowed is None else "allowed"
    before, after, allowed = numbers(change)
    unit = f"{change.unit} " if change.kind == "breaking_point" else ""
    by = f"{-change.drop:+.4g}" if change.drop else "0"
    return Shift(change, f"{unit}{before}", f"{unit}{after}", by, allowed, verdict)
