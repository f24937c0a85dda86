"""Results on a terminal: the table of gates, and curves as text."""

import re

import pytest

from pytest_robustness.charts import Chart, Line, Mark
from pytest_robustness.records import Case, Evaluation, Ladder, Outcome, Provenance, Verdict
from pytest_robustness.report.charts import charts_of
from pytest_robustness.report.summary import rows
from pytest_robustness.report.text import curves, gate_table
from pytest_robustness.report.text_charts import plotted
from pytest_robustness.results import Results
from pytest_robustness.shards import Shard
from tests.conftest import run_on

RUN = Provenance("Net", "ab" * 32, "images", "cd" * 32, 6, ("dark", "bright"), "cpu", 0, "float32", "as given", ())


def verdict(test: str, status: str = "pass", claim: str = "accuracy under FGSM() >= 0.4", **fields: object) -> Verdict:
    numbers: dict[str, object] = {"measured": 0.5, "required": 0.4, "margin": 0.1, "n": 6}
    return Verdict("accuracy", claim, status, "why", test=f"t.py::{test}", run=RUN.key, **numbers | fields)  # type: ignore[arg-type]


def test_the_table_has_a_row_per_gate_with_its_numbers() -> None:
    results = Results(
        (
            verdict("test_a", "fail", measured=0.2967, margin=-0.1033, n=300),
            verdict("test_b"),
            verdict(
                "test_c[x]", "fail", claim="top-1 holds until alpha 0.3 under Blend('zebra.png')", margin=-0.2, n=1
            ),
            verdict("test_c[y]", claim="top-1 holds until alpha 0.3 under Blend('zebra.png')", margin=0.0, n=1),
            verdict("test_d", "fail", claim="a known weakness", expected=True, margin=-0.1),
        ),
        (RUN,),
    )
    assert list(gate_table(results)) == [
        "Net abababab on 6 images of images, cpu, seed 0",
        "gate                                      measured required  margin   n  verdict",
        "accuracy under FGSM() >= 0.4                0.2967      0.4 -0.1033 300  fail",
        "top-1 holds until alpha 0.3 under           1 of 2      all    -0.2   2  fail",
        "  Blend('zebra.png')",
        "accuracy under FGSM() >= 0.4                   0.5      0.4    +0.1   6  pass",
        "a known weakness                               0.5      0.4    -0.1   6  xfail",
        "2 of 4 gates not passed, 1 failed as expected",
    ]


def test_a_table_of_large_numbers_and_long_names_keeps_to_80_columns() -> None:
    run = Provenance("Net" * 20, "", "images/" * 9, "", 6, (), "cuda:0", 0, "float32", "as given", ())
    many = [verdict(f"test_all[{i}]", claim=f"holds under {'Blend' * 20}", n=1) for i in range(12)]
    results = Results(
        (*many, verdict("test_b", "untrusted", claim="pairs " * 20, n=1234567, margin=-0.00012345)), (run,)
    )
    lines = list(gate_table(results))
    assert max(map(len, lines)) == 80
    # Nothing is cut.
    assert "".join("".join(lines).split()).count("Blend") == 20
    assert " ".join(lines).count("pairs") == 20


def test_colours_go_by_the_verdict_and_take_no_columns() -> None:
    results = Results(
        (
            *(verdict(f"test_{status}", status) for status in ("pass", "fail", "untrusted", "undecided", "error")),
            verdict("test_known", "fail", expected=True),
        )
    )
    painted = list(gate_table(results, paint=lambda text, colour: f"<{colour}>{text}</>"))
    assert [line.rpartition("  ")[2] for line in painted[1:-1]] == [
        "<red>error</>",
        "<red>untrusted</>",
        "<red>fail</>",
        "<yellow>undecided</>",
        "<green>pass</>",
        "<yellow>xfail</>",
    ]
    assert painted[-1] == "<red>4 of 6 gates not passed, 1 failed as expected</>"
    assert [re.sub("<.*?>", "", line) for line in painted] == list(gate_table(results))


@pytest.mark.parametrize(
    ("results", "colour"),
    [
        (Results((verdict("test_a"),)), "green"),
        (Results((verdict("test_a"),), complete=False), "red"),
        (Results((verdict("test_a", "undecided"),), shard=Shard(1, 2)), "yellow"),
    ],
)
def test_the_outcome_has_a_colour(results: Results, colour: str) -> None:
    *_, last = gate_table(results, paint=lambda text, colour: colour)
    assert last == colour


FALLING = Chart(
    "accuracy under PGD()",
    "epsilon",
    "share of images that are right",
    (Line("small", ((0.0, 1.0), (8 / 255, 0.0))), Line("large", ((0.0, 1.0), (8 / 255, 0.5)))),
    (Mark(4 / 255, "required"),),
)


def test_a_chart_is_drawn_over_an_axis_with_its_unit() -> None:
    assert list(plotted(FALLING)) == [
        "accuracy under PGD(): share of images that are right",
        " 1.00 |*****oooo                           :",
        "      |     *********ooooooooooooo         :",
        " 0.75 |              *********    oooooooooooooooooo",
        "      |                       *********    :        oooooooooooooooooo",
        " 0.50 |                                ********                       ooooooooo",
        "      |                                    :   *********",
        " 0.25 |                                    :            *********",
        "      |                                    :                     *********",
        " 0.00 |                                    :                              *****",
        "      +------------------------------------------------------------------------",
        "       0                             epsilon                              8/255",
        "* small: 1 to 0",
        "o large: 1 to 0.5",
        ": required 4/255",
    ]


def test_a_terminal_that_has_them_gets_lines_for_a_frame() -> None:
    plain, drawn = list(plotted(FALLING)), list(plotted(FALLING, encoding="utf-8"))
    assert [line.translate(str.maketrans("│└─┊", "|+-:")) for line in drawn] == plain
    assert "│" in drawn[1]
    for unable in ("latin-1", "no such encoding"):
        assert list(plotted(FALLING, encoding=unable)) == plain


def test_steps_hold_until_the_next_one_and_a_point_stands_alone() -> None:
    steps = Line("holds", ((0.0, 0.75), (0.5, 0.25), (1.0, 0.25)), steps=True)
    lines = list(plotted(Chart("t", "alpha", "y", (steps,))))
    drawn = {place: line.partition("|")[2] for place, line in enumerate(lines) if "*" in line and "|" in line}
    assert drawn == {3: "*" * 36, 7: " " * 36 + "*" * 36}
    alone = list(plotted(Chart("t", "sigma", "y", (Line("one", ((0.25, 1.0),)),))))
    assert alone[1] == " 1.00 |*"
    assert alone[-2:] == ["       0.25                               sigma", "* one: 1"]
    assert list(plotted(Chart("t", "sigma", "y", (Line("none", ()),)))) == ["t: y", "* none: nothing measured"]


@pytest.mark.parametrize("count", [1, 5, 12])
def test_a_chart_never_takes_more_than_80_columns(count: int) -> None:
    lines = tuple(Line(f"a long name of a model {i} " * 4, ((0.1, 0.2), (123.456, 1.5))) for i in range(count))
    chart = Chart("title " * 30, "L2 radius", "share", lines, tuple(Mark(x, "median") for x in range(20)))
    assert max(map(len, plotted(chart, encoding="utf-8"))) <= 80


def climbed(image: str, held: int, status: str = "pass") -> Verdict:
    """An image that holds until so many tenths, and breaks at the next."""
    rungs = tuple(
        (k / 10, Outcome(image, ("cat",), says, says == "cat", 0.6, 0.6 if says == "cat" else 0.4, ((says, 0.6),)))
        for k, says in enumerate(["cat"] * (held + 1) + ["dog"])
    )
    ladder = Ladder(image, "Blend('zebra.png')", "alpha", (0.1, 0.2, 0.3), rungs)
    return verdict(f"test_it[{image}]", status, claim="holds", required=0.2, ladders=(ladder,))


def test_of_a_gate_over_items_the_share_that_holds_is_charted() -> None:
    (row,) = rows(Results((climbed("a", 0), climbed("b", 1), climbed("c", 2), climbed("d", 2))))
    (chart,) = charts_of(row)
    assert chart.title == "breaking points under Blend('zebra.png')"
    assert chart.lines == (Line("holds", ((0.0, 1.0), (0.1, 0.75), (0.2, 0.5), (0.3, 0.0)), steps=True),)
    assert chart.marks == (Mark(0.2, "median"), Mark(0.2, "required"))


def test_of_one_image_both_probabilities_are_charted() -> None:
    (row,) = rows(Results((climbed("a", 0),)))
    assert charts_of(row) == (
        Chart(
            "a under Blend('zebra.png')",
            "alpha",
            "probability",
            (
                Line("accepted: cat", ((0.0, 0.6), (0.1, 0.4)), role="subject"),
                Line("dog", ((0.0, 0.0), (0.1, 0.6)), role="intruder"),
            ),
            (Mark(0.1, "breaks"), Mark(0.2, "required")),
        ),
    )


def test_a_gate_over_a_curve_is_charted_by_its_own_numbers() -> None:
    def at(strength: float, right: int) -> Evaluation:
        rows = (Outcome(str(i), ("cat",), "cat", i < right, 0.9, 0.9, (("cat", 0.9),)) for i in range(4))
        return Evaluation(Case("PGD()", "epsilon", strength), tuple(rows))

    gate = Verdict("accuracy-curve", "claim", "pass", "", evaluations=(at(0.0, 4), at(0.1, 2)), charts=(FALLING,))
    (row,) = rows(Results((gate,)))
    own, beside = charts_of(row)
    assert own.lines[0].points == ((0.0, 1.0), (0.1, 0.5))
    assert beside == FALLING


def test_of_many_charts_of_a_test_five_are_drawn() -> None:
    charts = tuple(Chart(f"chart {i}", "alpha", "y", FALLING.lines) for i in range(7))
    lines = list(curves(Results((verdict("test_a", charts=charts),))))
    assert [line for line in lines if line.startswith("chart ")] == [f"chart {i}: y" for i in range(5)]
    assert lines[-1] == "... and 2 more charts of t.py::test_a"
    assert list(curves(Results((verdict("test_a"),)))) == []


GATES = """
from pytest_robustness import Blend, FGSM

def test_curve(robustness):
    robustness.assert_curve_above(FGSM(), {0.05: 0.9, 0.2: 0.1})

def test_holds(robustness, robustness_image):
    robustness.assert_holds_until(robustness_image, Blend("white.png"), 0.3, levels=3)
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_verbose_runs_end_with_curves_and_others_do_not(project: pytest.Pytester, workers: int) -> None:
    project.makepyfile(GATES)
    result = run_on(project, workers, "-v")
    start = next(i for i, line in enumerate(result.outlines) if line.strip("= ") == "robustness")
    end = next(i for i, line in enumerate(result.outlines) if "short test summary" in line)
    shown = result.outlines[start:end]
    assert [line for line in shown if line.startswith(("accuracy under FGSM():", "breaking points under"))] == [
        "breaking points under Blend('white.png'): share of images that hold",
        "accuracy under FGSM(): share of images that are right",
    ]
    assert [line[2:] for line in shown if line.startswith("* ")] == ["holds: 1 to 0.8333", "accuracy: 1 to 0.6667"]
    assert max(map(len, shown)) <= 80
    quiet = run_on(project, 0)
    assert "share of images" not in quiet.stdout.str()


@pytest.mark.parametrize("colour", ["yes", "no"])
def test_colour_is_as_pytest_is_told(project: pytest.Pytester, colour: str) -> None:
    project.makepyfile("def test_it(robustness):\n    robustness.assert_accuracy(at_least=1)\n")
    result = project.runpytest_inprocess("-p", "no:randomly", f"--color={colour}", "--robustness-markdown=out.md")
    text = result.stdout.str()
    assert ("\x1b[32mpass\x1b[0m" in text) == (colour == "yes")
    assert ("\x1b[32m1 gate passed\x1b[0m" in text) == (colour == "yes")
    assert "\x1b" not in (project.path / "out.md").read_text(encoding="utf-8")


def test_a_terminal_without_them_gets_no_other_characters(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(project.path), prepend=":")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    project.makepyfile(GATES)
    result = project.runpytest_subprocess("-p", "no:randomly", "-v", "-k", "test_curve")
    assert any(line.startswith(" 1.00 |*") for line in result.outlines)
    assert result.stdout.str().isascii()


def test_a_profile_that_changes_the_numbers_is_told_above_them() -> None:
    lines = [list(gate_table(Results((climbed("a", 2),), profile=name))) for name in ("dev", "release", "ci", "")]
    assert lines[0][0] == "profile dev: at most 32 images of each test"
    assert lines[1][0] == "profile release: judged at confidence 0.95, deterministic algorithms"
    assert lines[2] == lines[3] == lines[0][1:]
