"""What a model, a stress or a defense is, as a digest: two with the same digest answer alike, also in another process.

A digest rests on values and on code. What it can't vouch for has none, and is never looked up in a cache. It does
not see what code finds elsewhere: in the environment, in torch's own switches, in global variables other than numbers,
texts, tensors, arrays and models (a function put in another's place among them), in modules and files whose names are
made up at run time, in the files of a folder, and in installed files that were edited by hand. Nor does it see what an
installed class was given at run time other than methods, a method that another library gave it under a name of its own,
what a user's class holds that can't be read, hooks of a tensor, what a library's class leaves out of its own pickle, and
that a source was edited after it had been imported.
A text without a dot or a slash is not taken for a path.
"""

import collections
import contextlib
import copyreg
import functools
import hashlib
import itertools
import os
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pytest_robustness.sources import (
    imported,
    installed_version,
    is_installed,
    is_of_interpreter,
    is_of_library,
    origin,
)

__all__ = ["Unknown", "code_digest", "digest", "weights_digest"]

_PLAIN = frozenset(
    {type(None), type(...), bool, int, float, complex, str, bytes}
    | {torch.dtype, torch.device, torch.layout, torch.memory_format}
)
# Whose values are no attributes, also in a class that is derived from one.
_BUILT_IN = (dict, list, tuple, str, bytes, int, float, complex)
# A module's hooks of all kinds, by their numbers.
_HOOKS = frozenset(name for name, held in vars(nn.Module()).items() if "_hooks" in name and isinstance(held, dict))
# So many values are read within seconds; what holds more holds half of the process, and is no setting.
_MOST = 1_000_000
# Of a class made by a class statement, not in C.
_HEAP_TYPE = 1 << 9


class Unknown(Exception):  # not an error of the user's: there is no digest, and nothing is cached
    """A value of a kind that no digest can vouch for."""


def weights_digest(model: object) -> str:
    """SHA-256 over the class of the model and every tensor of its state; empty for what is not an nn.Module."""
    if not isinstance(model, nn.Module):
        return ""
    total = hashlib.sha256(f"{type(model).__module__}.{type(model).__qualname__}".encode())
    for name, value in sorted(model.state_dict().items()):
        total.update(name.encode())
        try:
            # A module may keep any object in its state; printed, a tensor in it would be rounded and cut short.
            found = _bytes(value) if isinstance(value, torch.Tensor) else _Reading().node(value, {})
        except (Unknown, RecursionError):
            found = repr(value).encode()
        total.update(found)
    return total.hexdigest()


def digest(value: object) -> str:
    """SHA-256 over a value, everything that it holds, and the code of its classes.

    A path, also one given as text, stands for the bytes of its file too. Raises Unknown for what holds a value whose
    content or code can't be read: an open file, a generator, an object of a C library, a class made by `exec`.
    """
    reading = _Reading()
    try:
        return hashlib.sha256(reading.node(value, {}) + _code(reading.modules)).hexdigest()
    except RecursionError:
        raise Unknown("a value that is nested too deeply") from None


def code_digest(kinds: Iterable[type | types.FunctionType]) -> str:
    """SHA-256 over the source files of these classes and functions, of all modules that theirs use, and over the
    versions of the installed distributions among them. Raises Unknown where a source can't be read."""
    return _code({kind.__module__ for kind in kinds}).hex()


class _Reading:
    """Values taken apart, and the modules whose code decides what they do."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self._classes: dict[type, bytes] = {}
        self._values = 0

    def node(self, value: object, above: Mapping[int, int]) -> bytes:
        """The digest of a value inside of those `above`, whose ids stand with their depths."""
        self._values += 1
        if self._values > _MOST:
            raise Unknown(f"a value that holds more than {_MOST} others")
        return _joined(self._parts(value, above))

    def _parts(self, value: object, above: Mapping[int, int]) -> Iterator[bytes]:
        kind = type(value)
        if kind in _PLAIN:
            yield f"{kind.__name__} {value!r}".encode()
            if isinstance(value, str) and ("." in value or os.sep in value) and os.path.isfile(value):
                yield _file_digest(value)
            return
        yield self._class(kind)
        if id(value) in above:
            # A value that holds itself: nothing new but where.
            yield str(len(above) - above[id(value)]).encode()
            return
        above = {**above, id(value): len(above)}
        if isinstance(value, torch.Tensor):
            yield _bytes(value)
        elif isinstance(value, type):
            yield self._class(value)
            return
        elif isinstance(value, types.ModuleType):
            yield self._used(value.__name__)
            return
        elif isinstance(value, types.FunctionType):
            yield self._used(value.__globals__.get("__name__"))
            yield value.__qualname__.encode()
        elif isinstance(value, types.BuiltinFunctionType) and value.__module__ in sys.modules:
            yield self._used(value.__module__)
        elif isinstance(value, Path):
            yield str(value).encode()
            if os.path.isfile(value):
                yield _file_digest(value)
        if isinstance(value, (set, frozenset)):
            yield from sorted(self.node(item, above) for item in value)
            yield self.node(_attributes(value), above)
        else:
            for item in _items(value):
                yield self.node(item, above)

    def _class(self, kind: type) -> bytes:
        """A class as it is in memory: methods may close over values, and be put in its place at run time."""
        for base in kind.__mro__:
            if base not in self._classes:
                # Until then, for a class that holds itself.
                self._classes[base] = f"{base.__module__}.{base.__qualname__}".encode()
                try:
                    self._classes[base] = _joined(self._class_parts(base))
                except Unknown:
                    # Another value may be of this class.
                    del self._classes[base]
                    raise
        return _joined(self._classes[base] for base in kind.__mro__)

    def _class_parts(self, base: type) -> Iterator[bytes]:
        yield self._classes[base]
        if base.__module__ == "builtins" and base.__flags__ & _HEAP_TYPE:
            # What `exec` without a module's name makes.
            raise Unknown(f"the class {base.__qualname__}, which has no source file")
        self._used(base.__module__)
        installed = is_installed(origin(base.__module__) or "")
        for name, member in list(vars(base).items()):
            member = _unwrapped(member)
            if isinstance(member, types.FunctionType):
                patched = not member.__code__.co_filename.startswith("<") and not is_installed(
                    member.__code__.co_filename
                )
                # A named tuple's is made of its fields, in no module.
                made = name == "__new__" and issubclass(base, tuple) and hasattr(base, "_fields")
                if (patched or not installed) and not made:
                    yield name.encode()
                    yield self.node(member, {})
                elif installed and not _is_added(base, name, member):
                    # One of a library may stand in another's place.
                    yield f"{name} {member.__module__}.{member.__qualname__}".encode()
            elif not installed and not name.startswith("__"):
                try:
                    node = self.node(member, {})
                except Unknown:
                    # A logger or a lock: that it is there, the source says.
                    continue
                yield name.encode()
                yield node

    def _used(self, module: str | None) -> bytes:
        if sys.modules.get(module or "") is None:
            raise Unknown(f"the module {module}, which has no source file")
        assert module is not None
        self.modules.add(module)
        return module.encode()


def _joined(parts: Iterable[bytes]) -> bytes:
    """The digest of a sequence; as each part counts by its own, of one length, no two sequences read alike."""
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def _items(value: Any) -> Iterable[object]:
    """What a value consists of, in an order that is the same in every process."""
    kind = type(value)
    if kind in (list, tuple):
        return value  # type: ignore[no-any-return]
    if kind in (dict, collections.OrderedDict, types.MappingProxyType):
        return itertools.chain.from_iterable(value.items())
    if isinstance(value, types.FunctionType):
        cells = [_content(cell) for cell in value.__closure__ or ()]
        return value.__code__, value.__defaults__, value.__kwdefaults__, cells, vars(value)
    if isinstance(value, types.CodeType):
        counts = (value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount, value.co_flags)
        names = (value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars)
        return value.co_code, value.co_exceptiontable, value.co_consts, names, counts
    if isinstance(value, types.MethodType):
        return value.__func__, value.__self__
    if isinstance(value, (torch.Tensor, Path)):
        return (_attributes(value),) if hasattr(value, "__dict__") else ()
    return _state(value)


def _state(value: Any) -> Iterable[object]:
    """The attributes of a plain object; what pickle would take of one that has a state elsewhere."""
    kind = type(value)
    reduce = copyreg.dispatch_table.get(kind)
    hooks = ("__reduce_ex__", "__reduce__")
    plain = reduce is None and all(getattr(kind, hook) is getattr(object, hook) for hook in hooks)
    own = kind.__getstate__ is not object.__getstate__  # type: ignore[comparison-overlap]
    if plain and isinstance(kind.__getstate__, types.FunctionType) and not isinstance(value, _BUILT_IN):
        # It may leave out what can be made anew, of something that has changed.
        return (_attributes(value),)
    try:
        reduced = reduce(value) if reduce is not None else value.__reduce_ex__(4)
    except Exception as error:
        raise Unknown(f"{kind.__module__}.{kind.__qualname__}") from error
    if isinstance(reduced, str):
        return reduced, _attributes(value)
    parts = [list(part) if isinstance(part, Iterator) else part for part in reduced]
    if plain and not own:
        parts[2] = _attributes(value)
    elif plain or not is_installed(origin(kind.__module__) or ""):
        # A user's own hook may leave out as much.
        parts.append(_attributes(value))
    return parts


def _attributes(value: object) -> dict[str, Any]:
    """The attributes of an object, those in slots too."""
    held = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        for name, member in vars(kind).items():
            if isinstance(member, types.MemberDescriptorType):
                # Nothing may have been assigned to it, or all to one of the same name.
                with contextlib.suppress(AttributeError):
                    held.setdefault(name, member.__get__(value))
    if isinstance(value, nn.Module):
        # Hooks have numbers, which count through the process; only their order matters.
        hooks = {name: held[name] for name in _HOOKS & held.keys()}
        numbers = sorted({number for hook in hooks.values() for number in hook if isinstance(number, int)})
        held |= {
            name: {numbers.index(n) if isinstance(n, int) else n: hook[n] for n in hook} for name, hook in hooks.items()
        }
    return dict(sorted(held.items()))


def _is_added(base: type, name: str, member: types.FunctionType) -> bool:
    """Whether another library gave this method to an installed class, where nothing but that library asks for it.

    As transformers gives nn.Module one, when it first makes a model: those made before and after answer alike.
    """
    if name.startswith("__") or (member.__module__ or "").partition(".")[0] == base.__module__.partition(".")[0]:
        return False
    if any(name in vars(other) for other in base.__mro__[1:]):
        return False
    source = Path(origin(base.__module__) or "")
    return source.suffix == ".py" and name.encode() not in source.read_bytes()


def _unwrapped(member: object) -> object:
    """What is behind a name of a class."""
    if isinstance(member, (staticmethod, classmethod)):
        return member.__func__
    if isinstance(member, property):
        return member.fget, member.fset, member.fdel
    return member.func if isinstance(member, functools.cached_property) else member


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        # Nothing was assigned to the name yet.
        return ...


def _bytes(tensor: torch.Tensor) -> bytes:
    """Type, shape and values of a tensor; Unknown for one that has none of its own."""
    try:
        if tensor.is_quantized:
            return f"{tensor.dtype} {_scale(tensor)!r}".encode() + _bytes(tensor.int_repr())
        if tensor.layout == torch.sparse_coo:
            sparse = tensor.detach().coalesce()
            return f"{tuple(sparse.shape)}".encode() + _bytes(sparse.indices()) + _bytes(sparse.values())
        values = tensor.detach().resolve_conj().resolve_neg().cpu().clone(memory_format=torch.contiguous_format)
        found: bytes = values.reshape(-1).view(torch.uint8).numpy().tobytes()
    except Exception as error:
        raise Unknown(f"a tensor of layout {tensor.layout} on {tensor.device}") from error
    return f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + found


def _scale(tensor: torch.Tensor) -> object:
    """What the numbers of a quantized tensor stand for."""
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return tensor.q_scale(), tensor.q_zero_point()
    scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
    return tensor.q_per_channel_axis(), scales.tolist(), zeros.tolist()


def _file_digest(path: str | Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise Unknown(f"the file {path}, which can't be read") from error


def _code(modules: Iterable[str]) -> bytes:
    return _joined(line.encode() for line in (sys.version, *sorted(_sources(modules))))


def _sources(names: Iterable[str]) -> set[str]:
    """A line per module reached from these: a user's own with the digest of its file, a library's with its version."""
    lines: set[str] = set()
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        file, module = origin(name), sys.modules.get(name)
        top = name.partition(".")[0]
        if file is None:
            raise Unknown(f"the module {name}, which has no source file")
        version = installed_version(top) if is_of_library(file) else None
        if version is not None:
            lines.add(f"{top} {version}")
        elif file and not is_of_interpreter(file):
            lines.add(f"{name} {_file_digest(file).hex()} {_constants(module)!r}")
            waiting += imported(Path(file), name, module)
            outer = name.rpartition(".")[0]
            if outer and origin(outer) is not None:
                # The package's own file is run before.
                waiting.append(outer)
            # Those it came by otherwise.
            waiting += (_module_of(used) for used in list(vars(module).values())) if module is not None else ()
    return lines


def _module_of(used: object) -> str:
    if issubclass(type(used), types.ModuleType):
        return str(used.__name__)  # type: ignore[attr-defined]
    kind = used if issubclass(type(used), (type, types.FunctionType)) else type(used)
    return str(kind.__module__)


def _constants(module: types.ModuleType | None) -> list[tuple[str, str]]:
    """The data among a module's variables: it may come from elsewhere than its source."""
    held = {} if module is None else vars(module)
    found = ((name, _constant(value)) for name, value in list(held.items()) if not name.startswith("__"))
    return sorted((name, constant) for name, constant in found if constant)


def _constant(value: object) -> str:
    """Empty for what is no data."""
    if type(value) in _PLAIN:
        return repr(value)
    # numpy is not imported here.
    is_data = issubclass(type(value), (torch.Tensor, nn.Module)) or type(value).__module__ == "numpy"
    return _Reading().node(value, {}).hex() if is_data else ""
