"""Image sets from Hugging Face datasets that lie on disk; the one door to the library datasets."""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_robustness.classes import ClassList, class_list, nearest
from pytest_robustness.errors import InputError
from pytest_robustness.image_sets import ImageSet, LabelledImage, OnBadImage, reading_of
from pytest_robustness.images import Colour, Kind, Orientation, file_bytes
from pytest_robustness.preprocessing import Interpolation, Size
from pytest_robustness.records import path_text

__all__ = ["hf_dataset"]


@dataclass(frozen=True)
class _Cell:
    """The image in one row, as the bytes of its file; the table is asked by one thread at a time."""

    table: Any
    column: str
    row: int
    name: str
    lock: threading.Lock = field(repr=False)

    def read(self) -> bytes:
        with self.lock:
            cell = self.table[self.row][self.column]
        data = cell.get("bytes") if isinstance(cell, dict) else None
        if isinstance(data, bytes):
            return data
        if isinstance(cell, dict) and cell.get("path"):
            return file_bytes(Path(cell["path"]))
        raise InputError(f"{self.name}: expected an image, got an empty cell; remove the row")


def hf_dataset(
    dataset: Any,
    *,
    split: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    classes: Sequence[str] | str | Path | None = None,
    accept: Collection[Kind] = (),
    resize: Size = None,
    crop: Size = None,
    interpolation: Interpolation = "bilinear",
    orientation: Orientation = "upright",
    background: Colour = (255, 255, 255),
    on_bad_image: OnBadImage = "fail",
) -> ImageSet:
    """The images of a dataset: the path of what `save_to_disk` wrote or of a folder of parquet or arrow files, or the library's Dataset.

    `split` is needed where there are several. The columns are found by their features, Image and ClassLabel, where there is one of each.
    `classes` are the names of the ClassLabel without it. Images are read as the bytes of their files, by our own rules. Ids are the
    numbers of the rows. Of parquet files the library keeps an arrow copy in its cache. The other settings are those of
    `image_folder`. Needs the extra `hf-datasets`.

    Raises InputError where the library is not installed, and for a folder, a split or a column that there is not.
    """
    table, name = _table(dataset, split)
    features: Mapping[str, Any] = table.features
    image = _column(name, features, image_column, "Image", "image_column")
    label = _column(name, features, label_column, "ClassLabel", "label_column")
    known = _classes(name, features[label], classes)
    labels = list(table.select_columns([label]).with_format(None)[label])
    images = _undecoded(table, image)
    lock, digits = threading.Lock(), len(str(max(len(labels) - 1, 0)))
    found = []
    for row, value in enumerate(labels):
        where = f"{name}/{row:0{digits}}"
        several = value if isinstance(value, list) else [value]
        indices = known.accepted({known.index(each, where) for each in several})
        if not indices:
            raise InputError(f"{where}: expected at least one class, got none")
        content = _Cell(images, image, row, where, lock)
        found.append(LabelledImage(f"{row:0{digits}}", Path(where), indices, content=content))
    return ImageSet(
        found,
        known.names,
        name=name,
        reading=reading_of(
            name,
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


def _table(given: Any, split: str | None) -> tuple[Any, str]:
    """The rows, and what they are called."""
    if hasattr(given, "features"):
        return given, f"{type(given).__name__} {given.split}" if given.split else type(given).__name__
    path = Path(given)
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f"{path}: expected datasets to be installed ({error}); pip install 'pytest-robustness[hf-datasets]'"
        ) from None

    if not path.is_dir():
        raise InputError(f"{path}: expected the folder of a dataset, found no folder; check the path")
    saved = any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))
    try:
        found: Any = datasets.load_from_disk(str(path)) if saved else _of_files(path)
    # Whatever the library and arrow raise at files that are broken.
    except Exception as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: expected a dataset, got one that can't be read ({error})") from None
    if not isinstance(found, dict):
        if split is not None and str(found.split) != split:
            raise InputError(f"{path}: expected several splits for split={split!r}, got one dataset; leave split out")
        return found, path_text(path)
    names = sorted(map(str, found))
    if split is None and len(names) == 1:
        split = names[0]
    if split is None:
        raise InputError(f"{path}: expected split= to be one of {', '.join(names)}, got none")
    if split not in names:
        raise InputError(
            f"{path}: expected split= to be one of {', '.join(names)}, got {split!r}{nearest(split, names)}"
        )
    return found[split], f"{path_text(path)}/{split}"


def _of_files(path: Path) -> Any:
    """The rows of all arrow or parquet files of a folder, by split where they are called as the hub calls them."""
    import datasets

    arrow, parquet = sorted(path.rglob("*.arrow")), sorted(path.rglob("*.parquet"))
    if not arrow and not parquet:
        raise InputError(
            f"{path}: expected what save_to_disk wrote, or parquet or arrow files, found none; check the path"
        )
    by_split: dict[str, list[Path]] = {}
    for file in arrow or parquet:
        # The hub calls them test-00000-of-00003.parquet.
        split, _, part = file.stem.partition("-")
        # What save_to_disk writes is called data.
        by_split.setdefault(split if "-of-" in part and split != "data" else "", []).append(file)
    tables = {}
    for split, files in by_split.items():
        if arrow:
            tables[split] = datasets.concatenate_datasets([datasets.Dataset.from_file(str(file)) for file in files])
        else:
            tables[split] = datasets.Dataset.from_parquet([str(file) for file in files])
    return tables if "" not in tables or len(tables) > 1 else tables[""]


def _column(name: str, features: Mapping[str, Any], given: str | None, kind: str, setting: str) -> str:
    if given is not None:
        if given not in features:
            raise InputError(
                f"{name}: expected {setting}= to be one of {', '.join(features)}, got {given!r}{nearest(given, list(features))}"
            )
        return given
    found = [column for column, feature in features.items() if type(feature).__name__ == kind]
    if len(found) != 1:
        got = ", ".join(found) or f"none among {', '.join(features)}"
        raise InputError(f"{name}: expected one column of the feature {kind}, got {got}; name one by {setting}=")
    return found[0]


def _classes(name: str, feature: Any, classes: Sequence[str] | str | Path | None) -> ClassList:
    if classes is not None:
        return class_list(classes)
    # Of a list of classes, the names are those of its items.
    names = getattr(getattr(feature, "feature", feature), "names", None)
    if not names:
        raise InputError(
            f"{name}: expected the label column to name its classes, it does not; give hf_dataset the model's classes="
        )
    return ClassList(tuple(map(str, names)))


def _undecoded(table: Any, column: str) -> Any:
    """The rows with this column alone, its images as bytes."""
    import datasets

    one = table.select_columns([column]).with_format(None)
    return (
        one.cast_column(column, datasets.Image(decode=False))
        if isinstance(one.features[column], datasets.Image)
        else one
    )
