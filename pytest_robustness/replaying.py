"""Known failures: asked first on the next run, one of them alone where it is named, and kept at the end.

Nothing heavy is imported here, as in the plugin.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_robustness.errors import InputError
from pytest_robustness.settings import Settings, as_given

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

    from pytest_robustness.corpus import Failure
    from pytest_robustness.measuring import Sample
    from pytest_robustness.results import Results

__all__ = ["Replaying"]


class Replaying:
    """The known failures of a session, registered as a plugin; the workers of pytest-xdist are told them by the controller.

    Raises UsageError where `--robustness-replay` names none, or several.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._first = 0
        self._replayed = False
        self._lines: list[str] = []
        self.failure: Failure | None = None
        if settings.replay:
            from pytest_robustness.corpus import named

            try:
                self.failure = named(self._known, settings.replay)
            except InputError as error:
                raise pytest.UsageError(f"--robustness-replay: {error}") from None

    @property
    def on(self) -> bool:
        """Whether there is a place for known failures: not with `off`, and not where pytest has no cache."""
        return self._settings.corpus != "off" and (
            self._settings.corpus is not None or getattr(self._config, "cache", None) is not None
        )

    @property
    def options(self) -> Sequence[str] | None:
        """The options that a failure of this run is replayed with; None where it is not kept, or is replayed already."""
        return as_given(self._config, "corpus") if self.on and self.failure is None else None

    @property
    def sample(self) -> "Sample | None":
        """What takes the image that is replayed of any images it is among; None where nothing is."""
        return None if self.failure is None else self._alone

    def _alone(self, images: Sequence[str]) -> Sequence[str]:
        assert self.failure is not None
        return (self.failure.image,) if self.failure.image in images else images

    @property
    def settings(self) -> Settings:
        """The settings with the seed of the failure that is replayed."""
        return self._settings if self.failure is None else dataclasses.replace(self._settings, seed=self.failure.seed)

    @functools.cached_property
    def _known(self) -> "Sequence[Failure]":
        told = getattr(self._config, "workerinput", None)
        path = self._path() if told is None else None
        text = "" if told is None else told.get("robustness_corpus", "")
        if path is not None and path.exists():
            text = path.read_text(encoding="utf-8")
        if not text:
            return ()
        from pytest_robustness.corpus import from_text

        try:
            return from_text(text)
        except InputError as error:
            if self._settings.corpus is None:
                # Nobody's but pytest's: what can't be read is begun anew.
                return ()
            raise pytest.UsageError(f"--robustness-corpus: {path}: {error}") from None

    def _path(self) -> Path | None:
        corpus = self._settings.corpus
        if isinstance(corpus, Path):
            return corpus
        if not self.on:
            return None
        return Path(self._config.cache.mkdir("robustness")) / "failures.json"

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: "WorkerController") -> None:
        from pytest_robustness.corpus import to_text

        node.workerinput["robustness_corpus"] = to_text(self._known) if self._known else ""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        # Last, after whoever brings the tests into an order of their own.
        if self.failure is not None:
            others = [item for item in items if item.nodeid != self.failure.test]
            items[:] = [item for item in items if item.nodeid == self.failure.test]
            if others:
                config.hook.pytest_deselected(items=others)
            return
        if not any("robustness" in getattr(item, "fixturenames", ()) for item in items):
            return
        fell = {failure.test for failure in self._known if failure.fell}
        first = [item for item in items if item.nodeid in fell]
        if first:
            self._first = len(first)
            items[:] = [*first, *(item for item in items if item.nodeid not in fell)]

    def pytest_report_header(self) -> list[str]:
        if self.failure is None:
            return []
        return [f"robustness: replaying {self.failure.key}, {self.failure.title}, seed {self.failure.seed}"]

    def pytest_report_collectionfinish(self) -> list[str]:
        if not self._first:
            return []
        tests = "1 test" if self._first == 1 else f"{self._first} tests"
        return [f"robustness: {tests} that fell before first, --robustness-corpus=off for the usual order"]

    def conclude(self, session: pytest.Session, results: "Results") -> "Results":
        """Keep what fell, for the next run; a replay leaves all as it was. Returns the results as they are."""
        path = self._path()
        if path is None or self.failure is not None:
            return results
        from pytest_robustness.corpus import to_text, updated
        from pytest_robustness.records import path_text
        from pytest_robustness.report.files import write_whole

        grows = isinstance(self._settings.corpus, Path)
        new = updated(self._known, results, grows=grows)
        if new == tuple(self._known):
            return results
        try:
            write_whole(path, to_text(new))
        except OSError as error:
            # What is pytest's own cache may be read-only.
            if grows:
                self._lines.append(f"could not write {error.filename}: {error.strerror}")
                session.exitstatus = session.exitstatus or pytest.ExitCode.INTERNAL_ERROR
            return results
        if grows:
            fell = sum(failure.fell for failure in new)
            self._lines.append(f"known failures: {fell} in {path_text(path)}, and {len(new) - fell} that hold again")
        return results

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._replayed = self._replayed or (self.failure is not None and report.nodeid == self.failure.test)

    def pytest_terminal_summary(self, terminalreporter: "pytest.TerminalReporter") -> None:
        for line in self._lines:
            terminalreporter.write_line(line)
        if self.failure is not None and not self._replayed and not self._config.getoption("collectonly"):
            terminalreporter.write_line(
                f"--robustness-replay: expected {self.failure.test} to be collected, it was not; run where it is, or forget it if it is gone"
            )
