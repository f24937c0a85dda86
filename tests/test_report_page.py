"""What holds for the whole page: nothing of a user's is markup, and everybody can read it."""

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser

import pytest

from pytest_robustness.records import Verdict
from pytest_robustness.report.html import render
from pytest_robustness.results import Results
from tests.report_results import PNG, everything

HOSTILE = "</script><img src=x onerror=alert(1)>\"'><script>alert(2)</script>{{ 7 * 7 }}"
VOID = {"meta", "img", "br", "input", "link", "hr", "path", "line", "circle", "rect"}
LEFT_OPEN = {"td", "th", "tr", "li", "p"}


class Page(HTMLParser):
    """Tags with their attributes in order, and the text of each tag by name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def named(self, *tags: str) -> list[tuple[str, dict[str, str | None]]]:
        return [found for found in self.tags if found[0] in tags]

    def text_of(self, *tags: str) -> list[str]:
        return [text for tag, text in self.texts if tag in tags]


@pytest.fixture(scope="module")
def text() -> str:
    return render(everything("plain"))


def test_the_results_have_every_section(text: str) -> None:
    page = Page(text)
    headings = [attributes["id"] for _, attributes in page.named("h2")]
    assert headings == [
        "gates",
        "comparison",
        "doubts",
        "failures",
        "held",
        "curves",
        "matrices",
        "traces",
        "explained",
        "numbers",
        "environment",
    ]
    contents = re.findall(r'<li><a href="#(\w+)">([^<]+)</a></li>', text[text.index("<nav") : text.index("</nav>")])
    assert contents == re.findall(r'<h2 id="(\w+)">([^<]+)</h2>', text)


def test_every_text_of_a_users_stays_text(text: str) -> None:
    hostile, plain = Page(render(everything(HOSTILE))), Page(text)
    # Nothing but words differs: not one tag, no attribute, and what is in them is read, not obeyed.
    assert [(tag, list(own)) for tag, own in hostile.tags] == [(tag, list(own)) for tag, own in plain.tags]
    held = {name for _, own in hostile.tags for name, value in own.items() if "onerror" in (value or "")}
    assert held == {"alt", "aria-label"}
    assert hostile.text_of("code") == [HOSTILE] * 4
    # Where a name is all there is, it is there in full.
    for tag in ("a", "h3", "summary", "caption", "figcaption", "th", "td", "dd", "title", "desc", "p", "span", "text"):
        assert any("{{ 7 * 7 }}" in words for words in hostile.text_of(tag)), tag


def test_nothing_but_our_own_script_may_run_and_nothing_is_fetched(text: str) -> None:
    page = Page(text)
    (script,) = page.text_of("script")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (own["content"] for _, own in page.named("meta") if own.get("http-equiv") == "Content-Security-Policy")
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert not [own for _, own in page.tags if any(name.startswith("on") for name in own)]
    assert not page.named("link", "iframe", "object", "embed", "base", "form")
    assert {own["src"] for _, own in page.named("img")} == {PNG}
    assert not re.search(r"url\(|@import|https?:", text)


def test_links_lead_somewhere_and_ids_are_unique(text: str) -> None:
    page = Page(text)
    ids = [own["id"] for _, own in page.tags if "id" in own]
    assert len(ids) == len(set(ids))
    links = {own["href"] for _, own in page.named("a")}
    assert links <= {f"#{name}" for name in ids}
    assert {"#failed-1", "#gate-1", "#doubts-2", "#comparison"} <= links


def test_headings_go_down_one_by_one(text: str) -> None:
    levels = [int(tag[1]) for tag, _ in Page(text).named("h1", "h2", "h3", "h4", "h5")]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip([0, *levels], levels, strict=False))


def test_what_readers_of_screens_need_is_there(text: str) -> None:
    page = Page(text)
    assert page.named("html") == [("html", {"lang": "en"})]
    assert [len(page.named(tag)) for tag in ("main", "nav", "header")] == [1, 1, 1]
    assert page.tags[[tag for tag, _ in page.tags].index("body") + 1] == ("a", {"class": "skip", "href": "#gates"})
    assert len(page.named("caption")) == len(page.named("table"))
    assert all(own.get("scope") in ("col", "row") for _, own in page.named("th"))
    assert all("alt" in own for _, own in page.named("img"))
    pictures = [own for tag, own in page.named("svg") if own.get("aria-hidden") != "true"]
    assert pictures
    assert all(own.get("role") == "img" and own.get("aria-label") for own in pictures)
    # What scrolls can be reached by keys, and says what it is.
    scrolling = [own for _, own in page.named("div") if (own.get("class") or "") in ("scroll", "part")]
    assert all(own.get("tabindex") == "0" and own.get("aria-label") for own in scrolling)


def test_the_gates_can_be_sorted_and_filtered_by_what_they_carry(text: str) -> None:
    page = Page(text)
    keys = [own["data-key"] for _, own in page.named("th") if "data-key" in own]
    assert keys == ["verdict", "gate", "measured", "required", "margin", "n"]
    chosen = [(own["data-verdict"], own["aria-pressed"]) for _, own in page.named("button")]
    assert chosen == [("", "true"), ("error", "false"), ("fail", "false"), ("pass", "false"), ("expected", "false")]
    assert [own["data-verdict"] for _, own in page.named("tr") if "data-verdict" in own] == [
        "error",
        "fail",
        "fail",
        "pass",
        "expected",
    ]
    row = text[text.index('<tr data-verdict="pass"') :]
    assert re.findall(r'data-value="([^"]*)"', row[: row.index("</tr>")]) == ["4", "0.5", "0.4", "0.1", "4"]
    # Without JavaScript what needs it is not there.
    assert '<div class="controls" hidden>' in text


def test_a_failure_says_how_to_judge_it_again(text: str) -> None:
    assert text.count('<p class="again">Judge it again: <code>plain</code></p>') == 4


def test_the_header_has_profile_and_comparison(text: str) -> None:
    head = text[text.index("<header") : text.index("</header>")]
    assert "Profile plain. Written " in head
    assert '<a href="#comparison">Against plain: 1 of 1 comparison worse than allowed.</a>' in head
    bare = render(Results())
    assert "Profile" not in bare
    assert 'href="#comparison"' not in bare


def test_results_without_a_verdict_are_a_page_too() -> None:
    page = Page(render(Results()))
    assert [own["id"] for _, own in page.named("h2")] == ["gates", "numbers", "environment"]


def test_of_very_many_gates_those_with_pictures_and_the_first_have_more_than_their_row() -> None:
    red = everything("plain").verdicts[0]
    bare = [dataclasses.replace(red, test=f"t.py::test_{place}", pictures=(), doubts=()) for place in range(230)]
    page = Page(render(Results((*bare, dataclasses.replace(red, test="t.py::test_z", doubts=())))))
    ids = [own["id"] for _, own in page.tags if "id" in own]
    assert [f"gate-{place}" in ids for place in (1, 199, 200, 230, 231)] == [True, True, False, False, True]
    assert [f"failed-{place}" in ids for place in (1, 199, 200, 230, 231)] == [True, True, False, False, True]
    assert {own["href"] for _, own in page.named("a")} <= {f"#{name}" for name in ids}
    told = " ".join(page.text_of("p"))
    assert "31 more gates did not pass; why is in the JSON results." in told
    assert "Those of 31 more gates are in the JSON results." in told


def test_of_very_many_failing_items_without_pictures_the_rest_is_counted() -> None:
    items = [
        Verdict("own-rule", "it holds", "fail", f"no {place}.", test=f"t.py::test[{place}]") for place in range(1003)
    ]
    page = Page(render(Results(tuple(items))))
    assert "1,003 more failing items, without pictures" in page.text_of("summary")
    assert "3 more are below, under Every number, and in the JSON results." in page.text_of("p")
    listed = [text for text in page.text_of("li") if text.startswith("no ")]
    assert len(listed) == 1000


def test_of_many_curves_the_first_are_in_view() -> None:
    red = everything("plain").verdicts[0]
    charts = tuple(dataclasses.replace(red.charts[0], title=f"chart {place}") for place in range(70))
    text = render(Results((dataclasses.replace(red, charts=charts, ladders=()),)))
    section = text[text.index('<h2 id="curves">') : text.index('<h2 id="traces">')]
    assert section.count('<figure class="lines">') == 60
    assert section[: section.index("<summary>48 more curves</summary>")].count('<figure class="lines">') == 12
    assert "10 more are in the JSON results." in section


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2.2."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_of_black_on_white_is_21() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(text: str, scheme: str) -> None:
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", text, re.S)
    )
    assert light.keys() == dark.keys()
    colours = light if scheme == "light" else dark
    behind = [colours.pop("page"), colours.pop("card")]
    del colours["line"]
    assert {f"other-{number}" for number in range(6)} < colours.keys()
    for name, colour in colours.items():
        assert min(contrast(colour, own) for own in behind) >= 4.5, name
