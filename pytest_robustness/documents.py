"""Text files as plain values, with the line that each entry begins on; the one door to yaml, by its safe loader only."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from pytest_robustness.errors import InputError

__all__ = ["Entry", "entries", "read_document", "read_text", "table"]


@dataclass(frozen=True)
class Entry:
    """One entry of a list or of a mapping (whose key it has), and the line it begins on."""

    line: int
    value: object
    key: object = None


def read_text(path: Path, what: str) -> str:
    """The text of a UTF-8 file, without a byte order mark; InputError, which says `what` was expected, where it can't be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InputError(f"{path}: expected {what}, could not read it: {reason}") from None


def read_document(path: Path, what: str) -> object:
    """What a YAML or JSON file holds; InputError, with the line, where it is neither."""
    text = read_text(path, what)
    if path.suffix == ".json":
        return _json(path, text)
    return _yaml(path, text)


def entries(path: Path, what: str) -> list[Entry]:
    """The entries of the list in a .json, .jsonl, .yaml or .yml file, or of the mapping in a YAML file, in their order.

    Raises InputError, with the line, for a file that can't be read or holds something else.
    """
    text = read_text(path, what)
    if path.suffix in (".yaml", ".yml"):
        return _yaml_entries(path, text, what)
    if path.suffix == ".jsonl":
        lines = enumerate(text.splitlines(), 1)
        return [Entry(number, _json(path, line, number)) for number, line in lines if line.strip()]
    return _json_entries(path, text, what)


def table(path: Path, what: str) -> list[tuple[int, list[str]]]:
    """The rows of a CSV file with the lines they end on, empty ones left out; InputError where it can't be read."""
    rows = csv.reader(io.StringIO(read_text(path, what), newline=""), strict=True)
    found = []
    try:
        for row in rows:
            if row:
                found.append((rows.line_num, row))
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: expected CSV, got {error}") from None
    return found


def _json(path: Path, text: str, line: int = 1) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{line + error.lineno - 1}: expected JSON, got {error.msg}") from None
    except RecursionError:
        raise InputError(f"{path}: expected JSON, got one that is nested too deeply") from None


def _json_entries(path: Path, text: str, what: str) -> list[Entry]:
    if not isinstance(_json(path, text), list):
        raise InputError(f"{path}: expected {what} as a list, got something else; put the entries into [ ... ]")
    decoder = json.JSONDecoder()
    found: list[Entry] = []
    place, line, counted = text.index("[") + 1, 1, 0
    while True:
        while text[place] in " \t\r\n,":
            place += 1
        if text[place] == "]":
            return found
        line, counted = line + text.count("\n", counted, place), place
        value, place = decoder.raw_decode(text, place)
        found.append(Entry(line, value))


def _yaml(path: Path, text: str) -> object:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _no_yaml(path, error) from None


def _no_yaml(path: Path, error: Exception) -> InputError:
    mark = getattr(error, "problem_mark", None)
    line = "" if mark is None else f":{mark.line + 1}"
    problem = "one that is nested too deeply" if isinstance(error, RecursionError) else getattr(error, "problem", None)
    return InputError(f"{path}{line}: expected YAML, got {problem or error}")


def _yaml_entries(path: Path, text: str, what: str) -> list[Entry]:
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if isinstance(node, yaml.SequenceNode):
            return [Entry(item.start_mark.line + 1, loader.construct_object(item, deep=True)) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            return [
                Entry(
                    key.start_mark.line + 1,
                    loader.construct_object(item, deep=True),
                    loader.construct_object(key, deep=True),
                )
                for key, item in node.value
            ]
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _no_yaml(path, error) from None
    raise InputError(f"{path}: expected {what} as a list or a mapping, got something else")
