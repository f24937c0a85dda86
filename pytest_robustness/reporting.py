"""What became of an item: its verdicts for the files, its sentences for the terminal.

Nothing heavy is imported here, as in the plugin.
"""

import dataclasses
import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest._code.code import ReprExceptionInfo

    from pytest_robustness.records import Verdict
    from pytest_robustness.robustness import Robustness

__all__ = ["Gallery", "quiet", "sentences", "verdicts"]


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
    """Of each pictured image there are the clean one and the stressed one; a trace with pictures is one more."""
    return len(verdict.pictures) // 2 + sum(bool(trace.frames[0].png) for trace in verdict.traces)


def _with(verdict: "Verdict", images: int) -> "Verdict":
    """The verdict with the pictures of so many images, those of failures first; a trace keeps its numbers."""
    pictures = verdict.pictures[: 2 * images]
    left, traces = images - len(pictures) // 2, []
    for trace in verdict.traces:
        pictured = bool(trace.frames[0].png)
        traces.append(trace if not pictured or left > 0 else trace.without_pictures())
        left -= pictured
    return dataclasses.replace(verdict, pictures=pictures, traces=tuple(traces))


def verdicts(
    item: pytest.Item, call: pytest.CallInfo[None], made: "Robustness | None", *, failed: bool
) -> "Sequence[Verdict]":
    """The gates that the item judged with `made`; a rule of its own over measurements, or an error, is one more.

    What a test expects to fail, by xfail or by catching it, has not `failed`, and is told apart.
    """
    found = list(made.verdicts) if made is not None else []
    raised = None if call.excinfo is None else call.excinfo.value
    if isinstance(raised, pytest.skip.Exception):
        return []
    gate_failed = any(verdict.status != "pass" for verdict in found)
    if raised is not None and not isinstance(raised, AssertionError):
        found.append(_error(item, raised))
    elif not gate_failed and (raised is not None or (made is not None and made.measurements)):
        found.append(_own_rule(item, raised, made.measurements if made is not None else []))
    if made is not None and made.measurements:
        found[-1] = _showing(found[-1], made)
    run = made.engine.provenance.key if made is not None and found else ""
    return [
        dataclasses.replace(v, test=item.nodeid, run=run, expected=v.status != "pass" and not failed) for v in found
    ]


def _showing(verdict: "Verdict", made: "Robustness") -> "Verdict":
    """The verdict with the traces and matrices that were measured beside it."""
    from pytest_robustness.matrices import TargetedMatrix
    from pytest_robustness.traces import Trace

    traces = tuple(measurement for measurement in made.measurements if isinstance(measurement, Trace))
    measured = (own.record for own in made.measurements if isinstance(own, TargetedMatrix))
    judged = {matrix for own in made.verdicts for matrix in own.matrices}
    matrices = tuple(matrix for matrix in dict.fromkeys(measured) if matrix not in judged)
    views = tuple(view for matrix in matrices for view in made.pictures[matrix])
    return dataclasses.replace(
        verdict, traces=traces, matrices=verdict.matrices + matrices, pictures=verdict.pictures + views
    )


def _error(item: pytest.Item, raised: BaseException) -> "Verdict":
    from pytest_robustness.errors import InputError
    from pytest_robustness.records import Verdict

    kind = "" if isinstance(raised, InputError) else f"{type(raised).__name__}: "
    return Verdict(gate="error", claim=item.name, status="error", reason=f"{kind}{raised}")


def _own_rule(item: pytest.Item, raised: BaseException | None, measurements: "Sequence[object]") -> "Verdict":
    from pytest_robustness.records import Verdict

    lines = [] if raised is None else [str(raised).partition("\n")[0]]
    # Of several measurements none is the one that the rule is about.
    numbers = [measurement for measurement in measurements if isinstance(measurement, float)]
    only = float(numbers[0]) if len(numbers) == len(measurements) == 1 else math.inf
    return Verdict(
        gate="own-rule",
        claim=f"the rule of {item.name}",
        status="pass" if raised is None else "fail",
        reason="\n".join(lines + [repr(measurement) for measurement in measurements]),
        measured=only if math.isfinite(only) else None,
    )


def quiet(report: pytest.TestReport) -> bool:
    """Whether it is a setup or teardown of which pytest's summary has nothing to tell.

    For every failure the summary searches all setups and teardowns for what the failing item wrote in its own:
    with 10,000 failures, a minute. These it can leave out.
    """
    return report.when != "call" and report.passed and not any("teardown" in name for name, _ in report.sections)


def sentences(
    item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException], made: "Robustness | None"
) -> "ReprExceptionInfo | None":
    """A failed gate or refused input as its sentences: a traceback through our code would hide them.

    None for any other error.
    """
    from _pytest._code.code import ReprEntryNative, ReprExceptionInfo, ReprFileLocation, ReprTraceback

    from pytest_robustness.errors import InputError
    from pytest_robustness.gates import GateFailed

    raised = excinfo.value
    if not isinstance(raised, (GateFailed, InputError)):
        return None
    lines = str(raised).splitlines()
    frames = [frame for frame in excinfo.traceback if _is_users(Path(frame.path), item)]
    lineno = frames[-1].lineno + 1 if frames else 1
    if frames:
        lines.append(f"at {Path(frames[-1].path).name}:{lineno}")
    if isinstance(raised, GateFailed) and made is not None:
        lines.append(f"reproduce: pytest {shlex.quote(item.nodeid)} --robustness-seed={made.engine.seed}")
    entry = ReprEntryNative([f"{line}\n" for line in lines])
    crash = ReprFileLocation(str(item.path), lineno, lines[0])
    return ReprExceptionInfo(ReprTraceback([entry], None, "native"), crash)


def _is_users(path: Path, item: pytest.Item) -> bool:
    """Whether a frame is in the test itself or in a conftest that serves it, and not inside a library."""
    return path == item.path or (path.name == "conftest.py" and path.parent in item.path.parents)
