"""Gates in YAML: a file `robustness.yaml` that pytest collects as it does a module of tests.

Nothing heavy is imported here, as in the plugin.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["given_files", "is_gate_file"]

_NAMES = ("robustness.yaml", "robustness.yml")


def is_gate_file(path: Path) -> bool:
    """Whether a file has gates, by its name: `robustness.yaml`, `release.robustness.yml`."""
    return path.name in _NAMES or path.name.endswith(tuple(f".{name}" for name in _NAMES))


def given_files(arguments: Iterable[str], here: Path) -> list[Path]:
    """The files of gates among pytest's arguments, and directly in the folders among them; each once, by name."""
    found = set()
    for argument in arguments:
        path = here / argument.partition("::")[0]
        # What can't be looked at is told by pytest.
        with contextlib.suppress(OSError):
            if path.is_dir():
                found |= {own for name in os.listdir(path) if is_gate_file(own := path / name) and own.is_file()}
            elif is_gate_file(path) and path.is_file():
                found.add(path)
    return sorted({Path(os.path.abspath(path)) for path in found})
