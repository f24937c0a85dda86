"""What an object from elsewhere is: in words for people, and by value for comparing, as far as it has one."""

import contextlib
import functools
import inspect
import linecache
import sys
import types
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["identity", "words"]

_PLAIN = (type(None), type(...), bool, int, float, complex, str, bytes)
# So much of an object's own repr is a setting; what is longer is content.
_MOST = 100


@dataclass(frozen=True, eq=False)
class _Itself:
    """An object that has no value of its own, or one that may change: it equals itself alone."""

    value: object

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def identity(value: Any, package: str = "", above: tuple[int, ...] = ()) -> Hashable:
    """What is equal for two objects that do the same: for functions their code, and what they close over.

    Objects of the package's own classes count by their attributes, as settings that no one changes; other objects by
    themselves, unless their class knows how to compare them. `above` are the objects that hold this one, by their ids.
    """
    kind = type(value)
    if kind in _PLAIN:
        # With their types, as 1, 1.0 and True are equal; by repr, as NaN is not equal to itself.
        return kind, repr(value)
    if id(value) in above:
        return len(above) - above.index(id(value))
    part = functools.partial(identity, package=package, above=(*above, id(value)))
    if kind is tuple:
        return kind, *map(part, value)
    if kind is functools.partial:
        return kind, part(value.func), part(value.args), _named(value.keywords, part)
    if kind is types.MethodType:
        return kind, part(value.__func__), part(value.__self__)
    if kind is types.FunctionType:
        defaults = (part(value.__defaults__), _named(value.__kwdefaults__ or {}, part))
        return value.__code__, value.__module__, defaults, _named(_closed_over(value), part)
    if _is_of(kind, package):
        return kind, _named(vars(value), part)
    if isinstance(value, type):
        return value
    # A tensor is compared element by element.
    if isinstance(value, torch.Tensor) or kind.__hash__ is object.__hash__:  # type: ignore[comparison-overlap]
        return _Itself(value)
    try:
        hash(value)
    except TypeError:
        return _Itself(value)
    return value  # type: ignore[no-any-return]


def words(value: Any, package: str = "", above: tuple[int, ...] = ()) -> str:
    """The object as people write it, the same text in every process: qualified names, settings, a lambda's source."""
    kind = type(value)
    if kind in _PLAIN:
        return repr(value)
    if id(value) in above:
        return "..."
    told = functools.partial(words, package=package, above=(*above, id(value)))
    if kind is tuple:
        return f"({', '.join(map(told, value))}{',' if len(value) == 1 else ''})"
    if kind is functools.partial:
        return f"partial({', '.join([*map(told, (value.func, *value.args)), *_settings(value.keywords, told)])})"
    if kind is types.MethodType:
        return f"{told(value.__self__)}.{value.__name__}"
    if kind is types.FunctionType:
        text = _source(value) if value.__name__ == "<lambda>" else _name(value)
        # Modules are named in the code.
        held = {n: v for n, v in _closed_over(value).items() if not isinstance(v, types.ModuleType)}
        return f"{text} with {', '.join(_settings(held, told))}" if held else text
    if isinstance(value, (type, types.BuiltinFunctionType)):
        return _name(value)
    if _is_of(kind, package):
        defaults = {name: setting.default for name, setting in inspect.signature(kind).parameters.items()}
        held = _attributes(value)
        # What the constructor makes of its parameters is no setting; what someone set later is.
        made = {}
        with contextlib.suppress(Exception):
            made = _attributes(kind(**{name: held[name] for name in defaults if name in held}))
        usual = {**made, **defaults}
        changed = {name: setting for name, setting in held.items() if told(setting) != told(usual.get(name))}
        return f"{_name(kind)}({', '.join(_settings(changed, told))})"
    text = "" if kind.__repr__ is object.__repr__ else repr(value)  # type: ignore[comparison-overlap]
    return text if text and len(text) <= _MOST and "\n" not in text and " at 0x" not in text else f"{_name(kind)}(...)"


def _is_of(kind: type, package: str) -> bool:
    """Whether the class, or one that it is derived from, is of the package."""
    return any(base.__module__.partition(".")[0] == package for base in kind.__mro__)


def _closed_over(function: types.FunctionType) -> dict[str, Any]:
    """The values that a function takes from around it, by name; those that were not assigned yet are left out."""
    held = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            held[name] = cell.cell_contents
        except ValueError:
            continue
    return held


def _attributes(value: Any) -> dict[str, Any]:
    """By the names that a constructor has for them."""
    return {name.strip("_"): setting for name, setting in vars(value).items()}


def _named(held: dict[str, Any], part: Any) -> Hashable:
    return tuple((name, part(value)) for name, value in sorted(held.items()))


def _settings(held: dict[str, Any], told: Any) -> list[str]:
    return [f"{name}={told(value)}" for name, value in held.items()]


def _name(value: Any) -> str:
    """The name of a class or function in the outermost package that has it."""
    module, name = str(value.__module__), str(value.__qualname__)
    parts = module.split(".")
    packages = [".".join(parts[:end]) for end in range(1, len(parts))]
    home = next((package for package in packages if getattr(sys.modules.get(package), name, None) is value), module)
    return f"{home}.{name}"


def _source(function: types.FunctionType) -> str:
    """A lambda as it is written, on one line; its name where the source can't be read."""
    starts, ends = [], []
    for first, last, start, end in function.__code__.co_positions():
        # What begins the code of any function has no text of its own.
        if first and last and start is not None and end:
            starts.append((first, start))
            ends.append((last, end))
    lines = linecache.getlines(function.__code__.co_filename)
    if not starts or not lines:
        return _name(function)
    (first, start), (last, end) = min(starts), max(ends)
    # Columns are counted in bytes.
    body = [line.encode() for line in lines[first - 1 : last]]
    body[-1] = body[-1][:end]
    body[0] = body[0][start:]
    parameters = str(inspect.signature(function))[1:-1]
    return f"lambda {parameters}: {' '.join(b''.join(body).decode().split())}"
