"""Results for a terminal of 80 columns."""

import textwrap
from collections.abc import Iterator

from pytest_robustness.report.summary import headline, rows
from pytest_robustness.results import Results

__all__ = ["gate_table"]

_CLAIM = 41
_WIDTH = 80


def gate_table(results: Results) -> Iterator[str]:
    """A line about what was judged, a row per gate, and the outcome."""
    for run in results.runs:
        digest = f" {run.model_digest[:8]}" if run.model_digest else ""
        yield f"{run.model}{digest} on {run.amount} of {run.images}, {run.device}, seed {run.seed}"
    if results.verdicts:
        yield f"{'gate':{_CLAIM}} {'measured':>10} {'required':>8} {'margin':>7}  verdict"
    for row in rows(results):
        first, *more = textwrap.wrap(row.claim, _CLAIM)
        verdict = "xfail" if row.expected else row.status
        yield f"{first:{_CLAIM}} {row.measured:>10} {row.required:>8} {row.margin:>7}  {verdict}"
        yield from (f"  {line}" for line in more)
        for doubt in row.doubts:
            said = (
                f"waived: {doubt.check}: {doubt.waiver}" if doubt.waiver else f"in doubt: {doubt.check}: {doubt.said}"
            )
            yield from textwrap.wrap(said, _WIDTH, initial_indent="  ", subsequent_indent="    ")
    yield headline(results)
