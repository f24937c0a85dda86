"""Whole chunks of images for the workers of pytest-xdist, so that no two of them evaluate the same batch.

Imported only by the controller of a distributed run: nothing else may need pytest-xdist.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadScheduling  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from xdist.remote import Producer  # type: ignore[import-untyped]
    from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

__all__ = ["ChunkScheduling"]


class ChunkScheduling(LoadScheduling):  # type: ignore[misc]
    """pytest-xdist's `--dist=load`, except that the items of one chunk go to one worker, in one piece.

    `labels` tells, from a worker's id, the chunk of each of its items by number, None for an item that is in
    none; where it knows nothing of the worker, or no item is in a chunk, everything is as with `load`.
    """

    def __init__(
        self, config: pytest.Config, log: "Producer", *, labels: Callable[[str], Sequence[int | None]]
    ) -> None:
        super().__init__(config, log)
        self._labels = labels
        self._groups: Sequence[int] | None = None

    def _send_tests(self, node: "WorkerController", num: int) -> None:
        if self._groups is None:
            self._groups = self._grouped()
        groups = self._groups
        if groups:
            # Every time, because what a crashed worker leaves behind comes back in pieces.
            self.pending.sort(key=lambda index: (groups[index], index))
            while num < len(self.pending) and groups[self.pending[num - 1]] == groups[self.pending[num]]:
                num += 1
            # As they were collected: fixtures of modules and classes are set up least often that way.
            self.pending[:num] = sorted(self.pending[:num])
        super()._send_tests(node, num)

    def _grouped(self) -> Sequence[int]:
        """For each item the first one of its chunk, or itself; empty where there are no chunks."""
        labels = self._labels(next(iter(self.node2collection)).gateway.id)
        if len(labels) != len(self.collection) or all(label is None for label in labels):
            return ()
        first: dict[int, int] = {}
        return [index if label is None else first.setdefault(label, index) for index, label in enumerate(labels)]
