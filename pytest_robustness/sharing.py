"""Which of the selected tests run on this shard: the others are deselected, as -k would do.

Nothing heavy is imported here, as in the plugin.
"""

import dataclasses
from typing import TYPE_CHECKING

import pytest

from pytest_robustness.shards import Shard, items_digest

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

__all__ = ["Sharing", "by_pairs"]


class Sharing:
    """The part of this run in a run on several machines, registered as a plugin where there is one.

    A test of one image runs where the image belongs, so that its answer without a stress is asked for on one shard; a test
    that is shared out by its pairs runs on every shard, and any other by its node id. `shard` knows the tests that are
    shared out once they were collected, in the controller of pytest-xdist once a worker has told.
    """

    def __init__(self, config: pytest.Config, shard: Shard) -> None:
        self.shard = shard
        self.left_out = False
        self._config = config

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        # Last, after -k and -m: what is left is what the shards share.
        self._know(items_digest([item.nodeid for item in items]))
        kept: list[pytest.Item] = []
        left_out: list[pytest.Item] = []
        for item in items:
            (kept if by_pairs(item) or self.shard.takes(_name(item)) else left_out).append(item)
        if left_out:
            self.left_out = True
            self._config.hook.pytest_deselected(items=left_out)
            items[:] = kept

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        told = getattr(self._config, "workeroutput", None)
        if told is not None:
            told["robustness_items"] = (self.shard.items, self.left_out)
        elif self.left_out and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            # All of them are other shards'.
            session.exitstatus = pytest.ExitCode.OK

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: "WorkerController") -> None:
        # A worker that crashed has told nothing.
        items, left_out = getattr(node, "workeroutput", {}).get("robustness_items", (self.shard.items, self.left_out))
        self._know(items)
        self.left_out = left_out

    def _know(self, items: str) -> None:
        self.shard = dataclasses.replace(self.shard, items=items)


def by_pairs(item: pytest.Item) -> bool:
    """Whether the test is marked to run on every shard, each time with the pairs of the shard's images."""
    return any("shard" in marker.kwargs for marker in item.iter_markers("robustness"))


def _name(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    image = None if callspec is None else callspec.params.get("robustness_image")
    return str(getattr(image, "id", item.nodeid))
