"""Options of the run in files of gates: after the command line, before the ini file.

They hold for the whole run, so they are read before anything is collected, of the files that pytest is given.
"""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

from pytest_robustness.config.extending import extended
from pytest_robustness.config.reading import Entry, Refused, described, gathered
from pytest_robustness.settings import OPTIONS, Flag, Option, Written

__all__ = ["agreed_options", "options_of", "run_options"]

# Of one machine and of one time: a file that is for all must not say so.
_OF_ONE_RUN = ("cache-clear", "prune-baseline", "replay", "shard", "update-baseline")


def run_options() -> Mapping[str, Option | Flag]:
    """The options that a file may have, by their names there: those of the command line, with `_` for `-`."""
    return {own.name.replace("-", "_"): own for own in OPTIONS if own.name not in _OF_ONE_RUN}


def options_of(entries: Mapping[str, Entry]) -> Mapping[str, Written]:
    """The options among the entries of a file, by their names on the command line; Refused for what is no such value."""
    known = run_options()
    given = [(known[name], entry) for name, entry in entries.items() if name in known and entry.value.value is not None]
    return {own.name: made for own, made in gathered(functools.partial(_written, *pair) for pair in given)}


def _written(option: Option | Flag, entry: Entry) -> tuple[Option | Flag, Written]:
    node = entry.value
    name = option.name.replace("-", "_")
    if isinstance(option, Flag) and not isinstance(node.value, bool):
        raise node.refused(f"{name}: expected true or false, got {described(node)}")
    if isinstance(option, Option) and (isinstance(node.value, bool) or not isinstance(node.value, (str, int, float))):
        raise node.refused(f"{name}: expected {option.metavar}, {option.help}; got {described(node)}")
    text = str(node.value).lower() if isinstance(node.value, bool) else str(node.value)
    return option, Written(text, f"{node.where}: {name}", node.file.parent)


def agreed_options(files: Iterable[Path]) -> Mapping[str, Written]:
    """The options of several files, by their names on the command line.

    A file that can't be read has none here: it is told where it is collected. Raises Refused for files that don't agree.
    """
    agreed: dict[str, Written] = {}
    for path in files:
        try:
            found = options_of(extended(path).mapping("a mapping with gates"))
        except Refused:
            continue
        for name, own in found.items():
            other = agreed.setdefault(name, own)
            if other.text != own.text:
                raise Refused(
                    f"{own.where}: expected {other.text} as in {other.where.rpartition(':')[0]}, got {own.text}; options hold for "
                    "the whole run: let the files agree, or run them one by one"
                )
    return agreed
