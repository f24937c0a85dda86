"""The scheduler of whole chunks, asked by hand: workers that only note down what they are sent."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

pytest.importorskip("xdist")

from xdist.scheduler import LoadScheduling

from pytest_robustness.scheduling import ChunkScheduling


class Worker:
    """As much of a worker as a scheduler sees."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.sent: list[list[int]] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        self.sent.append(list(indices))

    def shutdown(self) -> None:
        self.shutting_down = True


Labels = Sequence[int | None]


@pytest.fixture
def config() -> SimpleNamespace:
    options = {"tx": ["2*popen"], "maxschedchunk": None}
    return SimpleNamespace(getvalue=options.get, getoption=options.get, hook=None)


def start(scheduler: LoadScheduling, items: int, workers: int = 2) -> list[Worker]:
    """Workers that have collected so many items, and were sent the first ones."""
    scheduler.numnodes = workers
    nodes = [Worker(f"gw{number}") for number in range(workers)]
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, [f"test[{index}]" for index in range(items)])
    scheduler.schedule()
    return nodes


def chunked(config: SimpleNamespace, labels: Labels) -> ChunkScheduling:
    return ChunkScheduling(config, SimpleNamespace(loadsched=lambda *_: None), labels=lambda worker: labels)


def run(scheduler: LoadScheduling, nodes: Sequence[Worker]) -> dict[str, list[int]]:
    """Let the workers run everything, one item each in turn; what each of them ran."""
    ran: dict[str, list[int]] = {node.gateway.id: [] for node in nodes}
    while not scheduler.tests_finished:
        for node in nodes:
            sent = [index for piece in node.sent for index in piece]
            done = ran[node.gateway.id]
            # A worker runs an item once it knows the next one, or that there is none.
            if len(sent) - len(done) >= 2 or (node.shutting_down and len(sent) > len(done)):
                done.append(sent[len(done)])
                scheduler.mark_test_complete(node, done[-1])
    for node in nodes:
        ran[node.gateway.id] = [index for piece in node.sent for index in piece]
    return ran


def test_every_chunk_goes_to_one_worker_in_one_piece(config: SimpleNamespace) -> None:
    labels = [index // 4 for index in range(40)]
    scheduler = chunked(config, labels)
    nodes = start(scheduler, len(labels))
    ran = run(scheduler, nodes)
    assert sorted(ran["gw0"] + ran["gw1"]) == list(range(40))
    pieces = [{labels[index] for index in piece} for node in nodes for piece in node.sent]
    assert sum(map(len, pieces)) == len(set(labels))


def test_both_workers_get_equally_many_chunks_where_the_chunks_are_few(config: SimpleNamespace) -> None:
    scheduler = chunked(config, [0] * 20 + [1] * 20)
    nodes = start(scheduler, 40)
    assert [node.sent for node in nodes] == [[list(range(20))], [list(range(20, 40))]]
    assert all(node.shutting_down for node in nodes)


def test_two_tests_over_the_same_images_put_them_on_the_same_worker_and_keep_their_order(
    config: SimpleNamespace,
) -> None:
    labels = [index // 3 for index in range(6)] * 2
    scheduler = chunked(config, labels)
    nodes = start(scheduler, len(labels))
    assert [node.sent for node in nodes] == [[[0, 1, 2, 6, 7, 8]], [[3, 4, 5, 9, 10, 11]]]


def test_items_in_random_order_come_together_and_run_in_that_order(config: SimpleNamespace) -> None:
    labels = [1, 0, 1, None, 0, 0, 1, None, 1, 0, 2, 2]
    scheduler = chunked(config, labels)
    nodes = start(scheduler, len(labels))
    ran = run(scheduler, nodes)
    for label in (0, 1, 2):
        (holder,) = {name for name, indices in ran.items() for index in indices if labels[index] == label}
        chunk = [index for index in ran[holder] if labels[index] == label]
        assert chunk == sorted(chunk)
    assert sorted(ran["gw0"] + ran["gw1"]) == list(range(len(labels)))


@pytest.mark.parametrize("labels", [[], [None] * 50, [0] * 49])
@pytest.mark.parametrize("workers", [2, 3])
def test_without_chunks_everything_is_sent_as_by_load(
    config: SimpleNamespace, labels: Sequence[int | None], workers: int
) -> None:
    """No file of a worker, no item of ours, or a file that is not about these items."""
    ours, theirs = chunked(config, labels), LoadScheduling(config, SimpleNamespace(loadsched=lambda *_: None))
    sent = []
    for scheduler in (ours, theirs):
        nodes = start(scheduler, 50, workers)
        run(scheduler, nodes)
        sent.append([node.sent for node in nodes])
    assert sent[0] == sent[1]


def test_what_a_crashed_worker_leaves_behind_is_put_together_again(config: SimpleNamespace) -> None:
    labels = [index % 4 for index in range(16)]
    scheduler = chunked(config, labels)
    first, second = start(scheduler, len(labels))
    assert first.sent == [[0, 4, 8, 12]]
    scheduler.mark_test_complete(first, 0)
    lost = scheduler.remove_node(first)
    assert lost is not None
    left = {4, 8, 12} - {int(lost[5:-1])}
    another = Worker("gw2")
    scheduler.add_node(another)
    scheduler.add_node_collection(another, scheduler.collection)
    scheduler.schedule()
    ran = run(scheduler, [second, another])
    assert sorted([*ran["gw1"], *ran["gw2"]]) == sorted(set(range(16)) - {0, int(lost[5:-1])})
    # What is left of the chunk is still in one piece.
    assert any(left <= set(piece) for node in (second, another) for piece in node.sent)


def test_fewer_items_than_workers_are_dealt_out_one_chunk_each(config: SimpleNamespace) -> None:
    scheduler = chunked(config, [0, 0, 1])
    nodes = start(scheduler, 3, workers=3)
    assert [node.sent for node in nodes] == [[[0, 1]], [[2]], []]
    assert all(node.shutting_down for node in nodes)


def test_the_largest_number_of_items_at_a_time_gives_way_to_the_chunk(config: SimpleNamespace) -> None:
    options = {"tx": ["2*popen"], "maxschedchunk": 1}
    config.getoption = options.get
    scheduler = chunked(config, [index // 5 for index in range(20)])
    nodes = start(scheduler, 20)
    assert [node.sent for node in nodes] == [[[0, 1, 2, 3, 4]], [[5, 6, 7, 8, 9]]]
