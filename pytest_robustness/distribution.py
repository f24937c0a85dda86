"""Which images are evaluated together, and how the processes of a run under pytest-xdist agree on it.

Nothing heavy is imported here, as in the plugin.
"""

import contextlib
import functools
import json
import math
import re
import shutil
import tempfile
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer  # type: ignore[import-untyped]
    from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

    from pytest_robustness.scheduling import ChunkScheduling

__all__ = ["Company", "Distribution"]


class Company:
    """The images that the selected items of one test will ask for, in the order of their ids.

    `chunk_size` is set where several processes have to cut the same chunks; elsewhere it is None, and who asks
    says how many images make a chunk.
    """

    def __init__(self) -> None:
        self.chunk_size: int | None = None
        self._ids: set[str] = set()
        self._asked: set[tuple[int, Hashable]] = set()

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, image_id: str) -> None:
        """An item's image; all are added before the first question."""
        self._ids.add(image_id)

    def chunk(self, image_id: str, size: int) -> tuple[str, ...]:
        """The images that are evaluated together with this one: the same ones whatever the order of the items."""
        start = self._places[image_id] // size * size
        return tuple(self._ordered[start : start + size])

    def around(self, image_id: str, question: Hashable, *, size: Callable[[], int]) -> Sequence[str]:
        """The chunk of this image, the first time that the question is put to the chunk.

        Nothing when it was put before (the answers are there), or for an image that was not selected.
        """
        place = self._places.get(image_id)
        if place is None:
            return ()
        n = self.chunk_size or size()
        if (place // n, question) in self._asked:
            return ()
        self._asked.add((place // n, question))
        return self.chunk(image_id, n)

    @functools.cached_property
    def _ordered(self) -> Sequence[str]:
        return sorted(self._ids)

    @functools.cached_property
    def _places(self) -> Mapping[str, int]:
        return {image_id: place for place, image_id in enumerate(self._ordered)}


class Distribution:
    """The part of this process in a run under pytest-xdist, registered as a plugin; of any other run it is all.

    `run` is the id that all processes of a distributed run share, and `directory` a directory for what only
    they need; both are empty elsewhere, and the directory also on another machine than the controller's.
    With `whole_chunks`, what `--dist=load` hands out is whole chunks.
    """

    def __init__(self, config: pytest.Config, *, whole_chunks: bool) -> None:
        given: dict[str, Any] = getattr(config, "workerinput", {})
        self.is_worker = bool(given)
        self.run: str = given.get("testrunuid", "")
        self.workers: int = given.get("workercount", 1)
        self.directory = Path(given["robustness_directory"]) if "robustness_directory" in given else None
        if self.directory is not None and not self.directory.is_dir():
            self.directory = None
        self._worker: str = given.get("workerid", "")
        self._whole_chunks = whole_chunks

    @property
    def index(self) -> int:
        """This worker's number: workers of one machine that run at a time have different ones."""
        digits = re.search(r"[0-9]+$", self._worker)
        return int(digits[0]) if digits else 0

    def announce(self, seats: Sequence[tuple[Company, str] | None], most: Callable[[], int]) -> None:
        """Cut the chunks, and tell the controller in which one each item is, from its company and image.

        A chunk is named by its images: two tests over the same images have the same chunks. It has `most`
        images at most.
        """
        companies = {id(seat[0]): seat[0] for seat in seats if seat is not None}
        if not companies or not self.is_worker:
            return
        for company in companies.values():
            company.chunk_size = _equal_chunks(len(company), most(), self.workers)
        numbers: dict[tuple[str, ...], int] = {}
        labels = [seat and _number(numbers, *seat) for seat in seats]
        if self.directory is not None:
            # The controller reads it after this worker has sent what it collected; without it there are no chunks.
            with contextlib.suppress(OSError):
                self._labels_file(self._worker).write_text(json.dumps(labels), encoding="utf-8")

    def _labels_file(self, worker: str) -> Path:
        assert self.directory is not None
        return self.directory / f"chunks-{worker}.json"

    def _labels(self, worker: str) -> Sequence[int | None]:
        try:
            labels: list[int | None] = json.loads(self._labels_file(worker).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            # Of a worker on another machine, or without a test of ours.
            return ()
        return labels

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: "WorkerController") -> None:
        if self.directory is None:
            self.directory = Path(tempfile.mkdtemp(prefix="pytest-robustness-"))
        self.run = node.workerinput["testrunuid"]
        node.workerinput["robustness_directory"] = str(self.directory)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: "Producer") -> "ChunkScheduling | None":
        if not self._whole_chunks or config.getoption("dist") != "load":
            return None
        from pytest_robustness.scheduling import ChunkScheduling

        return ChunkScheduling(config, log, labels=self._labels)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        if self.directory is not None and not self.is_worker:
            shutil.rmtree(self.directory, ignore_errors=True)


def _equal_chunks(images: int, most: int, workers: int) -> int:
    """How many images make a chunk of at most `most`, so that every worker can be given equally many chunks."""
    chunks = math.ceil(math.ceil(images / most) / workers) * workers
    return math.ceil(images / chunks)


def _number(numbers: dict[tuple[str, ...], int], company: Company, image_id: str) -> int:
    assert company.chunk_size is not None
    return numbers.setdefault(company.chunk(image_id, company.chunk_size), len(numbers))
