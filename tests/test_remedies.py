"""What a failed gate says is to be done."""

import pytest

from pytest_robustness.gates import AccuracyAtLeast
from pytest_robustness.records import Verdict
from pytest_robustness.remedies import fell, remedy
from pytest_robustness.strength_gates import HoldsUntil
from tests.test_gates import evaluation
from tests.test_strength_gates import BROKE, HELD, WRONG

LOW = AccuracyAtLeast(0.9).judge(evaluation(8, 2))
SHORT = HoldsUntil(0.3).judge([HELD, BROKE, WRONG])


def test_the_images_that_fell_are_those_that_break_or_are_wrong() -> None:
    assert fell(LOW) == ("w0.png", "w1.png")
    assert fell(SHORT) == ("broke.png", "wrong.png")
    assert fell(Verdict("modify-rate", "claim", "fail", "reason")) == ()


def test_a_model_is_trained_against_the_stress_or_defended() -> None:
    assert remedy(LOW, under="attack") == (
        "to do: train against such attacks, put a defense in front, by robustness.behind(...), or ask for less"
    )
    assert remedy(SHORT, under="perturbation", defended=True) == "to do: train with such images, or ask for less"


def test_images_that_are_wrong_without_the_stress_are_looked_at_first() -> None:
    assert remedy(SHORT, under="perturbation", wrong=1, defended=True) == (
        "1 of the 2 images that fall is wrong without the stress as well: look at labels and preprocessing first\n"
        "to do: train with such images, or ask for less"
    )


@pytest.mark.parametrize(
    ("verdict", "wrong", "which"),
    [(LOW, 2, "2 of the 2 images that fall are"), (HoldsUntil(0.3).judge([WRONG]), 1, "the image is")],
)
def test_where_all_are_wrong_without_the_stress_no_training_against_it_helps(
    verdict: Verdict, wrong: int, which: str
) -> None:
    assert remedy(verdict, under="attack", wrong=wrong) == (
        f"{which} wrong without the stress as well: look at labels and preprocessing first\n"
        "to do: look at the labels, the order of the classes and the preprocessing, or ask for less"
    )


def test_without_a_stress_there_is_nothing_else_to_look_at() -> None:
    assert remedy(LOW, under=None) == (
        "to do: look at the labels, the order of the classes and the preprocessing, or ask for less"
    )


@pytest.mark.parametrize("gate", ["explanation-stable", "attends-to"])
def test_what_a_model_looks_at_is_seen_in_the_report(gate: str) -> None:
    assert remedy(Verdict(gate, "claim", "fail", "reason"), under="perturbation") == (
        "to do: see in the report what the model looks at, train where it should not look there, or ask for less"
    )


def test_a_gate_against_the_release_before_says_itself_what_to_do() -> None:
    assert remedy(Verdict("no-worse", "claim", "fail", "reason"), under="attack") == ""
