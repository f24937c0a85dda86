"""The page in a browser: it is opened from disk, its controls are used, and 10,000 items don't keep anybody waiting."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_robustness.report.html import render
from pytest_robustness.results import Results
from tests.report_results import everything, one_for_each_image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path")
HOSTILE = "<img src=x onerror=document.title='ran'>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        # Without a sandbox it also starts as root, as in a container.
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Opened:
    """A page that was opened from disk, and what its console said."""

    def __init__(self, browser: Any, results: Results, path: Path, **options: Any) -> None:
        path.write_text(render(results), encoding="utf-8")
        self.context = browser.new_context(**options)
        # A request for anything but the file itself is an error in the console.
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(path.as_uri())

    def column(self, number: int) -> list[str]:
        """What the rows of the gate table that are shown have in a column, from 1."""
        rows = self.page.locator(f"#gate-table tbody tr:visible td:nth-child({number})")
        return [text.split("\n")[0] for text in rows.all_inner_texts()]

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


def test_gates_are_sorted_by_a_click_and_by_a_key(browser: Any, tmp_path: Path) -> None:
    with Opened(browser, everything("plain"), tmp_path / "report.html") as opened:
        page = opened.page
        assert opened.column(1) == ["ERROR", "FAIL", "FAIL", "PASS", "FAIL (EXPECTED)"]
        head = page.locator("th[data-key=margin]")
        assert head.get_attribute("aria-sort") is None
        head.get_by_role("button", name="Margin").click()
        assert head.get_attribute("aria-sort") == "ascending"
        assert opened.column(5) == ["-0.1", "+0.1", "-", "-", "-"]
        head.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") == "descending"
        # What has no margin stays at the end.
        assert opened.column(5) == ["+0.1", "-0.1", "-", "-", "-"]
        page.locator("th[data-key=verdict] button").click()
        assert head.get_attribute("aria-sort") is None
        assert opened.column(1) == ["ERROR", "FAIL", "FAIL", "PASS", "FAIL (EXPECTED)"]
        assert opened.said == []


def test_gates_are_filtered_by_verdict_and_by_text(browser: Any, tmp_path: Path) -> None:
    with Opened(browser, everything("plain"), tmp_path / "report.html") as opened:
        page = opened.page
        fail = page.get_by_role("button", name="fail 2")
        fail.click()
        assert fail.get_attribute("aria-pressed") == "true"
        assert page.get_by_role("button", name="all 5").get_attribute("aria-pressed") == "false"
        assert opened.column(1) == ["FAIL", "FAIL"]
        assert page.get_by_role("status").inner_text() == "2 of 5 gates"
        page.get_by_label("Find").type("TEST_C")
        assert opened.column(1) == ["FAIL"]
        assert page.get_by_role("status").inner_text() == "1 of 5 gates"
        page.get_by_label("Find").fill("")
        page.get_by_role("button", name="all 5").click()
        assert len(opened.column(1)) == 5
        assert page.get_by_role("status").inner_text() == ""
        assert opened.said == []


def test_everything_is_reached_by_the_keyboard(browser: Any, tmp_path: Path) -> None:
    with Opened(browser, everything("plain"), tmp_path / "report.html") as opened:
        page = opened.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        assert page.locator(".skip").bounding_box()["y"] >= 0
        reached = set()
        for _ in range(200):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.outerHTML.slice(0, 80)"))
        wanted = page.evaluate(
            "[...document.querySelectorAll('a:not(.skip), button, input, summary, [tabindex]')]"
            ".filter(own => own.checkVisibility()).map(own => own.outerHTML.slice(0, 80))"
        )
        assert set(wanted) <= reached


def test_a_link_opens_what_it_leads_to(browser: Any, tmp_path: Path) -> None:
    with Opened(browser, everything("plain"), tmp_path / "report.html") as opened:
        assert opened.page.locator("#gate-4").get_attribute("open") is None
        opened.page.get_by_role("link", name="plain too").first.click()
        opened.page.wait_for_function("document.getElementById('gate-4').open")
        assert opened.page.locator("#gate-4 table").first.is_visible()


def test_without_javascript_tables_and_pictures_are_there_and_controls_are_not(browser: Any, tmp_path: Path) -> None:
    with Opened(browser, everything("plain"), tmp_path / "report.html", java_script_enabled=False) as opened:
        page = opened.page
        assert opened.column(1) == ["ERROR", "FAIL", "FAIL", "PASS", "FAIL (EXPECTED)"]
        assert page.locator("button:visible, input:visible").count() == 0
        assert page.locator("svg:visible").count() > 5
        assert page.locator("article img:visible").count() > 5
        page.locator("#gate-4 summary").click()
        assert page.locator("#gate-4 table").first.is_visible()


def test_what_is_hostile_does_not_run(browser: Any, tmp_path: Path) -> None:
    with Opened(browser, everything(HOSTILE), tmp_path / "report.html") as opened:
        assert opened.page.title() == "Robustness: 3 of 5 gates not passed, 1 failed as expected"
        assert opened.said == []
        # Were it not text, the policy would still refuse it.
        opened.page.evaluate("html => document.querySelector('main').insertAdjacentHTML('beforeend', html)", HOSTILE)
        opened.page.wait_for_timeout(100)
        assert opened.page.title().startswith("Robustness")
        assert any("Content Security Policy" in said for said in opened.said)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_scrolling_sideways(browser: Any, tmp_path: Path, scheme: str) -> None:
    options = {"viewport": {"width": 400, "height": 800}, "color_scheme": scheme}
    with Opened(browser, everything("plain" * 12), tmp_path / "report.html", **options) as opened:
        assert opened.page.evaluate("document.documentElement.scrollWidth") == 400
        behind = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert behind == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 22, 28)"}[scheme]


def test_paper_has_what_is_folded_and_no_controls(browser: Any, tmp_path: Path) -> None:
    with Opened(browser, everything("plain"), tmp_path / "report.html") as opened:
        page = opened.page
        page.emulate_media(media="print")
        assert page.locator(".controls:visible, input:visible, nav:visible, .skip:visible").count() == 0
        assert page.evaluate("document.querySelector('#gate-2 table').checkVisibility({contentVisibilityAuto: true})")
        assert page.evaluate("document.querySelector('#gate-2 tbody').getBoundingClientRect().height") > 0
        assert page.pdf().startswith(b"%PDF-")


def test_10_000_items_are_below_15_megabytes_and_can_be_used_within_2_seconds(browser: Any, tmp_path: Path) -> None:
    """No test is timed but this one, by the clock of the page itself and three times: a report that can't be opened is none."""
    best = float("inf")
    for attempt in range(3):
        path = tmp_path / f"{attempt}.html"
        with Opened(browser, one_for_each_image(10_000), path) as opened:
            assert path.stat().st_size < 15_000_000
            ready = opened.page.evaluate("performance.getEntriesByType('navigation')[0].domInteractive")
            used = opened.page.evaluate(
                """() => new Promise(done => {
                    const begun = performance.now();
                    document.querySelector("th[data-key=margin] button").click();
                    document.querySelector(".controls button[data-verdict=fail]").click();
                    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - begun)));
                })"""
            )
            assert opened.column(3) == ["3330 of 10000"]
            assert opened.said == []
        best = min(best, (ready + used) / 1000)
        if best < 2:
            break
    assert best < 2
