"""Files that are written once: what is there already is somebody's own."""

from collections.abc import Iterable
from pathlib import Path

from pytest_robustness.errors import InputError
from pytest_robustness.records import path_text

__all__ = ["check_folder", "check_free", "write"]


def check_free(paths: Iterable[Path]) -> None:
    """Refuse to replace files, before anything is measured. Raises InputError, naming those that are there."""
    there = [path_text(path) for path in paths if path.exists()]
    if there:
        raise InputError(
            f"{', '.join(there)}: expected no such file yet, got one; nothing was written: go on with what is there, or replace it by --force"
        )


def check_folder(path: Path) -> None:
    """Refuse, before anything is measured, a file that can't be written. Raises InputError where its folder is not there."""
    if not path.parent.is_dir():
        raise InputError(f"{path_text(path)}: expected a folder that is there, found none; make it first")


def write(path: Path, text: str) -> None:
    """Write or replace a file; InputError where that can't be done."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"could not write {path_text(path)}: {error.strerror}") from None
