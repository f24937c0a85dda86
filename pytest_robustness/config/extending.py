"""A file of gates with the files that it extends: what the nearer one says stands before what the other does."""

import os
from collections.abc import Mapping
from pathlib import Path

from pytest_robustness.config.reading import Entry, Node, Refused, described, read_yaml
from pytest_robustness.records import path_text

__all__ = ["extended"]

# Settings of `model` and `images`, and of gates the arguments: what is within those is replaced as a whole.
_LEVELS = 2


def extended(path: Path) -> Node:
    """The mapping of a file, over those of the files that its `extends` names, the last of them the nearest; paths are relative to it.

    Mappings are joined down to the settings of the model and the arguments of a gate. Nothing beside a key takes out what was
    inherited. Each value knows the file that it is from. Raises Refused as `read_yaml`, and for files that extend each other.
    """
    return _extended(Path(os.path.abspath(path)), None, ())


def _extended(path: Path, by: Node | None, chain: tuple[Path, ...]) -> Node:
    if by is not None and path in chain:
        names = " -> ".join(path_text(own) for own in (*chain[chain.index(path) :], path))
        raise by.refused(f"extends: expected files that don't extend each other, got {names}")
    if by is not None and not path.is_file():
        raise by.refused(f"extends: expected a file, found none at {path_text(path)}; paths are relative to this file")
    root = read_yaml(path)
    entries = dict(root.mapping("a mapping with gates"))
    given = entries.pop("extends", None)
    found = Node({}, root.file, root.line)
    for parent in [] if given is None else _parents(given.value):
        assert isinstance(parent.value, str)
        found = _joined(found, _extended(_beside(path, parent.value), parent, (*chain, path)), _LEVELS)
    return _joined(found, Node(entries, root.file, root.line), _LEVELS)


def _beside(path: Path, text: str) -> Path:
    return Path(os.path.abspath(path.parent / text))


def _parents(node: Node) -> tuple[Node, ...]:
    parents = node.value if isinstance(node.value, tuple) else (node,)
    for parent in parents:
        if not isinstance(parent, Node) or not isinstance(parent.value, str):
            got = described(parent) if isinstance(parent, Node) else "something else"
            raise Refused(f"{node.where}: extends: expected a path or a list of paths, got {got}")
    return parents


def _joined(below: Node, above: Node, levels: int) -> Node:
    """Both mappings as one, in the order of the one below; an entry of the one above stands before it."""
    assert isinstance(below.value, Mapping)
    assert isinstance(above.value, Mapping)
    found: dict[str, Entry] = dict(below.value)
    for name, entry in above.value.items():
        inherited = found.get(name)
        if inherited is None or not levels:
            found[name] = entry
        elif entry.value.value is None:
            del found[name]
        else:
            old, new = inherited.value, entry.value
            if levels == _LEVELS and name in ("model", "images"):
                old, new = _with_source(old), _with_source(new)
            both = isinstance(old.value, Mapping) and isinstance(new.value, Mapping)
            found[name] = Entry(entry.key, _joined(old, new, levels - 1) if both else entry.value)
    return Node(found, above.file, above.line)


def _with_source(node: Node) -> Node:
    """A source by itself as the mapping that it is short for."""
    if not isinstance(node.value, str):
        return node
    return Node({"source": Entry(node, node)}, node.file, node.line)
