"""Measuring: repeats that take turns, medians with their range, and processes of their own.

Times are wall seconds, memory is the peak resident size in megabytes (10^6 bytes). Nothing heavy is imported here: the peak
of a process includes the size of its parent at the fork, so the process that starts all others stays small.
"""

import concurrent.futures
import contextlib
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

__all__ = ["Ended", "Figure", "Sample", "Worker", "ended", "interleaved", "peak_megabytes"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_K = TypeVar("_K", bound=Hashable)


@dataclass(frozen=True)
class Figure:
    """One thing measured several times, in the order of the rounds; ValueError for no value at all."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("Figure: expected at least one measured value, got none; measure before you report")

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The smallest value of any round."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest value of any round."""
        return max(self.values)

    def minus(self, other: "Figure") -> "Figure":
        """This less the other, round by round: what the machine did to a round, it did to both."""
        return Figure(tuple(a - b for a, b in zip(self.values, other.values, strict=True)))

    def scaled(self, factor: float) -> "Figure":
        """In another unit, of which `factor` make one."""
        return Figure(tuple(value * factor for value in self.values))

    def over(self, other: "Figure") -> "Figure | None":
        """This in units of the other, round by round; None where a subtraction left nothing above 0 to divide."""
        if min(self.low, other.low) <= 0:
            return None
        return Figure(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))


@dataclass(frozen=True)
class Sample:
    """One round of one contender: wall seconds, and whether each image was right, in the order of the ids."""

    seconds: float
    right: tuple[bool, ...] = ()


def interleaved(runs: Mapping[_K, Callable[[], _T]], repeats: int) -> dict[_K, list[_T]]:
    """What each run returned, in `repeats` rounds of all runs.

    Every round begins one run later than the round before, so that neither drift of the machine nor a neighbour's
    leftovers always hit the same run.
    """
    keys = list(runs)
    found: dict[_K, list[_T]] = {key: [] for key in keys}
    for repeat in range(repeats):
        first = repeat % len(keys)
        for key in keys[first:] + keys[:first]:
            found[key].append(runs[key]())
    return found


class Worker(contextlib.AbstractContextManager["Worker"]):
    """A process of its own with torch, `threads` threads and full float32, that answers one call at a time.

    A contender's allocator, thread pool and switches are then nobody else's, as for its users.
    """

    def __init__(self, *, threads: int) -> None:
        self._pool = concurrent.futures.ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn"), initializer=_settle, initargs=(threads,)
        )
        # Asked for nothing, so that several workers start side by side.
        self._started = self._pool.submit(os.getpid)

    def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What the function returns over there; its errors are raised here."""
        return self._pool.submit(function, *args, **kwargs).result()

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def _settle(threads: int) -> None:
    # Read by the libraries below torch when they are loaded.
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(threads)
    # TF32 would compare precisions instead of programs.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


@dataclass(frozen=True)
class Ended:
    """A process that has ended: wall seconds from its start, its peak memory, its exit status and all it printed."""

    seconds: float
    megabytes: float
    status: int
    output: str


def ended(command: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> Ended:
    """The command, run in `folder` until it ends."""
    with tempfile.TemporaryFile() as printed:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=dict(environment), stdout=printed, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        # Popen did not see it end.
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        output = printed.read().decode(errors="replace")
    return Ended(seconds, _megabytes(usage.ru_maxrss), process.returncode, output)


def peak_megabytes() -> float:
    """The peak memory of this process so far."""
    return _megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _megabytes(maxrss: int) -> float:
    # Bytes on macOS, KiB elsewhere.
    return maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
