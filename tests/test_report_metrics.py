"""The numbers as one flat object."""

import json
import posixpath
import re
from dataclasses import replace

import pytest

from pytest_robustness.report.metrics import flat, render
from pytest_robustness.results import Results
from tests.format_results import RESULTS, RUN, STRANGE, TWO_MODELS, accuracy


def test_every_number_has_a_name_of_its_own() -> None:
    assert json.loads(render(RESULTS)) == {
        "robustness/gates": 4,
        "robustness/passed": 1,
        "robustness/failed": 1,
        "robustness/undecided": 0,
        "robustness/untrusted": 0,
        "robustness/errors": 1,
        "robustness/expected": 1,
        "robustness/images": 4,
        "robustness/complete": 1,
        "robustness/green": 0,
        "tests/test_it.py/test_bad/error/n": 0,
        "tests/test_it.py/test_bad/error/passed": 0,
        "tests/test_it.py/test_fgsm/accuracy under FGSM at epsilon 2-255/measured": 0.5,
        "tests/test_it.py/test_fgsm/accuracy under FGSM at epsilon 2-255/required": 0.4,
        "tests/test_it.py/test_fgsm/accuracy under FGSM at epsilon 2-255/margin": 0.1,
        "tests/test_it.py/test_fgsm/accuracy under FGSM at epsilon 2-255/n": 4,
        "tests/test_it.py/test_fgsm/accuracy under FGSM at epsilon 2-255/passed": 1,
        "tests/test_it.py/test_known/accuracy under FGSM at epsilon 2-255/measured": 0.5,
        "tests/test_it.py/test_known/accuracy under FGSM at epsilon 2-255/required": 0.6,
        "tests/test_it.py/test_known/accuracy under FGSM at epsilon 2-255/margin": -0.1,
        "tests/test_it.py/test_known/accuracy under FGSM at epsilon 2-255/n": 4,
        "tests/test_it.py/test_known/accuracy under FGSM at epsilon 2-255/passed": 0,
        "tests/test_it.py/test_zebra/top-1 holds until alpha 0.3 under Blend zebra.png/measured": 0.5,
        "tests/test_it.py/test_zebra/top-1 holds until alpha 0.3 under Blend zebra.png/required": 1.0,
        "tests/test_it.py/test_zebra/top-1 holds until alpha 0.3 under Blend zebra.png/margin": -0.1,
        "tests/test_it.py/test_zebra/top-1 holds until alpha 0.3 under Blend zebra.png/n": 2,
        "tests/test_it.py/test_zebra/top-1 holds until alpha 0.3 under Blend zebra.png/passed": 0,
    }


def test_of_several_models_each_has_numbers_of_its_own() -> None:
    found = flat(TWO_MODELS)
    question = "accuracy under FGSM at epsilon 2-255"
    assert found[f"tests/test_it.py/test_fgsm/Net/{question}/measured"] == 0.5
    assert found[f"tests/test_it.py/test_fgsm/Net 2/{question}/measured"] == 0.25


LONG = Results(
    tuple(replace(accuracy("test_a"), claim=f"accuracy under {'noise ' * 60}{tail} >= 0.4") for tail in "ab"), (RUN,)
)
ALIKE = Results(tuple(replace(accuracy("test_a"), claim=f"accuracy under {name} >= 0.4") for name in ("F()", "F(")))


@pytest.mark.parametrize("results", [RESULTS, TWO_MODELS, STRANGE, LONG, ALIKE])
def test_names_are_what_mlflow_takes_and_no_two_are_the_same(results: Results) -> None:
    found = flat(results)
    for name in found:
        # mlflow.utils.validation: the characters, the length, and what is no path of its own.
        assert re.fullmatch(r"[/\w.\- ]+", name)
        assert len(name) <= 250
        assert posixpath.normpath(name) == name
        assert not name.startswith(("/", "../"))
    gates = sum(name.endswith("/measured") for name in found)
    assert gates == sum(v.measured is not None for v in results.verdicts) - (results is RESULTS)
    assert all(isinstance(number, int | float) for number in found.values())


def test_a_name_does_not_depend_on_the_numbers_nor_on_the_bar() -> None:
    changed = Results((accuracy("test_fgsm", "fail", at_least=0.6, right=1),), (RUN,))
    assert set(flat(changed)) == set(flat(Results((accuracy("test_fgsm"),), (RUN,))))
