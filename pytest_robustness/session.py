"""What one pytest session knows: its settings, its engines, and its verdicts on their way to the files.

Nothing heavy is imported here, as in the plugin.
"""

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_robustness.engine import Engine
    from pytest_robustness.loading import ImageSet
    from pytest_robustness.records import Provenance, Results, Verdict
    from pytest_robustness.robustness import Album

__all__ = ["CHECKPOINT_SECONDS", "OPTIONS", "Company", "Option", "Session", "Settings", "add_options", "is_worker"]


CHECKPOINT_SECONDS = 10.0
"""How often a running session writes its results so far."""


@dataclasses.dataclass(frozen=True)
class Option:
    """A setting that the command line knows as `--robustness-<name>` and the ini file as `robustness_<name>`."""

    name: str
    default: str
    metavar: str
    help: str


OPTIONS = (
    Option("device", "auto", "DEVICE", "device to run on: auto (CUDA, else MPS, else the CPU), cpu, cuda, cuda:1, mps"),
    Option("batch-size", "", "N", "images per batch (default: 32 on a CPU, 128 elsewhere)"),
    Option("seed", "0", "N", "seed of all noise; with the image's id it decides every random number"),
    Option("report", "", "FILE", "write the report, one self-contained HTML page, to this file"),
    Option("json", "", "FILE", "write the results as JSON to this file"),
)


def add_options(parser: pytest.Parser) -> None:
    """Every option once for the command line and once for the ini file."""
    group = parser.getgroup("robustness", "robustness of image classifiers")
    for option in OPTIONS:
        default = f" (default: {option.default})" if option.default else ""
        group.addoption(f"--robustness-{option.name}", default=None, metavar=option.metavar, help=option.help + default)
        parser.addini(f"robustness_{option.name.replace('-', '_')}", option.help + default, default=option.default)


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options as they are meant: command line before ini before default."""

    device: str
    batch_size: int | None
    seed: int
    report: Path | None
    json: Path | None

    @classmethod
    def of(cls, config: pytest.Config) -> "Settings":
        def text(name: str) -> str:
            given = config.getoption(f"--robustness-{name}")
            return str(config.getini(f"robustness_{name.replace('-', '_')}") if given is None else given).strip()

        def number(name: str, least: int) -> int:
            value = text(name)
            try:
                if int(value) >= least:
                    return int(value)
            except ValueError:
                pass
            raise pytest.UsageError(f"--robustness-{name}: expected a whole number >= {least}, got {value!r}")

        def file(name: str) -> Path | None:
            if not text(name):
                return None
            # As with pytest's own options: relative to where the option was written.
            given = config.getoption(f"--robustness-{name}") is not None
            return (config.invocation_params.dir if given else config.rootpath) / text(name)

        return cls(
            device=text("device"),
            batch_size=number("batch-size", 1) if text("batch-size") else None,
            seed=number("seed", 0),
            report=file("report"),
            json=file("json"),
        )


class Company:
    """The images that the selected items of one test will ask for, in the order of the items."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._places: dict[str, int] = {}
        self._asked: set[tuple[int, Hashable]] = set()

    def add(self, image_id: str) -> None:
        """The next item's image; an image that is there keeps its place."""
        if image_id not in self._places:
            self._places[image_id] = len(self._ids)
            self._ids.append(image_id)

    def around(self, image_id: str, question: Hashable, *, size: int) -> Sequence[str]:
        """The batch of `size` images that this one falls into, the first time that this question is put to it.

        Nothing when it was put before (the answers are there), or for an image that was not selected.
        """
        place = self._places.get(image_id)
        if place is None or (place // size, question) in self._asked:
            return ()
        self._asked.add((place // size, question))
        start = place // size * size
        return self._ids[start : start + size]


class Session:
    """What one session knows, registered as a plugin: engines, which images go together, and the verdicts so far."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.settings = settings
        self.companies: dict[object, Company] = {}
        self.runs: dict[str, Provenance] = {}
        self._config = config
        self._verdicts: dict[str, Sequence[Verdict]] = {}
        self._engines: dict[tuple[int, int, str, int], Engine] = {}
        self._internal_error = False
        self._lost_worker = False
        self._notes: list[str] = []
        # The first verdict is written at once: it replaces the complete results of a run before.
        self._checkpoint_at = 0.0

    def engine(self, model: Any, images: "ImageSet", device: str, seed: int) -> "Engine":
        """The engine of this model and these images: tests that share both share the answers."""
        from pytest_robustness.engine import Engine

        key = (id(model), id(images), device, seed)
        if key not in self._engines:
            # Each holds its model: a fixture that builds a model per test must not fill the memory.
            while len(self._engines) >= 4:
                del self._engines[next(iter(self._engines))]
            self._engines[key] = Engine(model, images, device=device, seed=seed, batch_size=self.settings.batch_size)
        return self._engines[key]

    @functools.cached_property
    def album(self) -> "Album":
        """The pictures of failures that the session may still take."""
        from pytest_robustness.robustness import Album

        return Album()

    def keep(self, nodeid: str, verdicts: "Sequence[Verdict]", runs: "Sequence[Provenance]") -> None:
        """Keep an item's verdicts; those of a rerun replace the ones before."""
        self._verdicts[nodeid] = verdicts
        self.runs.update((run.key, run) for run in runs)
        if self.settings.json is not None and time.monotonic() >= self._checkpoint_at and not is_worker(self._config):
            self._checkpoint(self.settings.json)

    def _checkpoint(self, path: Path) -> None:
        """Write what there is so far, marked incomplete: a run that is killed must not lose it."""
        started = time.monotonic()
        with contextlib.suppress(OSError):
            # A file that can't be written is told once, at the end.
            _write_whole(path, self._collected(complete=False).to_json())
        # Never more than a twentieth of the time, however many results there are.
        self._checkpoint_at = time.monotonic() + max(CHECKPOINT_SECONDS, 20 * (time.monotonic() - started))

    def _collected(self, *, complete: bool) -> "Results":
        from pytest_robustness.records import Results

        verdicts = (verdict for _, found in sorted(self._verdicts.items()) for verdict in found)
        runs = (run for _, run in sorted(self.runs.items()))
        return Results(tuple(verdicts), tuple(runs), complete=complete)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Only the controller of a distributed run finds a load here: elsewhere verdicts are kept at once.
        carried = getattr(report, "robustness", None)
        if carried is not None and not is_worker(self._config):
            from pytest_robustness.records import Results

            results = Results.from_json(carried)
            self.keep(report.nodeid, results.verdicts, results.runs)

    def pytest_internalerror(self) -> None:
        self._internal_error = True

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object, error: object) -> None:
        # pytest-xdist's: with a worker that crashed, the verdicts of the item it was at are lost.
        self._lost_worker = self._lost_worker or error is not None

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if is_worker(self._config):
            return
        finished = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        stopped = session.shouldstop or session.shouldfail or self._internal_error or self._lost_worker
        if self._verdicts:
            self._write(session, complete=finished and not stopped)
        if self._internal_error and session.exitstatus == pytest.ExitCode.OK:
            # A worker that dies while reporting can leave "no tests ran" and a green exit.
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def _write(self, session: pytest.Session, *, complete: bool) -> None:
        from pytest_robustness.records import path_text

        self._results = self._collected(complete=complete)
        if self._results.failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        try:
            if self.settings.json is not None:
                _write_whole(self.settings.json, self._results.to_json())
                self._notes.append(f"results: {path_text(self.settings.json)}")
            if self.settings.report is not None:
                from pytest_robustness.report.html import render

                _write_whole(self.settings.report, render(self._results))
                self._notes.append(f"report: {path_text(self.settings.report)}")
        except OSError as error:
            self._notes.append(f"could not write {error.filename}: {error.strerror}")
            session.exitstatus = session.exitstatus or pytest.ExitCode.INTERNAL_ERROR

    def pytest_terminal_summary(self, terminalreporter: "pytest.TerminalReporter") -> None:
        if not self._verdicts:
            if self.settings.json is not None or self.settings.report is not None:
                terminalreporter.write_line("robustness: no gate was judged, so nothing was written")
            return
        from pytest_robustness.report.text import gate_table

        terminalreporter.section("robustness")
        for line in [*gate_table(self._results), *self._notes]:
            terminalreporter.write_line(line)


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is a worker of pytest-xdist: its controller alone writes files."""
    return hasattr(config, "workerinput")


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
