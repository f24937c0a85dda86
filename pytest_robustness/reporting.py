"""What became of an item: its verdicts for the files, its sentences for the terminal.

Nothing heavy is imported here, as in the plugin.
"""

import dataclasses
import itertools
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_robustness.settings import as_given

if TYPE_CHECKING:
    from _pytest._code.code import ReprExceptionInfo

    from pytest_robustness.records import Verdict
    from pytest_robustness.robustness import Robustness

__all__ = ["NOTHING", "NO_IMAGES", "NO_MODEL", "add_command", "nothing", "quiet", "record", "sentences", "verdicts"]

NO_MODEL = """no model to judge: define the fixture robustness_model in conftest.py, for example
    @pytest.fixture(scope="session")
    def robustness_model():
        return my_project.load_model()  # nn.Module, RGB in [0, 1] (n, 3, h, w) -> logits (n, k)
or write model: into robustness.yaml, where the gates are there"""
NO_IMAGES = """no images to judge the model on: define the fixture robustness_images in conftest.py, for example
    @pytest.fixture(scope="session")
    def robustness_images():
        return image_folder("path/to/images")  # one folder per class; from pytest_robustness import image_folder
or write images: into robustness.yaml, where the gates are there"""

_PART = (
    "a rule of its own can't be judged on a part of the pairs; judge them by assert_modify_rate or assert_mimic_rate, or leave "
    "shard='pairs' out of the marker"
)

_REPLAYED = 3
_COLUMNS = 80

NOTHING = (
    "the test asked for robustness, and neither judged nor measured anything: a gate over nothing would pass every model; call an "
    "assertion of robustness, or assert a measurement"
)


def nothing(item: pytest.Item, made: "Robustness | None") -> "Sequence[Verdict]":
    """The error of an item that passed without a gate or a measurement; none where it has one."""
    if made is None or made.verdicts or made.measurements:
        return []
    from pytest_robustness.records import Verdict

    run = made.engine.provenance.key
    return [Verdict(gate="error", claim=item.name, status="error", reason=NOTHING, test=item.nodeid, run=run)]


def verdicts(
    item: pytest.Item, call: pytest.CallInfo[None], made: "Robustness | None", *, failed: bool, xfail: bool = False
) -> "Sequence[Verdict]":
    """The gates that the item judged with `made`; a rule of its own over measurements, or an error, is one more.

    What a test expects to fail, by xfail or by catching it, has not `failed`, and is told apart. What is judged only when
    shards are merged can't be caught, and is expected to fail where the test is marked `xfail`.
    """
    found = list(made.verdicts) if made is not None else []
    raised = None if call.excinfo is None else call.excinfo.value
    if isinstance(raised, pytest.skip.Exception):
        return []
    # An undecided gate of a shard does not end its test; any other that raised has its verdict.
    gate_failed = any(verdict.status not in ("pass", "undecided") for verdict in found) or hasattr(raised, "verdict")
    if raised is not None and not isinstance(raised, AssertionError):
        found.append(_error(item, raised))
    elif not gate_failed and (raised is not None or (made is not None and made.measurements)):
        found.append(_own_rule(item, raised, made))
    if made is not None and made.measurements:
        found[-1] = _showing(found[-1], made)
    run = made.engine.provenance.key if made is not None and found else ""
    command = "" if made is None else _command(item, made)
    waits = made is not None and made.shard is not None
    return [
        dataclasses.replace(
            v,
            test=item.nodeid,
            run=run,
            reproduce=command,
            expected=v.status != "pass" and (xfail if waits and v.status == "undecided" else not failed),
        )
        for v in found
    ]


def _showing(verdict: "Verdict", made: "Robustness") -> "Verdict":
    """The verdict with the traces, explanations and matrices that were measured beside it."""
    from pytest_robustness.charts import Charted
    from pytest_robustness.explained import Explained
    from pytest_robustness.matrices import TargetedMatrix
    from pytest_robustness.traces import Trace

    traces = tuple(measurement for measurement in made.measurements if isinstance(measurement, Trace))
    explained = tuple(measurement for measurement in made.measurements if isinstance(measurement, Explained))
    charts = tuple(own.chart for own in made.measurements if isinstance(own, Charted))
    measured = (own.record for own in made.measurements if isinstance(own, TargetedMatrix))
    judged = {matrix for own in made.verdicts for matrix in own.matrices}
    matrices = tuple(matrix for matrix in dict.fromkeys(measured) if matrix not in judged)
    views = tuple(view for matrix in matrices for view in made.pictures[matrix])
    return dataclasses.replace(
        verdict,
        traces=traces,
        explained=explained,
        charts=verdict.charts + charts,
        matrices=verdict.matrices + matrices,
        pictures=verdict.pictures + views,
    )


def _error(item: pytest.Item, raised: BaseException) -> "Verdict":
    from pytest_robustness.errors import InputError
    from pytest_robustness.records import Verdict

    kind = "" if isinstance(raised, InputError) else f"{type(raised).__name__}: "
    return Verdict(gate="error", claim=item.name, status="error", reason=f"{kind}{raised}")


def _own_rule(item: pytest.Item, raised: BaseException | None, made: "Robustness | None") -> "Verdict":
    from pytest_robustness.records import Status, Verdict

    measurements: Sequence[object] = [] if made is None else made.measurements
    lines = [] if raised is None else [str(raised).partition("\n")[0]]
    status: Status = "pass" if raised is None else "fail"
    if raised is None and made is not None and made.shard is not None:
        status = "undecided"
        lines = [f"{made.shard.title}: {_PART}"]
    # Of several measurements none is the one that the rule is about.
    numbers = [measurement for measurement in measurements if isinstance(measurement, float)]
    only = float(numbers[0]) if len(numbers) == len(measurements) == 1 else math.inf
    return Verdict(
        gate="own-rule",
        claim=f"the rule of {item.name}",
        status=status,
        reason="\n".join(lines + [repr(measurement) for measurement in measurements]),
        measured=only if math.isfinite(only) else None,
    )


def record(item: pytest.Item, report: pytest.TestReport, found: "Sequence[Verdict]") -> None:
    """Give the item these verdicts as properties, which pytest writes into JUnit's XML; those of a rerun replace the ones before."""
    from pytest_robustness.report.junit import PREFIX, properties

    kept = [pair for pair in item.user_properties if not pair[0].startswith(PREFIX)]
    item.user_properties[:] = [*kept, *properties(found)]
    # pytest takes those of the last report, which may be this one.
    report.user_properties = list(item.user_properties)


def quiet(report: pytest.TestReport) -> bool:
    """Whether it is a setup or teardown of which pytest's summary has nothing to tell.

    For every failure the summary searches all setups and teardowns for what the failing item wrote in its own:
    with 10,000 failures, a minute. These it can leave out.
    """
    return report.when != "call" and report.passed and not any("teardown" in name for name, _ in report.sections)


def sentences(
    item: pytest.Item,
    excinfo: pytest.ExceptionInfo[BaseException],
    made: "Robustness | None",
    *,
    replay: Sequence[str] | None = None,
) -> "ReprExceptionInfo | None":
    """A failed gate or refused input as its sentences: a traceback through our code would hide them.

    Of a test of several images the worst can be replayed alone, with the options `replay`, where that is not None. None for any other
    error.
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
        lines.append(f"reproduce: {_command(item, made)}")
        lines += _replays(item, raised.verdict, made.engine.seed, replay)
    entry = ReprEntryNative([f"{line}\n" for line in lines])
    crash = ReprFileLocation(str(frames[-1].path if frames else item.path), lineno, lines[0])
    return ReprExceptionInfo(ReprTraceback([entry], None, "native"), crash)


def add_command(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, made: "Robustness | None"
) -> None:
    """Say below the failed `assert` of a rule over measurements how to run it again, as a gate's sentences do."""
    from _pytest._code.code import ExceptionRepr

    failed = call.excinfo is not None and isinstance(call.excinfo.value, AssertionError)
    if made is not None and failed and report.failed and isinstance(report.longrepr, ExceptionRepr):
        report.longrepr.addsection("robustness", f"reproduce: {_command(item, made)}")


def _command(item: pytest.Item, made: "Robustness") -> str:
    """What runs this item again, and nothing else, as it was."""
    options = "".join(f" {shlex.quote(option)}" for option in as_given(item.config))
    return f"pytest {shlex.quote(item.nodeid)} --robustness-seed={made.engine.seed}{options}"


def _replays(item: pytest.Item, verdict: "Verdict", seed: int, options: Sequence[str] | None) -> list[str]:
    """The commands that ask about the worst images alone, for a test of several; none that is too long for a terminal."""
    if options is None or verdict.n < 2:
        return []
    from pytest_robustness.corpus import failures_of

    lines = []
    given = "".join(f" {shlex.quote(option)}" for option in options)
    for failure in itertools.islice(failures_of(dataclasses.replace(verdict, test=item.nodeid), seed), _REPLAYED):
        command = f"pytest --robustness-replay={failure.key}{given}"
        named, plain = f"replay {failure.image}: {command}", f"replay: {command}"
        lines += [line for line in (named, plain) if len(line) <= _COLUMNS][:1]
    return lines


def _is_users(path: Path, item: pytest.Item) -> bool:
    """Whether a frame is in the test itself, in a conftest that serves it or in a file of gates, and not inside a library."""
    return (
        path.suffix in (".yaml", ".yml")
        or path == item.path
        or (path.name == "conftest.py" and path.parent in item.path.parents)
    )
