"""Image sets from a manifest: a table of files with their classes, as CSV, JSON, JSON lines or YAML.

file,label,accepted,group,mask
night/1.jpg,African elephant,tusker|Indian elephant,night,masks/1.png
"""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_robustness.classes import ClassList, class_list, nearest, read_classes
from pytest_robustness.documents import entries, table
from pytest_robustness.errors import InputError
from pytest_robustness.image_sets import ImageSet, LabelledImage, OnBadImage, reading_of
from pytest_robustness.images import Colour, Kind, Orientation
from pytest_robustness.loading import file_image
from pytest_robustness.preprocessing import Interpolation, Size
from pytest_robustness.records import path_text, printable

__all__ = ["MANIFESTS", "image_manifest"]

MANIFESTS = frozenset({".csv", ".json", ".jsonl", ".yaml", ".yml"})
"""The endings of manifests."""

_COLUMNS = ("file", "label", "accepted", "group", "mask")
_WHAT = "a manifest"
_NAMED = 5


@dataclass(frozen=True)
class _Row:
    """One image as the manifest has it; `where` is the file and line."""

    where: str
    file: str
    labels: tuple[str | int, ...]
    groups: tuple[str, ...]
    mask: str


def image_manifest(
    path: str | Path,
    *,
    root: str | Path | None = None,
    classes: Sequence[str] | str | Path | None = None,
    accept: Collection[Kind] = (),
    resize: Size = None,
    crop: Size = None,
    interpolation: Interpolation = "bilinear",
    orientation: Orientation = "upright",
    background: Colour = (255, 255, 255),
    on_bad_image: OnBadImage = "fail",
    follow_links: bool = False,
) -> ImageSet:
    """The images that a file lists: CSV with a header, a list of objects in JSON, JSON lines or YAML, or in YAML a mapping of files.

    `file` and `mask` are paths below `root`, which is the manifest's folder without it. `label` is a class by name or by index,
    `accepted` are more classes that are right, `group` names groups of images; in CSV several are separated by `|`. `mask` is the file
    of the region that matters, for `assert_attends_to(images.masks)`. Without `classes`, a `classes.yaml` in the root is
    taken, and without that the names that are found, in alphabetical order. The other settings are those of `image_folder`.

    Raises InputError, with the line of each of the first five entries that are wrong, for columns, files and labels that there are not,
    and for an image that is listed twice.
    """
    path = Path(path)
    base = path.parent if root is None else Path(root)
    rows = _table_rows(path) if path.suffix == ".csv" else _entry_rows(path)
    if not rows:
        raise InputError(f"{path}: expected at least one image, found none; list one")
    known = _classes(path, base, rows, classes)
    wrong: list[str] = []
    images: dict[str, LabelledImage] = {}
    lines: dict[str, str] = {}
    for row in rows:
        try:
            image = _image(row, base, known, follow_links=follow_links)
            if image.id in images:
                raise InputError(
                    f"{row.where}: expected every image once, got {image.id!r} as in {lines[image.id]}; remove one of the two"
                )
        except InputError as error:
            wrong.append(str(error))
            continue
        images[image.id], lines[image.id] = image, row.where
    if wrong:
        raise InputError(_listed(wrong))
    return ImageSet(
        images.values(),
        known.names,
        name=path_text(path),
        reading=reading_of(
            path_text(path),
            accept=accept,
            resize=resize,
            crop=crop,
            interpolation=interpolation,
            orientation=orientation,
            background=background,
        ),
        groups=known.groups,
        on_bad_image=on_bad_image,
    )


def _classes(path: Path, base: Path, rows: Sequence[_Row], classes: Sequence[str] | str | Path | None) -> ClassList:
    names = sorted({label for row in rows for label in row.labels if isinstance(label, str)})
    if classes is not None:
        return class_list(classes)
    if (base / "classes.yaml").is_file():
        return read_classes(base / "classes.yaml", names=names)
    by_number = [
        row.where for row in rows if any(not isinstance(label, str) or label.isdecimal() for label in row.labels)
    ]
    if by_number:
        raise InputError(
            f"{by_number[0]}: expected classes by name where nothing lists them, got a number; give image_manifest the model's classes="
        )
    return ClassList(tuple(names))


def _image(row: _Row, base: Path, known: ClassList, *, follow_links: bool) -> LabelledImage:
    path = _inside(row, base, row.file, "file")
    labels = (_label(label, known) for label in row.labels)
    indices = known.accepted({known.index(label, row.where) for label in labels})
    mask = _inside(row, base, row.mask, "mask") if row.mask else None
    return file_image(base, path, indices, groups=row.groups, mask=mask, follow_links=follow_links)


def _label(label: str | int, known: ClassList) -> str | int:
    """A number in a table is an index, unless a class is called so."""
    number = isinstance(label, str) and label.isdecimal() and label not in (*known.names, *known.identifiers)
    return int(label) if number else label


def _inside(row: _Row, base: Path, name: str, column: str) -> Path:
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(
            f"{row.where}: expected {column} to be a path below {printable(str(base))}, got {name!r}; give image_manifest another root="
        )
    if not os.path.lexists(base / path):
        try:
            near = nearest(path.name, [entry.name for entry in (base / path).parent.iterdir()])
        except OSError:
            near = ""
        raise InputError(f"{row.where}: expected a file, found none at {printable(str(base / path))}{near}")
    return base / path


def _table_rows(path: Path) -> list[_Row]:
    lines = table(path, _WHAT)
    if not lines:
        return []
    (line, header), rows = lines[0], lines[1:]
    header = [name.strip() for name in header]
    _check_columns(f"{path}:{line}", header)
    if len(set(header)) < len(header):
        raise InputError(f"{path}:{line}: expected every column once, got {', '.join(header)}")
    found, wrong = [], []
    for line, cells in rows:
        if len(cells) != len(header):
            wrong.append(
                f"{path}:{line}: expected {len(header)} cells, got {len(cells)}; put what has a comma in quotes"
            )
            continue
        try:
            values: dict[str, object] = {}
            for name, cell in zip(header, cells, strict=True):
                several = [part.strip() for part in cell.split("|") if part.strip()]
                values[name] = several if name in ("accepted", "group") else cell.strip()
            found.append(_row(f"{path}:{line}", values))
        except InputError as error:
            wrong.append(str(error))
    if wrong:
        raise InputError(_listed(wrong))
    return found


def _entry_rows(path: Path) -> list[_Row]:
    found, wrong = [], []
    for entry in entries(path, _WHAT):
        value, where = entry.value, f"{path}:{entry.line}"
        try:
            if entry.key is not None:
                value = {"file": entry.key, **(value if isinstance(value, dict) else {"label": value})}
            if not isinstance(value, dict):
                raise InputError(f"{where}: expected an entry with file and label, got {value!r}")
            _check_columns(where, list(value))
            found.append(_row(where, value))
        except InputError as error:
            wrong.append(str(error))
    if wrong:
        raise InputError(_listed(wrong))
    return found


def _check_columns(where: str, names: Sequence[object]) -> None:
    for name in names:
        if name not in _COLUMNS:
            raise InputError(f"{where}: expected {', '.join(_COLUMNS)}, got {name!r}{nearest(str(name), _COLUMNS)}")
    if "file" not in names:
        raise InputError(f"{where}: expected {', '.join(_COLUMNS)}, got none called file")


def _row(where: str, values: dict[str, object]) -> _Row:
    file, mask = values["file"], values.get("mask") or ""
    if not isinstance(file, str) or not file:
        raise InputError(f"{where}: expected the path of a file, got {file!r}")
    if not isinstance(mask, str):
        raise InputError(f"{where}: expected mask to be the path of a file, got {mask!r}")
    label = values.get("label")
    labels = [*([] if label in (None, "") else [label]), *_several(where, "accepted", values.get("accepted"))]
    for given in labels:
        if not isinstance(given, (str, int)) or isinstance(given, bool):
            raise InputError(
                f"{where}: expected a class by name or index, got {given!r}; put names such as 'no' in quotes"
            )
    if not labels:
        raise InputError(f"{where}: expected at least one class, got none; fill in label")
    groups = _several(where, "group", values.get("group"))
    if not all(isinstance(group, str) for group in groups):
        raise InputError(f"{where}: expected group to be a name or a list of names, got {values['group']!r}")
    return _Row(where, file, tuple(labels), tuple(map(str, groups)), mask)  # type: ignore[arg-type]


def _several(where: str, name: str, value: object) -> list[object]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list) else [value]


def _listed(wrong: Sequence[str]) -> str:
    more = len(wrong) - _NAMED
    return "\n".join([*wrong[:_NAMED], *([f"and {more} more entries that are wrong"] if more > 0 else [])])
