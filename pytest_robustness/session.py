"""What one pytest session knows: its settings, its engines, and its verdicts on their way to the files.

Nothing heavy is imported here, as in the plugin.
"""

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest

from pytest_robustness.distribution import Distribution
from pytest_robustness.gallery import Gallery
from pytest_robustness.progress import Progress
from pytest_robustness.shards import Shard
from pytest_robustness.sharing import Sharing

if TYPE_CHECKING:
    from pytest_robustness.cache import OutcomeStore
    from pytest_robustness.judging import Explain
    from pytest_robustness.loading import ImageSet
    from pytest_robustness.records import Provenance, Results, Verdict
    from pytest_robustness.running import Precision
    from pytest_robustness.trust import Trust

__all__ = [
    "CHECKPOINT_SECONDS",
    "OPTIONS",
    "Flag",
    "Option",
    "Session",
    "Settings",
    "add_options",
]


CHECKPOINT_SECONDS = 10.0
"""How often a running session writes its results so far."""


@dataclasses.dataclass(frozen=True)
class Option:
    """A setting that the command line knows as `--robustness-<name>` and the ini file as `robustness_<name>`."""

    name: str
    default: str
    metavar: str
    help: str


@dataclasses.dataclass(frozen=True)
class Flag:
    """A setting that is on or off: `--robustness-<name>` on the command line, true or false in the ini file."""

    name: str
    help: str


OPTIONS: tuple[Option | Flag, ...] = (
    Option("device", "auto", "DEVICE", "device to run on: auto (CUDA, else MPS, else the CPU), cpu, cuda, cuda:1, mps"),
    Option("batch-size", "auto", "N", "images per batch, or auto: what suits the device and the size of the images"),
    Option("precision", "float32", "TYPE", "numbers that attacks search with: float32, tf32, bfloat16, float16"),
    Flag("compile", "compile the model with torch.compile, on CUDA only"),
    Flag("fast", "let an accuracy gate stop as soon as its verdict is certain"),
    Option("workers", "auto", "N", "threads that decode images, or auto: one on a CPU, up to eight elsewhere"),
    Flag("no-cache", "keep no outcomes for the next run, and use none of the runs before"),
    Flag("cache-clear", "forget the outcomes of all runs before, at the start"),
    Option("xdist", "chunks", "HOW", "what pytest-xdist's --dist=load hands out: chunks of images, or load: any tests"),
    Option(
        "shard", "", "I/N", "run the I-th of N shares of the tests and images, to be joined by pytest_robustness merge"
    ),
    Option("require-device", "", "TYPE", "refuse to run on another kind of device than this: cpu, cuda or mps"),
    Option("min-gates", "0", "N", "fail a run that judged fewer gates than this"),
    Option(
        "explain", "failed", "WHAT", "explain in the report: failed (those pictured), all (what passed too) or none"
    ),
    Option("explain-by", "auto", "METHOD", "auto, grad-cam, rollout, lime or anchors"),
    Option("explain-most", "20", "N", "the most images that are pictured and explained in all"),
    Option("seed", "0", "N", "seed of all noise; with the image's id it decides every random number"),
    Option("report", "", "FILE", "write the report, one self-contained HTML page, to this file"),
    Option("json", "", "FILE", "write the results as JSON to this file"),
)


def add_options(parser: pytest.Parser) -> None:
    """Every option once for the command line and once for the ini file."""
    group = parser.getgroup("robustness", "robustness of image classifiers")
    for option in OPTIONS:
        flag, ini = f"--robustness-{option.name}", _ini(option.name)
        if isinstance(option, Flag):
            group.addoption(flag, action="store_true", default=None, help=option.help)
            parser.addini(ini, option.help, type="bool", default=False)
        else:
            default = f" (default: {option.default})" if option.default else ""
            group.addoption(flag, default=None, metavar=option.metavar, help=option.help + default)
            parser.addini(ini, option.help + default, default=option.default)


def _ini(name: str) -> str:
    return f"robustness_{name.replace('-', '_')}"


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options as they are meant: command line before ini before default."""

    device: str
    batch_size: int | Literal["auto"]
    precision: "Precision"
    compiled: bool
    fast: bool
    workers: int | None
    cached: bool
    clear_cache: bool
    whole_chunks: bool
    shard: Shard | None
    require_device: str
    min_gates: int
    explain: "Explain"
    explain_by: str
    explain_most: int
    seed: int
    report: Path | None
    json: Path | None

    @classmethod
    def of(cls, config: pytest.Config) -> "Settings":
        def text(name: str) -> str:
            given = config.getoption(f"--robustness-{name}")
            return str(config.getini(_ini(name)) if given is None else given).strip()

        def number(name: str, least: int, *, auto: bool = False) -> int | None:
            value = text(name)
            if auto and value == "auto":
                return None
            try:
                if int(value) >= least:
                    return int(value)
            except ValueError:
                pass
            expected = "auto or a whole number" if auto else "a whole number"
            raise pytest.UsageError(f"--robustness-{name}: expected {expected} >= {least}, got {value!r}")

        def choice(name: str, *choices: str) -> str:
            value = text(name)
            if value not in choices:
                expected = f"{', '.join(choices[:-1])} or {choices[-1]}"
                raise pytest.UsageError(f"--robustness-{name}: expected {expected}, got {value!r}")
            return value

        def share(name: str) -> Shard | None:
            try:
                return Shard.parse(text(name)) if text(name) else None
            except ValueError as error:
                raise pytest.UsageError(f"--robustness-{name}: {error}") from None

        def flag(name: str) -> bool:
            try:
                return bool(config.getoption(f"--robustness-{name}") or config.getini(_ini(name)))
            except ValueError as error:
                raise pytest.UsageError(f"{_ini(name)}: expected true or false in the ini file; {error}") from None

        def file(name: str) -> Path | None:
            if not text(name):
                return None
            # As with pytest's own options: relative to where the option was written.
            given = config.getoption(f"--robustness-{name}") is not None
            return (config.invocation_params.dir if given else config.rootpath) / text(name)

        return cls(
            device=text("device"),
            batch_size=number("batch-size", 1, auto=True) or "auto",
            precision=cast("Precision", choice("precision", "float32", "tf32", "bfloat16", "float16")),
            compiled=flag("compile"),
            fast=flag("fast"),
            workers=number("workers", 1, auto=True),
            cached=not flag("no-cache"),
            clear_cache=flag("cache-clear"),
            whole_chunks=choice("xdist", "chunks", "load") == "chunks",
            shard=share("shard"),
            require_device=choice("require-device", "cpu", "cuda", "mps") if text("require-device") else "",
            min_gates=number("min-gates", 0) or 0,
            explain=cast("Explain", choice("explain", "failed", "all", "none")),
            explain_by=choice("explain-by", "auto", "grad-cam", "rollout", "lime", "anchors"),
            explain_most=number("explain-most", 0) or 0,
            seed=number("seed", 0) or 0,
            report=file("report"),
            json=file("json"),
        )


class Session:
    """What one session knows, registered as a plugin: its engines, their store, and the verdicts so far.

    `sharing` is there where the session is one of several shards.
    """

    def __init__(
        self, config: pytest.Config, settings: Settings, distribution: Distribution, sharing: Sharing | None = None
    ) -> None:
        self.settings = settings
        self.distribution = distribution
        self.sharing = sharing
        self.gallery = Gallery(limit=settings.explain_most)
        self._runs: dict[str, Provenance] = {}
        self._config = config
        self._verdicts: dict[str, Sequence[Verdict]] = {}
        self._trusted: dict[tuple[int, int, str, int], Trust] = {}
        self._open = contextlib.ExitStack()
        self._internal_error = False
        self._lost_worker = False
        self._notes: list[str] = []
        self._results: Results | None = None
        # The first verdict is written at once: it replaces the complete results of a run before.
        self._checkpoint_at = 0.0

    def trust(self, model: Any, images: "ImageSet", device: str, seed: int) -> "Trust":
        """The engine of this model and these images, with its checks: tests that share both share the answers."""
        from pytest_robustness.engine import Engine
        from pytest_robustness.trust import Trust

        key = (id(model), id(images), device, seed)
        if key not in self._trusted:
            # Each holds its model: a fixture that builds a model per test must not fill the memory.
            while len(self._trusted) >= 4:
                del self._trusted[next(iter(self._trusted))]
            engine = Engine(
                model,
                images,
                device=device,
                seed=seed,
                batch_size=self.settings.batch_size,
                precision=self.settings.precision,
                compiled=self.settings.compiled,
                workers=self.settings.workers,
                store=self.store,
                run=self.distribution.run,
                progress=self.progress,
            )
            self._trusted[key] = Trust(engine)
        return self._trusted[key]

    @functools.cached_property
    def store(self) -> "OutcomeStore | None":
        """The outcomes of earlier runs and of the other workers of this one; None where there is nothing to share."""
        path = self._cache_file() if self.settings.cached else None
        if path is None and self.distribution.is_worker and self.distribution.directory is not None:
            path = self.distribution.directory / "outcomes.sqlite"
        if path is None:
            return None
        from pytest_robustness.cache import OutcomeStore

        store = OutcomeStore(path, shared=self.distribution.is_worker)
        self._open.callback(store.close)
        return store

    def _cache_file(self) -> Path | None:
        # pytest has no cache with -p no:cacheprovider.
        cache = getattr(self._config, "cache", None)
        return None if cache is None else Path(cache.mkdir("robustness")) / "outcomes.sqlite"

    @functools.cached_property
    def progress(self) -> Progress | None:
        """The line that tells how far an evaluation is, where somebody sits at a terminal to see it."""
        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        capture = self._config.pluginmanager.getplugin("capturemanager")
        seen = terminal is not None and terminal.isatty and terminal.verbosity >= 0
        # Without capturing, tests write to the terminal themselves, and nobody knows where the cursor is.
        captured = capture is not None and self._config.getoption("capture") != "no"
        if not seen or not captured or os.environ.get("TERM") == "dumb" or os.environ.get("CI"):
            return None
        writer = self._config.get_terminal_writer()

        def write(text: str) -> None:
            with capture.global_and_fixture_disabled():
                print(text, end="", flush=True)

        return Progress(write, column=lambda: writer.width_of_current_line, width=lambda: writer.fullwidth)

    def conclude(self, nodeid: str, verdicts: "Sequence[Verdict]", runs: "Sequence[Provenance]") -> str:
        """Keep an item's verdicts; in a worker of pytest-xdist, what its report has to carry to the controller instead."""
        if not self.distribution.is_worker:
            self._keep(nodeid, verdicts, runs)
            return ""
        from pytest_robustness.records import Results

        self.gallery.take(nodeid, verdicts)
        # Exact builtins only: anything else in a report kills the worker's serialiser. A provenance is sent once.
        unsent = tuple(run for run in runs if run.key not in self._runs)
        self._runs.update((run.key, run) for run in runs)
        return Results(tuple(verdicts), unsent).to_json()

    def _keep(self, nodeid: str, verdicts: "Sequence[Verdict]", runs: "Sequence[Provenance]") -> None:
        """Keep an item's verdicts; those of a rerun replace the ones before."""
        self._verdicts[nodeid] = verdicts
        self.gallery.take(nodeid, verdicts)
        self._runs.update((run.key, run) for run in runs)
        if self.settings.json is not None and time.monotonic() >= self._checkpoint_at:
            self._checkpoint(self.settings.json)

    def _checkpoint(self, path: Path) -> None:
        """Write what there is so far, marked incomplete: a run that is killed must not lose it."""
        from pytest_robustness.report.files import write_whole

        started = time.monotonic()
        with contextlib.suppress(OSError):
            # A file that can't be written is told once, at the end.
            write_whole(path, self._collected(complete=False).to_json())
        # Never more than a twentieth of the time, however many results there are.
        self._checkpoint_at = time.monotonic() + max(CHECKPOINT_SECONDS, 20 * (time.monotonic() - started))

    def _collected(self, *, complete: bool) -> "Results":
        from pytest_robustness.records import Results

        verdicts = (v for nodeid, found in sorted(self._verdicts.items()) for v in self.gallery.hang(nodeid, found))
        runs = (run for _, run in sorted(self._runs.items()))
        shard = None if self.sharing is None else self.sharing.shard
        return Results(tuple(verdicts), tuple(runs), complete=complete, shard=shard)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self.progress is not None:
            # An evaluation that ended by an error leaves its line behind.
            self.progress.erase()
        # Only the controller of a distributed run finds a load here: elsewhere verdicts are kept at once.
        carried = getattr(report, "robustness", "")
        if carried and not self.distribution.is_worker:
            from pytest_robustness.records import Results

            results = Results.from_json(carried)
            self._keep(report.nodeid, results.verdicts, results.runs)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        # Before pytest-xdist starts its workers.
        path = self._cache_file() if self.settings.clear_cache and not self.distribution.is_worker else None
        if path is not None and path.exists():
            with _opened(path) as store:
                store.clear()

    def pytest_unconfigure(self) -> None:
        self._open.close()
        if self.distribution.run and not self.distribution.is_worker and self._verdicts and self.settings.cached:
            path = self._cache_file()
            if path is not None and path.exists():
                with _opened(path) as store:
                    store.forget(f"run-{self.distribution.run}/")

    def pytest_internalerror(self) -> None:
        self._internal_error = True

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object, error: object) -> None:
        # pytest-xdist's: with a worker that crashed, the verdicts of the item it was at are lost.
        self._lost_worker = self._lost_worker or error is not None

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.distribution.is_worker:
            return
        finished = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        stopped = session.shouldstop or session.shouldfail or self._internal_error or self._lost_worker
        # A shard on which no gate was judged is no missing shard.
        empty = finished and self.sharing is not None and not self._config.getoption("collectonly")
        if self._verdicts or empty:
            self._write(session, complete=finished and not stopped)
        if self.settings.min_gates and not self._config.getoption("collectonly"):
            self._count_gates(session)
        if self._internal_error and session.exitstatus == pytest.ExitCode.OK:
            # A worker that dies while reporting can leave "no tests ran" and a green exit.
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def _count_gates(self, session: pytest.Session) -> None:
        """Fail a run that judged fewer gates than it has to: a wrong -k, or a folder that moved, must not be green."""
        judged = sum(verdict.gate != "error" for found in self._verdicts.values() for verdict in found)
        if judged < self.settings.min_gates:
            wanted = "1 gate" if self.settings.min_gates == 1 else f"{self.settings.min_gates} gates"
            self._notes.append(f"--robustness-min-gates: expected at least {wanted} to be judged, got {judged}")
            if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _write(self, session: pytest.Session, *, complete: bool) -> None:
        from pytest_robustness.report.files import written

        self._results = results = self._collected(complete=complete)
        if results.failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        try:
            for note in written(results, json=self.settings.json, report=self.settings.report):
                self._notes.append(note)
        except OSError as error:
            self._notes.append(f"could not write {error.filename}: {error.strerror}")
            session.exitstatus = session.exitstatus or pytest.ExitCode.INTERNAL_ERROR

    def pytest_terminal_summary(self, terminalreporter: "pytest.TerminalReporter") -> None:
        if self._results is None and self._notes:
            terminalreporter.section("robustness")
            for note in self._notes:
                terminalreporter.write_line(note)
        if self._results is None or not (self._verdicts or self._notes):
            if self.settings.json is not None or self.settings.report is not None:
                terminalreporter.write_line("robustness: no gate was judged, so nothing was written")
            return
        from pytest_robustness.report.text import gate_table

        terminalreporter.section("robustness")
        for line in [*gate_table(self._results), *self._notes]:
            terminalreporter.write_line(line)


@contextlib.contextmanager
def _opened(path: Path) -> "Iterator[OutcomeStore]":
    from pytest_robustness.cache import OutcomeStore

    with contextlib.closing(OutcomeStore(path, shared=True)) as store:
        yield store
