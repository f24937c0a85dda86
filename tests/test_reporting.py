"""What became of an item: what pytest shows of it all."""

import re

import pytest

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
