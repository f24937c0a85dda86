"""What an explanation said is told in words, and comes back from JSON as it was."""

import dataclasses

import pytest

from pytest_robustness.explained import Explained, Panel, Picture, Side
from pytest_robustness.records import Verdict
from pytest_robustness.results import Results

PNG, OVERLAY = "data:image/png;base64,AAAA", "data:image/png;base64,BBBB"

CLEAN = Side(
    caption="clean",
    label="cat",
    probability=0.914159,
    note="R2 0.91 (adjusted 0.88) over 150 samples",
    believable=True,
    parts=(3, 7, 1),
    top_at=(10, 4),
    picture=Panel("cat, clean", PNG, OVERLAY, "R2 0.91 (adjusted 0.88) over 150 samples"),
)
STRESSED = Side(
    caption="epsilon 2/255",
    label="dog",
    probability=0.5,
    note="R2 0.80 (adjusted 0.75) over 150 samples",
    believable=True,
    parts=(7, 12),
    top_at=(0, 15),
    picture=Panel("dog, epsilon 2/255", PNG, OVERLAY),
)
BOTH = Explained("cat/1.png", "PGD() at epsilon 2/255 towards dog", "Lime()", (CLEAN, STRESSED), 0.25)


def sides(first: tuple[int, ...], second: tuple[int, ...]) -> Explained:
    return dataclasses.replace(
        BOTH, sides=(dataclasses.replace(CLEAN, parts=first), dataclasses.replace(STRESSED, parts=second))
    )


@pytest.mark.parametrize(
    ("first", "second", "lost", "gained"),
    [
        ((3, 7, 1), (7, 12), (3, 1), (12,)),
        ((1, 2), (2, 1), (), ()),
        ((), (5,), (), (5,)),
        ((5,), (), (5,), ()),
        ((9, 0, 4), (6, 2), (9, 0, 4), (6, 2)),
    ],
)
def test_what_is_lost_and_gained_are_the_superpixels_of_one_side_alone_in_its_order(
    first: tuple[int, ...], second: tuple[int, ...], lost: tuple[int, ...], gained: tuple[int, ...]
) -> None:
    explained = sides(first, second)
    assert (explained.lost, explained.gained) == (lost, gained)
    assert set(explained.lost).isdisjoint(second)
    assert set(first) - set(lost) == set(second) - set(gained)


def test_of_one_side_nothing_is_lost_or_gained() -> None:
    alone = Explained("cat/1.png", "", "Lime()", (CLEAN,))
    assert (alone.lost, alone.gained, alone.overlap) == ((), (), None)


def test_two_sides_are_told_in_a_line_each_with_what_changed() -> None:
    assert str(BOTH) == (
        "cat/1.png under PGD() at epsilon 2/255 towards dog, by Lime()\n"
        "clean: cat 0.91, on superpixels 3, 7, 1\n"
        "  R2 0.91 (adjusted 0.88) over 150 samples\n"
        "epsilon 2/255: dog 0.50, on superpixels 7, 12\n"
        "  R2 0.80 (adjusted 0.75) over 150 samples\n"
        "lost: superpixels 3, 1; gained: 12\n"
        "common to the top fifth of both: 0.25 (intersection over union)"
    )
    assert repr(BOTH) == "cat/1.png by Lime(): clean cat 0.91, epsilon 2/255 dog 0.50"


def test_a_clean_image_alone_is_told_without_a_stress_and_without_an_overlap() -> None:
    alone = Explained("cat/1.png", "", "GradCAM()", (dataclasses.replace(CLEAN, parts=(), note="7 x 7 values of x"),))
    assert str(alone) == ("cat/1.png, by GradCAM()\nclean: cat 0.91, most at (10, 4)\n  7 x 7 values of x")
    assert repr(alone) == "cat/1.png by GradCAM(): clean cat 0.91"


def test_what_must_not_be_believed_says_so_and_points_nowhere() -> None:
    doubted = dataclasses.replace(
        CLEAN, believable=False, parts=(), top_at=None, note="nothing in x speaks for the class"
    )
    assert str(Explained("cat/1.png", "", "GradCAM()", (doubted,))) == (
        "cat/1.png, by GradCAM()\nclean: cat 0.91\n  nothing in x speaks for the class; not to be believed"
    )
    silent = dataclasses.replace(doubted, note="", believable=True)
    assert str(Explained("cat/1.png", "", "GradCAM()", (silent,))) == "cat/1.png, by GradCAM()\nclean: cat 0.91"


@pytest.mark.parametrize(
    ("first", "second", "line"),
    [
        ((1, 2), (), "lost: superpixels 1, 2; gained: none"),
        ((), (4,), "lost: superpixels none; gained: 4"),
        ((1,), (2,), "lost: superpixels 1; gained: 2"),
    ],
)
def test_where_only_one_of_both_changed_the_other_is_none(
    first: tuple[int, ...], second: tuple[int, ...], line: str
) -> None:
    assert str(sides(first, second)).splitlines()[-2] == line


def test_the_same_superpixels_in_another_order_are_no_change() -> None:
    assert "lost" not in str(sides((1, 2), (2, 1)))


def test_without_pictures_the_words_and_numbers_are_as_they_were() -> None:
    bare = BOTH.without_pictures()
    assert [side.picture for side in bare.sides] == [None, None]
    assert (str(bare), repr(bare)) == (str(BOTH), repr(BOTH))
    assert dataclasses.replace(bare, sides=BOTH.sides) == BOTH
    assert bare.without_pictures() == bare
    # The one that was given keeps its own.
    assert BOTH.sides[0].picture is not None


def test_a_panel_does_not_print_its_pictures() -> None:
    assert repr(Panel("cat, clean", PNG, OVERLAY, "a note")) == "Panel(caption='cat, clean', note='a note')"
    assert (Panel("cat").png, Panel("cat").overlay, Panel("cat").note) == ("", "", "")


@pytest.mark.parametrize(
    "explained",
    [BOTH, BOTH.without_pictures(), Explained("1.png", "", "GradCAM()", (dataclasses.replace(CLEAN, top_at=None),))],
    ids=["both sides", "without pictures", "one side"],
)
def test_explanations_and_panels_come_back_from_json_as_they_were(explained: Explained) -> None:
    panels = (Panel("difference x 10, grey is none", PNG), Panel("cat on the clean image", PNG, OVERLAY, "49 values"))
    pictures = (
        Picture("cat/1.png", "clean", PNG, (("cat", 0.9), ("dog", 0.1))),
        Picture("cat/1.png", "epsilon 2/255", PNG, (("dog", 0.5),), panels),
    )
    verdict = Verdict("accuracy", "claim", "fail", "reason", pictures=pictures, explained=(explained, explained))
    results = Results((verdict,))
    text = results.to_json()
    assert Results.from_json(text) == results
    assert Results.from_json(text).to_json() == text
    (back,) = Results.from_json(text).verdicts
    assert str(back.explained[0]) == str(explained)
    assert isinstance(back.explained[0].sides[0].picture, Panel | None)
