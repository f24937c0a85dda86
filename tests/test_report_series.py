"""Gates as numbers under names that stay."""

from dataclasses import replace

import pytest

from pytest_robustness.report.series import Series, Totals, models, series, totals
from pytest_robustness.results import Results
from pytest_robustness.shards import Shard
from tests.format_results import OTHER, RESULTS, RUN, TWO_MODELS, accuracy


def test_gates_are_in_the_order_of_the_tests_with_their_numbers() -> None:
    known = Series("tests/test_it.py::test_known", "Net", "accuracy under FGSM() at epsilon 2/255", "accuracy", "fail", True, 0.5, 0.6, -0.1, 4)  # fmt: skip
    assert series(RESULTS) == (
        Series("tests/test_it.py::test_bad", "", "error", "error", "error", False, None, None, None, 0),
        replace(known, test="tests/test_it.py::test_fgsm", status="pass", expected=False, required=0.4, margin=0.1),
        known,
        Series(
            "tests/test_it.py::test_zebra",
            "Net",
            "top-1 holds until alpha 0.3 under Blend('zebra.png')",
            "holds-until",
            "fail",
            False,
            0.5,
            1.0,
            -0.1,
            2,
        ),
    )


def test_a_bar_that_is_raised_begins_no_other_series() -> None:
    (low,), (high,) = (series(Results((accuracy("test_a", at_least=bar),), (RUN,))) for bar in (0.2, 0.4))
    assert (low.question, low.required, high.required) == (high.question, 0.2, 0.4)


@pytest.mark.parametrize(
    ("claim", "question"),
    [
        ("accuracy under FGSM() at epsilon 2/255 >= 0.4 at confidence 0.95", "accuracy under FGSM() at epsilon 2/255 at confidence 0.95"),
        ("accuracy under PGD() >= 0.5 at epsilon 2/255, 0.25 at epsilon 4/255", "accuracy under PGD() at epsilon 2/255, at epsilon 4/255"),
        ("0.1 quantile of the breaking points under FGSM() >= epsilon 2/255", "0.1 quantile of the breaking points under FGSM()"),
        ("mean corruption error under 15 common corruptions <= 0.767", "mean corruption error under 15 common corruptions"),
        ("SmoothingVote() gains > 0 over 'none' under clean images", "SmoothingVote() gains over 'none' under clean images"),
        ("top-1 holds until alpha 0.25 under Blend('a.png')", "top-1 holds until alpha 0.25 under Blend('a.png')"),
    ],
)  # fmt: skip
def test_a_question_is_the_claim_without_its_bar(claim: str, question: str) -> None:
    (own,) = series(Results((replace(accuracy("test_a"), claim=claim),)))
    assert own.question == question


def test_models_of_one_name_and_questions_asked_twice_are_numbered_in_the_order_of_the_tests() -> None:
    assert models(TWO_MODELS) == models(replace(TWO_MODELS, runs=TWO_MODELS.runs[::-1]))
    assert models(TWO_MODELS) == {RUN.key: "Net", OTHER.key: "Net (2)"}
    assert [own.model for own in series(TWO_MODELS)] == ["Net", "Net (2)"]
    twice = Results((accuracy("test_a", at_least=0.2), accuracy("test_a", "fail", at_least=0.6)), (RUN,))
    assert [(own.question, own.required) for own in series(twice)] == [
        ("accuracy under FGSM() at epsilon 2/255", 0.2),
        ("accuracy under FGSM() at epsilon 2/255 (2)", 0.6),
    ]


def test_totals_count_each_gate_once_and_each_image_set_once() -> None:
    assert totals(RESULTS) == Totals(4, 1, 1, 0, 0, 1, 1, 4, complete=True, green=False)
    assert totals(TWO_MODELS) == Totals(2, 2, 0, 0, 0, 0, 0, 4, complete=True, green=True)


@pytest.mark.parametrize(
    ("results", "green"),
    [
        (Results((accuracy("test_a"),), (RUN,)), True),
        (Results((accuracy("test_a"),), (RUN,), complete=False), False),
        (Results((accuracy("test_a", "undecided"),), (RUN,)), False),
        (Results((accuracy("test_a", "undecided"),), (RUN,), shard=Shard(1, 2)), False),
        (Results((replace(accuracy("test_a", "fail"), expected=True),), (RUN,)), True),
        (Results(), False),
    ],
)
def test_green_is_what_lets_a_release_pass(results: Results, green: bool) -> None:
    assert totals(results).green == green
