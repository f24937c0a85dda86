"""The trace of an attack as people read it."""

import pytest

from pytest_robustness.traces import Ending, Frame, Trace


def trace(ending: Ending = "reached", *, aimed: bool = False, norm: str = "linf") -> Trace:
    frames = (
        Frame(0, 0.9, 0.05, 0.0, "data:a"),
        Frame(1, 0.7, 0.25, 0.98 / 255, "data:b"),
        Frame(2, 0.1, 0.85, 2 / 255),
    )
    case = "PGD() at epsilon 2/255"
    return Trace("a.png", case, norm, ("cat", "tabby"), "dog", aimed, ending, "dog 0.85", frames)


def test_a_trace_prints_as_a_table_with_a_row_per_frame() -> None:
    assert str(trace()).splitlines() == [
        "step  accepted  target  distance",
        "   0     0.900   0.050     0/255",
        "   1     0.700   0.250  0.98/255",
        "   2     0.100   0.850     2/255",
        "accepted: cat or tabby",
        "target: dog",
        "a.png under PGD() at epsilon 2/255: becomes dog 0.85 after 2 steps",
    ]


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (trace(aimed=True), "a.png under PGD() at epsilon 2/255 towards dog: becomes dog 0.85 after 2 steps"),
        (trace("held"), "a.png under PGD() at epsilon 2/255: remains dog 0.85 after 2 steps"),
        (
            trace("wrong when clean"),
            "a.png under PGD() at epsilon 2/255: not attacked, as it is wrong when clean (dog 0.85)",
        ),
    ],
)
def test_its_repr_says_how_it_ended(made: Trace, line: str) -> None:
    assert repr(made) == line


def test_a_class_that_was_found_and_not_reached_is_said_to_be_the_strongest_other() -> None:
    assert "target: dog, the strongest of the others at the end" in str(trace("held"))
    assert "target: dog\n" in str(trace("held", aimed=True))


def test_distances_are_levels_in_linf_and_plain_in_l2() -> None:
    made = trace()
    assert [made.distance_text(frame) for frame in made.frames] == ["0/255", "0.98/255", "2/255"]
    other = trace(norm="l2")
    assert other.distance_text(other.last) == "0.00784"


def test_without_pictures_the_numbers_stay() -> None:
    bare = trace().without_pictures()
    assert [frame.png for frame in bare.frames] == ["", "", ""]
    assert bare.table() == trace().table()
