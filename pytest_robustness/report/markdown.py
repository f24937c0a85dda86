"""Results for people who read a pull request: a summary in Markdown, and an annotation for each gate that did not pass."""

import itertools
import re
from collections.abc import Iterator

from pytest_robustness.report.releases import numbers, outcome, worst_first
from pytest_robustness.report.summary import Row, headline, rows
from pytest_robustness.results import Results

__all__ = ["SUMMARY_BYTES", "annotations", "summary"]

SUMMARY_BYTES = 1024 * 1024
"""What GitHub takes as the summary of a step: of more it shows nothing at all."""

_NAMED = 5
_DROPS = 10


def summary(results: Results, *, limit: int = SUMMARY_BYTES) -> str:
    """A heading, a table of the gates, what is worse than before, and the reasons of what did not pass; at most `limit` bytes as UTF-8.

    What does not fit is left out at the end, and told. Every string of a user's is escaped.
    """
    table = rows(results)
    lines = [f"## Robustness: {_text(headline(results))}", ""]
    for run in results.runs:
        digest = f" `{run.model_digest[:12]}`" if run.model_digest else ""
        lines.append(
            f"{_text(run.model)}{digest} on {run.amount} of {_text(run.images)}, {_text(run.device)}, seed {run.seed}"
        )
    lines += ["", "| verdict | gate | measured | required | margin |", "|---|---|--:|--:|--:|"]
    for row in table:
        verdict = "xfail" if row.expected else row.status
        shown = f"**{verdict}**" if verdict not in ("pass", "xfail") else verdict
        cells = (shown, _text(row.claim), row.measured, row.required, row.margin)
        lines.append(f"| {' | '.join(cells)} |")
    lines += _worse(results)
    for row in table:
        if row.failures and not row.expected:
            block = ["", f"<details><summary>{_text(row.claim)}</summary>", "", *_fenced(row), "", "</details>"]
            # In one piece: a fence that was left open would swallow what comes behind.
            lines.append("\n".join(block))
    return _cut(lines, limit)


def annotations(results: Results) -> Iterator[str]:
    """A command of GitHub's for each gate that did not pass, and for each drop: it stands beside the change as an error."""
    for row in rows(results):
        if row.failures and not row.expected:
            more = len(row.failures) - 1
            reason = row.failures[0].reason + (f"\n... and {more} more failing items" if more else "")
            yield f"::error title={_property(row.claim)}::{_data(reason)}"
    for change in results.comparison.worse if results.comparison else ():
        before, after, _ = numbers(change)
        reason = f"{before} before, {after} now\nlost: {_some(change.lost)}\n{change.test}"
        yield f"::error title={_property(f'worse than before: {change.case}')}::{_data(reason)}"


def _worse(results: Results) -> list[str]:
    """The largest drops against the release before; nothing where there is none."""
    comparison = results.comparison
    if comparison is None:
        return []
    lines = ["", f"Against {_text(comparison.against)}, {_text(comparison.model)}: {outcome(comparison)}"]
    dropped = [change for change in worst_first(comparison) if change.drop > 0]
    if dropped:
        lines += ["", "| lost under | before | now | allowed | images lost | p |", "|---|--:|--:|--:|---|--:|"]
    for change in dropped[:_DROPS]:
        before, after, allowed = numbers(change)
        shown = f"**{after}**" if change.worse else after
        cells = (_text(change.case), before, shown, allowed, _text(_some(change.lost)), f"{change.p:.2g}")
        lines.append(f"| {' | '.join(cells)} |")
    if len(dropped) > _DROPS:
        lines += ["", f"... and {len(dropped) - _DROPS} more"]
    return lines


def _some(images: tuple[str, ...]) -> str:
    more = f" and {len(images) - _NAMED} more" if len(images) > _NAMED else ""
    return ", ".join(images[:_NAMED]) + more


def _fenced(row: Row) -> list[str]:
    """The reasons as they are, in a fence that none of them can end."""
    reasons = "\n".join(f"{verdict.test}\n{verdict.reason}\n" for verdict in row.failures[:_NAMED])
    more = len(row.failures) - _NAMED
    if more > 0:
        reasons += f"... and {more} more failing items\n"
    longest = max((len(run) for run in re.findall("`+", reasons)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *reasons.rstrip().splitlines(), fence]


def _cut(pieces: list[str], limit: int) -> str:
    """The pieces one below the other; as many as fit, and a note, where they don't."""
    whole = "\n".join(pieces) + "\n"
    if len(whole.encode()) <= limit:
        return whole
    note = "\n\nCut here, as more does not fit into a summary; the report has all of it.\n"
    sizes = itertools.accumulate(len(piece.encode()) + 1 for piece in pieces)
    kept = sum(size <= limit - len(note.encode()) for size in sizes)
    return "\n".join(pieces[:kept]) + note if kept else ""


def _text(text: str) -> str:
    """A text on one line of a table, which Markdown and HTML leave as it is."""
    text = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]|~])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
