"""Which pictures stay where more images failed than anybody looks at."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_robustness.records import Verdict

__all__ = ["Gallery"]


class Gallery:
    """Which failing images are pictured: so many in all and of one test, those of the first tests by node id.

    A big failure stays readable, and the pictures are the same whatever the order in which the tests run, and
    whichever worker runs them: who comes later in the order of node ids gives way.
    """

    def __init__(self, *, limit: int = 20, per_test: int = 5) -> None:
        self._limit = limit
        self._per_test = per_test
        # Images by node id, in the order of node ids.
        self._taken: dict[str, int] = {}

    def room(self, nodeid: str) -> int:
        """How many images of this item may be pictured, as far as is known."""
        before = [(other, images) for other, images in self._taken.items() if other < nodeid]
        same = sum(images for other, images in before if _test(other) == _test(nodeid))
        return max(0, min(self._limit - sum(images for _, images in before), self._per_test - same))

    def allowance(self, nodeid: str) -> int:
        """How many images this item may picture: as many as any test or, where there is no room, none.

        Not what room there is just now: which of them stay is decided as they hang, and pictures before explanations, whatever
        the item makes first.
        """
        return min(self._limit, self._per_test) if self.room(nodeid) else 0

    def take(self, nodeid: str, verdicts: "Sequence[Verdict]") -> None:
        """The item has these verdicts, with their pictures; those of a rerun replace the ones before."""
        images = sum(_images(verdict) for verdict in verdicts)
        if not images and nodeid not in self._taken:
            return
        wanted = sorted((self._taken | {nodeid: images}).items())
        self._taken = {}
        for other, images in wanted:
            fitting = min(images, self.room(other))
            if fitting:
                self._taken[other] = fitting

    def hang(self, nodeid: str, verdicts: "Sequence[Verdict]") -> "Iterator[Verdict]":
        """The item's verdicts with the pictures that stay."""
        left = self._taken.get(nodeid, 0)
        for verdict in verdicts:
            shown = min(left, _images(verdict))
            left -= shown
            yield verdict if shown == _images(verdict) else _with(verdict, shown)


def _test(nodeid: str) -> str:
    return nodeid.partition("[")[0]


def _images(verdict: "Verdict") -> int:
    """Of each pictured image there are the clean one and the stressed one; a trace with pictures is one more, and so is an explanation."""
    return (
        len(verdict.pictures) // 2
        + sum(bool(trace.frames[0].png) for trace in verdict.traces)
        + sum(any(side.picture for side in own.sides) for own in verdict.explained)
    )


def _with(verdict: "Verdict", images: int) -> "Verdict":
    """The verdict with the pictures of so many images, those of failures first; a trace keeps its numbers."""
    pictures = verdict.pictures[: 2 * images]
    left, traces = images - len(pictures) // 2, []
    for trace in verdict.traces:
        pictured = bool(trace.frames[0].png)
        traces.append(trace if not pictured or left > 0 else trace.without_pictures())
        left -= pictured
    explained = []
    for own in verdict.explained:
        pictured = any(side.picture for side in own.sides)
        explained.append(own if not pictured or left > 0 else own.without_pictures())
        left -= pictured
    return dataclasses.replace(verdict, pictures=pictures, traces=tuple(traces), explained=tuple(explained))
