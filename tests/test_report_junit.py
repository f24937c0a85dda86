"""Verdicts as properties in JUnit's XML."""

from xml.etree import ElementTree

import pytest

from pytest_robustness.report.junit import properties
from tests.conftest import run_on
from tests.format_results import ERROR, KNOWN, accuracy

TESTS = """
import pytest
from pytest_robustness import Blend

def test_two(robustness, request):
    # As record_property does, which warns of xunit2.
    request.node.user_properties.append(("own", "kept"))
    robustness.assert_accuracy(at_least=0.5)
    robustness.assert_accuracy(Blend("white.png"), 0.9, at_least=0.9)

@pytest.mark.parametrize("bar", [0.5])
def test_one(robustness, bar):
    robustness.assert_accuracy(at_least=bar)

def test_plain():
    pass

@pytest.fixture
def broken(robustness):
    yield
    raise KeyError("in the teardown")

def test_ends_badly(robustness, broken):
    robustness.assert_accuracy(at_least=0.5)
"""


def test_a_verdict_is_named_texts() -> None:
    assert list(properties([accuracy("test_fgsm")])) == [
        ("robustness.gate", "accuracy"),
        ("robustness.claim", "accuracy under FGSM() at epsilon 2/255 >= 0.4"),
        ("robustness.status", "pass"),
        ("robustness.measured", "0.5"),
        ("robustness.required", "0.4"),
        ("robustness.margin", "0.1"),
        ("robustness.n", "4"),
        ("robustness.reproduce", "pytest tests/test_it.py::test_fgsm"),
    ]


def test_several_are_numbered_and_what_was_not_measured_is_left_out() -> None:
    assert list(properties([ERROR, KNOWN])) == [
        ("robustness.1.gate", "error"),
        ("robustness.1.claim", "test_bad"),
        ("robustness.1.status", "error"),
        ("robustness.2.gate", "accuracy"),
        ("robustness.2.claim", "accuracy under FGSM() at epsilon 2/255 >= 0.6"),
        ("robustness.2.status", "fail"),
        ("robustness.2.expected", "true"),
        ("robustness.2.measured", "0.5"),
        ("robustness.2.required", "0.6"),
        ("robustness.2.margin", "-0.1"),
        ("robustness.2.n", "4"),
        ("robustness.2.reproduce", "pytest tests/test_it.py::test_known"),
    ]
    assert list(properties([])) == []


def run(project: pytest.Pytester, *arguments: str, workers: int = 0) -> pytest.RunResult:
    return run_on(project, workers, *arguments)


def written(project: pytest.Pytester) -> dict[str, dict[str, str]]:
    """The properties of each test case."""
    root = ElementTree.parse(project.path / "junit.xml").getroot()
    return {
        str(case.get("name")): {str(own.get("name")): str(own.get("value")) for own in case.iter("property")}
        for case in root.iter("testcase")
    }


@pytest.mark.parametrize(("family", "workers"), [("xunit1", 0), ("xunit2", 1)])
def test_each_test_case_has_its_verdicts(project: pytest.Pytester, family: str, workers: int) -> None:
    project.makepyfile(TESTS)
    project.makeini(f"[pytest]\nfilterwarnings = error\njunit_family = {family}\n")
    run(project, "--junitxml=junit.xml", "-k", "not badly", workers=workers).assert_outcomes(passed=2, failed=1)
    found = written(project)
    assert found["test_plain"] == {}
    assert found["test_one[0.5]"].keys() == {f"robustness.{name}" for name in ("gate", "claim", "status", "measured", "required", "margin", "n", "reproduce")}  # fmt: skip
    two = found["test_two"]
    assert two["own"] == "kept"
    assert [two[f"robustness.{number}.status"] for number in (1, 2)] == ["pass", "fail"]
    assert [two[f"robustness.{number}.margin"] for number in (1, 2)] == ["0.5", "-0.4"]
    assert two["robustness.2.reproduce"].endswith("::test_two --robustness-seed=0")


def test_what_ends_badly_has_its_error_as_well(project: pytest.Pytester) -> None:
    project.makepyfile(TESTS)
    run(project, "--junitxml=junit.xml", "-k", "test_ends_badly").assert_outcomes(passed=1, errors=1, deselected=3)
    cases = list(ElementTree.parse(project.path / "junit.xml").getroot().iter("testcase"))
    told = [{str(own.get("name")): own.get("value") for own in case.iter("property")} for case in cases]
    assert [own["robustness.1.gate"] for own in told if "robustness.1.gate" in own][-1] == "accuracy"
    assert [own["robustness.2.gate"] for own in told if "robustness.2.gate" in own] == ["error"]


def test_of_an_item_that_is_run_again_the_last_time_counts(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from pytest_robustness import Blend

        times = []

        def test_it(robustness):
            times.append(1)
            robustness.assert_accuracy(Blend("white.png"), 0.9 / len(times), at_least=0.55)
        """
    )
    run(project, "--junitxml=junit.xml", "--reruns=2")
    (found,) = written(project).values()
    assert (found["robustness.status"], found["robustness.measured"]) == ("pass", "0.666667")


def test_without_the_file_an_item_has_no_properties(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(robustness):\n    robustness.assert_accuracy(at_least=1)\n")
    with (project.path / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write(
            "\ndef pytest_runtest_logreport(report):\n    if report.when == 'teardown':\n"
            "        print('properties:', report.user_properties)\n"
        )
    assert "properties: []" in run(project, "-s").stdout.str()
