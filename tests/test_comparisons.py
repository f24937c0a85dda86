"""How much worse a release may be, and where the one before is."""

from pathlib import Path

import pytest

from pytest_robustness.comparisons import Allowed, Change, Comparison, baseline_file
from pytest_robustness.errors import InputError


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("accuracy:1%,breaking_point:0.05", Allowed(0.01, 0.05)),
        ("breaking_point:2", Allowed(None, 2.0)),
        (" accuracy:.5 ", Allowed(0.5)),
        ("accuracy:0", Allowed(0.0)),
        ("accuracy:12.5%", Allowed(0.125)),
    ],
)
def test_drops_are_given_as_shares_percents_or_strengths(text: str, allowed: Allowed) -> None:
    assert Allowed.parse(text) == allowed


@pytest.mark.parametrize(
    "text",
    ["", "accuracy", "accuracy:-1%", "accuracy:1%,accuracy:2%", "breaking_point:5%", "mean:5%", "accuracy:1.2.3"],
)
def test_what_is_no_drop_is_refused(text: str) -> None:
    with pytest.raises(InputError) as error:
        Allowed.parse(text)
    assert str(error.value) == f"expected drops such as accuracy:1%,breaking_point:0.05, each once, got {text!r}"


def test_a_drop_of_all_and_more_is_refused() -> None:
    with pytest.raises(InputError) as error:
        Allowed.parse("accuracy:1")
    assert str(error.value) == "expected a drop of the accuracy below 1, got 1; write accuracy:1% for a hundredth"


def test_a_comparison_knows_what_is_worse_than_allowed() -> None:
    worse = Change("t.py::a", "accuracy", "clean images", "", 0.75, 0.5, ("a.png",), (), 4, 1.0, 0.1, worse=True)
    fine = Change("t.py::b", "accuracy", "clean images", "", 0.5, 0.75, (), ("a.png",), 4, 1.0, 0.1)
    assert (worse.drop, fine.drop) == (0.25, -0.25)
    assert Comparison("before.json", "Net", (fine, worse)).worse == (worse,)


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("release", "/project/robustness-baselines/release.json"),
        ("release.json", "/here/release.json"),
        ("some/release", "/here/some/release"),
        ("/tmp/release.json", "/tmp/release.json"),
    ],
)
def test_a_name_is_a_file_below_the_root_and_a_path_a_path(text: str, file: str) -> None:
    assert baseline_file(text, root=Path("/project"), here=Path("/here")) == Path(file)
