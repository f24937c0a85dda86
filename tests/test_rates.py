"""Rates in tables of 80 columns."""

from pytest_robustness.rates import Rate, by_rows, ends, square


def test_rows_have_counts_and_intervals_as_far_as_80_columns_allow() -> None:
    heads = ("class", "modify rate", "mimic rate")
    modify, mimic = Rate("", 1, 4), Rate("", 0, 2)
    tables = {
        name: by_rows(heads, [(name, modify, mimic), ("ox", None, modify)])
        for name in ("zebra", "black-and-tan coonhound", "x" * 50)
    }
    assert tables["zebra"] == [
        "class  modify rate                  mimic rate",
        "zebra  0.250 (1/4, 0.006 to 0.806)  0.000 (0/2, 0.000 to 0.842)",
        "ox     -                            0.250 (1/4, 0.006 to 0.806)",
    ]
    assert tables["black-and-tan coonhound"][1:] == [
        "black-and-tan coonhound  0.250 (0.006 to 0.806)  0.000 (0.000 to 0.842)",
        "ox                       -                       0.250 (0.006 to 0.806)",
    ]
    assert tables["x" * 50][1:] == [
        f"{'x' * 50}  0.250        0.000",
        f"ox{' ' * 50}-            0.250",
    ]
    assert all(len(line) <= 80 for lines in tables.values() for line in lines)


def third(true: str, target: str) -> Rate:
    return Rate("", 0, 0) if true == target else Rate("", 1, 3)


def test_a_square_is_in_percent_with_shortened_heads() -> None:
    assert square(["airplane", "automobile", "bird"], third) == [
        "             airplane automobile       bird",
        "airplane            -         33         33",
        "automobile         33          -         33",
        "bird               33         33          -",
    ]
    assert square(["a", "b"], third) == ["     a    b", "a    -   33", "b   33    -"]
    lines = square([f"class number {n}" for n in range(12)], third)
    assert lines[0].split()[:2] == ["clas", "clas"]
    assert max(map(len, lines)) <= 80


def test_a_square_that_does_not_fit_is_left_out() -> None:
    assert square([f"class {n}" for n in range(20)], third) == []
    assert square([], third) == []


def test_the_ends_of_rates_are_told_without_telling_one_twice() -> None:
    rates = [Rate(name, 10 - place, 10) for place, name in enumerate("abcdefghij")]
    assert ends(rates) == "highest a 1.00, b 0.90, c 0.80, d 0.70; lowest j 0.10, i 0.20, h 0.30, g 0.40"
    assert ends(rates[:3]) == "highest a 1.00; lowest c 0.80"
    assert ends(rates[:1]) == "highest a 1.00; lowest a 1.00"
