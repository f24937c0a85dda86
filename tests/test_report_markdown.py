"""Results in Markdown: a summary for a pull request, and annotations."""

from pathlib import Path

import pytest

from pytest_robustness.__main__ import main
from pytest_robustness.comparisons import Change, Comparison
from pytest_robustness.records import Provenance, Verdict
from pytest_robustness.report.files import written
from pytest_robustness.report.markdown import annotations, summary
from pytest_robustness.results import Results

RUN = Provenance("Net", "0123456789abcdef", "images", "f" * 64, 6, ("a", "b"), "cpu", 0, "float32", "as given", ())


def verdict(test: str, status: str, reason: str = "accuracy 0.5", **fields: object) -> Verdict:
    claim = fields.pop("claim", f"accuracy of {test} >= 0.9")
    return Verdict(
        "accuracy", claim, status, reason, 0.5, 0.9, -0.4, 6, test=f"test_it.py::{test}", run=RUN.key, **fields
    )  # type: ignore[arg-type]


def results(*verdicts: Verdict) -> Results:
    return Results(verdicts, (RUN,))


MIXED = results(
    verdict("test_good", "pass"),
    verdict("test_bad", "fail", "accuracy 0.5, required >= 0.9"),
    verdict("test_unsure", "undecided"),
    verdict("test_known", "fail", expected=True),
)


def test_a_summary_has_a_row_per_gate_and_the_reasons_of_those_that_did_not_pass() -> None:
    assert summary(
        results(verdict("test_good", "pass"), verdict("test_bad", "fail", "accuracy 0.5\nshort by 0.4"))
    ) == (
        "## Robustness: 1 of 2 gates not passed\n"
        "\n"
        "Net `0123456789ab` on 6 images of images, cpu, seed 0\n"
        "\n"
        "| verdict | gate | measured | required | margin |\n"
        "|---|---|--:|--:|--:|\n"
        "| **fail** | accuracy of test\\_bad &gt;= 0.9 | 0.5 | 0.9 | -0.4 |\n"
        "| pass | accuracy of test\\_good &gt;= 0.9 | 0.5 | 0.9 | -0.4 |\n"
        "\n"
        "<details><summary>accuracy of test\\_bad &gt;= 0.9</summary>\n"
        "\n"
        "```text\n"
        "test_it.py::test_bad\n"
        "accuracy 0.5\n"
        "short by 0.4\n"
        "```\n"
        "\n"
        "</details>\n"
    )


def test_what_was_expected_is_told_apart_and_has_no_reasons_nor_annotation() -> None:
    text = summary(MIXED)
    assert "| xfail | accuracy of test\\_known" in text
    assert text.count("<details>") == 2
    assert [line.partition("::")[2].partition(" ")[0] for line in annotations(MIXED)] == ["error", "error"]


def test_hostile_names_stay_text() -> None:
    hostile = verdict(
        "test_it", "fail", "a\n````\n<img onerror=x> | **b**", claim="<img src=x onerror=y> | `a` *b* [c](d)\ne"
    )
    text = summary(results(hostile))
    assert "<img" not in text.partition("<details>")[0]
    (row,) = (line for line in text.splitlines() if line.startswith("| **fail**"))
    assert row == ("| **fail** | &lt;img src=x onerror=y&gt; \\| \\`a\\` \\*b\\* \\[c\\](d) e | 0.5 | 0.9 | -0.4 |")
    # No line of a reason ends the fence.
    assert text.splitlines().count("`````") == 1
    assert "`````text" in text.splitlines()


def test_of_many_failing_items_five_are_told() -> None:
    many = [verdict(f"test_it[{n}]", "fail", f"reason {n}", claim="claim") for n in range(8)]
    text = summary(results(*many))
    assert "reason 4" in text
    assert "reason 5" not in text
    assert "... and 3 more failing items" in text
    (line,) = annotations(results(*many))
    assert line == "::error title=claim::reason 0%0A... and 7 more failing items"


def test_an_annotation_is_one_line_whatever_the_reason_holds() -> None:
    (line,) = annotations(results(verdict("test_it", "fail", "50 % of a\r\nb", claim="a: b, c")))
    assert line == "::error title=a%3A b%2C c::50 %25 of a%0D%0Ab"


@pytest.mark.parametrize("limit", [100, 400, 600, 900, 2000])
def test_a_summary_is_never_larger_than_there_is_room(limit: int) -> None:
    many = results(*(verdict(f"test_{n}", "fail", "reason " * 10) for n in range(10)))
    text = summary(many, limit=limit)
    assert len(text.encode()) <= limit
    assert text.count("```text") == text.count("```") - text.count("```text")
    if text:
        assert text.endswith("\n\nCut here, as more does not fit into a summary; the report has all of it.\n")


def test_on_github_it_is_added_to_the_summary_of_the_step_and_told_beside_the_change(tmp_path: Path) -> None:
    step = tmp_path / "summary.md"
    step.write_text("before\n", encoding="utf-8")
    environment = {"GITHUB_STEP_SUMMARY": str(step), "GITHUB_ACTIONS": "true"}
    notes = list(written(MIXED, {}, environment=environment))
    assert notes == list(annotations(MIXED))
    assert step.read_text(encoding="utf-8").startswith(
        "before\n## Robustness: 2 of 4 gates not passed, 1 failed as expected\n"
    )
    assert list(written(MIXED, {}, environment={})) == []


def test_results_are_shown_again_in_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, page, text = tmp_path / "results.json", tmp_path / "page.html", tmp_path / "summary.md"
    file.write_text(MIXED.to_json(), encoding="utf-8")
    assert main(["report", str(file), "--report", str(page), "--markdown", str(text)]) == 1
    assert text.read_text(encoding="utf-8") == summary(MIXED)
    assert "2 of 4 gates not passed" in page.read_text(encoding="utf-8")
    out = capsys.readouterr().out
    assert "2 of 4 gates not passed, 1 failed as expected\n" in out
    good = tmp_path / "good.json"
    good.write_text(results(verdict("test_good", "pass")).to_json(), encoding="utf-8")
    assert main(["report", str(good)]) == 0


def test_a_file_that_has_no_results_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "results.json"
    assert main(["report", str(missing)]) == 2
    assert capsys.readouterr().err == f"{missing}: expected results, got no file (No such file or directory)\n"


LOST = tuple(f"cat/{n}_.png" for n in range(7))
DROP = Change("t.py::a", "accuracy", "FGSM() at epsilon 2/255", "", 0.75, 0.5, LOST, (), 28, 0.015625, 0.01, worse=True)
SMALL = Change("t.py::b", "breaking_point", "Blend('a|b') at 3 levels", "alpha", 0.3, 0.2, ("a.png",), (), 2, 1.0)
BETTER = Change("t.py::c", "accuracy", "clean images", "", 0.5, 0.75, (), ("a.png",), 4, 1.0, 0.01)


def test_a_summary_has_the_drops_against_the_release_before_the_worst_first() -> None:
    comparison = Comparison("base_line.json", "Net abababab", (BETTER, SMALL, DROP))
    lines = summary(Results((), (RUN,), comparison=comparison)).splitlines()
    assert lines[lines.index("Against base\\_line.json, Net abababab: 1 of 3 comparisons worse than allowed") :] == [
        "Against base\\_line.json, Net abababab: 1 of 3 comparisons worse than allowed",
        "",
        "| lost under | before | now | allowed | images lost | p |",
        "|---|--:|--:|--:|---|--:|",
        "| FGSM() at epsilon 2/255 | 0.75 | **0.5** | -0.01 | cat/0\\_.png, cat/1\\_.png, cat/2\\_.png, cat/3\\_.png, cat/4\\_.png and 2 more | 0.016 |",
        "| Blend('a\\|b') at 3 levels | 0.3 | 0.2 | any | a.png | 1 |",
    ]


def test_a_summary_of_no_drop_has_no_table_and_of_many_the_worst_ten() -> None:
    lines = summary(Results((), (RUN,), comparison=Comparison("b.json", "Net", (BETTER,)))).splitlines()
    assert lines[-1] == "Against b.json, Net: no image lost in 1 comparison"
    lines = summary(Results((), (RUN,), comparison=Comparison("b.json", "Net", (DROP,) * 12))).splitlines()
    assert lines[-1] == "... and 2 more"
    assert sum(line.startswith("| FGSM") for line in lines) == 10


def test_a_drop_beyond_what_is_allowed_is_an_annotation() -> None:
    comparison = Comparison("b.json", "Net", (SMALL, DROP))
    assert list(annotations(Results((), (RUN,), comparison=comparison))) == [
        "::error title=worse than before%3A FGSM() at epsilon 2/255::0.75 before, 0.5 now%0Alost: cat/0_.png, cat/1_.png, cat/2_.png, "
        "cat/3_.png, cat/4_.png and 2 more%0At.py::a"
    ]
