"""Results on their way into files."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pytest_robustness.formats import FORMATS
from pytest_robustness.records import path_text
from pytest_robustness.report.markdown import SUMMARY_BYTES, annotations, summary
from pytest_robustness.results import Results

__all__ = ["write_whole", "written"]


def written(
    results: Results, files: Mapping[str, Path], *, environment: Mapping[str, str] = os.environ
) -> Iterator[str]:
    """Write the results in the `FORMATS` that files are named for; tells of each when it is there.

    On GitHub, which names a file for it in the `environment`, a summary is added to that of the step, and what is told has an
    annotation for each gate that did not pass. Raises OSError where one can't be written.
    """
    for known in FORMATS:
        if known.name in files:
            write_whole(files[known.name], known.render(results))
            yield f"{known.told}: {path_text(files[known.name])}"
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
