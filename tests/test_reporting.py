"""What became of an item: which failures are pictured, and what pytest shows of it all."""

import itertools
import re

import pytest

from pytest_robustness.records import Picture, Verdict
from pytest_robustness.reporting import Gallery


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


TESTS = """
import pytest
from pytest_robustness import Blend

@pytest.fixture
def noisy():
    yield
    print("said in the teardown")

@pytest.fixture
def broken():
    yield
    raise KeyError("in the teardown")

def test_many(robustness, robustness_image):
    print("said in the test")
    robustness.assert_holds_until(robustness_image, Blend("white.png"), 0.6, levels=3)

def test_says_something(robustness, noisy):
    robustness.assert_accuracy(at_least=1, images="dark/dark_0.png")
    robustness.assert_accuracy(Blend("white.png"), 0.6, at_least=1)

def test_ends_badly(robustness, broken):
    robustness.assert_accuracy(Blend("white.png"), 0.6, at_least=1)

def test_plain():
    pass
"""
COUNT = """
def pytest_terminal_summary(terminalreporter):
    print("searched for every failure:", sum(r.nodeid.count("test_many") for r in terminalreporter.stats.get("", ())))
"""


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", *arguments)


def test_reports_of_our_setups_and_teardowns_are_not_searched_for_every_failure(project: pytest.Pytester) -> None:
    project.makepyfile(TESTS)
    with (project.path / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write(COUNT)
    result = run(project)
    assert "searched for every failure: 0" in result.outlines
    result.assert_outcomes(passed=4, failed=5, errors=1)


@pytest.mark.parametrize("options", ["-rA", "-v", "-vv --durations=0", "-q", "--tb=line", "--junitxml=junit.xml"])
def test_what_pytest_shows_is_the_same_as_without_it(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    project.makepyfile(TESTS)

    def shown() -> list[str]:
        lines = run(project, *options.split()).outlines
        if "junit" in options:
            lines.append((project.path / "junit.xml").read_text(encoding="utf-8"))
        # Times differ, and with them the order of the slowest.
        lines = [re.sub(r'\d+\.\d\d+s|(time|timestamp)="[^"]*"|\w+ at 0x\w+', "", line) for line in lines]
        return sorted(lines) if "durations" in options else lines

    with_it = shown()
    monkeypatch.setattr("pytest_robustness.plugin.quiet", lambda report: False)
    assert shown() == with_it


def test_what_a_failing_item_writes_in_its_teardown_is_shown(project: pytest.Pytester) -> None:
    project.makepyfile(TESTS)
    result = run(project, "-k", "says_something")
    assert "said in the teardown" in result.outlines


def test_an_error_after_a_failed_gate_has_its_own_traceback(project: pytest.Pytester) -> None:
    project.makepyfile(TESTS)
    result = run(project, "-k", "ends_badly")
    result.assert_outcomes(failed=1, errors=1)
    assert "E       KeyError: 'in the teardown'" in result.outlines
    assert result.stdout.str().count("short by 0.5") == 1
