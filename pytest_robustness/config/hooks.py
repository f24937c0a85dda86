"""What pytest is told of files of gates: that they are collected, and what they say of the run.

Nothing heavy is imported here, as in the plugin: YAML and torch are where there is such a file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_robustness.config import given_files, is_gate_file

if TYPE_CHECKING:
    from pytest_robustness.config.collecting import GateFile
    from pytest_robustness.settings import Written

__all__ = ["pytest_collect_file", "written"]


def written(config: pytest.Config) -> "Mapping[str, Written]":
    """The options of the run in the files of gates that pytest is given. Raises UsageError where they don't agree."""
    files = given_files(config.args, config.invocation_params.dir)
    if not files:
        return {}
    from pytest_robustness.config.options import agreed_options
    from pytest_robustness.errors import InputError

    try:
        return agreed_options(files)
    except InputError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "GateFile | None":
    """A file of gates is collected by its name."""
    if not is_gate_file(file_path):
        return None
    from pytest_robustness.config.collecting import GateFile

    made: GateFile = GateFile.from_parent(parent, path=file_path)
    return made
