"""Which images go towards which classes: all, a balanced sample, or those that are named."""

import collections
import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_robustness.errors import InputError
from pytest_robustness.loading import ImageSet, LabelledImage
from pytest_robustness.pairs import Plan, planned_pairs, tallied
from pytest_robustness.records import Case, Outcome

GROUPS = {"vowels": (0, 4), "first": (0, 1, 2), "nobody": (5,)}


def image_set(sizes: Sequence[int], classes: str = "abcdef", **more: tuple[int, ...]) -> ImageSet:
    """So many images of each class; `more` are images with several accepted classes, by name."""
    images = [
        LabelledImage(f"{classes[label]}/{n:02}.png", Path("none"), (label,))
        for label, size in enumerate(sizes)
        for n in range(size)
    ]
    images += [LabelledImage(f"{name}.png", Path("none"), labels) for name, labels in more.items()]
    groups = {name: indices for name, indices in GROUPS.items() if max(indices) < len(classes)}
    return ImageSet(images, tuple(classes), name="set", groups=groups)


def counts(images: ImageSet, plan: Plan) -> tuple[collections.Counter[str], collections.Counter[tuple[str, str]]]:
    """How often each target is met, and each cell."""
    targets = collections.Counter(images.classes[target] for _, target in plan.pairs)
    cells = collections.Counter((plan.true[image_id], images.classes[target]) for image_id, target in plan.pairs)
    return targets, cells


def test_all_pairs_are_every_image_with_every_class_that_it_is_not() -> None:
    images = image_set([2, 1, 0, 1], "abcd")
    plan = planned_pairs(images, 0)
    assert plan.pairs == (
        *(("a/00.png", target) for target in (1, 2, 3)),
        *(("a/01.png", target) for target in (1, 2, 3)),
        *(("b/00.png", target) for target in (0, 2, 3)),
        *(("d/00.png", target) for target in (0, 1, 2)),
    )
    assert (plan.choice, plan.drawn, plan.classes) == ("all", 0, ("a", "b", "c", "d"))
    assert plan.true == {"a/00.png": "a", "a/01.png": "a", "b/00.png": "b", "d/00.png": "d"}


def test_an_image_counts_as_its_first_accepted_class_and_goes_towards_none_of_them() -> None:
    images = image_set([0, 1, 0, 1], "abcd", both=(0, 1), other=(1, 3))
    plan = planned_pairs(images, 0)
    assert plan.true == {"b/00.png": "b", "both.png": "a", "d/00.png": "d", "other.png": "b"}
    assert [target for image_id, target in plan.pairs if image_id == "both.png"] == [2, 3]
    # Of those asked for, the first.
    plan = planned_pairs(images, 0, classes=["b", "d"])
    assert plan.true == {"b/00.png": "b", "both.png": "b", "d/00.png": "d", "other.png": "b"}
    assert plan.pairs == (("b/00.png", 3), ("both.png", 3), ("d/00.png", 1))


def test_classes_of_one_name_are_one_class() -> None:
    """ImageNet has two cranes: an answer is known by its name."""
    images = ImageSet(
        [LabelledImage(f"{n}.png", Path("none"), (n,)) for n in range(4)], ("crane", "dog", "crane", "cat"), name="set"
    )
    plan = planned_pairs(images, 0)
    assert plan.classes == ("crane", "dog", "cat")
    assert plan.pairs == (
        ("0.png", 1),
        ("0.png", 3),
        ("1.png", 0),
        ("1.png", 3),
        ("2.png", 1),
        ("2.png", 3),
        ("3.png", 0),
        ("3.png", 1),
    )


def test_classes_limit_images_and_targets() -> None:
    images = image_set([2, 2, 2, 2, 2, 2])
    plan = planned_pairs(images, 0, classes=["vowels", "b"])
    assert plan.classes == ("a", "b", "e")
    assert len(plan.pairs) == 6 * 2
    plan = planned_pairs(images, 0, classes="b", targets=["vowels"])
    assert plan.pairs == (("b/00.png", 0), ("b/00.png", 4), ("b/01.png", 0), ("b/01.png", 4))
    assert (plan.classes, plan.choice) == (("a", "b", "e"), "given")
    assert planned_pairs(images, 0, targets="c").pairs == tuple((i.id, 2) for i in images.images if i.labels != (2,))


def test_given_pairs_are_taken_as_they_are_each_once() -> None:
    images = image_set([2, 2, 2], "abc")
    plan = planned_pairs(images, 0, targets=[("b/00.png", "c"), (images["a/01.png"], "b"), ("b/00.png", "c")])
    assert plan.pairs == (("a/01.png", 1), ("b/00.png", 2))
    assert (plan.classes, plan.choice) == (("a", "b", "c"), "given")


def test_images_of_a_class_are_drawn_by_the_seed_and_their_ids() -> None:
    images = image_set([9, 9, 2], "abc")
    drawn = planned_pairs(images, 0, images_per_class=3).true
    assert collections.Counter(drawn.values()) == {"a": 3, "b": 3, "c": 2}
    assert drawn == planned_pairs(images, 0, images_per_class=3).true
    assert drawn != planned_pairs(images, 1, images_per_class=3).true
    assert set(drawn) <= set(planned_pairs(images, 0, images_per_class=5).true)
    # An image more or less moves no other in or out, but for the one whose place it takes.
    fewer = planned_pairs(image_set([8, 9, 2], "abc"), 0, images_per_class=3).true
    assert len(set(drawn) - set(fewer)) <= 1


@pytest.mark.parametrize(
    ("sizes", "number"),
    [*itertools.product([[10] * 6, [1] * 6, [7] * 6], [1, 2, 3, 4]), ([30] * 3, 1), ([100] * 5, 3)],
    ids=str,
)
def test_drawn_targets_meet_each_class_and_each_target_equally_often(sizes: list[int], number: int) -> None:
    images = image_set(sizes, "abcdef"[: len(sizes)])
    for seed in range(4):
        plan = planned_pairs(images, seed, targets=number)
        assert (plan.choice, plan.drawn) == ("drawn", number)
        assert set(collections.Counter(image_id for image_id, _ in plan.pairs).values()) == {number}
        assert len(set(plan.pairs)) == len(plan.pairs)
        targets, cells = counts(images, plan)
        assert max(targets.values()) - min(targets.values()) <= 1
        for true in images.classes:
            row = [cells[true, target] for target in images.classes if target != true]
            assert max(row) - min(row) <= 1


def test_classes_of_different_sizes_meet_each_target_equally_often_all_the_same() -> None:
    images = image_set([7, 3, 50, 2, 9, 12])
    for number in (1, 2, 3, 4):
        _, cells = counts(images, planned_pairs(images, 0, targets=number))
        for true in images.classes:
            row = [cells[true, target] for target in images.classes if target != true]
            assert max(row) - min(row) <= 1


def test_the_draw_is_the_seeds_and_all_targets_are_no_draw() -> None:
    images = image_set([6] * 6)
    assert planned_pairs(images, 0, targets=2) == planned_pairs(images, 0, targets=2)
    assert planned_pairs(images, 0, targets=2).pairs != planned_pairs(images, 1, targets=2).pairs
    assert planned_pairs(images, 0, targets=5) == planned_pairs(images, 0)


def test_an_image_that_accepts_all_targets_goes_nowhere() -> None:
    images = image_set([1, 1, 1, 1], "abcd", every=(0, 1, 2, 3), most=(0, 1, 2))
    plan = planned_pairs(images, 0, targets=2)
    assert collections.Counter(image_id for image_id, _ in plan.pairs) == {
        **{f"{name}/00.png": 2 for name in "abcd"},
        "most.png": 1,
    }


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"classes": ["g"]}, "set: expected a class or a group of classes, got 'g'"),
        ({"targets": ["vowel"]}, "set: expected a class or a group of classes, got 'vowel'; did you mean 'vowels'?"),
        ({"images_per_class": 0}, "expected images_per_class to be a whole number >= 1, got 0"),
        ({"images_per_class": 1.5}, "expected images_per_class to be a whole number >= 1, got 1.5"),
        *(
            (
                {"targets": number},
                "expected targets to be a whole number from 1 to 5, the other classes of an image, "
                f"got {number!r}; leave it out for all of them",
            )
            for number in (0, 6, True)
        ),
        (
            {"targets": 0.5},
            "expected targets to be a number of them, names of classes or groups, or pairs, got 0.5; "
            "leave it out for every other class",
        ),
        (
            {"classes": "nobody"},
            "expected at least one image and a class to go towards, got none; a gate over nothing would pass every model",
        ),
        (
            {"classes": "a", "targets": "a"},
            "expected at least one image and a class to go towards, got none; a gate over nothing would pass every model",
        ),
        (
            {"targets": []},
            "expected at least one image and a class to go towards, got none; a gate over nothing would pass every model",
        ),
        (
            {"targets": [("a/00.png", "b")], "images_per_class": 1},
            "expected given pairs alone, got classes= or images_per_class= as well; leave them out, or name the targets only",
        ),
        (
            {"targets": [("a/00.png", "b", "c")]},
            "expected pairs of an image and a class, got ('a/00.png', 'b', 'c'); write them as (image, 'zebra')",
        ),
        (
            {"targets": [("a/00.png", "first")]},
            "a/00.png: expected one class to go towards, got the group 'first'; name its classes",
        ),
        (
            {"targets": [("a/00.png", "a")]},
            "a/00.png: expected a class that is not accepted, got 'a'; choose another one",
        ),
        (
            {"targets": [("a/09.png", "b")]},
            "set: expected the id of one of its 10 images, got 'a/09.png'; did you mean 'a/01.png'?",
        ),
    ],
)
def test_what_asks_for_nothing_or_for_what_is_not_there_is_refused(asked: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as error:
        planned_pairs(image_set([2, 2, 2, 2, 2, 0]), 0, **asked)  # type: ignore[arg-type]
    assert str(error.value) == said


def outcome(image_id: str, predicted: str, queries: int = 3) -> Outcome:
    return Outcome(image_id, ("a",), predicted, False, 0.9, 0.1, ((predicted, 0.9),), queries=queries, gradients=2)


def test_a_matrix_counts_the_pairs_whose_target_was_answered() -> None:
    images = image_set([2, 1, 1], "abc")
    plan = planned_pairs(images, 0)
    said = ["b", "b", "c", "c", "a", "b", "c", "c"]
    outcomes = [outcome(image_id, name) for (image_id, _), name in zip(plan.pairs, said, strict=True)]
    case = Case("PGD()", "epsilon", 0.1)
    matrix = tallied(images, case, plan, plan.pairs, outcomes, {"c/00.png"})
    # a/00 became b twice, once on its way to c; a/01 became c twice; b became a, and stayed on its way to c.
    assert matrix.cells == ("- 1/2*2", "1/1 - 0/1", "-*3")
    assert (matrix.case, matrix.classes, matrix.excluded) == (case, ("a", "b", "c"), (("c", 1),))
    assert (matrix.planned, matrix.queries, matrix.gradients) == (8, 18, 12)
    assert matrix.groups == (("first", ("a", "b", "c")),)
    assert {(pair.image, pair.true, pair.target) for pair in matrix.examples} <= {
        ("a/00.png", "a", "b"),
        ("a/01.png", "a", "c"),
        ("b/00.png", "b", "a"),
    }


def test_parts_of_a_plan_count_what_is_theirs() -> None:
    images = image_set([2, 2], "ab")
    plan = planned_pairs(images, 0)
    case = Case("PGD()", "epsilon", 0.1)
    pairs = plan.pairs[1:2]
    part = tallied(images, case, plan, pairs, [outcome(pairs[0][0], "b")], ())
    assert part.cells == ("- 1/1", "-*2")
    assert (part.planned, part.classes) == (4, ("a", "b"))
    empty = tallied(images, case, plan, (), (), ())
    assert (empty.cells, empty.examples) == (("-*2", "-*2"), ())
