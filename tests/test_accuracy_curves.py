"""Accuracy curves: what they hold, and the table and sentences that they are told in."""

import pytest

from pytest_robustness.accuracy_curves import AccuracyCurve, AccuracyCurves, Comparison
from pytest_robustness.errors import InputError
from pytest_robustness.records import Case, Evaluation, Outcome

STRENGTHS = (0.0, 2 / 255, 8 / 255)


def evaluation(strength: float, right: str) -> Evaluation:
    """Of ten images, those right whose digits are given."""
    outcomes = (
        Outcome(f"{i}.png", ("cat",), "cat" if str(i) in right else "dog", str(i) in right, 0.9, 0.5, (("cat", 0.5),))
        for i in range(10)
    )
    return Evaluation(Case("PGD()", "epsilon", strength), tuple(outcomes))


def curve(model: str, *rights: str) -> AccuracyCurve:
    return AccuracyCurve(
        model, tuple(evaluation(s, right) for s, right in zip(STRENGTHS[: len(rights)], rights, strict=True))
    )


SMALL = curve("small", "012345678", "0123", "0")
LARGE = curve("large", "0123456789", "234567", "12")
CURVES = AccuracyCurves((SMALL, LARGE))


def test_a_curve_has_an_accuracy_at_every_strength() -> None:
    assert SMALL.points == {0.0: 0.9, 2 / 255: 0.4, 8 / 255: 0.1}
    assert [float(accuracy) for accuracy in SMALL] == [0.9, 0.4, 0.1]
    assert len(SMALL) == 3
    assert SMALL.at(8 / 255) == evaluation(8 / 255, "0")
    with pytest.raises(InputError) as error:
        SMALL.at(0.2)
    assert str(error.value) == "expected a strength of the curve, one of 0, 2/255, 8/255, got 0.2; measure it too"


def test_curves_are_found_by_the_names_of_their_models() -> None:
    assert list(CURVES) == [SMALL, LARGE]
    assert len(CURVES) == 2
    assert CURVES["large"] is LARGE
    with pytest.raises(InputError) as error:
        CURVES["larger"]
    assert str(error.value) == "expected the name of a model, small or large, got 'larger'"


def test_a_curve_is_one_sentence() -> None:
    assert repr(CURVES) == ("accuracy under PGD() from epsilon 0 to 8/255, 10 images: small 0.9 to 0.1, large 1 to 0.2")
    assert repr(LARGE) == "accuracy under PGD() from epsilon 0 to 8/255, 10 images: large 1 to 0.2"
    alone = AccuracyCurve("small", (evaluation(2 / 255, "01"),))
    assert repr(alone) == "accuracy under PGD() at epsilon 2/255, 10 images: small 0.2"


def test_curves_are_one_table_with_intervals_where_80_columns_have_room() -> None:
    assert str(CURVES) == (
        "epsilon                         small                          large\n"
        "      0  0.900 (9/10, 0.555 to 0.997)  1.000 (10/10, 0.692 to 1.000)\n"
        "  2/255  0.400 (4/10, 0.122 to 0.738)   0.600 (6/10, 0.262 to 0.878)\n"
        "  8/255  0.100 (1/10, 0.003 to 0.445)   0.200 (2/10, 0.025 to 0.556)\n"
        "in brackets: right answers of all images, 95 % interval\n"
        "large holds 6 images at more strengths than small, 1 at fewer: p = 0.12 (exact McNemar)\n"
        "accuracy under PGD() from epsilon 0 to 8/255, 10 images: small 0.9 to 0.1, large 1 to 0.2"
    )
    assert str(SMALL).splitlines()[1:] == [
        "      0  0.900 (9/10, 0.555 to 0.997)",
        "  2/255  0.400 (4/10, 0.122 to 0.738)",
        "  8/255  0.100 (1/10, 0.003 to 0.445)",
        "in brackets: right answers of all images, 95 % interval",
        repr(SMALL),
    ]


def test_of_more_models_there_are_counts_or_shares_alone() -> None:
    three = AccuracyCurves((SMALL, LARGE, curve("third", "012345678", "0123", "0")))
    assert str(three).splitlines()[:-1] == [
        "epsilon         small          large         third",
        "      0  0.900 (9/10)  1.000 (10/10)  0.900 (9/10)",
        "  2/255  0.400 (4/10)   0.600 (6/10)  0.400 (4/10)",
        "  8/255  0.100 (1/10)   0.200 (2/10)  0.100 (1/10)",
        "large holds 6 images at more strengths than small, 1 at fewer: p = 0.12 (exact McNemar)",
        "third holds 0 images at more strengths than small, 0 at fewer: p = 1 (exact McNemar)",
    ]
    many = AccuracyCurves(tuple(curve(f"model {i}", "01", "0") for i in range(7)))
    assert str(many).splitlines()[1] == "      0" + "    0.200" * 7
    # Of so many that they don't fit, the narrowest table.
    assert str(AccuracyCurves(many.curves * 2)).splitlines()[1] == "      0" + "    0.200" * 14


def test_two_models_are_compared_image_by_image() -> None:
    # At 2/255 large holds 4 to 7, which small loses, and loses 0 and 1.
    at = CURVES.compared("large", strength=2 / 255)
    assert at == Comparison("large", "small", "epsilon 2/255", 4, 2)
    assert at.p == pytest.approx(2 * (1 + 6 + 15) / 2**6)
    assert repr(at) == ("large holds 4 images at epsilon 2/255 that small loses, loses 2: p = 0.69 (exact McNemar)")
    # Over all: small holds 0 three times and large once; large holds 2, 4 to 7 and 9 once more than small.
    together = CURVES.compared("large")
    assert together == Comparison("large", "small", "", 6, 1)
    assert together.p == 2 * (1 + 7) / 2**7
    assert CURVES.compared("small").p == 1
    assert repr(Comparison("a", "b", "epsilon 1", 1, 0)) == (
        "a holds 1 image at epsilon 1 that b loses, loses 0: p = 1 (exact McNemar)"
    )
    with pytest.raises(InputError) as error:
        CURVES.compared("large", strength=0.5)
    assert str(error.value) == "expected a strength of the curve, one of 0, 2/255, 8/255, got 0.5; measure it too"
