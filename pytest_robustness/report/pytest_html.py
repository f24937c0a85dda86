"""Verdicts in the page of pytest-html: a table of the gates, a column of margins, and a block for each item that failed.

Registered as a plugin where that page is written, and imported nowhere else. What pytest-html is given it takes as HTML,
so all that comes from outside is escaped here.
"""

import html
import struct
from collections.abc import Callable, Iterator, Sequence

import pytest
from pytest_html import extras

from pytest_robustness.records import Verdict
from pytest_robustness.report.summary import headline, rows
from pytest_robustness.results import Results

__all__ = ["HtmlReport"]

_HEAD = '<th class="sortable col-margin" data-column-type="margin">Margin</th>'
# Behind all margins, whichever they are: hexadecimal digits come before it.
_NONE = "z"
_PLACE = 2
# Without a gate there is nothing to sort by: the column goes.
_HIDDEN = "<style>.col-margin { display: none; }</style>"
_STYLE = """<style>
.robustness { border-collapse: collapse; margin: 0.5em 0; }
.robustness th, .robustness td { border: 1px solid #e6e6e6; color: #333; padding: 3px 8px; text-align: left; }
.robustness .number { text-align: right; font-variant-numeric: tabular-nums; }
.robustness .robustness-pass { color: #2b7a2b; }
.robustness .robustness-red, .robustness-block .robustness-red { color: #c0322b; font-weight: bold; }
.robustness-block { color: #333; margin: 0.5em 0; }
.robustness-block pre { white-space: pre-wrap; margin: 0.3em 0; }
.robustness-block figure { display: inline-block; margin: 0.3em 0.6em 0 0; vertical-align: top; }
.robustness-block figure img { display: block; width: 112px; height: 112px; object-fit: contain; }
.robustness-block figcaption { font-size: 11px; max-width: 112px; overflow-wrap: anywhere; }
</style>"""


class HtmlReport:
    """A plugin of pytest and pytest-html.

    `verdicts` are those of an item so far, with the pictures that stay; `results` those of the whole session at its end, None
    where no gate was judged.
    """

    def __init__(self, *, verdicts: Callable[[str], Sequence[Verdict]], results: Callable[[], Results | None]) -> None:
        self._verdicts = verdicts
        self._results = results

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Now, as a rerun brings other verdicts under the same id; pytest-html itself comes last.
        if not hasattr(report, "robustness") or not (report.when == "call" or report.failed):
            return
        found = self._verdicts(report.nodeid)
        report.robustness_margin = _worst(found)  # type: ignore[attr-defined]
        red = [verdict for verdict in found if verdict.status != "pass" and not verdict.expected]
        if report.failed and red:
            block = extras.html("".join(_block(verdict) for verdict in red))
            report.extras = [*getattr(report, "extras", []), block]  # type: ignore[attr-defined]

    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        cells.insert(_PLACE, _HEAD)

    def pytest_html_results_table_row(self, report: pytest.TestReport, cells: list[str]) -> None:
        if not cells:
            # Another plugin leaves this row out.
            return
        own = report.nodeid if report.when == "call" else f"{report.nodeid}::{report.when}"
        # As pytest-html writes it, which would run a script in a parameter's name.
        named, safe = (f'<td class="col-testId">{text}</td>' for text in (own, html.escape(own)))
        cells[:] = [safe if cell == named else cell for cell in cells]
        cells.insert(_PLACE, _cell(getattr(report, "robustness_margin", None)))

    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        results = self._results()
        prefix.extend([_STYLE, *_table(results)] if results is not None and results.verdicts else [_HIDDEN])


def _worst(verdicts: Sequence[Verdict]) -> float | None:
    return min((verdict.margin for verdict in verdicts if verdict.margin is not None), default=None)


def _cell(margin: float | None) -> str:
    """A cell that sorts as its number does: pytest-html compares what is between the tags as text, and browsers don't show a comment."""
    shown = "" if margin is None else f"{margin + 0.0:+.4g}"
    return f'<td class="col-margin"><!--{_key(margin)}-->{shown}</td>'


def _key(margin: float | None) -> str:
    """A text that comes before another where the number does; behind all numbers where there is none.

    The bits of a double are in the order of their numbers once the sign is turned over, and below 0 all of them.
    """
    if margin is None:
        return _NONE
    (bits,) = struct.unpack(">Q", struct.pack(">d", margin + 0.0))
    return f"{bits ^ (0xFFFFFFFFFFFFFFFF if bits >> 63 else 1 << 63):016x}"


def _table(results: Results) -> Iterator[str]:
    yield f"<h2>Robustness</h2><p>{html.escape(headline(results))}</p>"
    yield '<table class="robustness"><thead><tr><th>verdict</th><th>gate</th>'
    yield "".join(f'<th class="number">{name}</th>' for name in ("measured", "required", "margin", "n"))
    yield "</tr></thead><tbody>"
    for row in rows(results):
        said = "xfail" if row.expected else row.status
        colour = "pass" if said in ("pass", "xfail") else "red"
        numbers = (row.measured, row.required, row.margin, str(row.n or "-"))
        yield f'<tr><td class="robustness-{colour}">{said}</td><td title="{html.escape(row.test)}">{html.escape(row.claim)}</td>'
        yield "".join(f'<td class="number">{html.escape(number)}</td>' for number in numbers) + "</tr>"
    yield "</tbody></table>"


def _block(verdict: Verdict) -> str:
    """What became of a gate, and how to judge it again, with small pictures where there are some."""
    pictures = "".join(
        f'<figure><img src="{html.escape(view.png)}" alt=""><figcaption>{html.escape(f"{view.image}, {view.caption}")}</figcaption></figure>'
        for view in verdict.pictures
    )
    again = f"<div>reproduce: <code>{html.escape(verdict.reproduce)}</code></div>" if verdict.reproduce else ""
    return (
        f'<div class="robustness-block"><span class="robustness-red">{verdict.status}</span> {html.escape(verdict.claim)}'
        f"<pre>{html.escape(verdict.reason)}</pre>{again}{pictures}</div>"
    )
