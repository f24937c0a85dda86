"""Curves, on pictures whose answers at every strength are known."""

import pytest

from pytest_robustness.curves import Curve, Point, intruding, transparencies
from pytest_robustness.errors import InputError
from pytest_robustness.records import Outcome


def outcome(subject: float, intruder: float) -> Outcome:
    """Of an elephant, which a zebra takes over; the rest is a tiger's."""
    shares = {"elephant": subject, "zebra": intruder, "tiger": round(1 - subject - intruder, 6)}
    top = tuple(sorted(shares.items(), key=lambda pair: -pair[1]))
    return Outcome("e.jpg", ("elephant",), top[0][0], top[0][0] == "elephant", top[0][1], subject, top)


ROWS = {0.0: (0.9, 0.0), 0.1: (0.6, 0.1), 0.2: (0.3, 0.2), 0.3: (0.2, 0.7), 0.4: (0.6, 0.3), 0.5: (0.0, 1.0)}


def curve(rows: dict[float, tuple[float, float]] = ROWS, intruder: tuple[str, ...] = ("zebra",)) -> Curve:
    points = (Point(strength, outcome(*row), row[1]) for strength, row in rows.items())
    return Curve("e.jpg", "Blend('zebra.png')", "alpha", ("elephant",), intruder, tuple(points))


def test_a_curve_tells_where_the_answer_changes() -> None:
    assert curve().leaves == 0.2  # to the tiger
    assert curve().takeover == 0.3
    assert curve().returns == 0.4
    assert curve(intruder=("tiger", "lion")).takeover == 0.2
    assert curve({0.0: (0.9, 0.0), 0.1: (0.6, 0.1)}).leaves is None
    assert curve({0.0: (0.9, 0.0), 0.1: (0.6, 0.1)}).takeover is None
    assert curve({0.0: (0.9, 0.0), 0.1: (0.6, 0.1)}).returns is None


def test_a_curve_tells_where_the_subject_first_drops_below_a_bound() -> None:
    assert [curve().drops_below(bound) for bound in (1.0, 0.9, 0.5, 0.25, 0.1)] == [0.0, 0.1, 0.2, 0.3, 0.5]
    assert curve({0.0: (0.9, 0.0)}).drops_below(0.5) is None
    for bound in (0.0, 1.5, 50):
        with pytest.raises(InputError) as error:
            curve().drops_below(bound)
        assert str(error.value) == f"expected a probability in (0, 1] to drop below, got {bound}"


def test_a_curve_is_one_sentence() -> None:
    assert repr(curve()) == (
        "e.jpg under Blend('zebra.png'): leaves the accepted classes at alpha 0.2 (tiger 0.50), "
        "zebra takes over at alpha 0.3 (zebra 0.70), returns at alpha 0.4 (elephant 0.60)"
    )
    assert repr(curve({0.0: (0.9, 0.0), 0.1: (0.6, 0.1)})) == (
        "e.jpg under Blend('zebra.png'): stays in the accepted classes up to alpha 0.1"
    )


def test_a_curve_is_one_table_with_transparency_and_alpha() -> None:
    rows = {0.0: (0.9, 0.0), 0.25: (0.2, 0.7)}
    assert str(curve(rows)) == (
        "transparency  alpha  subject  intruder  top-1\n"
        "       100 %      0    0.900     0.000  elephant 0.900\n"
        "        75 %   0.25    0.200     0.700  zebra 0.700\n"
        "subject: elephant\n"
        "intruder: zebra\n"
        "e.jpg under Blend('zebra.png'): leaves the accepted classes at alpha 0.25 (zebra 0.70), "
        "zebra takes over at alpha 0.25 (zebra 0.70)"
    )
    assert curve(rows).table(top=3).splitlines()[2] == (
        "        75 %   0.25    0.200     0.700  zebra 0.700, elephant 0.200, tiger 0.100"
    )


def test_a_table_of_another_stress_has_its_unit_and_none_for_an_intruder() -> None:
    points = (Point(2 / 255, outcome(0.9, 0.0), 0.0),)
    fgsm = Curve("e.jpg", "FGSM()", "epsilon", ("elephant",), (), points)
    assert str(fgsm).splitlines()[:4] == [
        "epsilon  subject  intruder  top-1",
        "  2/255    0.900         -  elephant 0.900",
        "subject: elephant",
        "intruder: none",
    ]


def test_transparencies_are_alphas() -> None:
    assert transparencies(100, 40, step=5) == (
        0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6,
    )  # fmt: skip
    assert transparencies(50, 0, step=30) == (0.5, 0.8)


@pytest.mark.parametrize(
    ("start", "stop", "step"), [(40, 100, 5), (100, 100, 5), (120, 40, 5), (100, -5, 5), (100, 40, 0)]
)
def test_transparencies_that_do_not_fall_are_refused(start: float, stop: float, step: float) -> None:
    with pytest.raises(InputError) as error:
        transparencies(start, stop, step=step)
    assert str(error.value) == (
        "expected transparencies that fall from at most 100 to at least 0 % by a step > 0, "
        f"got {start} to {stop} by {step}"
    )


def test_the_intruder_is_the_top_1_where_the_stress_is_strongest_and_the_answer_wrong() -> None:
    assert intruding([point.outcome for point in curve().points]) == "zebra"
    assert intruding([outcome(0.9, 0.0), outcome(0.3, 0.2), outcome(0.9, 0.1)]) == "tiger"
    assert intruding([outcome(0.9, 0.0)]) is None
