"""The comparison with the release before in words: a row per change, those that are worse than is allowed first."""

from dataclasses import dataclass

from pytest_robustness.comparisons import Change, Comparison
from pytest_robustness.records import strength_text
from pytest_robustness.report.labels import NAMED

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
    n, worse = len(comparison.changes), len(comparison.worse)
    if not n:
        return f"Nothing was asked of {comparison.against} and of this release alike."
    return f"{n} {'test' if n == 1 else 'tests'} against {comparison.against}: {worse or 'none'} worse than is allowed."


def shifts(comparison: Comparison) -> tuple[Shift, ...]:
    """All changes: the worse ones first, then those that chance explains least."""
    ordered = sorted(comparison.changes, key=lambda change: (not change.worse, change.p, -change.drop))
    return tuple(_shift(change) for change in ordered)


def _shift(change: Change) -> Shift:
    if change.worse:
        verdict = "worse"
    elif change.drop <= 0:
        verdict = "no worse"
    else:
        verdict = "not judged" if change.allowed is None else "allowed"
    return Shift(
        change=change,
        before=_value(change, change.before),
        after=_value(change, change.after),
        by=f"{-change.drop:+.3f}" if change.drop else "0",
        allowed="any" if change.allowed is None else f"-{change.allowed:g}" if change.allowed else "0",
        verdict=verdict,
    )


def _value(change: Change, value: float) -> str:
    return f"{value:.3f}" if change.kind == "accuracy" else f"{change.unit} {strength_text(change.unit, value)}"
