"""What people read: the table, the headline and the page."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from pytest_robustness.records import Case, Doubt, Evaluation, Ladder, Outcome, Picture, Provenance, Status, Verdict
from pytest_robustness.report.html import curve, render
from pytest_robustness.report.summary import headline, rows
from pytest_robustness.report.text import gate_table
from pytest_robustness.results import Results

HOSTILE = "<img src=x onerror=alert(1)>"
RUN = Provenance(
    "Net", "ab" * 32, "images", "cd" * 32, 6, ("cat", "dog"), "cpu", 0, "float32", "as given", (("torch", "2"),)
)


def verdict(test: str, status: Status = "pass", **fields: object) -> Verdict:
    given = {
        "gate": "accuracy",
        "claim": "accuracy under FGSM() at epsilon 2/255 >= 0.4",
        "reason": "because",
        "n": 300,
    }
    return Verdict(**{**given, "status": status, "test": test, "run": RUN.key, **fields})  # type: ignore[arg-type]


def ladder(image: str = "a.png") -> Ladder:
    rungs = (
        (0.0, Outcome(image, ("cat",), "cat", True, 0.9, 0.9, (("cat", 0.9), ("dog", 0.1)))),
        (0.1, Outcome(image, ("cat",), "dog", False, 0.7, 0.3, (("dog", 0.7), ("cat", 0.3)))),
    )
    return Ladder(image, "Blend('z.png')", "alpha", (0.1, 0.2), rungs)


def test_items_of_one_test_are_one_row_and_red_rows_come_first() -> None:
    per_image = [
        verdict(f"t.py::test_b[{i}]", "fail" if i == 2 else "pass", claim="holds", n=1, margin=-0.1 * i, measured=0.0)
        for i in range(3)
    ]
    results = Results((verdict("t.py::test_a", measured=0.5, required=0.4, margin=0.1), *per_image), (RUN,))
    table = rows(results)
    assert [(r.claim, r.status, r.measured, r.required, r.margin) for r in table] == [
        ("holds", "fail", "2 of 3", "all", "-0.2"),
        ("accuracy under FGSM() at epsilon 2/255 >= 0.4", "pass", "0.5", "0.4", "+0.1"),
    ]
    assert table[0].test == "t.py::test_b"
    assert table[0].failures == (per_image[2],)


def test_a_proportion_carries_its_count_and_interval() -> None:
    measured = verdict("t.py::test_a", measured=0.5, required=0.4, margin=0.1, interval=(0.4421, 0.5579))
    (row,) = rows(Results((measured,), (RUN,)))
    assert row.interval == "n = 300, 95 % interval 0.442 to 0.558"
    assert row.interval in render(Results((measured,), (RUN,)))


@pytest.mark.parametrize(
    ("results", "line"),
    [
        (Results((verdict("a"),)), "1 gate passed"),
        (Results((verdict("a"), verdict("b"))), "2 gates passed"),
        (Results((verdict("a"), verdict("b", "fail"))), "1 of 2 gates not passed"),
        (Results((verdict("a"), verdict("b", "fail", expected=True))), "1 gate passed, 1 failed as expected"),
        (
            Results((verdict("a", "error"),), complete=False),
            "1 of 1 gates not passed; the session did not finish, these are the results so far",
        ),
    ],
)
def test_the_headline_counts_gates(results: Results, line: str) -> None:
    assert headline(results) == line


def test_the_table_for_a_terminal_fits_80_columns() -> None:
    results = Results(
        (
            verdict("t.py::test_a", "fail", measured=0.2967, required=0.4, margin=-0.1033),
            verdict("t.py::test_long", claim="c " * 60, measured=0.1, required=0.1, margin=0.0),
            verdict("t.py::test_rule", gate="own-rule", claim="the rule", measured=None),
            verdict("t.py::test_x", "fail", expected=True, measured=0.1, required=0.2, margin=-0.1),
        ),
        (RUN,),
    )
    lines = list(gate_table(results))
    assert lines[:3] == [
        "Net abababab on 6 images of images, cpu, seed 0",
        "gate                                      measured required  margin   n  verdict",
        "accuracy under FGSM() at epsilon 2/255 >=   0.2967      0.4 -0.1033 300  fail",
    ]
    assert lines[-1] == "1 of 4 gates not passed, 1 failed as expected"
    assert "own-rule in test_rule                            -        -       - 300  pass" in lines
    assert all(len(line) <= 80 for line in lines)


class Page(HTMLParser):
    """Tags, and the attributes that could run a script or fetch something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.targets: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href"):
                self.targets.append(str(value))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def page_of_everything(name: str = "a.png") -> str:
    outcome = Outcome(name, (name,), name, False, 0.5, 0.5, ((name, 0.5),), (name,))
    case = Case(f"Blend({name!r})", "alpha", 0.1, name)
    full = verdict(
        f"t.py::test[{name}]",
        "fail",
        claim=name,
        reason=name,
        evaluations=(Evaluation(case, (outcome,)),),
        ladders=(ladder(name),),
        pictures=(Picture(name, name, "data:image/png;base64,AAAA", ((name, 0.5),)),),
    )
    plain = verdict("t.py::test_plain", "error", reason=name, gate="error", claim=name)
    run = Provenance(name, "", name, "", 1, (name,), name, 0, name, name, ((name, name),))
    return render(Results((full, plain, verdict("t.py::test_green")), (run,)))


def test_the_page_is_self_contained() -> None:
    page = Page(page_of_everything())
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(target.startswith(("#", "data:image/png;base64,")) for target in page.targets)
    assert "url(" not in page_of_everything()


def test_every_string_of_a_users_stays_text() -> None:
    text = page_of_everything(HOSTILE)
    page = Page(text)
    # One picture, ours; the hostile name appears only as text.
    assert page.tags.count("img") == 1
    assert HOSTILE not in text
    assert any(HOSTILE in words for words in page.words)


def test_the_page_shows_the_failure_with_pictures_top_5_and_curve() -> None:
    page = Page(page_of_everything())
    words = " ".join(" ".join(page.words).split())
    assert "Fail: 2 of 3 gates not passed" in words
    assert "Where it broke" in words
    assert page.tags.count("figure") == 2
    assert page.tags.count("polyline") == 2


def test_links_of_the_page_lead_somewhere() -> None:
    text = page_of_everything()
    for target in Page(text).targets:
        if target.startswith("#"):
            assert f'id="{target[1:]}"' in text


def test_a_green_page_says_pass_and_shows_no_failures() -> None:
    text = render(Results((verdict("t.py::test_green"),), (RUN,)))
    words = " ".join(" ".join(Page(text).words).split())
    assert "Pass: 1 gate passed" in words
    assert "Where it broke" not in words


def test_a_page_of_a_session_that_did_not_finish_is_no_pass() -> None:
    words = " ".join(" ".join(Page(render(Results((verdict("a"),), (RUN,), complete=False))).words).split())
    assert "Unfinished: 1 gate passed; the session did not finish, these are the results so far" in words


def test_a_curve_scales_strength_by_the_last_planned_level() -> None:
    drawn = curve(ladder())
    assert drawn.subject == "0.0000,0.1000 0.5000,0.7000"
    assert drawn.intruder == "0.0000,0.9000 0.5000,0.3000"
    assert (drawn.intruder_name, drawn.last, drawn.break_at) == ("dog", "0.2", 0.5)


def test_the_page_names_when_it_was_written() -> None:
    assert re.search(r"Written \d{4}-\d\d-\d\d \d\d:\d\d UTC", render(Results((verdict("a"),), (RUN,))))


def test_the_page_tells_what_an_attack_took_which_one_broke_an_image_and_whose_it_is() -> None:
    told = Outcome(
        "a.png", ("cat",), "dog", False, 0.7, 0.3, (("dog", 0.7),), (), 41, 37, 0.01, f"foreign({HOSTILE})", True
    )
    case = Case("WorstCase(FGSM(), foreign(x))", "epsilon", 0.01, "", "torchattacks 3.5.1")
    borrowed = Ladder("b.png", "foreign(y)", "epsilon", (0.1,), ladder().rungs, library="foolbox 3.3.4")
    asked = verdict("t.py::test_a", "fail", evaluations=(Evaluation(case, (told,)),), ladders=(borrowed,))
    other = replace(RUN, seed=1)
    results = Results((asked, verdict("t.py::test_b")), (RUN, other))
    page = render(results)
    assert '<td class="num">41</td><td class="num">37</td>' in page
    assert "by foreign(&lt;img src=x onerror=alert(1)&gt;)" in page
    assert "shown to the model by the attack, and not returned" in page
    assert page.count("<dt>Attacks of</dt>") == 2
    assert "<dd>foolbox 3.3.4</dd><dt>Attacks of</dt><dd>torchattacks 3.5.1</dd>" in re.sub(r">\s+<", "><", page)


DOUBTS = (
    Doubt("gradients", "the gradient is zero at 8 of 8 images", "look for rounding"),
    Doubt("repeatable", "logits differ", "switch off dropout", HOSTILE),
)


def test_doubts_are_told_once_for_all_items_of_a_test() -> None:
    items = [
        verdict(
            f"t.py::test_b[{i}]", "untrusted", claim="holds", checks=("gradients", "repeatable"), doubts=DOUBTS, n=1
        )
        for i in range(3)
    ]
    results = Results(tuple(items), (RUN,))
    (row,) = rows(results)
    assert (row.status, row.checks, row.doubts) == ("untrusted", ("gradients", "repeatable"), DOUBTS)
    assert headline(results) == "1 of 1 gates not passed"
    assert list(gate_table(results))[2:5] == [
        "holds                                        0 of 3      all      - 3  untrusted",
        "  in doubt: gradients: the gradient is zero at 8 of 8 images",
        "  waived: repeatable: <img src=x onerror=alert(1)>",
    ]


def test_the_page_has_doubts_with_remedies_and_waivers_with_reasons() -> None:
    waived = verdict("t.py::test_a", checks=("repeatable", "company"), doubts=DOUBTS[1:])
    items = [verdict(f"t.py::test_b[{i}]", "untrusted", claim="holds", doubts=DOUBTS[:1], n=1) for i in range(3)]
    text = render(Results((waived, *items), (RUN,)))
    page = Page(text)
    words = " ".join(" ".join(page.words).split())
    assert "Whether attacks may be believed" in words
    assert "gradients the gradient is zero at 8 of 8 images look for rounding" in words
    assert f"repeatable logits differ waived: {HOSTILE}" in words
    assert "Checks of the attack: repeatable, company" in words
    assert HOSTILE not in text
    assert text.count("the gradient is zero") == 1
    assert "Whether attacks may be believed" not in render(Results((verdict("t.py::test_a"),), (RUN,)))
