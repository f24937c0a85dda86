"""The plugin under pytest-xdist: the same results, and never a green exit over a red gate."""

import json

import pytest

from tests.conftest import run_on

HOLDS = """
from pytest_robustness import Blend, GaussianNoise, SmoothingVote

def test_holds(robustness, robustness_image):
    robustness.assert_holds_until(robustness_image, Blend("white.png"), 0.3, levels=3)

def test_vote(robustness, robustness_image):
    robustness.assert_vote_recovers(robustness_image, GaussianNoise(), 1.0, SmoothingVote())

def test_accuracy(robustness):
    robustness.assert_accuracy(Blend("white.png"), 0.1, at_least=0.9)
"""


def test_two_workers_write_the_same_results_as_one_process(project: pytest.Pytester) -> None:
    project.makepyfile(HOLDS)
    single = run_on(project, 0, "--robustness-json=single.json")
    double = run_on(project, 2, "--robustness-json=double.json", "--robustness-report=double.html", "--dist=worksteal")
    assert single.ret == double.ret == pytest.ExitCode.TESTS_FAILED
    one, two = (
        json.loads((project.path / name).read_text(encoding="utf-8")) for name in ("single.json", "double.json")
    )
    # Each worker has its own allowance of pictures; everything else agrees to the last digit.
    for document in (one, two):
        for verdict in document["verdicts"]:
            verdict["pictures"] = bool(verdict["pictures"])
    assert one == two
    assert len(one["verdicts"]) == 13
    assert "report: double.html" in double.outlines


@pytest.mark.parametrize("workers", [0, 1])
def test_a_failing_gate_fails_the_run(project: pytest.Pytester, workers: int) -> None:
    project.makepyfile(
        "def test_it(robustness):\n"
        "    from pytest_robustness import Blend\n"
        "    robustness.assert_accuracy(Blend('white.png'), 0.9, at_least=0.9)\n"
    )
    result = run_on(project, workers, "--robustness-json=out.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1)
    assert "accuracy under Blend('white.png') at alpha 0.9 >= 0.9" in result.outlines


def test_a_report_that_a_worker_cannot_send_never_ends_green(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import numpy

        def test_it(robustness, record_property):
            record_property("numpy", numpy.float64(1.0))
            robustness.assert_accuracy(at_least=1.0)
        """
    )
    result = run_on(project, 1)
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR


def test_a_worker_that_dies_fails_the_run_and_keeps_what_the_others_found(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import os, time

        def test_a_first(robustness):
            robustness.assert_accuracy(at_least=1.0)

        def test_b_dies(robustness):
            time.sleep(0.5)
            os._exit(9)
        """
    )
    result = run_on(project, 1, "--max-worker-restart=0", "--robustness-json=out.json")
    assert result.ret != pytest.ExitCode.OK
    document = json.loads((project.path / "out.json").read_text(encoding="utf-8"))
    assert [v["test"].partition("::")[2] for v in document["verdicts"]] == ["test_a_first"]
    assert document["complete"] is False


def test_an_error_under_xdist_is_told_in_its_sentences(project: pytest.Pytester) -> None:
    (project.path / "conftest.py").unlink()
    project.makepyfile("def test_it(robustness): pass")
    result = run_on(project, 1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "no model to judge: define the fixture robustness_model in conftest.py, for example" in result.outlines
    assert "Traceback" not in result.stdout.str()
