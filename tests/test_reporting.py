"""What became of an item: what is in the results, and what pytest shows of it all."""

import re

import pytest

from pytest_robustness.results import Results
from tests.conftest import run_on

TRACES = """
import pytest
from pytest_robustness import PGD

def test_trace(robustness, robustness_image):
    found = robustness.trace(robustness_image, PGD(steps=3), 0.3, steps=[1])
    assert found.last.distance <= 0.31

def test_gate(robustness):
    robustness.trace("dark/dark_2.png", PGD(), 0.01)
    robustness.assert_accuracy(PGD(), 0.3, at_least=1)
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_traces_are_in_the_results_of_the_test_that_made_them(project: pytest.Pytester, workers: int) -> None:
    project.makepyfile(TRACES)
    run_on(project, workers, "--robustness-json=out.json", "--robustness-report=out.html")
    results = Results.from_json((project.path / "out.json").read_text(encoding="utf-8"))
    by_test = {verdict.test.rpartition("::")[2]: verdict for verdict in results.verdicts}
    assert len(by_test) == 7
    assert by_test["test_gate"].status == "fail"
    assert [trace.image for trace in by_test["test_gate"].traces] == ["dark/dark_2.png"]
    own = by_test["test_trace[dark_1]"]
    assert own.status == "pass"
    assert own.reason.startswith("dark/dark_1.png under PGD(steps=3) at epsilon 0.3: ")
    # Five of a test are pictured.
    shown = [bool(by_test[name].traces[0].frames[0].png) for name in sorted(by_test) if "trace" in name]
    assert shown == [True] * 5 + [False]
    assert (project.path / "out.html").read_text(encoding="utf-8").count('<ol class="strip">') == 7


MATRICES = """
from pytest_robustness import PGD

def test_rule(robustness):
    assert robustness.targeted_matrix(PGD(), 0.2).overall.value < 1

def test_gate(robustness):
    robustness.targeted_matrix(PGD(), 0.2)
    robustness.assert_accuracy(PGD(), 0.3, at_least=1)

def test_rates(robustness):
    robustness.assert_modify_rate(PGD(), 0.2, at_most=0.5)
    robustness.assert_mimic_rate(PGD(), 0.2, at_most=0.5)
"""


def test_matrices_are_in_the_results_with_pictures_of_their_examples(project: pytest.Pytester) -> None:
    project.makepyfile(MATRICES)
    run(project, "--robustness-json=out.json", "--robustness-report=out.html").assert_outcomes(passed=2, failed=1)
    gate, modify, mimic, rule = Results.from_json((project.path / "out.json").read_text(encoding="utf-8")).verdicts
    # Brightness moves by at most epsilon: two of the six images fall, dark_2 and bright_2.
    (matrix,) = rule.matrices
    assert matrix.cells == ("- 1/3", "1/3 -")
    assert sorted((pair.image, pair.caption) for pair in matrix.examples) == [
        ("bright/bright_2.png", "towards dark"),
        ("dark/dark_2.png", "towards bright"),
    ]
    assert [(picture.image, picture.caption) for picture in rule.pictures] == [
        ("bright/bright_2.png", "clean"),
        ("bright/bright_2.png", "towards dark"),
        ("dark/dark_2.png", "clean"),
        ("dark/dark_2.png", "towards bright"),
    ]
    assert gate.gate == "accuracy"
    assert gate.matrices == modify.matrices == mimic.matrices == (matrix,)
    # Once in a test, also where its gates pass.
    assert modify.pictures == rule.pictures
    assert mimic.pictures == ()
    text = (project.path / "out.html").read_text(encoding="utf-8")
    assert text.count('<section class="matrix">') == 1


def test_without_a_report_traces_have_no_pictures(project: pytest.Pytester) -> None:
    project.makepyfile(
        "from pytest_robustness import PGD\n"
        "def test_it(robustness):\n"
        "    assert not robustness.trace('dark/dark_2.png', PGD(), 0.01).last.png\n"
    )
    run(project).assert_outcomes(passed=1)


TESTS = """
import pytest
from pytest_robustness import Blend

@pytest.fixture
def noisy():
    yield
    print("said in the teardown")

@pytest.fixture
def broken():
    yield
    raise KeyError("in the teardown")

def test_many(robustness, robustness_image):
    print("said in the test")
    robustness.assert_holds_until(robustness_image, Blend("white.png"), 0.6, levels=3)

def test_says_something(robustness, noisy):
    robustness.assert_accuracy(at_least=1, images="dark/dark_0.png")
    robustness.assert_accuracy(Blend("white.png"), 0.6, at_least=1)

def test_ends_badly(robustness, broken):
    robustness.assert_accuracy(Blend("white.png"), 0.6, at_least=1)

def test_plain():
    pass
"""
COUNT = """
def pytest_terminal_summary(terminalreporter):
    print("searched for every failure:", sum(r.nodeid.count("test_many") for r in terminalreporter.stats.get("", ())))
"""


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", *arguments)


def test_reports_of_our_setups_and_teardowns_are_not_searched_for_every_failure(project: pytest.Pytester) -> None:
    project.makepyfile(TESTS)
    with (project.path / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write(COUNT)
    result = run(project)
    assert "searched for every failure: 0" in result.outlines
    result.assert_outcomes(passed=4, failed=5, errors=1)


@pytest.mark.parametrize("options", ["-rA", "-v", "-vv --durations=0", "-q", "--tb=line", "--junitxml=junit.xml"])
def test_what_pytest_shows_is_the_same_as_without_it(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    project.makepyfile(TESTS)

    def shown() -> list[str]:
        lines = run(project, *options.split()).outlines
        if "junit" in options:
            lines.append((project.path / "junit.xml").read_text(encoding="utf-8"))
        # Times differ, and with them the order of the slowest.
        lines = [re.sub(r'\d+\.\d\d+s|(time|timestamp)="[^"]*"|\w+ at 0x\w+', "", line) for line in lines]
        return sorted(lines) if "durations" in options else lines

    with_it = shown()
    monkeypatch.setattr("pytest_robustness.plugin.quiet", lambda report: False)
    assert shown() == with_it


def test_what_a_failing_item_writes_in_its_teardown_is_shown(project: pytest.Pytester) -> None:
    project.makepyfile(TESTS)
    result = run(project, "-k", "says_something")
    assert "said in the teardown" in result.outlines


def test_an_error_after_a_failed_gate_has_its_own_traceback(project: pytest.Pytester) -> None:
    project.makepyfile(TESTS)
    result = run(project, "-k", "ends_badly")
    result.assert_outcomes(failed=1, errors=1)
    assert "E       KeyError: 'in the teardown'" in result.outlines
    assert result.stdout.str().count("short by 0.5") == 1


@pytest.mark.parametrize(("style", "workers"), [("auto", 0), ("long", 0), ("native", 1)])
def test_a_rule_that_fails_says_how_to_run_it_again(project: pytest.Pytester, style: str, workers: int) -> None:
    project.makepyfile(test_rule="def test_it(robustness):\n    assert robustness.accuracy() > 1\n")
    result = run_on(project, workers, f"--tb={style}", "--robustness-seed=3")
    place = next(i for i, line in enumerate(result.outlines) if line.strip("- ") == "robustness")
    assert result.outlines[place + 1] == "reproduce: pytest test_rule.py::test_it --robustness-seed=3"


def test_an_assert_of_a_test_without_measurements_is_pytests_alone(project: pytest.Pytester) -> None:
    project.makepyfile(
        "def test_it():\n    assert 0\n\ndef test_skipped(robustness):\n    import pytest\n    pytest.skip()\n"
    )
    result = run(project)
    result.assert_outcomes(failed=1, skipped=1)
    assert "reproduce" not in result.stdout.str()
