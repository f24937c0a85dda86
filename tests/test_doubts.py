"""Waivers, and what becomes of a verdict in doubt."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import pytest

from pytest_robustness.doubts import CHECKS, checked_waivers, consequences, merged
from pytest_robustness.errors import InputError
from pytest_robustness.records import Doubt, Verdict

GRADIENTS = Doubt("gradients", "it is zero", "look for rounding")
BLACK_BOX = Doubt("black-box", "Square() breaks more", "gate on it")


def verdict(status: Literal["pass", "fail"]) -> Verdict:
    return Verdict("accuracy", "claim", status, "accuracy 0.5\nfurthest off: a.png")


def judged(verdict: Verdict, checks: Sequence[str], doubts: Sequence[Doubt]) -> Verdict:
    return dataclasses.replace(verdict, **consequences(verdict, checks, doubts))


def test_waivers_are_names_of_checks_with_reasons() -> None:
    waive = {"repeatable": "randomised on purpose"}
    assert checked_waivers(waive) == waive
    assert checked_waivers({}) == {}


@pytest.mark.parametrize(
    ("waive", "message"),
    [
        (
            {"repeatabel": "why"},
            f"expected waive to name checks out of {', '.join(CHECKS)}, got 'repeatabel'; did you mean 'repeatable'?",
        ),
        ({3: "why"}, f"expected waive to name checks out of {', '.join(CHECKS)}, got 3"),
        (
            {"converged": " "},
            "expected a reason for waiving 'converged', in words that the report can show, got ' '",
        ),
        (
            {"converged": True},
            "expected a reason for waiving 'converged', in words that the report can show, got True",
        ),
        (
            ["converged"],
            "expected waive to map the names of checks to reasons, got ['converged']; "
            "write waive={'repeatable': 'randomised on purpose'}",
        ),
    ],
)
def test_other_waivers_are_refused(waive: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        checked_waivers(waive, "test_it: ")
    assert str(error.value) == f"test_it: {message}"


def test_a_pass_in_doubt_is_untrusted_and_says_what_to_do() -> None:
    doubted = judged(verdict("pass"), CHECKS, [GRADIENTS, BLACK_BOX])
    assert (doubted.status, doubted.checks, doubted.doubts) == ("untrusted", CHECKS, (GRADIENTS, BLACK_BOX))
    assert doubted.reason == (
        "accuracy 0.5\n"
        "untrusted, gradients: it is zero; look for rounding, or waive={'gradients': 'why it does not count'}\n"
        "untrusted, black-box: Square() breaks more; gate on it, or waive={'black-box': 'why it does not count'}"
    )


def test_a_fail_in_doubt_is_a_fail_and_says_so() -> None:
    doubted = judged(verdict("fail"), CHECKS, [GRADIENTS, BLACK_BOX])
    assert (doubted.status, doubted.doubts) == ("fail", (GRADIENTS, BLACK_BOX))
    assert doubted.reason == (
        "accuracy 0.5\nfurthest off: a.png\nin doubt: gradients: it is zero\nin doubt: black-box: Square() breaks more"
    )


def test_a_doubt_that_is_waived_is_kept_and_changes_nothing() -> None:
    checks, doubts = merged([(CHECKS, [GRADIENTS, BLACK_BOX])], {"gradients": "known", "converged": "not found"})
    assert doubts == (Doubt("gradients", "it is zero", "look for rounding", "known"), BLACK_BOX)
    doubted = judged(verdict("pass"), checks, doubts)
    assert doubted.status == "untrusted"
    assert "gradients" not in doubted.reason
    _, doubts = merged([(CHECKS, [GRADIENTS])], {"gradients": "known"})
    doubted = judged(verdict("pass"), CHECKS, doubts)
    assert (doubted.status, doubted.reason, doubted.doubts) == ("pass", verdict("pass").reason, doubts)


def test_of_several_strengths_the_first_doubt_of_each_check_counts() -> None:
    later = Doubt("black-box", "Square() breaks yet more", "gate on it")
    found = [(CHECKS[:2], [BLACK_BOX]), (CHECKS[:3], [GRADIENTS, later])]
    assert merged(found, {}) == (CHECKS[:3], (GRADIENTS, BLACK_BOX))
    assert merged([], {}) == ((), ())
