"""The JSON Schema of results: published as it is, and true of what runs write."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_robustness.__main__ import main
from pytest_robustness.comparisons import Change, Comparison
from pytest_robustness.results import Results
from pytest_robustness.schema import results_schema, schema_text
from pytest_robustness.shards import Shard
from tests.test_records import RESULTS

PUBLISHED = Path(__file__).parents[1] / "docs" / "results.schema.json"

# A project that asks for what results can hold: ladders, attacks, a vote, a matrix, a trace, curves, an error, a failure with pictures.
EVERYTHING = """
import pytest
from pytest_robustness import FGSM, Blend, GaussianNoise, SmoothingVote

def test_holds(robustness, robustness_image):
    robustness.assert_holds_until(robustness_image, Blend("white.png"), 0.3, levels=3)

def test_attack(robustness):
    robustness.assert_accuracy(FGSM(), 1 / 255, at_least=0.5, confidence=0.9)

def test_vote(robustness):
    robustness.assert_vote_accuracy(GaussianNoise(), 0.1, SmoothingVote(), at_least=0.9, coverage_at_least=0.9)

def test_rates(robustness):
    robustness.assert_modify_rate(FGSM(), 1 / 255, at_most=0.5)

def test_measured(robustness):
    robustness.trace("dark/dark_2.png", FGSM(), 8 / 255)
    robustness.accuracy_curves(FGSM(), [1 / 255, 2 / 255])
    assert robustness.breaking_point("dark/dark_2.png", Blend("white.png")) > 0.1

@pytest.mark.xfail
def test_error(robustness):
    robustness.accuracy(FGSM(), 2)
"""


def check(document: Any) -> None:
    jsonschema.Draft202012Validator(results_schema()).validate(document)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(results_schema())


def test_the_published_schema_is_that_of_this_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Written by `python -m pytest_robustness schema > docs/results.schema.json`."""
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == schema_text()
    assert PUBLISHED.read_text(encoding="utf-8") == schema_text()


def test_every_record_is_described_and_takes_no_other_fields() -> None:
    for name, record in results_schema()["$defs"].items():
        assert record["description"], name
        assert record["additionalProperties"] is False, name
        assert record["required"] == list(record["properties"]), name


CHANGE = Change("t.py::a", "accuracy", "clean images", "", 1.0, 0.5, ("a.png",), (), 2, 1.0, 0.01, worse=True)


@pytest.mark.parametrize(
    "results",
    [
        Results(),
        RESULTS,
        Results(complete=False, shard=Shard(1, 2, "x"), profile="dev"),
        Results(comparison=Comparison("main", "Net 0123", (CHANGE,), ("b",), ("c",))),
    ],
)
def test_results_are_as_the_schema_says(results: Results) -> None:
    check(json.loads(results.to_json()))
    assert Results.from_json(results.to_json()) == results


def test_what_a_run_writes_is_as_the_schema_says(project: pytest.Pytester) -> None:
    project.makepyfile(EVERYTHING)
    result = project.runpytest_inprocess(
        "-p", "no:randomly", "--robustness-json=out.json", "--robustness-profile=release"
    )
    result.assert_outcomes(passed=7, failed=3, xfailed=1)
    document = json.loads((project.path / "out.json").read_text(encoding="utf-8"))
    check(document)
    verdicts = document["verdicts"]
    for field in ("evaluations", "ladders", "matrices", "pictures", "checks", "traces", "interval", "margin"):
        assert any(verdict[field] for verdict in verdicts), field
    assert all(verdict["reproduce"].startswith("pytest ") for verdict in verdicts)
    (run,) = document["runs"].values()
    assert {"torch", "python", "numpy"} <= dict(run["versions"]).keys()
    assert run["machine"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document.pop("complete"),
        lambda document: document.update(schema="pytest-robustness/1"),
        lambda document: document["verdicts"][0].update(status="passed"),
        lambda document: document["verdicts"][0].update(measured="0.5"),
        lambda document: document["verdicts"][0].update(note="more"),
        lambda document: document["verdicts"][0].update(interval=[0.1]),
    ],
)
def test_other_documents_are_not(spoil: Callable[[dict[str, Any]], object]) -> None:
    document = copy.deepcopy(json.loads(RESULTS.to_json()))
    spoil(document)
    with pytest.raises(jsonschema.ValidationError):
        check(document)
