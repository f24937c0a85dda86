"""Rates, medians, groups and examples of a matrix of targeted attacks, and what becomes of its shards."""

import dataclasses
import statistics

import pytest

from pytest_robustness.errors import InputError
from pytest_robustness.matrices import Rate, TargetedMatrix, cells_text, exemplary, merged, surest
from pytest_robustness.records import Case, Matrix, Outcome, Pair, Verdict
from pytest_robustness.results import Results
from pytest_robustness.stats import proportion_interval

CASE = Case("PGD()", "epsilon", 2 / 255)
# Three images of a, two of b, one of c towards every other class; nobody of d, which is a target only.
RECORD = Matrix(
    case=CASE,
    classes=("a", "b", "c", "d"),
    cells=("- 3/3 0/3 1/3", "1/2 - 2/2 0/2", "0/1*2 - 1/1", "-*4"),
    groups=(("front", ("a", "b")), ("back", ("c", "d"))),
    excluded=(("a", 1), ("c", 2)),
    planned=27,
    queries=180,
    gradients=90,
)
MATRIX = TargetedMatrix(RECORD)


def success(image: str, true: str, target: str, confidence: float) -> Pair:
    return Pair(image, true, target, Outcome(image, (true,), target, False, confidence, 0.0, ((target, confidence),)))


def test_cells_are_successes_and_attempts_by_true_class_and_target() -> None:
    table = [[(MATRIX.successes(a, b), MATRIX.attempts(a, b)) for b in "abcd"] for a in "abcd"]
    assert table == [
        [(0, 0), (3, 3), (0, 3), (1, 3)],
        [(1, 2), (0, 0), (2, 2), (0, 2)],
        [(0, 1), (0, 1), (0, 0), (1, 1)],
        [(0, 0)] * 4,
    ]
    assert MATRIX.pairs == 18
    assert MATRIX.excluded == 3
    assert MATRIX.overall == Rate("all classes", 8, 18)


def test_a_modify_rate_sums_a_row_and_a_mimic_rate_a_column() -> None:
    assert list(MATRIX.modify_rates.values()) == [Rate("a", 4, 9), Rate("b", 3, 6), Rate("c", 1, 3)]
    assert list(MATRIX.mimic_rates.values()) == [Rate("a", 1, 3), Rate("b", 3, 4), Rate("c", 2, 5), Rate("d", 2, 6)]
    assert [rate.name for rate in MATRIX.easiest_to_modify] == ["b", "a", "c"]
    assert [rate.name for rate in MATRIX.hardest_to_modify] == ["c", "a", "b"]
    # Those that are equal in the order of their names, at both ends.
    assert [rate.name for rate in MATRIX.easiest_to_mimic] == ["b", "c", "a", "d"]
    assert [rate.name for rate in MATRIX.hardest_to_mimic] == ["a", "d", "c", "b"]


def test_a_rate_is_told_with_its_counts_and_exact_interval() -> None:
    rate = MATRIX.modify_rates["a"]
    assert rate.value == 4 / 9
    assert rate.interval == proportion_interval(4, 9)
    assert str(rate) == "0.444 (4/9, 0.137 to 0.788)"


def test_medians_are_those_of_the_classes_and_not_of_the_attempts() -> None:
    assert MATRIX.median_modify_rate == 4 / 9
    assert MATRIX.median_mimic_rate == pytest.approx((1 / 3 + 2 / 5) / 2)


def test_the_correlation_is_pearsons_over_the_classes_with_both_rates() -> None:
    assert MATRIX.correlation == pytest.approx(statistics.correlation([4 / 9, 1 / 2, 1 / 3], [1 / 3, 3 / 4, 2 / 5]))
    # Modify 2/4, 1/4, 3/4 and mimic 2/4, 3/4, 1/4.
    against = dataclasses.replace(RECORD, classes=("a", "b", "c"), cells=("- 2/2 0/2", "0/2 - 1/2", "2/2 1/2 -"))
    assert TargetedMatrix(against).correlation == pytest.approx(-1)


@pytest.mark.parametrize("cells", [("- 1/2", "0/2 -"), ("- 1/1 0/1", "1/1 - 0/1", "0/1 1/1 -"), ("-*3",) * 3])
def test_there_is_no_correlation_of_two_classes_or_of_rates_that_are_all_alike(cells: tuple[str, ...]) -> None:
    classes = ("a", "b", "c")[: len(cells)]
    assert TargetedMatrix(Matrix(CASE, classes, cells)).correlation is None


def test_groups_have_rates_of_their_own_and_towards_each_other() -> None:
    assert dict(MATRIX.modify_rates_by_group) == {"front": Rate("front", 7, 15), "back": Rate("back", 1, 3)}
    assert dict(MATRIX.mimic_rates_by_group) == {"front": Rate("front", 4, 7), "back": Rate("back", 4, 11)}
    found = {pair: (rate.successes, rate.attempts) for pair, rate in MATRIX.between_groups.items()}
    assert found == {
        ("front", "front"): (4, 5),
        ("front", "back"): (3, 10),
        ("back", "front"): (0, 2),
        ("back", "back"): (1, 1),
    }
    assert MATRIX.attempts("front", "d") == 5
    assert sum(rate.attempts for rate in MATRIX.between_groups.values()) == MATRIX.pairs


def test_a_class_may_be_in_no_group_or_in_several() -> None:
    view = TargetedMatrix(dataclasses.replace(RECORD, groups=(("front", ("a", "b")), ("middle", ("b", "c")))))
    assert dict(view.modify_rates_by_group) == {"front": Rate("front", 7, 15), "middle": Rate("middle", 4, 9)}


def test_a_name_that_is_neither_class_nor_group_is_refused() -> None:
    with pytest.raises(InputError) as error:
        MATRIX.attempts("a", "e")
    assert str(error.value) == "expected a class or a group of the matrix, got 'e'; it has a, b, c, ..."


def test_runs_of_cells_that_are_alike_are_written_once() -> None:
    cells = {1: (3, 3), 2: (0, 3), 4: (1, 3)}
    assert cells_text(cells, 8) == "- 3/3 0/3 - 1/3 -*3"
    assert cells_text({}, 1000) == "-*1000"
    record = Matrix(CASE, tuple("abcdefgh"), (cells_text(cells, 8), *["-*8"] * 7))
    assert [TargetedMatrix(record).attempts("a", name) for name in "abcdefgh"] == [0, 3, 3, 0, 3, 0, 0, 0]


def test_a_matrix_comes_back_from_json_as_it_was() -> None:
    record = dataclasses.replace(RECORD, examples=(success("a/1.png", "a", "b", 0.9),))
    verdict = Verdict("modify-rate", "claim", "pass", "reason", matrices=(record,))
    (again,) = Results.from_json(Results((verdict,)).to_json()).verdicts
    assert again.matrices == (record,)


def test_a_full_matrix_of_a_thousand_classes_is_a_few_megabytes() -> None:
    row = cells_text({place: (place % 50, 50) for place in range(1000)}, 1000)
    assert len(row) * 1000 < 6_000_000


def test_merging_adds_what_the_shards_counted() -> None:
    parts = [
        dataclasses.replace(
            RECORD,
            cells=("- 1/1 0/1*2", "1/2 - 2/2 0/2", "-*4", "-*4"),
            excluded=(("c", 1),),
            queries=80,
            gradients=40,
        ),
        dataclasses.replace(
            RECORD,
            cells=("- 2/2 0/2 1/2", "-*4", "0/1*2 - 1/1", "-*4"),
            excluded=(("a", 1), ("c", 1)),
            queries=100,
            gradients=50,
        ),
    ]
    assert merged(parts) == merged(parts[::-1]) == RECORD
    assert merged([RECORD]) == RECORD


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"case": Case("PGD()", "epsilon", 0.5)}, "case differ: PGD() at epsilon 2/255 and PGD() at epsilon 0.5"),
        ({"classes": ("a", "b", "c", "e")}, "classes differ: ('a', 'b', 'c', 'd') and ('a', 'b', 'c', 'e')"),
        ({"groups": ()}, "groups differ: (('front', ('a', 'b')), ('back', ('c', 'd'))) and ()"),
        ({"choice": "given"}, "choice differ: 'all' and 'given'"),
        ({"targets": 3}, "targets differ: 0 and 3"),
        ({"planned": 28}, "planned differ: 27 and 28"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_matrices_of_different_questions_are_not_merged(change: dict[str, object], told: str) -> None:
    with pytest.raises(InputError) as error:
        merged([RECORD, dataclasses.replace(RECORD, **change)])  # type: ignore[arg-type]
    assert str(error.value) == (
        f"expected matrices of one run to merge, got ones whose {told}; run every shard with the same tests and images"
    )


def test_examples_are_the_surest_successes_of_the_classes_at_both_ends() -> None:
    classes = tuple("abcdefghijklmn")
    # Class number r falls r times of 13: the hardest and the easiest are known.
    rows = []
    for number in range(14):
        others = [place for place in range(14) if place != number]
        rows.append(cells_text({place: (int(at < number), 1) for at, place in enumerate(others)}, 14))
    record = Matrix(CASE, classes, tuple(rows))
    successes = [
        success(f"{true}/{number}.png", true, target, 0.5 + 0.1 * number)
        for row, true in enumerate(classes)
        for target in [name for name in classes if name != true][:row]
        for number in range(2)
    ]
    chosen = exemplary(record, successes)
    by_true = {pair.true for pair in chosen}
    # a never fell.
    assert set("bcdef") | set("jklmn") <= by_true
    assert all(pair.outcome.confidence == 0.6 for pair in chosen)
    assert exemplary(record, successes[::-1]) == chosen
    assert [(pair.image, pair.target) for pair in chosen] == sorted((pair.image, pair.target) for pair in chosen)
    assert exemplary(record, []) == ()


def test_of_a_share_the_surest_success_from_each_class_and_towards_each_is_kept() -> None:
    weak, sure = success("a/1.png", "a", "b", 0.6), success("a/2.png", "a", "b", 0.9)
    other, back = success("a/1.png", "a", "c", 0.7), success("b/1.png", "b", "a", 0.1)
    assert surest([back, weak, other, sure]) == (other, sure, back)
    assert surest([]) == ()


def test_merging_keeps_examples_of_the_whole_matrix() -> None:
    weak, sure = success("a/1.png", "a", "b", 0.6), success("a/2.png", "a", "b", 0.9)
    parts = [dataclasses.replace(RECORD, examples=(pair,)) for pair in (weak, sure)]
    assert merged(parts).examples == (sure,)


def test_a_matrix_is_told_in_tables_of_80_columns_and_a_line_of_its_own() -> None:
    view = TargetedMatrix(RECORD, computed=18, seconds=0.09)
    assert repr(view) == (
        "PGD() at epsilon 2/255 towards every other class: median modify rate 0.444, median mimic rate 0.367, 18 pairs"
    )
    assert str(view).splitlines() == [
        "class  modify rate                  mimic rate",
        "b      0.500 (3/6, 0.118 to 0.882)  0.750 (3/4, 0.194 to 0.994)",
        "a      0.444 (4/9, 0.137 to 0.788)  0.333 (1/3, 0.008 to 0.906)",
        "c      0.333 (1/3, 0.008 to 0.906)  0.400 (2/5, 0.053 to 0.853)",
        "d      -                            0.333 (2/6, 0.043 to 0.777)",
        "",
        "in percent, from the class of the row to that of the column:",
        "     a    b    c    d",
        "a    -  100    0   33",
        "b   50    -  100    0",
        "c    0    0    -  100",
        "d    -    -    -    -",
        "",
        "group  modify rate                   mimic rate",
        "front  0.467 (7/15, 0.213 to 0.734)  0.571 (4/7, 0.184 to 0.901)",
        "back   0.333 (1/3, 0.008 to 0.906)   0.364 (4/11, 0.109 to 0.692)",
        "",
        "in percent, from the group of the row to that of the column:",
        "      front  back",
        "front    80    30",
        "back      0   100",
        "",
        "modify rate: median 0.444, highest b 0.50; lowest c 0.33",
        "mimic rate: median 0.367, highest b 0.75, c 0.40; lowest d 0.33, a 0.33",
        f"correlation of the two: {statistics.correlation([4 / 9, 1 / 2, 1 / 3], [1 / 3, 3 / 4, 2 / 5]):+.2f}",
        "left out: 3 images wrong when clean (c 2, a 1)",
        "a pair took 10.0 queries and 5.0 gradients, 5 ms (18 computed)",
        "in brackets: 95 % intervals, as if every pair were drawn by itself",
        "PGD() at epsilon 2/255 towards every other class: median modify rate 0.444,",
        "  median mimic rate 0.367, 18 pairs",
    ]


def test_of_many_classes_those_at_both_ends_are_told() -> None:
    classes = tuple(f"class {number:02}" for number in range(30))
    rows = []
    for number in range(30):
        others = [place for place in range(30) if place != number]
        rows.append(cells_text({place: (int(at < number), 1) for at, place in enumerate(others)}, 30))
    lines = str(TargetedMatrix(Matrix(CASE, classes, tuple(rows)))).split("\n\n")[0].splitlines()
    assert [line[:8] for line in lines[1:11]] == [f"class {number}" for number in range(29, 19, -1)]
    assert lines[11] == "... 10 classes between"
    assert [line[:8] for line in lines[12:]] == [f"class {number:02}" for number in range(9, -1, -1)]


def test_a_matrix_without_an_attempt_says_so() -> None:
    view = TargetedMatrix(Matrix(CASE, ("a", "b"), ("-*2", "-*2"), excluded=(("a", 1),)))
    assert (
        str(view)
        == repr(view)
        == ("PGD() at epsilon 2/255 towards every other class: no pair was tried, 1 image wrong when clean (a 1)")
    )
    assert view.correlation is None
    with pytest.raises(InputError) as error:
        _ = view.median_mimic_rate
    assert str(error.value) == (
        "expected at least one image that is right when clean, to go towards another class, got none; a median of nothing "
        "is no number"
    )


@pytest.mark.parametrize(
    ("change", "question"),
    [
        ({}, "PGD() at epsilon 2/255 towards every other class"),
        ({"choice": "drawn", "targets": 5}, "PGD() at epsilon 2/255 towards 5 other classes, drawn for each image"),
        ({"choice": "given"}, "PGD() at epsilon 2/255 towards given classes"),
    ],
)
def test_a_matrix_says_which_pairs_were_tried(change: dict[str, object], question: str) -> None:
    assert TargetedMatrix(dataclasses.replace(RECORD, **change)).question == question  # type: ignore[arg-type]


def test_what_a_measurement_took_is_no_part_of_what_it_found() -> None:
    assert TargetedMatrix(RECORD, 18, 0.1) == TargetedMatrix(RECORD)


def test_images_are_counted_once_whatever_the_number_of_their_targets() -> None:
    view = TargetedMatrix(RECORD)
    assert [view.images_of(name) for name in ("a", "b", "c", "d", "front", "back")] == [3, 2, 1, 0, 5, 1]
    assert [view.images_towards(name) for name in ("a", "b", "c", "d", "front", "back")] == [3, 4, 5, 6, 4, 6]


def test_where_targets_are_drawn_images_are_counted_by_their_targets() -> None:
    """Eight attempts in all, two of each image, and three at most towards one class: four images."""
    drawn = dataclasses.replace(RECORD, cells=("- 0/3 1/3 0/2", *("-*4",) * 3), choice="drawn", targets=2)
    assert TargetedMatrix(drawn).images_of("a") == 4
