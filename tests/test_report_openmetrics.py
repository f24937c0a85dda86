"""The numbers as OpenMetrics text, read by the parser of Prometheus."""

import re
from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pytest_robustness.report.openmetrics import render
from pytest_robustness.results import Results
from tests.format_results import HOSTILE, RESULTS, RUN, STRANGE, TWO_MODELS, accuracy


def test_a_gate_is_gauges_and_a_state() -> None:
    gate = (
        'test="tests/test_it.py::test_fgsm",gate="accuracy",claim="accuracy under FGSM() at epsilon 2/255",model="Net"'
    )
    assert render(Results((accuracy("test_fgsm"),), (RUN,))) == (
        "# TYPE robustness_gate_measured gauge\n"
        "# HELP robustness_gate_measured What the gate measured, in its own unit; of a gate over items, the share that passed.\n"
        f"robustness_gate_measured{{{gate}}} 0.5\n"
        "# TYPE robustness_gate_required gauge\n"
        "# HELP robustness_gate_required What the gate requires, in its own unit.\n"
        f"robustness_gate_required{{{gate}}} 0.4\n"
        "# TYPE robustness_gate_margin gauge\n"
        "# HELP robustness_gate_margin By how much the gate is cleared, below 0 where it is not; of a gate over items, by the worst of them.\n"
        f"robustness_gate_margin{{{gate}}} 0.1\n"
        "# TYPE robustness_gate_n gauge\n"
        "# HELP robustness_gate_n How many images, or pairs of an image and a target, the gate was judged on.\n"
        f"robustness_gate_n{{{gate}}} 4.0\n"
        "# TYPE robustness_gate_status stateset\n"
        "# HELP robustness_gate_status What the gate came to; only pass is green.\n"
        f'robustness_gate_status{{{gate},robustness_gate_status="pass"}} 1.0\n'
        f'robustness_gate_status{{{gate},robustness_gate_status="fail"}} 0.0\n'
        f'robustness_gate_status{{{gate},robustness_gate_status="undecided"}} 0.0\n'
        f'robustness_gate_status{{{gate},robustness_gate_status="untrusted"}} 0.0\n'
        f'robustness_gate_status{{{gate},robustness_gate_status="error"}} 0.0\n'
        "# TYPE robustness_gates gauge\n"
        "# HELP robustness_gates How many gates came to what; xfail are those that failed as their tests expect.\n"
        'robustness_gates{status="pass"} 1.0\n'
        'robustness_gates{status="fail"} 0.0\n'
        'robustness_gates{status="undecided"} 0.0\n'
        'robustness_gates{status="untrusted"} 0.0\n'
        'robustness_gates{status="error"} 0.0\n'
        'robustness_gates{status="xfail"} 0.0\n'
        "# TYPE robustness_complete gauge\n"
        "# HELP robustness_complete Whether the session finished.\n"
        "robustness_complete 1.0\n"
        "# TYPE robustness_green gauge\n"
        "# HELP robustness_green Whether a release may pass.\n"
        "robustness_green 1.0\n"
        "# TYPE robustness_run_images gauge\n"
        "# UNIT robustness_run_images images\n"
        "# HELP robustness_run_images How many images the image set has.\n"
        'robustness_run_images{model="Net"} 4.0\n'
        "# TYPE robustness_run info\n"
        "# HELP robustness_run What the numbers were measured on.\n"
        f'robustness_run_info{{model="Net",model_digest="{"ab" * 32}",images="tests/images",images_digest="{"cd" * 32}",'
        'device="cpu",seed="7",precision="float32",profile=""} 1.0\n'
        "# EOF\n"
    )


@pytest.mark.parametrize("results", [RESULTS, TWO_MODELS, STRANGE, Results()])
def test_the_parser_of_prometheus_reads_it(results: Results) -> None:
    """It refuses a sample that comes twice, a state that is neither 0 nor 1, and a unit that its name does not end with."""
    families = {family.name: family for family in text_string_to_metric_families(render(results))}
    assert families["robustness_green"].samples[0].value == (results is TWO_MODELS or results is STRANGE)
    if results is not RESULTS:
        return
    states = [sample for sample in families["robustness_gate_status"].samples if sample.value]
    assert [(s.labels["test"].rpartition("::")[2], s.labels["robustness_gate_status"]) for s in states] == [
        ("test_bad", "error"),
        ("test_fgsm", "pass"),
        ("test_known", "fail"),
        ("test_zebra", "fail"),
    ]
    assert len(families["robustness_gate_measured"].samples) == 3
    assert {s.labels["status"]: s.value for s in families["robustness_gates"].samples}["xfail"] == 1


def test_the_profile_of_a_run_is_part_of_what_was_measured_on() -> None:
    families = {f.name: f for f in text_string_to_metric_families(render(replace(RESULTS, profile="release")))}
    assert families["robustness_run"].samples[0].labels["profile"] == "release"


def test_hostile_names_come_back_as_they_were() -> None:
    families = {family.name: family for family in text_string_to_metric_families(render(STRANGE))}
    (sample,) = families["robustness_gate_measured"].samples
    assert sample.labels["claim"] == f"accuracy under {HOSTILE}"
    assert sample.labels["model"] == families["robustness_run"].samples[0].labels["images"] == HOSTILE
    assert all(re.match(r"# |robustness_", line) for line in render(STRANGE).splitlines())
