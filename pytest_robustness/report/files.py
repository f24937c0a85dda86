"""Results on their way into files."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pytest_robustness.records import Results, path_text
from pytest_robustness.report.markdown import SUMMARY_BYTES, annotations, summary

__all__ = ["write_whole", "written"]


def written(
    results: Results,
    *,
    json: Path | None,
    report: Path | None,
    markdown: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Iterator[str]:
    """Write the results as JSON, as a page and as Markdown, as far as files are named; tells of each when it is there.

    On GitHub, which names a file for it in the `environment`, a summary is added to that of the step, and what is told has an
    annotation for each gate that did not pass. Raises OSError where one can't be written.
    """
    if json is not None:
        write_whole(json, results.to_json())
        yield f"results: {path_text(json)}"
    if report is not None:
        from pytest_robustness.report.html import render

        write_whole(report, render(results))
        yield f"report: {path_text(report)}"
    if markdown is not None:
        write_whole(markdown, summary(results))
        yield f"summary: {path_text(markdown)}"
    step = environment.get("GITHUB_STEP_SUMMARY", "")
    if step:
        used = os.path.getsize(step) if os.path.exists(step) else 0
        with open(step, "a", encoding="utf-8") as file:
            file.write(summary(results, limit=SUMMARY_BYTES - used))
    if environment.get("GITHUB_ACTIONS") == "true":
        yield from annotations(results)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
