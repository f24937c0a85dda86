"""Which images are evaluated together, and what a worker tells its controller of it."""

import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_robustness.distribution import Company, Distribution

IDS = [f"dark/{number:02d}.png" for number in range(10)]


def company(ids: list[str] = IDS) -> Company:
    made = Company()
    for image_id in ids:
        made.add(image_id)
    return made


def worker(directory: Path, number: str = "gw0", workers: int = 2) -> Distribution:
    given = {"workerid": number, "workercount": workers, "testrunuid": "run", "robustness_directory": str(directory)}
    return Distribution(SimpleNamespace(workerinput=given), whole_chunks=True)


def controller(directory: Path) -> Distribution:
    made = Distribution(SimpleNamespace(), whole_chunks=True)
    made.directory = directory
    return made


def test_a_chunk_has_the_neighbours_by_id_whatever_the_order_of_the_items() -> None:
    for seed in range(5):
        shuffled = company(random.Random(seed).sample(IDS, len(IDS)))
        assert shuffled.chunk("dark/05.png", 4) == tuple(IDS[4:8])
        assert shuffled.chunk("dark/09.png", 4) == tuple(IDS[8:])


def test_a_question_is_put_to_a_chunk_once() -> None:
    ours = company()
    assert ours.around("dark/05.png", "zebra", size=lambda: 4) == tuple(IDS[4:8])
    assert ours.around("dark/06.png", "zebra", size=lambda: 4) == ()
    assert ours.around("dark/06.png", "noise", size=lambda: 4) == tuple(IDS[4:8])
    assert ours.around("dark/00.png", "zebra", size=lambda: 4) == tuple(IDS[:4])


def test_an_image_that_was_not_selected_has_no_company() -> None:
    assert company().around("bright/00.png", "zebra", size=lambda: 4) == ()


def test_a_chunk_size_that_was_agreed_on_is_not_asked_for() -> None:
    ours = company()
    ours.chunk_size = 5
    assert ours.around("dark/07.png", "zebra", size=lambda: 1 // 0) == tuple(IDS[5:])


@pytest.mark.parametrize(
    ("images", "most", "workers", "sizes"),
    [
        (10, 32, 2, [5, 5]),
        (10, 32, 4, [3, 3, 3, 1]),
        (100, 32, 2, [25, 25, 25, 25]),
        (96, 32, 1, [32, 32, 32]),
        (65, 32, 2, [17, 17, 17, 14]),
        (1, 32, 8, [1]),
    ],
)
def test_every_worker_gets_equally_many_chunks_of_no_more_than_a_batch(
    tmp_path: Path, images: int, most: int, workers: int, sizes: list[int]
) -> None:
    ids = [f"{number:03d}" for number in range(images)]
    ours = company(ids)
    worker(tmp_path, workers=workers).announce([(ours, image_id) for image_id in ids], lambda: most)
    labels = controller(tmp_path)._labels("gw0")
    assert [labels.count(label) for label in sorted(set(labels))] == sizes


def test_chunks_of_two_tests_over_the_same_images_are_the_same_and_other_items_are_in_none(tmp_path: Path) -> None:
    first, second, other = company(), company(), company(IDS[:4])
    seats = [
        None,
        *((first, i) for i in IDS),
        None,
        *((second, i) for i in reversed(IDS)),
        *((other, i) for i in IDS[:4]),
    ]
    worker(tmp_path).announce(seats, lambda: 32)
    labels = controller(tmp_path)._labels("gw0")
    assert labels[0] is labels[11] is None
    assert labels[1:11] == [0] * 5 + [1] * 5
    assert labels[12:22] == [1] * 5 + [0] * 5
    assert labels[22:] == [2, 2, 3, 3]


def test_what_can_not_be_told_costs_the_chunks_only(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    there = worker(gone)
    gone.rmdir()
    ours = company()
    there.announce([(ours, IDS[0])], lambda: 32)
    assert ours.chunk_size == 5
    assert controller(gone)._labels("gw0") == ()
    # On another machine the controller's directory does not exist from the start.
    assert worker(gone).directory is None
    worker(gone).announce([(company(), IDS[0])], lambda: 32)


def test_a_session_without_a_test_of_ours_tells_nothing_and_asks_for_nothing(tmp_path: Path) -> None:
    worker(tmp_path).announce([None, None], lambda: 1 // 0)
    assert list(tmp_path.iterdir()) == []


def test_one_process_alone_cuts_chunks_when_it_knows_its_batch_size(tmp_path: Path) -> None:
    ours = company()
    Distribution(SimpleNamespace(), whole_chunks=True).announce([(ours, IDS[0])], lambda: 1 // 0)
    assert ours.chunk_size is None


def test_a_file_that_is_no_list_of_chunks_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "chunks-gw0.json").write_text("[1, ", encoding="utf-8")
    assert controller(tmp_path)._labels("gw0") == ()


@pytest.mark.parametrize(("name", "index"), [("gw0", 0), ("gw13", 13), ("ssh7-gw2", 2), ("popen", 0)])
def test_a_worker_is_numbered_by_the_digits_its_name_ends_with(tmp_path: Path, name: str, index: int) -> None:
    assert worker(tmp_path, name).index == index


@pytest.mark.parametrize(
    ("whole_chunks", "dist", "ours"), [(True, "load", True), (False, "load", False), (True, "worksteal", False)]
)
def test_only_load_is_replaced_and_only_unless_it_was_asked_for(whole_chunks: bool, dist: str, ours: bool) -> None:
    pytest.importorskip("xdist")
    config = SimpleNamespace(getoption={"dist": dist}.get, getvalue={"tx": ["2*popen"]}.get)
    made = Distribution(config, whole_chunks=whole_chunks).pytest_xdist_make_scheduler(
        config, SimpleNamespace(loadsched=None)
    )
    assert (type(made).__name__ == "ChunkScheduling") is ours
