"""What a session keeps for the next: the baseline that this one is compared with, and what becomes of it.

Nothing heavy is imported here, as in the plugin.
"""

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_robustness.errors import InputError
from pytest_robustness.settings import Settings

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

    from pytest_robustness.baselines import Baseline
    from pytest_robustness.results import Results

__all__ = ["Keeping"]


class Keeping:
    """The baseline of a session, registered as a plugin: gates look it up in any process, and the controller alone compares and writes.

    A run that writes it has been judged against the one before: where there is none it is created, and the run fails.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._path = settings.baseline
        given = getattr(config, "workerinput", {}).get("robustness_baseline", "")
        if given:
            # A worker may stand in another folder than the one that the option was relative to.
            self._path = Path(given)
        self._deselected = False
        self._lines: list[str] = []

    def baseline(self, nodeid: str) -> "Baseline | None":
        """The baseline as the test of this node id looks it up, None without one."""
        return None if self._known is None else self._known.of(nodeid)

    @functools.cached_property
    def _known(self) -> "Baseline | None":
        if self._path is None:
            return None
        from pytest_robustness.baselines import Baseline

        return Baseline(self._path)

    def conclude(self, session: pytest.Session, results: "Results") -> "Results":
        """The results with their comparison; fails the session where they are worse than allowed or can't be compared."""
        path = self._path
        # On one image of a replay there is nothing to compare, and nothing to keep.
        if path is None or self._settings.replay:
            return results
        try:
            before = self._read(path)
            try:
                results = results if before is None else self._compared(session, results, before)
            except InputError as error:
                self._say(f"not compared: {error}")
                if results.profile != "dev":
                    _fail(session)
            self._write(session, path, before, results)
        except InputError as error:
            self._say(str(error))
            _fail(session)
        except OSError as error:
            self._say(f"could not write {error.filename}: {error.strerror}")
            session.exitstatus = session.exitstatus or pytest.ExitCode.INTERNAL_ERROR
        return results

    def _read(self, path: Path) -> "Results | None":
        from pytest_robustness.merging import read_results

        return read_results(path, "a baseline") if path.exists() else None

    def _compared(self, session: pytest.Session, results: "Results", before: "Results") -> "Results":
        from pytest_robustness.comparing import compared
        from pytest_robustness.records import path_text
        from pytest_robustness.report.releases import comparison_lines

        assert self._path is not None
        comparison = compared(before, results, self._settings.allowed, against=path_text(self._path))
        self._lines += comparison_lines(comparison)
        if comparison.worse:
            _fail(session)
        return dataclasses.replace(results, comparison=comparison)

    def _write(self, session: pytest.Session, path: Path, before: "Results | None", results: "Results") -> None:
        if before is not None and not self._settings.update_baseline:
            return
        from pytest_robustness.baselines import renewed
        from pytest_robustness.records import path_text
        from pytest_robustness.report.files import write_whole

        name = path_text(path)
        if not results.complete:
            self._say(f"{name} is left as it is: the session did not finish")
            return
        if results.profile == "dev":
            self._say(f"{name} is left as it is: a dev run is no release")
            return
        if self._settings.prune_baseline and self._deselected:
            raise InputError(
                f"--robustness-prune-baseline: expected all tests to run, got a selection; {name} is left as it is, run it without -k "
                "and the like"
            )
        new = renewed(before, results, prune=self._settings.prune_baseline)
        if not new.verdicts:
            self._say(f"{name} is left as it is: this run measured nothing")
            _fail(session)
            return
        write_whole(path, new.to_json())
        n = len({verdict.test for verdict in new.verdicts})
        has = f"{n} {'test' if n == 1 else 'tests'}"
        if before is None:
            self._say(f"created {name} from {has}: commit it and run again, there was nothing to compare with")
            _fail(session)
            return
        old = {verdict.test for verdict in before.verdicts}
        ran = {verdict.test for verdict in results.verdicts}
        skipped = {v.test for v in results.verdicts if v.status in ("error", "untrusted")}
        dropped = len(old - {verdict.test for verdict in new.verdicts})
        said = f"updated {name}: {len(ran - skipped)} of {has} from this run"
        said += f", {dropped} dropped" if dropped else ""
        said += f", {len(skipped)} left out, which ended in an error or can't be trusted" if skipped else ""
        self._say(said)

    def _say(self, text: str) -> None:
        from pytest_robustness.report.releases import wrapped

        self._lines += wrapped(text)

    def pytest_deselected(self) -> None:
        self._deselected = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config) -> None:
        # A node id on the command line deselects nothing.
        self._deselected = self._deselected or any("::" in argument for argument in config.args)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        told = getattr(self._config, "workeroutput", None)
        if told is not None:
            told["robustness_deselected"] = self._deselected

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: "WorkerController") -> None:
        if self._path is not None:
            node.workerinput["robustness_baseline"] = str(self._path.absolute())

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: "WorkerController") -> None:
        self._deselected = self._deselected or getattr(node, "workeroutput", {}).get("robustness_deselected", False)

    def pytest_terminal_summary(self, terminalreporter: "pytest.TerminalReporter") -> None:
        if self._lines:
            terminalreporter.section("robustness baseline")
            for line in self._lines:
                terminalreporter.write_line(line)


def _fail(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
