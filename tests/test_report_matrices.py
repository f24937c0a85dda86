"""Where every bar, dot and cell goes, by arithmetic; and the section of the page."""

import dataclasses
import itertools
import random
from html.parser import HTMLParser

import pytest

from pytest_robustness.matrices import TargetedMatrix, cells_text, illustrating
from pytest_robustness.rates import Rate
from pytest_robustness.records import Case, Matrix, Outcome, Pair, Picture, Verdict
from pytest_robustness.report.heat_map import MOST_CLASSES, heat_map
from pytest_robustness.report.html import render
from pytest_robustness.report.matrices import beside, matrices
from pytest_robustness.report.rates import histogram, scatter
from pytest_robustness.results import Results
from pytest_robustness.traces import Frame, Trace

CASE = Case("PGD()", "epsilon", 2 / 255)
HOSTILE = "<img src=x onerror=alert(1)>"
PNG = "data:image/png;base64,AAAA"


def pair(image: str, true: str, target: str, confidence: float = 0.9) -> Pair:
    outcome = Outcome(image, (true,), target, False, confidence, 0.0, ((target, confidence),))
    return Pair(image, true, target, outcome)


# Modify rates 3/4, 2/4 and 0/4; mimic rates 1/4, 2/4 and 2/4.
RECORD = Matrix(
    case=CASE,
    classes=("a", "b", "c"),
    cells=("- 2/2 1/2", "1/2 - 1/2", "0/2 0/2 -"),
    groups=(("ends", ("a", "c")),),
    planned=14,
    excluded=(("b", 1),),
    queries=60,
    gradients=30,
    examples=(pair("a/0.png", "a", "b"), pair("b/1.png", "b", "a", 0.7), pair("b/2.png", "b", "c", 0.8)),
)


def rates(*shares: tuple[int, int]) -> dict[str, Rate]:
    return {f"c{place}": Rate(f"c{place}", k, n) for place, (k, n) in enumerate(shares)}


def random_record(n: int, *, groups: int = 0, seed: int = 0) -> Matrix:
    numbers = random.Random(seed)
    names = tuple(f"class number {place}" for place in range(n))
    rows = []
    for true in range(n):
        row = {target: (numbers.randint(0, 9), 9) for target in numbers.sample(range(n), min(n, 12)) if target != true}
        rows.append(cells_text(row, n))
    return Matrix(CASE, names, tuple(rows), tuple((f"group {g}", names[g::groups]) for g in range(groups)))


def test_a_histogram_counts_classes_in_tenths_with_1_in_the_last() -> None:
    drawn = histogram("modify", rates((0, 5), (3, 10), (7, 20), (1, 1), (9, 10)))
    found = {bar.title: bar.height for bar in drawn.bars}
    one = (drawn.base - 18) / 2
    assert found == {
        "modify rate 0 to 0.1: 1 class (c0)": one,
        "modify rate 0.3 to 0.4: 2 classes (c1, c2)": 2 * one,
        "modify rate 0.9 to 1: 2 classes (c3, c4)": 2 * one,
    }
    assert [tick.text for tick in drawn.y] == ["0", "1", "2"]
    # 7 / 20 of the way.
    assert drawn.median.at == pytest.approx(drawn.left + 0.35 * (drawn.right - drawn.left), abs=0.05)
    assert drawn.title == "Histogram of the modify rates of 5 classes: median 0.350, from 0.000 to 1.000"


def test_bars_stand_on_the_axis_side_by_side() -> None:
    drawn = histogram("mimic", rates(*((place, 9) for place in range(10))))
    assert all(bar.y + bar.height == pytest.approx(drawn.base, abs=0.11) for bar in drawn.bars)
    edges = [(bar.x, bar.x + bar.width) for bar in drawn.bars]
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(edges))
    assert edges[0][0] >= drawn.left
    assert edges[-1][1] <= drawn.right


def test_many_classes_are_counted_in_twentieths() -> None:
    drawn = histogram("modify", rates(*[(1, 20)] * 99, (0, 1)))
    assert [bar.title.partition(":")[0] for bar in drawn.bars] == ["modify rate 0 to 0.05", "modify rate 0.05 to 0.1"]
    assert "99 classes (c0, c1, c2, c3, c4, c5, c6, c7 and 91 more)" in drawn.bars[1].title
    assert [tick.text for tick in drawn.y] == ["0", "20", "40", "60", "80", "100"]


def test_a_scatter_has_a_dot_for_each_class_where_its_rates_are() -> None:
    drawn = scatter(TargetedMatrix(RECORD))
    assert drawn is not None
    by_title = {dot.title.partition(":")[0]: dot for dot in drawn.dots}
    # Axes over the tenths around the rates: 0 to 0.8, and 0.2 to 0.5.
    assert [tick.text for tick in drawn.x] == ["0", "0.2", "0.4", "0.6", "0.8"]
    assert [tick.text for tick in drawn.y] == ["0.2", "0.3", "0.4", "0.5"]
    assert by_title["c"].x == drawn.left
    assert by_title["a"].x == pytest.approx(drawn.left + 0.75 / 0.8 * (drawn.right - drawn.left), abs=0.05)
    assert by_title["b"].y == by_title["c"].y == drawn.top
    assert by_title["a"].title == "a: modify rate 0.750, mimic rate 0.250"
    assert sorted(label.text for label in drawn.labels) == ["a", "b", "c"]
    assert drawn.caption == (
        "A dot is a class. Pearson correlation of the two rates over 3 classes: -0.76. Dashed: medians."
    )


def test_classes_at_the_same_point_are_one_larger_dot() -> None:
    alike = dataclasses.replace(RECORD, cells=("- 1/2 1/2", "1/2 - 1/2", "1/2 1/2 -"))
    drawn = scatter(TargetedMatrix(alike))
    assert drawn is not None
    (dot,) = drawn.dots
    assert dot.title == "a, b, c: modify rate 0.500, mimic rate 0.500"
    assert dot.radius > 4
    assert [label.text for label in drawn.labels] == ["a +2"]
    assert drawn.caption == (
        "A dot is a class. Pearson correlation of the two rates over 3 classes: not defined. Dashed: medians."
    )


@pytest.mark.parametrize("n", [3, 12, 60, 300])
def test_names_cover_no_dot_and_no_other_name_and_stay_inside(n: int) -> None:
    drawn = scatter(TargetedMatrix(random_record(n)))
    assert drawn is not None
    boxes = []
    for label in drawn.labels:
        width = 0.58 * 11 * len(label.text)
        start = label.x - {"start": 0.0, "middle": width / 2, "end": width}[label.anchor]
        boxes.append((start, label.y - 9, start + width, label.y + 2))
    assert len(boxes) >= 3
    # Coordinates are rounded to tenths.
    for place, (left, top, right, bottom) in enumerate(boxes):
        assert drawn.left - 0.1 <= left < right <= drawn.right + 0.1
        assert drawn.top - 0.1 <= top < bottom <= drawn.base + 0.1
        for dot in drawn.dots:
            clear = dot.x + dot.radius <= left + 0.2 or right <= dot.x - dot.radius + 0.2
            assert clear or dot.y + dot.radius <= top + 0.2 or bottom <= dot.y - dot.radius + 0.2
        for other in boxes[place + 1 :]:
            apart = right <= other[0] + 0.2 or other[2] <= left + 0.2
            assert apart or bottom <= other[1] + 0.2 or other[3] <= top + 0.2


def test_of_many_classes_those_at_the_ends_are_named() -> None:
    record = random_record(60)
    numbers = TargetedMatrix(record)
    drawn = scatter(numbers)
    assert drawn is not None
    named = {label.text for label in drawn.labels}
    ends = [numbers.hardest_to_modify, numbers.easiest_to_modify, numbers.hardest_to_mimic, numbers.easiest_to_mimic]
    assert len(named) < 40
    assert sum(own[0].name in named for own in ends) >= 3


def test_a_heat_map_is_ordered_by_group_with_a_line_between_groups() -> None:
    drawn, note = heat_map(TargetedMatrix(RECORD))
    assert drawn is not None
    assert note == ""
    assert [label.text for label in drawn.rows] == [label.text for label in drawn.columns] == ["a", "c", "b"]
    assert drawn.lines == (2 * drawn.size,)
    (group,) = drawn.groups
    assert (group.text, group.y) == ("ends", drawn.top + drawn.size + 4)
    by_place = {((cell.x - drawn.left) / drawn.size, (cell.y - drawn.top) / drawn.size): cell for cell in drawn.cells}
    assert {place: cell.title for place, cell in by_place.items()} == {
        (1, 0): "a as c: 1/2 (0.500)",
        (2, 0): "a as b: 2/2 (1.000)",
        (0, 1): "c as a: 0/2 (0.000)",
        (2, 1): "c as b: 0/2 (0.000)",
        (0, 2): "b as a: 1/2 (0.500)",
        (1, 2): "b as c: 1/2 (0.500)",
    }
    assert (by_place[2, 0].shade, by_place[2, 0].text) == (1.0, "100")
    assert drawn.untried.count("M") == 3
    assert drawn.title == (
        "Heat map of 3 by 3, true class downwards, target to the right; highest a as b: 2/2 (1.000), "
        "lowest c as b: 0/2 (0.000)"
    )


def test_everything_of_a_heat_map_lies_within_it() -> None:
    for n in (3, 12, 25, 60):
        drawn, _ = heat_map(TargetedMatrix(random_record(n, groups=3)))
        assert drawn is not None
        assert drawn.left + drawn.extent < drawn.width
        assert drawn.top + drawn.extent < drawn.height
        longest = max(len(label.text) for label in drawn.rows) * 10 * 0.58
        assert drawn.left > longest


def test_more_classes_than_can_be_told_apart_are_shown_by_group() -> None:
    record = random_record(MOST_CLASSES + 1, groups=4)
    numbers = TargetedMatrix(record)
    drawn, note = heat_map(numbers)
    assert drawn is not None
    assert note == "The matrix of 61 classes is in the JSON results; here it is by group."
    assert [label.text for label in drawn.rows] == [f"group {g}" for g in range(4)]
    titles = {cell.title.partition(":")[0]: cell for cell in drawn.cells}
    between = numbers.between_groups["group 1", "group 2"]
    assert titles["group 1 as group 2"].shade == pytest.approx(between.value, abs=0.0005)


def test_many_classes_without_groups_are_left_to_the_json() -> None:
    drawn, note = heat_map(TargetedMatrix(random_record(MOST_CLASSES + 1)))
    assert drawn is None
    assert note == (
        "The matrix of 61 classes is in the JSON results; name groups of them in classes.yaml to see it by group."
    )


def test_each_list_has_one_example_of_the_first_class_that_has_one() -> None:
    # c never fell; towards a and towards c there is one success each.
    found = {name: (own.true, own.target) for name, own in illustrating(RECORD).items()}
    assert found == {
        "hardest to modify": ("b", "c"),
        "easiest to modify": ("a", "b"),
        "hardest to mimic": ("b", "a"),
        "easiest to mimic": ("a", "b"),
    }
    assert illustrating(dataclasses.replace(RECORD, examples=())) == {}


def pictures(*pairs: Pair) -> tuple[Picture, ...]:
    return tuple(
        Picture(own.image, caption, PNG, own.outcome.top) for own in pairs for caption in ("clean", own.caption)
    )


def verdict(claim: str = "median modify rate <= 0.5", **fields: object) -> Verdict:
    given: dict[str, object] = {"gate": "modify-rate", "claim": claim, "status": "fail", "reason": "because"}
    return Verdict(**{**given, "matrices": (RECORD,), "test": "t.py::test", **fields})  # type: ignore[arg-type]


def test_a_matrix_that_two_gates_judged_is_drawn_once() -> None:
    results = Results((verdict(), verdict("median mimic rate <= 0.5"), verdict(), verdict(matrices=())))
    (view,) = matrices(results)
    assert view.claims == ("median modify rate <= 0.5", "median mimic rate <= 0.5")
    assert view.order == ("a", "b", "c")


def test_pictures_are_found_by_the_gate_that_made_them() -> None:
    results = Results((verdict(pictures=pictures(*RECORD.examples[:2])), verdict("other", pictures=())))
    (view,) = matrices(results)
    shown = {ranking.title: (ranking.example, len(ranking.pictures)) for ranking in view.rankings}
    # Of b the surest success is towards c, which is not pictured.
    assert shown == {
        "hardest to modify": ("b as a", 2),
        "easiest to modify": ("a as b", 2),
        "hardest to mimic": ("b as a", 2),
        "easiest to mimic": ("a as b", 2),
    }


def test_pictures_of_a_failure_stay_with_it() -> None:
    own = (Picture("a/0.png", "clean", PNG, ()), Picture("a/0.png", "epsilon 2/255", PNG, ()))
    assert beside(verdict(pictures=(*own, *pictures(*RECORD.examples)))) == own
    assert beside(verdict(pictures=own, matrices=())) == own


def test_the_numbers_are_told_in_words() -> None:
    (view,) = matrices(Results((verdict(),)))
    assert view.said == (
        "5 of 12 attempts to make an image pass as another class succeeded, of 3 classes towards 3.",
        "Images that were wrong when clean are left out: 1.",
        "Of 14 planned pairs of an image and a target 12 were tried.",
        "Cost of a pair: 5.0 queries, 2.5 gradients.",
    )
    (drawn,) = matrices(Results((verdict(matrices=(dataclasses.replace(RECORD, choice="drawn", targets=1),)),)))
    assert drawn.said[1] == (
        "The targets are a balanced sample, 1 for each image: rates and their intervals are those of the sample."
    )


def test_a_matrix_without_an_attempt_says_so() -> None:
    empty = Matrix(CASE, ("a", "b"), ("-*2", "-*2"), excluded=(("a", 3),))
    (view,) = matrices(Results((verdict(matrices=(empty,)),)))
    assert view.said == ("No image was attacked.",)
    assert "No image was attacked." in render(Results((verdict(matrices=(empty,)),)))


class Page(HTMLParser):
    """Tags, their classes, and the words between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.classes: list[str] = []
        self.labels: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name == "class":
                self.classes.append(str(value))
            if name == "aria-label":
                self.labels.append(str(value))
            if name in ("src", "href"):
                assert str(value).startswith(("#", "data:image/png;base64,"))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_has_a_section_with_all_of_it() -> None:
    text = render(Results((verdict(pictures=pictures(*RECORD.examples)),)))
    page = Page(text)
    assert page.tags.count("svg") == 4
    assert page.tags.count("circle") == 3
    assert page.tags.count("img") == 8
    assert sum(label.startswith(("Histogram", "Scatter", "Heat map of")) for label in page.labels) == 4
    assert "url(" not in text
    words = " ".join(" ".join(page.words).split())
    assert "Modify and mimic" in words
    assert "Hardest to modify" in words
    assert "0.750 3/4 0.194 to 0.994" in words


def test_every_name_of_a_users_stays_text() -> None:
    names = (HOSTILE, "b", HOSTILE * 3)
    pairs = (pair(HOSTILE, HOSTILE, "b"), pair(HOSTILE, "b", HOSTILE))
    record = dataclasses.replace(RECORD, classes=names, groups=((f"g {HOSTILE}", names[:2]),), examples=pairs)
    frames = (Frame(0, 0.9, 0.1, 0.0, PNG), Frame(1, 0.1, 0.9, 0.1, PNG, PNG))
    trace = Trace(HOSTILE, HOSTILE, "linf", (HOSTILE,), HOSTILE, True, "reached", HOSTILE, frames)
    hostile = verdict(HOSTILE, matrices=(record,), pictures=pictures(*pairs), traces=(trace,))
    text = render(Results((hostile,)))
    # Pictures of ours alone.
    assert Page(text).tags.count("img") == text.count(f'<img src="{PNG}"') + text.count(
        f'<img class="overlay" src="{PNG}"'
    )
    assert HOSTILE not in text


def test_a_trace_is_a_strip_of_pictures_with_both_probabilities_and_a_slot_for_an_overlay() -> None:
    frames = (Frame(0, 0.912, 0.041, 0.0, PNG), Frame(4, 0.1, 0.8, 2 / 255, PNG, PNG))
    trace = Trace("a.png", "PGD() at epsilon 2/255", "linf", ("cat",), "dog", False, "reached", "dog 0.80", frames)
    text = render(Results((verdict(matrices=(), traces=(trace, trace.without_pictures())),)))
    page = Page(text)
    assert text.count('<span class="overlay" hidden></span>') == 1
    assert text.count('<img class="overlay"') == 1
    assert page.classes.count("strip") == 2
    words = " ".join(" ".join(page.words).split())
    assert "a.png under PGD() at epsilon 2/255: becomes dog 0.80 after 4 steps" in words
    assert "step 0 91.2 % 4.1 % moved by 0/255 step 4, the end 10.0 % 80.0 % moved by 2/255" in words
