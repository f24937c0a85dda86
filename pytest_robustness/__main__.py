"""`python -m pytest_robustness init`, `measure`, `merge`, `report`, `compare` and `schema`: what is done when no test runs."""

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_robustness.comparing import compared
from pytest_robustness.comparisons import Allowed, baseline_file
from pytest_robustness.errors import InputError
from pytest_robustness.formats import FORMATS
from pytest_robustness.merging import Part, merged, read_results
from pytest_robustness.records import path_text
from pytest_robustness.report.files import written
from pytest_robustness.report.releases import comparison_lines
from pytest_robustness.report.text import gate_table
from pytest_robustness.results import Results
from pytest_robustness.starting.commands import add_commands

__all__ = ["main"]

# pytest's own.
_OK, _FAILED, _REFUSED, _NOT_WRITTEN, _NOTHING = 0, 1, 2, 3, 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Start a project, join the results of shards, show results again, compare two, or say what they look like; returns pytest's exit status.

    0 where every gate passed, 1 where one did not or, with --partial, where shards are missing, 2 for results that don't
    belong together, 3 where a file can't be written, 5 where no gate was judged. Of a comparison, 0 where nothing is worse than is
    allowed, 1 where something is or where the run did not finish, 5 where there is nothing to compare. Of a start, 0 where pytest may
    follow, 1 where something has to be changed first, 2 where nothing was done.
    """
    given = _parser().parse_args(arguments)
    if given.run is not None:
        status: int = given.run(given)
        return status
    if given.results is None:
        sys.stdout.write(_schema_text(config=given.config))
        return _OK
    try:
        results = given.results(given)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return _REFUSED
    sys.stdout.writelines(f"{line}\n" for line in given.shown(results))
    files = {known.name: path for known in FORMATS if (path := getattr(given, known.name.replace("-", "_")))}
    try:
        for note in written(results, files):
            sys.stdout.write(f"{note}\n")
    except OSError as error:
        sys.stderr.write(f"could not write {error.filename}: {error.strerror}\n")
        return _NOT_WRITTEN
    if given.failed(results) or not results.complete:
        return _FAILED
    return _OK if given.judged(results) else _NOTHING


def _compared(given: argparse.Namespace) -> Results:
    before = baseline_file(given.before, root=Path(), here=Path())
    after = read_results(given.after)
    try:
        allowed = Allowed.parse(given.fail) if given.fail else None
    except InputError as error:
        raise InputError(f"--fail: {error}") from None
    comparison = compared(read_results(before), after, allowed, against=path_text(before.absolute()))
    return dataclasses.replace(after, comparison=comparison)


def _gates(results: Results) -> Iterator[str]:
    yield from gate_table(results)
    if results.comparison is not None:
        yield from comparison_lines(results.comparison)


def _comparison(results: Results) -> Iterator[str]:
    assert results.comparison is not None
    yield from comparison_lines(results.comparison)
    if not results.complete:
        yield "the session did not finish, these are the results so far"


def _worse(results: Results) -> bool:
    return results.comparison is not None and bool(results.comparison.worse)


def _schema_text(*, config: bool) -> str:
    if config:
        from pytest_robustness.config.schema import config_schema_text

        return config_schema_text()
    from pytest_robustness.schema import schema_text

    return schema_text()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_robustness")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(required=True, metavar="init|measure|merge|report|compare|schema")
    add_commands(commands)
    again = commands.add_parser(
        "report",
        help="show results again, in other formats",
        description="Show the results that --robustness-json or merge wrote again, in other formats.",
    )
    again.add_argument("file", type=Path, metavar="RESULTS", help="the results of a run")
    again.set_defaults(results=lambda given: read_results(given.file))
    schema = commands.add_parser(
        "schema",
        help="print the JSON Schema of results",
        description="Print the JSON Schema of what --robustness-json and merge write.",
    )
    schema.add_argument("--config", action="store_true", help="print that of robustness.yaml instead, for editors")
    schema.set_defaults(results=None)
    merge = commands.add_parser(
        "merge",
        help="join the results of runs with --robustness-shard",
        description="Join the results that runs with --robustness-shard=I/N wrote with --robustness-json.",
    )
    merge.add_argument("files", nargs="+", type=Path, metavar="SHARD", help="the results of a shard")
    merge.add_argument(
        "-o", "--output", type=Path, metavar="FILE", dest="json", help="write the joined results as JSON to this file"
    )
    again.set_defaults(json=None)
    compare = commands.add_parser(
        "compare",
        help="compare two releases, image by image",
        description="Compare the results of two releases on the same images, image by image.",
    )
    compare.add_argument(
        "before", metavar="BEFORE", help="the results of the release before, or the name of a baseline"
    )
    compare.add_argument("after", type=Path, metavar="AFTER", help="the results of this one")
    compare.add_argument(
        "--fail", default="", metavar="DROPS", help="fail on larger drops: accuracy:1%%,breaking_point:0.05"
    )
    compare.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the results of this one with the comparison as JSON to this file",
    )
    compare.set_defaults(
        results=_compared,
        shown=_comparison,
        failed=_worse,
        judged=lambda results: results.comparison.changes,
    )
    merge.set_defaults(
        results=lambda given: merged([Part.read(path) for path in given.files], partial=given.partial, runs=given.runs)
    )
    for command in (again, merge):
        command.set_defaults(
            shown=_gates,
            failed=lambda results: bool(results.failed) or _worse(results),
            judged=lambda results: results.verdicts,
        )
    for command in (again, merge, compare):
        for known in FORMATS:
            if known.name != "json":
                command.add_argument(
                    f"--{known.name}", type=Path, metavar="FILE", help=f"write {known.what} to this file"
                )
    merge.add_argument("--partial", action="store_true", help="join what there is; never green")
    merge.add_argument(
        "--runs",
        type=int,
        metavar="N",
        help="how many models, image sets or seeds the tests measure on, where it is several",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
