"""YAML as values that know where they stand: nothing but data is read, and mistakes are told by file and line."""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import yaml

from pytest_robustness.errors import InputError
from pytest_robustness.records import path_text

__all__ = ["Entry", "Node", "Refused", "Scalar", "described", "gathered", "listed", "meant", "read_yaml", "unknown"]

Scalar: TypeAlias = bool | int | float | str | None

_T = TypeVar("_T")

_MOST_BYTES = 256 * 2**10
_MOST_VALUES = 20_000
_MOST_LINES = 20
_MOST_CHARACTERS = 80
_PLAIN = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map"))


class Refused(InputError):
    """What a file says can't be used: `lines` has a sentence for each thing that is wrong."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        more = len(lines) - _MOST_LINES
        told = [*lines[:_MOST_LINES], f"... and {more} more"] if more > 0 else lines
        super().__init__("\n".join(told))


@dataclass(frozen=True)
class Node:
    """A value of a file and the line that it begins on: a scalar, a list, or a mapping by the text of its keys."""

    value: "Scalar | tuple[Node, ...] | Mapping[str, Entry]"
    file: Path
    line: int

    @property
    def where(self) -> str:
        """What a sentence about it begins with: `robustness.yaml:12`."""
        return f"{path_text(self.file)}:{self.line}"

    def refused(self, sentence: str) -> Refused:
        """The error that says so of this value."""
        return Refused(f"{self.where}: {sentence}")

    def mapping(self, what: str) -> "Mapping[str, Entry]":
        """The entries; Refused, with what was expected, for anything but a mapping."""
        if not isinstance(self.value, Mapping):
            raise self.refused(f"expected {what}, got {described(self)}")
        return self.value


@dataclass(frozen=True)
class Entry:
    """A key of a mapping and what stands beside it."""

    key: Node
    value: Node


def gathered(steps: Iterable[Callable[[], _T]]) -> list[_T]:
    """What the steps return; where some of them refuse, one Refused with the sentences of all."""
    found: list[_T] = []
    refusals: list[Refused] = []
    for step in steps:
        try:
            found.append(step())
        except Refused as refused:
            refusals.append(refused)
    if refusals:
        raise Refused(*(line for refused in refusals for line in refused.lines))
    return found


def listed(names: Collection[object]) -> str:
    """`a, b or c`."""
    *most, last = map(str, names)
    return f"{', '.join(most)} or {last}" if most else last


def meant(got: str, known: Collection[str]) -> str | None:
    """The known name that is nearest, whatever its case; None where none is near."""
    folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(got.casefold(), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def unknown(got: str, known: Collection[str]) -> str:
    """`; did you mean 'steps'?` where a known name is near; else which names there are."""
    if near := meant(got, known):
        return f"; did you mean {near!r}?"
    return f"; known are {', '.join(sorted(known))}" if known else "; leave it out"


def described(node: Node) -> str:
    """What a value is, in a word or two, for the `got` of a sentence."""
    if node.value is None:
        return "nothing"
    if isinstance(node.value, tuple):
        return "a list" if node.value else "an empty list"
    if isinstance(node.value, Mapping):
        return "a mapping" if node.value else "an empty mapping"
    if isinstance(node.value, bool):
        return str(node.value).lower()
    return _short(node.value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."


class _Loader(yaml.SafeLoader):
    """Scalars as YAML 1.2 has them: `no` is a word, 1e-3 a number, and 1:30 and dates are text."""

    yaml_implicit_resolvers = {}  # noqa: RUF012


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), _first)


def read_yaml(path: Path) -> Node:
    """The one document of a YAML file, which is data and nothing else.

    Raises Refused, with file and line, for a file that can't be read or is larger than 256 KiB, for what is no YAML, and for keys
    that are there twice, tags that would make objects, and aliases that unfold to more than 20,000 values.
    """
    name = path_text(path)
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise Refused(f"{name}: expected a YAML file, could not read it: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise Refused(f"{name}: expected at most 256 KiB of YAML, got more; split it by extends")
    try:
        root = yaml.compose(data.decode("utf-8-sig"), Loader=_Loader)
    except UnicodeDecodeError:
        raise Refused(f"{name}: expected a YAML file, could not read it: it is no UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f":{mark.line + 1}"
        said = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise Refused(f"{name}{line}: expected YAML, the parser says: {said}") from None
    except RecursionError:
        raise Refused(f"{name}: expected YAML, got more brackets in brackets than can be read") from None
    if root is None:
        return Node(None, path, 1)
    return _Walk(path).node(root)


class _Walk:
    """The nodes of a parsed file as values; each is made once, however many aliases it has."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._made: dict[int, Node] = {}
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()
        self._refused_once: set[int] = set()

    def node(self, parsed: yaml.Node) -> Node:
        own = id(parsed)
        if own in self._refused_once:
            # It has been told: aliases of aliases would tell it a billion times.
            raise Refused()
        if own not in self._made:
            try:
                self._made[own] = self._new(parsed)
            except Refused:
                self._refused_once.add(own)
                raise
        return self._made[own]

    def _new(self, parsed: yaml.Node) -> Node:
        own = id(parsed)
        line = parsed.start_mark.line + 1
        if own in self._open:
            raise self._refused(line, "expected values that end, got one that contains itself; leave out the alias")
        if parsed.tag not in _PLAIN:
            tag = parsed.tag.replace("tag:yaml.org,2002:", "!!")
            raise self._refused(line, f"expected plain values, got the tag {tag}; nothing but data is read")
        self._open.add(own)
        made = Node(self._value(parsed), self._file, line)
        self._open.remove(own)
        self._sizes[own] = 1 + sum(self._sizes[id(part)] for part in _parts(parsed))
        if self._sizes[own] > _MOST_VALUES:
            raise self._refused(line, f"expected at most {_MOST_VALUES:,} values, got aliases that unfold to more")
        return made

    def _refused(self, line: int, sentence: str) -> Refused:
        return Node(None, self._file, line).refused(sentence)

    def _value(self, parsed: yaml.Node) -> "Scalar | tuple[Node, ...] | Mapping[str, Entry]":
        if isinstance(parsed, yaml.SequenceNode):
            return tuple(gathered(lambda part=part: self.node(part) for part in parsed.value))  # type: ignore[misc]
        if isinstance(parsed, yaml.MappingNode):
            return self._mapping(parsed)
        text: str = parsed.value
        kind = parsed.tag.rpartition(":")[2]
        try:
            return {"null": _nothing, "bool": _truth, "int": int, "float": float}.get(kind, str)(text)  # type: ignore[operator, no-any-return]
        except ValueError:
            raise self._refused(
                parsed.start_mark.line + 1, f"expected a value of the tag !!{kind}, got {_short(text)}"
            ) from None

    def _mapping(self, parsed: yaml.MappingNode) -> "Mapping[str, Entry]":
        found: dict[str, Entry] = {}

        def entered(key: yaml.Node, value: yaml.Node) -> None:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise self._refused(line, "expected a name or a number as a key, got a list or a mapping")
            if key.value in found:
                first = found[key.value].key.line
                raise self._refused(
                    line,
                    f"expected every key once, got {_short(key.value)} as on line {first} already; leave one of them out",
                )
            # Known before its value is read, so that the second of two is told even where the first is wrong.
            found[key.value] = Entry(self.node(key), Node(None, self._file, line))
            found[key.value] = Entry(found[key.value].key, self.node(value))

        gathered(lambda pair=pair: entered(*pair) for pair in parsed.value)  # type: ignore[misc]
        return found


def _parts(parsed: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(parsed, yaml.SequenceNode):
        yield from parsed.value
    elif isinstance(parsed, yaml.MappingNode):
        for pair in parsed.value:
            yield from pair


def _nothing(text: str) -> None:
    return None


def _truth(text: str) -> bool:
    return text.lower() == "true"
