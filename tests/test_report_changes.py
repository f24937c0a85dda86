"""The comparison with the release before, as its table has it."""

import dataclasses

import pytest

from pytest_robustness.comparisons import Change, Comparison
from pytest_robustness.report.changes import Names, compared, shifts

LOST = Change(
    "t.py::test_a", "accuracy", "FGSM() at epsilon 2/255", "epsilon", 0.75, 0.5, ("a.png",), (), 4, 0.5, 0.1, True
)


def comparison(*changes: Change) -> Comparison:
    return Comparison("v1.json", "Net ab12", changes)


def change(**fields: object) -> Change:
    return dataclasses.replace(LOST, **fields)  # type: ignore[arg-type]


def test_a_change_is_told_in_words() -> None:
    (shift,) = shifts(comparison(LOST))
    assert (shift.before, shift.after, shift.by, shift.allowed, shift.verdict) == (
        "0.75",
        "0.5",
        "-0.25",
        "-0.1",
        "worse",
    )
    assert shift.names == (Names("lost", 1, ("a.png",), False, 0),)


def test_a_breaking_point_is_a_strength() -> None:
    (shift,) = shifts(comparison(change(kind="breaking_point", before=3 / 255, after=2 / 255)))
    assert (shift.before, shift.after, shift.by) == ("epsilon 3/255", "epsilon 2/255", "-0.003922")


@pytest.mark.parametrize(
    ("own", "verdict", "allowed"),
    [
        (change(), "worse", "-0.1"),
        (change(worse=False, allowed=0.3), "allowed", "-0.3"),
        (change(worse=False, allowed=None), "not judged", "any"),
        (change(worse=False, after=0.75), "no worse", "-0.1"),
        (change(worse=False, after=0.8, allowed=0.0), "no worse", "0"),
    ],
)
def test_a_drop_is_judged_by_what_is_allowed(own: Change, verdict: str, allowed: str) -> None:
    (shift,) = shifts(comparison(own))
    assert (shift.verdict, shift.allowed) == (verdict, allowed)


def test_no_change_is_0() -> None:
    (shift,) = shifts(comparison(change(after=0.75, worse=False)))
    assert shift.by == "0"


def test_worse_ones_come_first_then_the_largest_drops() -> None:
    own = [
        change(test="gained", after=0.9, worse=False),
        change(test="worse", after=0.6),
        change(test="allowed", worse=False),
        change(test="worst"),
    ]
    assert [shift.change.test for shift in shifts(comparison(*own))] == ["worst", "worse", "allowed", "gained"]


def test_many_names_are_folded_and_very_many_are_counted() -> None:
    images = tuple(f"{place}.png" for place in range(300))
    (shift,) = shifts(comparison(change(lost=images, gained=images[:9])))
    assert shift.names == (Names("lost", 300, images[:200], True, 100), Names("gained", 9, images[:9], True, 0))


def test_what_came_of_it_is_a_sentence() -> None:
    assert compared(comparison(LOST, LOST, change(worse=False))) == (
        "Against v1.json: 2 of 3 comparisons worse than allowed."
    )
    assert compared(comparison()) == "Against v1.json: nothing to compare."
