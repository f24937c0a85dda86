"""The classes of a model, and the groups that people sort them into, from a YAML file.

classes: [African elephant, Indian elephant, tusker, zebra]   # in the model's order
groups:
  elephants: [African elephant, Indian elephant, tusker]
accept_together: [elephants]   # an image of one of them is right as any of them
"""

import contextlib
import difflib
import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from pytest_robustness.errors import InputError

__all__ = ["ClassList", "nearest", "read_classes"]

_KEYS = ("classes", "groups", "accept_together")


@dataclass(frozen=True)
class ClassList:
    """The names of a model's classes in the model's order, and groups of them by name, as indices.

    `together` names the groups of which an image is right as any class. A class may be in several groups.
    """

    names: tuple[str, ...]
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    together: tuple[str, ...] = ()

    def index(self, label: str | int, where: str) -> int:
        """The index of a class given by name or by index; `where` begins the error where there is none, or several."""
        if not isinstance(label, str):
            # Whatever counts as an index in Python, numpy's integers among it.
            with contextlib.suppress(TypeError):
                label = operator.index(label)
            if not isinstance(label, int) or not 0 <= label < len(self.names):
                raise InputError(
                    f"{where}: expected a class index from 0 to {len(self.names) - 1}, got {label}; check the labels"
                )
            return label
        places = [index for index, name in enumerate(self.names) if name == label]
        if not places:
            raise InputError(f"{where}: expected one of {self}, got the label {label!r}{nearest(label, self.names)}")
        if len(places) > 1:
            raise InputError(
                f"{where}: expected one class called {label!r}, got those at {places}; give the index instead, to labelled_images"
            )
        return places[0]

    def accepted(self, labels: Iterable[int]) -> tuple[int, ...]:
        """These classes, and those that are accepted together with one of them."""
        own = set(labels)
        groups = (set(self.groups[name]) for name in self.together)
        return tuple(sorted(own.union(*(group for group in groups if group & own))))

    def __str__(self) -> str:
        more = ", ..." if len(self.names) > 3 else ""
        return f"{len(self.names)} classes ({', '.join(self.names[:3])}{more})"


def read_classes(path: str | Path, *, names: Sequence[str] | None = None) -> ClassList:
    """The classes of a YAML file; `names` are the model's classes where the file does not list them.

    Raises InputError, naming the file and the entry, for a file that can't be read, keys and classes that are unknown, and
    a group that is called like a class.
    """
    path = Path(path)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InputError(f"{path}: expected a YAML file with classes, could not read it: {reason}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f":{mark.line + 1}"
        raise InputError(f"{path}{line}: expected YAML, got {getattr(error, 'problem', None) or error}") from None
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected a mapping with {_or(_KEYS)}, got {_kind(document)}")
    for key in document:
        if key not in _KEYS:
            raise InputError(f"{path}: expected {_or(_KEYS)}, got {key!r}{nearest(str(key), _KEYS)}")
    if "classes" in document:
        names = _names(path, "classes", document["classes"])
    if names is None:
        raise InputError(f"{path}: expected classes: [...], the model's classes in the model's order, got none")
    plain = ClassList(tuple(names))
    groups = document.get("groups") or {}
    if not isinstance(groups, dict):
        raise InputError(f"{path}: groups: expected a mapping of names to lists of classes, got {_kind(groups)}")
    for name in groups:
        if name in plain.names:
            raise InputError(
                f"{path}: groups: expected a name that no class has, got {name!r}; call the group otherwise"
            )
    members = {
        str(name): tuple(
            sorted({plain.index(label, f"{path}: groups: {name}") for label in _labels(path, str(name), group)})
        )
        for name, group in groups.items()
    }
    together = _names(path, "accept_together", document.get("accept_together") or [])
    for name in together:
        if name not in members:
            raise InputError(
                f"{path}: accept_together: expected one of the groups {_or(sorted(members)) or '(there are none)'}, got {name!r}{nearest(name, members)}"
            )
    return ClassList(plain.names, members, tuple(together))


def nearest(got: str, known: Collection[str]) -> str:
    """`; did you mean 'zebra'?` where a known name is near, else nothing."""
    near = difflib.get_close_matches(got, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _names(path: Path, key: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        wrong = next((name for name in value if not isinstance(name, str)), value) if isinstance(value, list) else value
        raise InputError(
            f"{path}: {key}: expected a list of names, got {_kind(wrong)}; put names such as 'no' in quotes"
        )
    return list(value)


def _labels(path: Path, group: str, value: object) -> list[str | int]:
    ok = isinstance(value, list) and all(isinstance(v, (str, int)) and not isinstance(v, bool) for v in value)
    if not ok or not value:
        raise InputError(f"{path}: groups: {group}: expected a list of classes, got {_kind(value)}")
    assert isinstance(value, list)
    return value


def _or(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))


def _kind(value: object) -> str:
    kinds = {dict: "a mapping", list: "a list", type(None): "nothing"}
    return kinds.get(type(value), repr(value)) if value != [] else "an empty list"
