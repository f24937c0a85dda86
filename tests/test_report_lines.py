"""Where every point, band, tick and mark of a chart goes, by arithmetic."""

import re

import pytest

from pytest_robustness.charts import Chart, Line, Mark
from pytest_robustness.report.lines import drawing
from pytest_robustness.stats import proportion_interval


def chart(*lines: Line, x: str = "alpha", marks: tuple[Mark, ...] = ()) -> Chart:
    return Chart("zebra.png under Blend('z.png')", x, "probability", lines, marks)


SUBJECT = Line("accepted: cat", ((0.0, 1.0), (0.25, 0.5), (0.5, 0.0)), role="subject")
INTRUDER = Line("dog", ((0.0, 0.0), (0.25, 0.25), (0.5, 1.0)), role="intruder")


def test_points_lie_between_0_and_the_largest_x_and_between_no_and_all() -> None:
    drawn = drawing(chart(SUBJECT, INTRUDER))
    middle = (drawn.left + drawn.right) / 2
    assert (drawn.left, drawn.right, drawn.top, drawn.base) == (44, 416, 22, 208)
    subject, intruder = drawn.lines
    assert subject.path == f"M44 22L{middle:g} 115L416 208"
    assert intruder.path == f"M44 208L{middle:g} 161.5L416 22"
    assert [(dot.x, dot.y, dot.title) for dot in subject.dots] == [
        (44, 22, "accepted: cat: 1.000 at alpha 0"),
        (middle, 115, "accepted: cat: 0.500 at alpha 0.25"),
        (416, 208, "accepted: cat: 0.000 at alpha 0.5"),
    ]


def test_a_share_is_drawn_over_all_shares() -> None:
    drawn = drawing(chart(Line("a", ((0.0, 0.9), (1.0, 0.8)))))
    assert [(tick.at, tick.text) for tick in drawn.y] == [
        (208, "0"),
        (161.5, "0.25"),
        (115, "0.5"),
        (68.5, "0.75"),
        (22, "1"),
    ]


@pytest.mark.parametrize(
    ("unit", "reach", "texts"),
    [
        ("alpha", 0.25, "0 0.05 0.1 0.15 0.2 0.25"),
        ("alpha", 0.6, "0 0.1 0.2 0.3 0.4 0.5 0.6"),
        ("severity", 5.0, "0 1 2 3 4 5"),
        ("sigma", 12.5, "0 5 10"),
        ("L2 radius", 0.93, "0 0.2 0.4 0.6 0.8"),
        ("epsilon", 8 / 255, "0 2/255 4/255 6/255 8/255"),
        ("epsilon", 1 / 255, "0 0.25/255 0.5/255 0.75/255 1/255"),
        ("epsilon", 0.3 / 255, "0 0.25/255"),
        ("epsilon", 64 / 255, "0 16/255 32/255 48/255 64/255"),
        ("epsilon", 0.5, "0 0.1 0.2 0.3 0.4 0.5"),
    ],
)
def test_ticks_are_at_strengths_that_people_write(unit: str, reach: float, texts: str) -> None:
    drawn = drawing(chart(Line("a", ((0.0, 1.0), (reach, 0.0))), x=unit))
    assert " ".join(tick.text for tick in drawn.x) == texts
    assert all(drawn.left <= tick.at <= drawn.right + 0.1 for tick in drawn.x)


def test_a_band_goes_along_its_upper_ends_and_back_along_its_lower_ones() -> None:
    banded = Line("a", ((0.0, 0.5), (1.0, 0.5)), ((0.25, 0.75), (0.0, 1.0)))
    (drawn,) = drawing(chart(banded)).lines
    assert drawn.band == "M44 68.5L416 22L416 208L44 161.5z"
    assert drawn.dots[1].title == "a: 0.500 at alpha 1, 95 % interval 0.000 to 1.000"


def test_a_stair_keeps_its_level_until_the_next_point() -> None:
    stair = Line("a", ((0.0, 1.0), (0.5, 0.5), (1.0, 0.0)), ((1.0, 1.0), (0.5, 0.5), (0.0, 0.0)), steps=True)
    (drawn,) = drawing(chart(stair)).lines
    assert drawn.path == "M44 22L230 22L230 115L416 115L416 208"
    assert drawn.band == "M44 22L230 22L230 115L416 115L416 208L416 208L416 115L230 115L230 22L44 22z".replace(
        "L416 208L416 208", "L416 208"
    )
    assert drawn.dots == ()


def test_points_that_fall_together_are_drawn_once() -> None:
    many = Line("a", tuple((place / 100_000, 1 - place / 100_000) for place in range(100_001)))
    (drawn,) = drawing(chart(many)).lines
    assert drawn.path.count("L") < 6000
    assert drawn.path.startswith("M44 22L")
    assert drawn.path.endswith("L416 208")


def test_lines_are_told_apart_by_colour_dashes_and_shape() -> None:
    lines = [Line(str(number), ((0.0, 1.0),)) for number in range(7)]
    drawn = drawing(chart(SUBJECT, *lines, INTRUDER)).lines
    assert [line.style for line in drawn] == [
        "subject",
        *(f"other-{number}" for number in range(6)),
        "other-0",
        "intruder",
    ]
    assert len({line.shape for line in drawn[1:7]}) == 6
    assert drawn[0].shape != drawn[-1].shape


def test_a_second_subject_is_told_apart_as_others_are() -> None:
    assert [line.style for line in drawing(chart(SUBJECT, SUBJECT, INTRUDER, INTRUDER)).lines] == [
        "subject",
        "other-0",
        "intruder",
        "other-1",
    ]


def test_marks_stand_above_the_drawing_on_the_side_that_has_room() -> None:
    drawn = drawing(chart(SUBJECT, marks=(Mark(0.1, "breaks"), Mark(0.5, "required"))))
    assert drawn.at == (118.4, 416)
    assert [(label.x, label.y, label.anchor, label.text) for label in drawn.marks] == [
        (122.4, 27, "start", "breaks"),
        (412, 27, "end", "required"),
    ]
    assert drawn.top == 37


def test_marks_that_would_cover_each_other_stand_in_rows() -> None:
    drawn = drawing(chart(SUBJECT, marks=(Mark(0.1, "median"), Mark(0.11, "required"), Mark(0.45, "mean"))))
    assert [label.y for label in drawn.marks] == [27, 42, 27]
    assert drawn.top == 52


def test_what_it_shows_is_said_and_tabled() -> None:
    interval = proportion_interval(1, 2)
    half = Line("b", ((0.25, 0.5),), (interval,))
    drawn = drawing(chart(SUBJECT, half, marks=(Mark(0.375, "breaks"),)))
    assert drawn.said == (
        "probability against alpha. accepted: cat: 1.000 at alpha 0, 0.000 at 0.5; b: 0.500 at alpha 0.25; "
        "breaks at alpha 0.375"
    )
    assert drawn.heads == ("alpha", "accepted: cat", "b")
    assert drawn.rows == (("0", "1.000", ""), ("0.25", "0.500", "0.500 (0.013 to 0.987)"), ("0.5", "0.000", ""))
    assert drawn.note == ""


def test_a_stair_has_a_value_between_its_points_and_none_before_them() -> None:
    stair = Line("a", ((0.25, 0.75), (0.5, 0.25)), steps=True)
    drawn = drawing(chart(stair, Line("b", ((0.0, 1.0), (0.375, 1.0), (1.0, 1.0)))))
    assert [row[1] for row in drawn.rows] == ["", "0.750", "0.750", "0.250", "0.250"]


def test_of_many_points_the_table_has_evenly_chosen_ones() -> None:
    stair = Line("a", tuple((place / 1000, 1 - place / 1000) for place in range(1001)), steps=True)
    drawn = drawing(chart(stair))
    assert len(drawn.rows) == 60
    assert (drawn.rows[0], drawn.rows[-1]) == (("0", "1.000"), ("1", "0.000"))
    assert drawn.note == "60 of 1,001 places along alpha; all of them are in the JSON results."


def test_a_chart_without_points_is_a_frame() -> None:
    drawn = drawing(chart(Line("a", ())))
    assert drawn.lines[0].path == ""
    assert drawn.said == "probability against alpha. "
    assert drawn.rows == ()


def test_everything_lies_within_the_drawing() -> None:
    drawn = drawing(chart(Line("a", ((0.0, 1.2), (3.0, -0.1))), marks=(Mark(3.0, "required"), Mark(0.0, "here"))))
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", drawn.lines[0].path)]
    assert all(drawn.left <= x <= drawn.right for x in numbers[::2])
    assert all(drawn.top <= y <= drawn.base for y in numbers[1::2])
    assert drawn.base < drawn.height
    assert drawn.right < drawn.width
