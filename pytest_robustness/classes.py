"""The classes of a model, and the groups that people sort them into, from a file.

classes: [African elephant, Indian elephant, tusker, zebra]   # in the model's order
groups:
  elephants: [African elephant, Indian elephant, tusker]
accept_together: [elephants]   # an image of one of them is right as any of them

Names alone may be a text file with one on each line, a JSON list, or JSON that numbers them: {"0": "tench", ...}, with identifiers
as ImageNet's class index has them: {"0": ["n01440764", "tench"], ...}.
"""

import contextlib
import difflib
import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_robustness.documents import read_document, read_text
from pytest_robustness.errors import InputError

__all__ = ["ClassList", "check_order", "class_list", "nearest", "read_classes"]

_KEYS = ("classes", "groups", "accept_together")
_ENDINGS = (".yaml", ".yml", ".json", ".txt")
_SHOWN = 3


@dataclass(frozen=True)
class ClassList:
    """The names of a model's classes in the model's order, and groups of them by name, as indices.

    `together` names the groups of which an image is right as any class. A class may be in several groups. `identifiers` are other
    names of the classes, one each, such as the WordNet ids that ImageNet's folders are called by; empty where there are none.
    """

    names: tuple[str, ...]
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    together: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()

    def index(self, label: str | int, where: str) -> int:
        """The index of a class given by name, identifier or index; `where` begins the error where there is none, or several."""
        if not isinstance(label, str):
            # Whatever counts as an index in Python, numpy's integers among it.
            with contextlib.suppress(TypeError):
                label = operator.index(label)
            if not isinstance(label, int) or not 0 <= label < len(self.names):
                raise InputError(
                    f"{where}: expected a class index from 0 to {len(self.names) - 1}, got {label}; check the labels"
                )
            return label
        if label in self.identifiers:
            return self.identifiers.index(label)
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
    """The classes of a .yaml, .json or .txt file; `names` are the model's classes where a file with groups does not list them.

    Raises InputError, naming the file and the entry, for a file that can't be read, keys and classes that are unknown, and
    a group that is called like a class.
    """
    path = Path(path)
    if path.suffix == ".txt":
        return ClassList(_lines(path))
    document = read_document(path, f"a {'JSON' if path.suffix == '.json' else 'YAML'} file with classes")
    if path.suffix == ".json" and not (isinstance(document, dict) and set(document) & set(_KEYS)):
        return _numbered(path, document)
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


def class_list(classes: Sequence[str] | str | Path | ClassList) -> ClassList:
    """Classes given as a list, as names in the model's order, or as the path of their file; InputError as `read_classes`."""
    if isinstance(classes, ClassList):
        return classes
    # A text of one-letter names is a sequence of names.
    named = isinstance(classes, Path) or (isinstance(classes, str) and classes.endswith(_ENDINGS))
    return read_classes(classes) if named else ClassList(tuple(classes))  # type: ignore[arg-type]


def check_order(own: Sequence[str], names: Sequence[str], where: str) -> None:
    """Refuse classes that are not the model's `names` in the model's order; InputError begins with `where`."""
    own, names = tuple(own), tuple(names)
    if own == names:
        return
    remedy = "give the image set classes= in the model's order"
    strange = [name for name in own if name not in names]
    if strange:
        listed = ", ".join(repr(name) for name in strange[:_SHOWN]) + (", ..." if len(strange) > _SHOWN else "")
        raise InputError(
            f"{where}: expected the model's classes, got {len(strange)} of {len(own)} that it does not have: {listed}"
            f"{nearest(strange[0], names)}; {remedy}, by the model's names"
        )
    if len(own) != len(names):
        raise InputError(f"{where}: expected the model's {len(names)} classes, got {len(own)} of them; {remedy}")
    differing = [(index, a, b) for index, (a, b) in enumerate(zip(own, names, strict=True)) if a != b]
    first = ", ".join(f"{index} is {a!r} here and {b!r} to the model" for index, a, b in differing[:_SHOWN])
    raise InputError(
        f"{where}: expected the model's classes in the model's order, got {len(differing)} of {len(own)} in other places: {first}; {remedy}"
    )


def nearest(got: str, known: Collection[str]) -> str:
    """`; did you mean 'zebra'?` where a known name is near, else nothing."""
    near = difflib.get_close_matches(got, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _lines(path: Path) -> tuple[str, ...]:
    names = [line.strip() for line in read_text(path, "a text file with a class on each line").rstrip().splitlines()]
    if "" in names:
        line = names.index("") + 1
        raise InputError(f"{path}:{line}: expected a class on each line, got an empty line; remove it")
    return tuple(names)


def _numbered(path: Path, document: object) -> ClassList:
    """Names listed, or numbered by the keys of a mapping, there with or without an identifier each."""
    if isinstance(document, dict):
        places = [str(index) for index in range(len(document))]
        if set(document) != set(places):
            wrong = next(key for key in document if key not in places)
            raise InputError(f"{path}: expected the classes numbered from 0 to {len(document) - 1}, got {wrong!r}")
        document = [document[place] for place in places]
    if not isinstance(document, list) or not document:
        raise InputError(f"{path}: expected a list of names, or names by number, got {_kind(document)}")
    pairs = [name if isinstance(name, list) else [None, name] for name in document]
    for index, pair in enumerate(pairs):
        if len(pair) != 2 or not isinstance(pair[1], str) or type(pair[0]) is not type(pairs[0][0]):
            raise InputError(
                f"{path}: expected a name, or [identifier, name], for each class, got {document[index]!r} for class {index}"
            )
    identifiers = () if pairs[0][0] is None else tuple(str(identifier) for identifier, _ in pairs)
    return ClassList(tuple(name for _, name in pairs), identifiers=identifiers)


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
