"""Values of a file as the types that arguments have: numbers, fractions, paths, lists, and objects by name."""

import collections.abc
import functools
import importlib
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_robustness.config.reading import Entry, Node, Refused, described, gathered, listed, meant, unknown
from pytest_robustness.config.registry import (
    KINDS,
    Constructor,
    Parameter,
    alternatives,
    constructors,
    kind_of,
    kinds_of,
)
from pytest_robustness.errors import InputError

__all__ = ["FRACTION", "REFERENCE", "arguments_of", "number_of", "value_of"]

FRACTION = r"^\s*[-+]?([0-9]*\.)?[0-9]+(\s*/\s*([0-9]*\.)?[0-9]+|\s*%)\s*$"
"""Numbers that YAML takes for text: `2/255`, `25 %`."""
REFERENCE = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
"""An object of the user's own: `package.module:NAME`."""

_NUMBER = "a number such as 0.25, 2/255 or 25 %"
# A type that has no such value says nothing of it.
_OTHER = object()


def number_of(node: Node) -> float | None:
    """The number that is written, as `0.25`, `1/255` or `25 %`; None for anything else."""
    given = node.value
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return given if math.isfinite(given) else None
    if not isinstance(given, str) or not re.match(FRACTION, given):
        return None
    if given.rstrip().endswith("%"):
        return float(given.rstrip(" %")) / 100
    over, _, under = given.partition("/")
    return float(over) / float(under) if float(under) else None


def arguments_of(
    entries: Mapping[str, Entry],
    parameters: Mapping[str, Parameter],
    owner: str,
    at: Node,
    *,
    word: str,
    also: Collection[str] = (),
) -> dict[str, Any]:
    """The values for a function's arguments, by name; `at` is where those that are missing are missed.

    Raises Refused for every `word` ("setting", "argument") that the `owner` doesn't have, that is missing or means nothing; names
    that could stand there `also` may have been meant.
    """

    def one(name: str, entry: Entry) -> tuple[str, Any]:
        if name not in parameters:
            raise entry.key.refused(f"{owner} has no {word} {name!r}{unknown(name, [*parameters, *also])}")
        return name, value_of(entry.value, parameters[name].whole, name)

    def complete() -> tuple[str, Any]:
        there = {name if name in parameters else meant(name, [*parameters, *also]) for name in entries}
        missing = [own.name for own in parameters.values() if own.required and own.name not in there]
        if missing:
            raise at.refused(f"{owner} needs {', '.join(missing)}")
        return "", None

    steps: list[Callable[[], tuple[str, Any]]] = [
        functools.partial(one, name, entry) for name, entry in entries.items()
    ]
    found = dict(gathered([*steps, complete]))
    del found[""]
    return found


def value_of(node: Node, hint: Any, what: str) -> Any:
    """The value as one of this type; `what` begins the sentence of the Refused where it is none.

    A number may be a fraction, a path is relative to the file that it is written in, and an object is named by its
    constructor, with settings or without: `PGD`, `{PGD: {steps: 20}}`, `{Blend: zebra.png}`, `{then: [...]}`.
    """
    options = alternatives(hint)
    refusals = []
    for option in options:
        try:
            made = _as(node, option, options, what)
        except Refused as refused:
            refusals.append(refused)
        else:
            if made is not _OTHER:
                return made
    kinds = kinds_of(hint)
    if kinds and (made := _object(node, kinds, options, what)) is not _OTHER:
        return made
    if refusals:
        raise refusals[0]
    raise node.refused(f"{what}: expected {_expected(options)}, got {described(node)}")


def _as(node: Node, option: Any, options: Sequence[Any], what: str) -> Any:
    given = node.value
    origin, arguments = typing.get_origin(option), typing.get_args(option)
    if option is types.NoneType:
        return None if given is None else _OTHER
    if origin is typing.Literal:
        return given if isinstance(given, str) and given in arguments else _OTHER
    if option is bool:
        return given if isinstance(given, bool) else _OTHER
    if option is int:
        return given if isinstance(given, int) and not isinstance(given, bool) else _OTHER
    if option is float:
        number = number_of(node)
        return _OTHER if number is None else number
    if option is Path and isinstance(given, str):
        return node.file.parent / given
    if option is str:
        # A text that may be a path is one.
        return given if isinstance(given, str) and Path not in options else _OTHER
    if origin is Callable or origin is collections.abc.Callable:
        return _reference(node, what) if isinstance(given, str) and re.match(REFERENCE, given) else _OTHER
    if origin is collections.abc.Mapping and isinstance(given, Mapping):
        return dict(gathered(functools.partial(_pair, entry, arguments, what) for entry in given.values()))
    if origin in (tuple, list, collections.abc.Sequence, collections.abc.Collection) and isinstance(given, tuple):
        return _list(node, given, arguments, what)
    return _OTHER


def _pair(entry: Entry, hints: Sequence[Any], what: str) -> tuple[Any, Any]:
    return value_of(entry.key, hints[0], what), value_of(entry.value, hints[1], what)


def _list(node: Node, given: Sequence[Node], hints: Sequence[Any], what: str) -> tuple[Any, ...]:
    if len(hints) > 1 and hints[1] is not Ellipsis:
        if len(given) != len(hints):
            raise node.refused(f"{what}: expected a list of {len(hints)}, got one of {len(given)}")
    else:
        hints = [hints[0]] * len(given)
    return tuple(gathered(functools.partial(value_of, own, hint, what) for own, hint in zip(given, hints, strict=True)))


def _object(node: Node, kinds: frozenset[str], options: Sequence[Any], what: str) -> Any:
    """The object that is named; `_OTHER` for what names none."""
    wanted = listed([said for kind, said in KINDS.items() if kind in kinds])
    entry: Entry | None = None
    if isinstance(node.value, str):
        name, at = node.value, node
    elif isinstance(node.value, Mapping) and len(node.value) == 1:
        ((name, entry),) = node.value.items()
        at = entry.key
    else:
        return _OTHER
    if entry is None and re.match(REFERENCE, name):
        made = _reference(node, what)
        if isinstance(made, type) or kind_of(type(made)) not in kinds:
            got = f"the class {made.__name__}" if isinstance(made, type) else repr(made)
            raise node.refused(
                f"{what}: expected {name} to be {wanted}, got {got}; name an object, made with its settings"
            )
        return made
    known = constructors()
    if name not in known:
        some = [own.name for own in known.values() if own.kind in kinds]
        raise at.refused(f"{what}: expected {wanted}, got {name!r}{unknown(name, some)}")
    constructor = known[name]
    if constructor.kind not in kinds:
        raise at.refused(f"{what}: expected {wanted}, got {name}, which is {_a(constructor.kind)}")
    return _made(constructor, at, None if entry is None else entry.value)


def _a(kind: str) -> str:
    return {"part": "a part of a chain", "segmenter": "superpixels"}.get(kind) or KINDS[kind].partition(" such")[0]


def _made(constructor: Constructor, at: Node, settings: Node | None) -> Any:
    entries = _settings(constructor, settings)
    values = arguments_of(entries, constructor.parameters, constructor.name, at, word="setting")
    rest = next((own.name for own in constructor.parameters.values() if own.many), None)
    # Before those that take the rest of a list, arguments have no names.
    several = values.pop(rest, ()) if rest else ()
    first = [values.pop(own) for own in list(values)] if rest else []
    try:
        return constructor.call(*first, *several, **values)
    except InputError as error:
        raise at.refused(str(error)) from None


def _settings(constructor: Constructor, given: Node | None) -> Mapping[str, Entry]:
    """The settings by name, also where they are a list of them in their order, or the first one by itself."""
    parameters = list(constructor.parameters.values())
    if given is None or given.value is None:
        return {}
    if isinstance(given.value, Mapping) and not _names_object(given.value, constructor):
        return given.value
    if not parameters:
        raise given.refused(f"{constructor.name} has no settings, got {described(given)}; leave them out")
    if not isinstance(given.value, tuple) or (len(parameters) == 1 and _takes_list(parameters[0])):
        return {parameters[0].name: Entry(given, given)}
    ordered = list(given.value)
    found: dict[str, Entry] = {}
    for own in parameters:
        if own.many:
            rest = Node(tuple(ordered), given.file, given.line)
            return {**found, own.name: Entry(given, rest)}
        if ordered:
            node = ordered.pop(0)
            found[own.name] = Entry(node, node)
    if ordered:
        raise given.refused(
            f"{constructor.name}: expected at most {len(parameters)} settings "
            f"({', '.join(own.name for own in parameters)}), got {len(given.value)}"
        )
    return found


def _names_object(given: Mapping[str, Entry], constructor: Constructor) -> bool:
    """Whether a mapping is the first setting, an object with settings of its own, and not the settings."""
    takes = [own for own in constructor.parameters.values() if kinds_of(own.hint)]
    return len(given) == 1 and bool(takes) and set(given) <= set(constructors()) - set(constructor.parameters)


def _takes_list(parameter: Parameter) -> bool:
    return parameter.many or any(typing.get_origin(own) is tuple for own in alternatives(parameter.hint))


def _reference(node: Node, what: str) -> Any:
    """What `package.module:NAME` names: of the user's own code, which is imported and not called."""
    text = node.value
    assert isinstance(text, str)
    module_name, _, name = text.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise node.refused(f"{what}: {text}: expected a module that can be imported, got {error}") from None
    if not hasattr(module, name):
        known = [own for own in vars(module) if not own.startswith("_") and not inspect.ismodule(vars(module)[own])]
        raise node.refused(f"{what}: {text}: {module_name} has no {name!r}{unknown(name, known)}")
    return getattr(module, name)


def _expected(options: Sequence[Any]) -> str:
    """What may stand there, in the words of a reader."""
    kinds = frozenset().union(*(kinds_of(option) for option in options))
    said = [text for kind, text in KINDS.items() if kind in kinds]
    for option in options:
        origin, arguments = typing.get_origin(option), typing.get_args(option)
        if origin is typing.Literal:
            said += [str(own) for own in arguments]
        elif option is Path:
            said.append("a path")
        elif option is str and Path not in options:
            said.append("a text, in quotes where it looks like a number")
        elif origin is collections.abc.Mapping:
            said.append("a mapping")
        elif origin is collections.abc.Callable:
            said.append("package.module:function")
        elif origin in (tuple, list, collections.abc.Sequence, collections.abc.Collection):
            said.append("a list")
        else:
            words = {float: _NUMBER, int: "a whole number", bool: "true or false", types.NoneType: "null"}
            said += [words[option]] if option in words else []
    return listed(list(dict.fromkeys(said)))
