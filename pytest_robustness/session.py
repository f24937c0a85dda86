"""What one pytest session knows: its engines, and its verdicts on their way to the files.

Nothing heavy is imported here, as in the plugin.
"""

import contextlib
import functools
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_robustness.distribution import Distribution
from pytest_robustness.gallery import Gallery
from pytest_robustness.keeping import Keeping
from pytest_robustness.progress import Progress
from pytest_robustness.replaying import Replaying
from pytest_robustness.settings import Settings
from pytest_robustness.sharing import Sharing

if TYPE_CHECKING:
    from pytest_robustness.cache import OutcomeStore
    from pytest_robustness.image_sets import ImageSet
    from pytest_robustness.records import Provenance, Verdict
    from pytest_robustness.results import Results
    from pytest_robustness.trust import Trust

__all__ = ["CHECKPOINT_SECONDS", "Session"]


CHECKPOINT_SECONDS = 10.0
"""How often a running session writes its results so far."""


class Session:
    """What one session knows, registered as a plugin: its engines, their store, and the verdicts so far.

    `sharing` is there where the session is one of several shards. `keeping` and `replaying` are asked at the end, in this order.
    """

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        distribution: Distribution,
        keeping: Keeping,
        replaying: Replaying,
        sharing: Sharing | None = None,
    ) -> None:
        self.settings = settings
        self.distribution = distribution
        self.keeping = keeping
        self.replaying = replaying
        self.sharing = sharing
        self.gallery = Gallery(limit=settings.explain_most)
        self._runs: dict[str, Provenance] = {}
        self._config = config
        self._verdicts: dict[str, Sequence[Verdict]] = {}
        self._trusted: dict[tuple[int, int, str, int], tuple[Trust, Any, ImageSet]] = {}
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
        from pytest_robustness.pairing import paired
        from pytest_robustness.trust import Trust

        key = (id(model), id(images), device, seed)
        if key not in self._trusted:
            # Each holds its model: a fixture that builds a model per test must not fill the memory.
            while len(self._trusted) >= 4:
                del self._trusted[next(iter(self._trusted))]
            engine = Engine(
                *paired(model, images),
                device=device,
                seed=seed,
                batch_size=self.settings.batch_size,
                precision=self.settings.precision,
                compiled=self.settings.compiled,
                deterministic=self.settings.profile.deterministic,
                workers=self.settings.workers,
                store=self.store,
                run=self.distribution.run,
                progress=self.progress,
            )
            # With what was given, of which an engine may have made others: an id is one's own for as long as one lives.
            self._trusted[key] = Trust(engine), model, images
        return self._trusted[key][0]

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
        from pytest_robustness.results import Results

        self.gallery.take(nodeid, verdicts)
        # Exact builtins only: anything else in a report kills the worker's serialiser. A provenance is sent once.
        unsent = tuple(run for run in runs if run.key not in self._runs)
        self._runs.update((run.key, run) for run in runs)
        return Results(tuple(verdicts), unsent).to_json()

    def add_page(self) -> None:
        """Show what there is on the page of pytest-html, where one is written; nothing of it is imported elsewhere."""
        if self.settings.paged and not self.distribution.is_worker:
            from pytest_robustness.report.pytest_html import HtmlReport

            page = HtmlReport(verdicts=self.verdicts, results=self.results)
            self._config.pluginmanager.register(page, "robustness-html")

    def verdicts(self, nodeid: str) -> "Sequence[Verdict]":
        """The item's verdicts, with the pictures that stay as far as is known."""
        return [*self.gallery.hang(nodeid, self._verdicts.get(nodeid, ()))]

    def results(self) -> "Results | None":
        """The results at the end of the session, None before, and where no gate was judged."""
        return self._results

    def _keep(self, nodeid: str, verdicts: "Sequence[Verdict]", runs: "Sequence[Provenance]") -> None:
        """Keep an item's verdicts; those of a rerun replace the ones before."""
        self._verdicts[nodeid] = verdicts
        self.gallery.take(nodeid, verdicts)
        self._runs.update((run.key, run) for run in runs)
        path = self.settings.files.get("json")
        if path is not None and time.monotonic() >= self._checkpoint_at:
            self._checkpoint(path)

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
        from pytest_robustness.results import Results

        verdicts = (v for nodeid, found in sorted(self._verdicts.items()) for v in self.gallery.hang(nodeid, found))
        runs = (run for _, run in sorted(self._runs.items()))
        shard = None if self.sharing is None else self.sharing.shard
        return Results(tuple(verdicts), tuple(runs), complete=complete, shard=shard, profile=self.settings.profile.name)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self.progress is not None:
            # An evaluation that ended by an error leaves its line behind.
            self.progress.erase()
        # Only the controller of a distributed run finds a load here: elsewhere verdicts are kept at once.
        carried = getattr(report, "robustness", "")
        if carried and not self.distribution.is_worker:
            from pytest_robustness.results import Results

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
        if self.settings.min_gates and not self.settings.replay and not self._config.getoption("collectonly"):
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

        results = self.keeping.conclude(session, self._collected(complete=complete))
        self._results = results = self.replaying.conclude(session, results)
        if results.failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        try:
            for note in written(results, self.settings.files):
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
            if self.settings.files:
                terminalreporter.write_line("robustness: no gate was judged, so nothing was written")
            return
        from pytest_robustness.report.text import curves, gate_table

        terminalreporter.section("robustness")
        writer = self._config.get_terminal_writer()
        lines = [*gate_table(self._results, paint=lambda text, colour: writer.markup(text, **{colour: True}))]
        if terminalreporter.verbosity >= 1:
            encoding = getattr(writer._file, "encoding", None) or "ascii"
            lines += [*curves(self._results, encoding=encoding)]
        for line in [*lines, *self._notes]:
            terminalreporter.write_line(line)


@contextlib.contextmanager
def _opened(path: Path) -> "Iterator[OutcomeStore]":
    from pytest_robustness.cache import OutcomeStore

    with contextlib.closing(OutcomeStore(path, shared=True)) as store:
        yield store
