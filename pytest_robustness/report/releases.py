"""Two releases beside each other, for a terminal of 80 columns."""

import textwrap
from collections.abc import Iterator, Sequence

from pytest_robustness.comparisons import Change, Comparison
from pytest_robustness.records import strength_text

__all__ = ["comparison_lines", "numbers", "outcome", "worst_first", "wrapped"]

_WIDTH = 80
_CASE = 41
_ROWS = 10
_NAMED = 5


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """A row for each change by which images were lost, the worst first, with the images; what else is told; and the outcome."""
    yield from wrapped(f"against {comparison.against}" + (f", {comparison.model}" if comparison.model else ""))
    shown = [change for change in worst_first(comparison) if change.lost or change.worse]
    if shown:
        yield f"{'images lost under':{_CASE}} {'before':>8} {'now':>8} {'allowed':>8}"
    for change in shown[:_ROWS]:
        yield from _row(change)
    if len(shown) > _ROWS:
        yield f"... and {len(shown) - _ROWS} more"
    for what, titles in (("not in this run", comparison.only_before), ("not in the baseline", comparison.only_after)):
        if titles:
            more = f" and {len(titles) - 1} more" if len(titles) > 1 else ""
            yield from wrapped(f"{what}: {titles[0]}{more}")
    for note in comparison.notes:
        yield from wrapped(note)
    yield outcome(comparison)


def worst_first(comparison: Comparison) -> Sequence[Change]:
    """The changes, those that are worse than is allowed first, and of them the largest drop."""
    return sorted(comparison.changes, key=lambda own: (not own.worse, -own.drop, own.test, own.case))


def outcome(comparison: Comparison) -> str:
    """The outcome in one line: `1 of 3 comparisons worse than allowed`."""
    n, worse = len(comparison.changes), len(comparison.worse)
    if not n:
        return "nothing to compare"
    lost = [change for change in comparison.changes if change.lost]
    made = "1 comparison" if n == 1 else f"{n} comparisons"
    if worse:
        return f"{worse} of {made} worse than allowed"
    if not lost:
        return f"no image lost in {made}"
    judged = ", none of them more than allowed" if all(change.allowed is not None for change in lost) else ""
    return f"images lost in {len(lost)} of {made}{judged}"


def numbers(change: Change) -> tuple[str, str, str]:
    """What it was before, what it is now, and the drop that is allowed: shares, or strengths as people write them."""
    if change.kind == "accuracy":
        before, after = f"{change.before:.4g}", f"{change.after:.4g}"
    else:
        before, after = (strength_text(change.unit, value) for value in (change.before, change.after))
    return before, after, "any" if change.allowed is None else f"-{change.allowed:.4g}"


def wrapped(text: str) -> list[str]:
    """The text on lines of 80 columns, those behind the first set in."""
    return [
        line
        for own in text.splitlines()
        for line in textwrap.wrap(own, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    ]


def _row(change: Change) -> Iterator[str]:
    first, *more = textwrap.wrap(change.case, _CASE)
    before, after, allowed = numbers(change)
    yield f"{first:{_CASE}} {before:>8} {after:>8} {allowed:>8}  {'worse' if change.worse else ''}".rstrip()
    yield from (f"  {line}" for line in more)
    kind = "breaking points of " if change.kind == "breaking_point" else ""
    yield from _indented(f"{kind}{change.test}")
    counts = f"{len(change.lost)} lost, {len(change.gained)} gained of {change.n}, p = {change.p:.2g} (exact McNemar)"
    left = f" and {len(change.lost) - _NAMED} more" if len(change.lost) > _NAMED else ""
    yield from _indented(f"{counts}: {', '.join(change.lost[:_NAMED])}{left}" if change.lost else counts)


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
