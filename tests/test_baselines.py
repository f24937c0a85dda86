"""Baselines: looked up in, and renewed."""

from pathlib import Path

import pytest

from pytest_robustness.baselines import Baseline, renewed, slim
from pytest_robustness.charts import Chart
from pytest_robustness.errors import InputError
from pytest_robustness.records import Case, Picture
from tests.releases import CASE, RUN, asked, other, results, verdict

ALL = results(verdict("t.py::a", asked("x y")), verdict("t.py::b", asked("-x y")))


def right(baseline: Baseline, *images: str) -> list[bool | None]:
    found = baseline.before(CASE, RUN, [f"{image}.png" for image in images])
    return [None if own is None else own.correct for own in found]


def test_an_outcome_is_that_of_the_test_that_asks_else_of_the_first_test() -> None:
    baseline = Baseline(ALL)
    assert right(baseline, "x", "y", "z") == [True, True, None]
    assert right(baseline.of("t.py::b"), "x", "y", "z") == [False, True, None]
    assert right(baseline.of("t.py::c"), "x") == [True]
    assert baseline.name == "the results given as baseline"


def test_a_case_that_is_not_there_is_none_and_those_of_its_stress_are_named() -> None:
    baseline = Baseline(ALL)
    case = Case("FGSM()", "epsilon", 4 / 255)
    assert baseline.before(case, RUN, ["x.png"]) == [None]
    assert baseline.beside(case) == ("FGSM() at epsilon 2/255",)
    assert baseline.beside(CASE) == ()


def test_a_case_on_other_data_alone_is_refused_and_any_model_will_do() -> None:
    baseline = Baseline(ALL)
    assert baseline.before(CASE, other(model="Other", model_digest="00", device="cuda:0"), ["y.png"])[0] is not None
    with pytest.raises(InputError) as error:
        baseline.before(CASE, other(seed=1), ["x.png"])
    assert str(error.value) == (
        "the results given as baseline: expected FGSM() at epsilon 2/255 on the same data, got another seed (0 before, 1 now); run on "
        "the same images with the same seed, or write the baseline anew with --robustness-update-baseline"
    )


def test_a_file_is_read_once_and_one_that_is_yet_to_be_made_knows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "release.json"
    assert right(Baseline(path), "x") == [None]
    path.write_text(ALL.to_json(), encoding="utf-8")
    baseline = Baseline(path)
    assert right(baseline, "x") == [True]
    path.unlink()
    assert right(baseline.of("t.py::b"), "x") == [False]
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"release.json: expected results of schema 'pytest-robustness/2', got None;"):
        right(Baseline(path), "x")


def test_a_baseline_keeps_neither_pictures_nor_charts() -> None:
    shown = verdict(
        "t.py::a", asked("x"), pictures=(Picture("x.png", "clean", "data:", ()),), charts=(Chart("c", "x", "y", ()),)
    )
    assert slim(results(shown)) == results(verdict("t.py::a", asked("x")))


def test_what_ran_replaces_what_was_there_test_by_test_and_the_rest_stays() -> None:
    now = results(verdict("t.py::b", asked("x y")), verdict("t.py::c", asked("x")))
    assert renewed(ALL, now) == results(ALL.verdicts[0], *now.verdicts)
    assert renewed(None, now) == now
    assert renewed(ALL, now, prune=True) == now


def test_the_runs_are_those_of_what_is_there() -> None:
    run = other(model="New", model_digest="00")
    now = results(verdict("t.py::b", asked("x"), run=run), runs=(run,), profile="release")
    found = renewed(ALL, now)
    assert {own.model for own in found.runs} == {"Net", "New"}
    assert [own.run for own in found.verdicts] == [RUN.key, run.key]
    assert found.profile == "release"
    assert renewed(ALL, now, prune=True).runs == (run,)


@pytest.mark.parametrize("status", ["error", "untrusted"])
def test_what_was_not_measured_does_not_replace_what_was(status: str) -> None:
    now = results(verdict("t.py::a", asked("-x"), status=status), verdict("t.py::c", asked("-x"), status=status))
    assert renewed(ALL, now) == ALL
    assert renewed(ALL, now, prune=True) == results(ALL.verdicts[0])


def test_numbers_on_other_data_are_not_put_beside_those_that_stay() -> None:
    run = other(seed=1)
    now = results(verdict("t.py::b", asked("x"), run=run), runs=(run,))
    with pytest.raises(InputError) as error:
        renewed(ALL, now)
    assert str(error.value) == (
        "expected what stays in the baseline to be of the same data, got another seed (0 before, 1 now) of t.py::a; run all tests with "
        "--robustness-update-baseline, and --robustness-prune-baseline for those that are gone, or delete the file"
    )
    assert renewed(ALL, now, prune=True) == now
