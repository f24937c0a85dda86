"""Every number of a gate as tables: a row per image, whole or, of too many, the wrong ones first."""

import dataclasses

import pytest

from pytest_robustness.records import Case, Evaluation, Ladder, Outcome, Verdict
from pytest_robustness.report.numbers import Entry, Numbers, numbers
from pytest_robustness.report.summary import Row, rows
from pytest_robustness.results import Results


def outcome(image: str = "a.png", *, correct: bool = True, **fields: object) -> Outcome:
    answer = "cat" if correct else "dog"
    top = (("dog", 0.7), ("cat", 0.2), ("owl", 0.1)) if not correct else (("cat", 0.9), ("dog", 0.1))
    given = Outcome(image, ("cat", "lion"), answer, correct, top[0][1], 0.9 if correct else 0.2, top, queries=3)
    return dataclasses.replace(given, **fields)  # type: ignore[arg-type]


def ladder(image: str = "a.png", levels: tuple[float, ...] = (0.1, 0.2), **fields: object) -> Ladder:
    rungs = ((0.0, outcome(image)), (0.1, outcome(image, correct=False)))
    return dataclasses.replace(Ladder(image, "Blend('z.png')", "alpha", levels, rungs), **fields)  # type: ignore[arg-type]


def gates(*verdicts: Verdict) -> tuple[Row, ...]:
    return rows(Results(verdicts))


def verdict(test: str = "t.py::test", **fields: object) -> Verdict:
    given: dict[str, object] = {"gate": "accuracy", "claim": "it holds", "status": "fail", "reason": "it fell"}
    return Verdict(test=test, **{**given, **fields})  # type: ignore[arg-type]


def evaluation(n: int, wrong: int = 0, strength: float = 0.01) -> Evaluation:
    outcomes = tuple(outcome(f"{place}.png", correct=place < n - wrong) for place in range(n))
    return Evaluation(Case("FGSM()", "epsilon", strength), outcomes)


def test_a_case_has_a_row_for_each_image() -> None:
    (found,) = numbers(gates(verdict(evaluations=(evaluation(2, 1),))))
    (table,) = found.tables
    assert (table.kind, table.caption, table.note) == ("cases", "FGSM() at epsilon 0.01", "")
    assert table.heads == (
        "Image",
        "Accepted",
        "Answer",
        "Confidence, %",
        "Accepted classes, %",
        "Queries",
        "Gradients",
    )
    assert table.entries == (
        Entry(("0.png", "cat or lion", "cat", "90.0", "90.0", "3", "0"), False),
        Entry(("1.png", "cat or lion", "dog", "70.0", "20.0", "3", "0"), True),
    )


def test_items_of_a_gate_share_the_table_of_their_case() -> None:
    items = [
        verdict(f"t.py::test[{own.image}]", n=1, evaluations=(dataclasses.replace(evaluation(3), outcomes=(own,)),))
        for own in evaluation(3).outcomes
    ]
    (found,) = numbers(gates(*items))
    (table,) = found.tables
    assert [entry.cells[0] for entry in table.entries] == ["0.png", "1.png", "2.png"]


def test_an_image_that_was_led_up_has_one_row_with_its_whole_way() -> None:
    held = ladder("b.png", rungs=((0.0, outcome("b.png")), (0.1, outcome("b.png")), (0.2, outcome("b.png"))))
    (found,) = numbers(gates(verdict(ladders=(ladder(), held))))
    (table,) = found.tables
    assert (table.kind, table.caption) == ("ladders", "Blend('z.png')")
    assert table.heads == (
        "Image",
        "Accepted",
        "Holds until",
        "Breaks at",
        "Answer there, %",
        "Accepted classes, %, at alpha 0, 0.1, 0.2",
        "Queries",
        "Gradients",
    )
    assert table.entries == (
        Entry(("a.png", "cat or lion", "0", "0.1", "dog 70.0, cat 20.0, owl 10.0", " 90.0  20.0", "6", "0"), True),
        Entry(("b.png", "cat or lion", "0.2", "never", "cat 90.0", " 90.0  90.0  90.0", "9", "0"), False),
    )


def test_images_with_levels_of_their_own_name_them() -> None:
    refined = ladder("b.png", (0.05, 0.1))
    (found,) = numbers(gates(verdict(ladders=(ladder(), refined))))
    assert found.tables[0].heads[5] == "Accepted classes, %, at each alpha"
    assert [entry.cells[5] for entry in found.tables[0].entries] == ["0: 90.0, 0.1: 20.0"] * 2


def test_wrong_when_clean_and_right_again_are_told() -> None:
    wrong = ladder("b.png", rungs=((0.0, outcome("b.png", correct=False)),))
    again = ladder(above=((0.2, outcome()),))
    (found,) = numbers(gates(verdict(ladders=(wrong, again))))
    assert [entry.cells[2:4] for entry in found.tables[0].entries] == [
        ("nowhere", "0"),
        ("0", "0.1, right again at 0.2"),
    ]
    # What was asked above counts too.
    assert found.tables[0].entries[1].cells[6] == "9"


@pytest.mark.parametrize(
    ("own", "answer"),
    [
        (outcome(radius=0.25), "cat; certified within 0.25"),
        (outcome(correct=False, found_by="Square()"), "dog; by Square()"),
        (outcome(correct=False, silent=True), "dog; shown to the model by the attack, and not returned"),
        (outcome(correct=False, predicted=None, votes=("dog", "cat")), "no majority"),
        (outcome(correct=False, predicted=None), "no answer"),
    ],
)
def test_what_else_is_known_of_an_answer_is_beside_it(own: Outcome, answer: str) -> None:
    (found,) = numbers(gates(verdict(evaluations=(Evaluation(Case("FGSM()", "epsilon", 0.01), (own,)),))))
    assert found.tables[0].entries[0].cells[2] == answer


def test_an_item_without_numbers_has_its_reason() -> None:
    assert numbers(gates(verdict(gate="own-rule", reason="assert 1 > 2"))) == (Numbers((), ("assert 1 > 2",)),)


def test_a_long_table_comes_in_parts_that_a_browser_can_skip() -> None:
    (found,) = numbers(gates(verdict(evaluations=(evaluation(600),))))
    assert found.long
    parts = found.tables[0].parts
    assert [len(entries) for _, entries in parts] == [250, 250, 100]
    assert [caption for caption, _ in parts] == [
        "FGSM() at epsilon 0.01, rows 1 to 250 of 600",
        "FGSM() at epsilon 0.01, rows 251 to 500 of 600",
        "FGSM() at epsilon 0.01, rows 501 to 600 of 600",
    ]
    (short,) = numbers(gates(verdict(evaluations=(evaluation(250),))))
    assert not short.long
    assert [caption for caption, _ in short.tables[0].parts] == ["FGSM() at epsilon 0.01"]


def test_of_too_many_images_the_wrong_ones_come_first_and_the_rest_is_told() -> None:
    many = verdict(evaluations=(evaluation(100, 30, 0.01), evaluation(100, 0, 0.02)))
    (found,) = numbers(gates(many), most=120)
    assert [len(table.entries) for table in found.tables] == [60, 60]
    assert [entry.cells[0] for entry in found.tables[0].entries[:31]] == [
        *(f"{p}.png" for p in range(70, 100)),
        "0.png",
    ]
    assert found.tables[0].note == "Those that are wrong first; 40 more images are in the JSON results."
    (whole,) = numbers(gates(many), most=200)
    assert [table.note for table in whole.tables] == ["", ""]


def test_of_too_many_items_without_numbers_the_rest_is_told() -> None:
    items = [verdict(f"t.py::test[{place}]", gate="own-rule", reason=f"no {place}", n=1) for place in range(80)]
    (found,) = numbers(gates(*items), most=10)
    assert found.said == tuple(f"no {place}" for place in range(50))
    assert found.note == "30 more items are in the JSON results."
