"""Where the code of a module is, what it imports, and of which installed library it is a part."""

import ast
import functools
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import itertools
import os
import site
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["imported", "installed_version", "is_installed", "is_of_interpreter", "is_of_library", "origin"]

# Where a statement keeps those inside of it.
_NESTED = ("body", "orelse", "finalbody", "handlers", "cases")


def imported(file: Path, name: str, module: types.ModuleType | None) -> Iterator[str]:
    """The modules that an import statement in this file names, wherever it stands; one of a library by its top."""
    if file.suffix != ".py":
        return
    package = getattr(module, "__package__", None) or (name if file.name == "__init__.py" else name.rpartition(".")[0])
    for used in _import_statements(file.read_bytes(), package):
        top = used.partition(".")[0]
        found = top if is_installed(origin(top) or "") else used
        if origin(found) is not None:
            yield found


@functools.lru_cache(maxsize=4096)
def _import_statements(source: bytes, package: str) -> frozenset[str]:
    """All that may be a module: of `from a import b` both a and a.b."""
    found: set[str] = set()
    try:
        waiting: list[ast.AST] = list(ast.parse(source).body)
    except (SyntaxError, ValueError):
        return frozenset()
    while waiting:
        node = waiting.pop()
        # Expressions, of which there are ten times as many, hold no statement.
        waiting += (inner for name in _NESTED for inner in getattr(node, name, ()))
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.update(itertools.accumulate(alias.name.split("."), "{}.{}".format))
        elif isinstance(node, ast.ImportFrom):
            try:
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:
                continue
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def origin(name: str) -> str | None:
    """The file of a module, imported yet or not; empty where it has no code of its own, None where none is known."""
    top, module = name.partition(".")[0], sys.modules.get(name)
    if module is None:
        spec = _spec(name)
        return None if spec is None else (spec.origin or "") if spec.has_location else ""
    file: str | None = getattr(module, "__file__", None)
    if file is not None:
        return file
    if hasattr(module, "__path__") or (top in sys.stdlib_module_names and name != "__main__"):
        # A namespace package, or built into the interpreter, whose version counts already.
        return ""
    # A part of a library's extension module.
    outer = getattr(sys.modules.get(top), "__file__", None)
    return outer if name != top and outer is not None and is_installed(outer) else None


def _spec(name: str) -> importlib.machinery.ModuleSpec | None:
    """Of a module that may not have been imported yet; without importing its packages either."""
    outer, _, _ = name.rpartition(".")
    if not outer:
        try:
            return importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return None
    package = sys.modules.get(outer)
    found = _spec(outer) if package is None else None
    folders = getattr(package, "__path__", None) if found is None else found.submodule_search_locations
    return None if folders is None else importlib.machinery.PathFinder.find_spec(name, folders)


@functools.lru_cache(maxsize=4096)
def is_of_library(file: str) -> bool:
    """Whether a file lies where libraries are installed."""
    paths = sysconfig.get_paths()
    return _is_under(file, paths["purelib"], paths["platlib"], *site.getsitepackages(), site.getusersitepackages())


@functools.lru_cache(maxsize=4096)
def is_of_interpreter(file: str) -> bool:
    """Whether a file is of the standard library."""
    paths = sysconfig.get_paths()
    return _is_under(file, paths["stdlib"], paths["platstdlib"]) and not is_of_library(file)


def is_installed(file: str) -> bool:
    """Whether a file is of a library or of the interpreter, not the user's own."""
    return is_of_library(file) or is_of_interpreter(file)


def _is_under(file: str, *folders: str) -> bool:
    return file.startswith(tuple(os.path.join(folder, "") for folder in folders))


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    """The names of the distributions that bring each package; it takes the metadata of all that are installed."""
    return importlib.metadata.packages_distributions()


@functools.cache
def installed_version(top: str) -> str | None:
    """The versions of the distributions that brought this package, with the digests of their files; None without one."""
    try:
        found = [importlib.metadata.distribution(top)]
    except importlib.metadata.PackageNotFoundError:
        # Several share a namespace package.
        names = _distributions().get(top, [])
        found = [importlib.metadata.distribution(name) for name in sorted(set(names))]
    # Installed again from changed files, it may call itself the same. Left out is what another installer writes otherwise.
    record = [
        line
        for each in found
        for line in (each.read_text("RECORD") or "").splitlines()
        if not line.startswith("..") and ".dist-info/" not in line and ".pyc," not in line
    ]
    versions = " ".join(each.version for each in found)
    return f"{versions} {hashlib.sha256(repr(sorted(record)).encode()).hexdigest()}" if found else None
