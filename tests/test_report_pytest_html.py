"""The page of pytest-html: a table of gates, a column of margins, a block per failing item."""

import html
import itertools
import json
import math
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pytest_robustness.records import Picture, Verdict
from pytest_robustness.report.pytest_html import HtmlReport
from pytest_robustness.results import Results
from tests.conftest import run_on
from tests.format_results import HOSTILE, RESULTS, accuracy

TESTS = """
import pytest
from pytest_robustness import Blend

def test_holds(robustness, robustness_image):
    robustness.assert_holds_until(robustness_image, Blend("white.png"), 0.4, levels=4)

def test_two(robustness):
    robustness.assert_accuracy(at_least=0.5)
    robustness.assert_accuracy(Blend("white.png"), 0.9, at_least=0.9)

@pytest.mark.xfail
def test_known(robustness):
    robustness.assert_accuracy(Blend("white.png"), 0.9, at_least=1)

def test_error(robustness):
    robustness.accuracy(images="nothing.png")

@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>"])
def test_plain(name):
    pass
"""


class Page(HTMLParser):
    """The data that the page's script draws its table from, and the gates above it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.rows: list[list[str]] = []
        self._inside = ""
        self.feed(self.text)
        (blob,) = re.findall(r'data-jsonblob="([^"]*)"', self.text)
        found: dict[str, Any] = json.loads(html.unescape(blob))
        self.tests = {name.rpartition("::")[2]: own for name, (own,) in found["tests"].items()}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._inside = str(dict(attrs).get("class"))
        if self._inside == "robustness" and tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == "table" else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside == "robustness" and data.strip():
            self.rows[-1].append(data)

    def margin(self, test: str) -> str:
        """What is shown in the column, as numbers are the third."""
        return re.sub("<.*?>", "", self.tests[test]["resultsTableRow"][2])

    def block(self, test: str) -> str:
        """Ours of the extras, which are empty where the item did not fail."""
        return "".join(extra["content"] for extra in self.tests[test]["extras"])


def run(project: pytest.Pytester, *arguments: str, workers: int = 0) -> pytest.RunResult:
    return run_on(project, workers, *arguments)


@pytest.mark.parametrize(("contained", "workers"), [((), 0), (("--self-contained-html",), 2)])
def test_the_page_has_the_gates_their_margins_and_what_failed(
    project: pytest.Pytester, contained: tuple[str, ...], workers: int
) -> None:
    project.makepyfile(TESTS)
    result = run(project, "--html=page.html", *contained, workers=workers)
    result.assert_outcomes(passed=5, failed=4, xfailed=1)
    page = Page(project.path / "page.html")
    assert "<h2>Robustness</h2><p>3 of 5 gates not passed, 1 failed as expected</p>" in page.text
    assert page.rows == [
        ["verdict", "gate", "measured", "required", "margin", "n"],
        ["error", "error in test_error", "-", "-", "-", "-"],
        ["fail", "top-1 holds until alpha 0.4 under Blend('white.png')", "4 of 6", "all", "-0.3", "6"],
        ["fail", "accuracy under Blend('white.png') at alpha 0.9 >= 0.9", "0.5", "0.9", "-0.4", "6"],
        ["pass", "accuracy under clean images >= 0.5", "1", "0.5", "+0.5", "6"],
        ["xfail", "accuracy under Blend('white.png') at alpha 0.9 >= 1", "0.5", "1", "-0.5", "6"],
    ]
    # Of an item with several gates, the worst.
    shown = {name: page.margin(name) for name in page.tests if not name.startswith("test_plain")}
    assert shown == {
        "test_holds[bright_0]": "+0",
        "test_holds[bright_1]": "+0",
        "test_holds[bright_2]": "+0",
        "test_holds[dark_0]": "+0",
        "test_holds[dark_1]": "-0.1",
        "test_holds[dark_2]": "-0.3",
        "test_two": "-0.4",
        "test_known": "-0.5",
        "test_error": "",
    }
    assert {name for name in page.tests if page.block(name)} == {
        "test_holds[dark_1]",
        "test_holds[dark_2]",
        "test_two",
        "test_error",
    }
    block, images = re.subn(r' src="data:image/png;base64,[^"]*"', "", page.block("test_holds[dark_2]"))
    assert images == 2
    module = Path(next(project.path.glob("test_*.py"))).name
    assert block == (
        '<div class="robustness-block"><span class="robustness-red">fail</span> top-1 holds until alpha 0.4 under '
        "Blend(&#x27;white.png&#x27;)<pre>dark/dark_2.png holds until alpha 0.1 and breaks at 0.2: bright 0.54, dark 0.46\n"
        "required: alpha 0.4, short by 0.3\n"
        "to do: train with such images, put a defense in front, by robustness.behind(...), or ask for less</pre>"
        f"<div>reproduce: <code>pytest &#x27;{module}::test_holds[dark_2]&#x27; --robustness-seed=0</code></div>"
        '<figure><img alt=""><figcaption>dark/dark_2.png, clean</figcaption></figure>'
        '<figure><img alt=""><figcaption>dark/dark_2.png, alpha 0.2</figcaption></figure></div>'
    )
    # A parameter is no tag of the page.
    (plain,) = (own for name, own in page.tests.items() if name.startswith("test_plain"))
    assert "<img" not in "".join(plain["resultsTableRow"])


def dom(page: Path, query: str = "") -> str:
    """The page as a browser has it after its script has run."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("needs a chromium")
    options = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={page.parent / 'browser'}",
        "--dump-dom",
    )
    done = subprocess.run(
        [browser, *options, page.as_uri() + query], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


def test_in_a_browser_margins_sort_as_numbers_and_names_run_nothing(project: pytest.Pytester) -> None:
    project.makepyfile(TESTS)
    run(project, "--html=page.html", "--self-contained-html")
    text = dom(project.path / "page.html", "?sort=margin")
    margins = re.findall(r'<td class="col-margin">(?:<!--[0-9a-fz]*-->)?([^<]*)</td>', text)
    assert margins == ["-0.5", "-0.4", "-0.3", "-0.1", "+0", "+0", "+0", "+0", "", ""]
    assert "test_plain[&lt;img src=x onerror=alert(1)&gt;]</td>" in text
    assert not re.search(r"<img[^>]*onerror", text)
    assert text.count('<div class="robustness-block">') == 4


def test_without_a_gate_there_is_neither_a_table_nor_a_column(project: pytest.Pytester) -> None:
    project.makepyfile("def test_plain(): pass")
    run(project, "--html=page.html", "--self-contained-html").assert_outcomes(passed=1)
    page = Page(project.path / "page.html")
    assert page.rows == []
    assert "<style>.col-margin { display: none; }</style>" in page.text
    assert "Robustness</h2>" not in page.text


def test_without_its_page_nothing_of_pytest_html_is_imported(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(TESTS)
    with (project.path / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write(
            "\nimport sys\n"
            "def pytest_unconfigure(config):\n"
            "    ours = 'pytest_robustness.report.pytest_html' in sys.modules\n"
            "    print('ours:', ours, 'theirs:', 'pytest_html' in sys.modules)\n"
        )
    quiet = ("-p", "no:randomly", "-p", "no:cacheprovider", "-k", "bright_0")
    result = project.runpytest_subprocess(*quiet)
    result.assert_outcomes(passed=1, deselected=9)
    # pytest loads it as a plugin, whoever else is there.
    assert "ours: False theirs: True" in result.outlines
    without = project.runpytest_subprocess(*quiet, "-p", "no:html")
    without.assert_outcomes(passed=1, deselected=9)
    assert any(line.startswith("ours: False") for line in without.outlines)
    # As where it is not installed.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    alone = project.runpytest_subprocess("-p", "pytest_robustness.plugin", "-k", "bright_0")
    alone.assert_outcomes(passed=1, deselected=9)
    assert "ours: False theirs: False" in alone.outlines


def test_an_item_that_is_run_again_has_the_margin_of_each_time(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from pytest_robustness import Blend

        times = []

        def test_it(robustness):
            times.append(1)
            robustness.assert_accuracy(Blend("white.png"), 0.9 / len(times), at_least=0.55)
        """
    )
    run(project, "--html=page.html", "--reruns=2").stdout.fnmatch_lines(["*1 passed, 1 rerun in*"])
    text = html.unescape((project.path / "page.html").read_text(encoding="utf-8"))
    (blob,) = re.findall(r"data-jsonblob=\"(\{.*\})\"", text)
    (rows,) = json.loads(blob)["tests"].values()
    # pytest-html has a row for the first time at the end of it, and in newer versions once more at the end of all.
    shown = [re.sub("<.*?>", "", row["resultsTableRow"][2]) for row in rows]
    assert shown in (["-0.05", "-0.05", "+0.1167"], ["-0.05", "+0.1167"])


def keys(margins: list[float | None]) -> list[str]:
    """What pytest-html compares of these margins: the text between the tags of a cell."""
    cells: list[str] = []
    for margin in margins:
        report = pytest.TestReport("a", ("a", 0, "a"), {}, "passed", None, "call")
        report.robustness_margin = margin  # type: ignore[attr-defined]
        own = ["<td>result</td>", "<td>test</td>"]
        HtmlReport(verdicts=lambda nodeid: (), results=lambda: None).pytest_html_results_table_row(report, own)
        cells.append(own[2])
    return [re.search(r"<td.*?>(.*?)</td>", cell).group(1) for cell in cells]  # type: ignore[union-attr]


def test_cells_are_in_the_order_of_their_numbers_and_empty_ones_last() -> None:
    numbers = [-math.inf, -1e300, -10.0, -9.5, -0.1, -1e-300, 0.0, 1e-300, 0.09, 0.1, 2.0, 10.0, 1e300, math.inf]
    texts = keys([*numbers, None])
    assert all(one < other for one, other in itertools.pairwise(texts))
    assert keys([-0.0]) == keys([0.0]) == ["<!--8000000000000000-->+0"]


def test_everything_from_outside_is_escaped() -> None:
    picture = Picture(HOSTILE, HOSTILE, '"><script>', ())
    verdict = Verdict("accuracy", HOSTILE, "fail", HOSTILE, pictures=(picture,), test=HOSTILE, reproduce=HOSTILE)
    plugin = HtmlReport(verdicts=lambda nodeid: [verdict], results=lambda: Results((verdict,)))
    report = pytest.TestReport(HOSTILE, ("a", 0, "a"), {}, "failed", None, "call")
    report.robustness = ""  # type: ignore[attr-defined]
    plugin.pytest_runtest_logreport(report)
    prefix: list[str] = []
    plugin.pytest_html_results_summary(prefix)
    for text in (report.extras[0]["content"], "".join(prefix[1:])):  # type: ignore[attr-defined]
        assert "<img src=x" not in text
        assert "<script" not in text
        assert html.escape(HOSTILE) in text


def test_a_row_that_another_plugin_left_out_stays_out() -> None:
    cells: list[str] = []
    report = pytest.TestReport("a", ("a", 0, "a"), {}, "passed", None, "call")
    HtmlReport(verdicts=lambda nodeid: (), results=lambda: None).pytest_html_results_table_row(report, cells)
    assert cells == []


def test_the_module_is_the_only_door_to_pytest_html() -> None:
    code = "import sys, pytest_robustness.plugin, pytest_robustness.report.files; print('pytest_html' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_table_of_gates_is_told_in_the_order_of_the_report() -> None:
    prefix: list[str] = []
    HtmlReport(verdicts=lambda nodeid: (), results=lambda: RESULTS).pytest_html_results_summary(prefix)
    assert re.findall(r'<td class="robustness-(\w+)">(\w+)</td>', "".join(prefix)) == [
        ("red", "error"),
        ("red", "fail"),
        ("pass", "pass"),
        ("pass", "xfail"),
    ]
    assert accuracy("test_fgsm").test in "".join(prefix)
