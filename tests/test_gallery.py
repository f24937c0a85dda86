"""Which failures are pictured where there are many."""

import dataclasses
import itertools

from pytest_robustness.gallery import Gallery
from pytest_robustness.records import Picture, Verdict
from pytest_robustness.traces import Frame, Trace


def failed(images: int) -> Verdict:
    """A verdict with the pictures of so many images, clean and stressed."""
    pictures = (Picture("image", caption, "data:", ()) for _ in range(images) for caption in ("clean", "alpha 0.1"))
    return Verdict("holds-until", "claim", "fail", "reason", pictures=tuple(pictures))


def hung(gallery: Gallery, nodeid: str, *verdicts: Verdict) -> list[int]:
    return [len(verdict.pictures) // 2 for verdict in gallery.hang(nodeid, verdicts)]


def test_there_is_room_for_so_many_of_a_test_and_in_all() -> None:
    gallery = Gallery(limit=4, per_test=3)
    assert gallery.room("test_a[0]") == 3
    gallery.take("test_a[0]", [failed(2)])
    assert gallery.room("test_a[1]") == 1
    assert gallery.room("test_b") == 2
    gallery.take("test_b", [failed(2)])
    assert gallery.room("test_c") == 0


def test_who_comes_first_by_node_id_has_room_also_when_it_runs_last() -> None:
    gallery = Gallery(limit=2, per_test=2)
    gallery.take("test[3]", [failed(1)])
    gallery.take("test[2]", [failed(1)])
    assert gallery.room("test[4]") == 0
    assert gallery.room("test[1]") == 2
    gallery.take("test[1]", [failed(1)])
    assert [hung(gallery, f"test[{number}]", failed(1)) for number in (1, 2, 3)] == [[1], [1], [0]]


def test_the_pictures_are_the_same_whatever_the_order_of_the_items() -> None:
    wanted = {"test_a[0]": 1, "test_a[1]": 2, "test_a[2]": 1, "test_b": 3, "test_c": 2}
    shown = set()
    for order in itertools.permutations(wanted):
        gallery = Gallery(limit=5, per_test=3)
        taken = {}
        for nodeid in order:
            # As an item does: no more pictures than there is room for when it runs.
            taken[nodeid] = failed(min(wanted[nodeid], gallery.room(nodeid)))
            gallery.take(nodeid, [taken[nodeid]])
        shown.add(tuple(hung(gallery, nodeid, taken[nodeid])[0] for nodeid in wanted))
    assert shown == {(1, 2, 0, 2, 0)}


def test_a_rerun_replaces_what_the_item_took_before() -> None:
    gallery = Gallery(limit=3, per_test=3)
    gallery.take("test_a", [failed(2)])
    assert gallery.room("test_a") == 3
    gallery.take("test_a", [failed(1)])
    assert gallery.room("test_b") == 2


def test_several_verdicts_of_an_item_share_its_room() -> None:
    gallery = Gallery(limit=3, per_test=3)
    gallery.take("test_b", [failed(2), failed(1)])
    gallery.take("test_a", [failed(1)])
    assert hung(gallery, "test_b", failed(2), failed(1)) == [2, 0]


def traced(count: int, *, images: int = 0) -> Verdict:
    """A verdict with so many traces, after the pictures of so many images."""
    trace = Trace(
        "image", "PGD()", "linf", ("cat",), "dog", False, "held", "cat 0.9", (Frame(0, 0.9, 0.1, 0.0, "data:"),)
    )
    return dataclasses.replace(failed(images), traces=(trace,) * count)


def test_a_trace_takes_the_place_of_an_image_and_keeps_its_numbers_without_one() -> None:
    gallery = Gallery(limit=3, per_test=3)
    gallery.take("test_a", [traced(3, images=1)])
    assert gallery.room("test_b") == 0
    (kept,) = gallery.hang("test_a", [traced(3, images=1)])
    assert len(kept.pictures) == 2
    assert [trace.frames[0].png for trace in kept.traces] == ["data:", "data:", ""]
    assert [trace.frames[0].subject for trace in kept.traces] == [0.9] * 3
