"""Results on their way into files."""

import os
from collections.abc import Iterator
from pathlib import Path

from pytest_robustness.records import Results, path_text

__all__ = ["write_whole", "written"]


def written(results: Results, *, json: Path | None, report: Path | None) -> Iterator[str]:
    """Write the results as JSON and as a page, as far as files are named; tells of each when it is there.

    Raises OSError where one can't be written.
    """
    if json is not None:
        write_whole(json, results.to_json())
        yield f"results: {path_text(json)}"
    if report is not None:
        from pytest_robustness.report.html import render

        write_whole(report, render(results))
        yield f"report: {path_text(report)}"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
