"""Image sets from datasets in Python: torchvision's, and any with a length and items (image, label)."""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pytest_robustness.classes import ClassList, class_list
from pytest_robustness.errors import InputError
from pytest_robustness.image_sets import ImageSet, LabelledImage, OnBadImage, reading_of
from pytest_robustness.images import Colour, Kind
from pytest_robustness.preprocessing import Interpolation, Size
from pytest_robustness.records import printable

__all__ = ["MapDataset", "image_dataset"]

_IMAGE_KEYS = ("image", "img", "pixel_values")
_LABEL_KEYS = ("label", "labels", "target", "fine_label")
# What torchvision's datasets call the labels of all their items.
_LABELS = ("targets", "labels", "_labels")


class MapDataset(Protocol):
    """What torch.utils.data calls a map-style dataset."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True)
class _Item:
    """One item of a dataset. Nobody else asks the dataset meanwhile: few of them bear several threads."""

    dataset: MapDataset
    index: int
    label: object
    name: str
    lock: threading.Lock = field(repr=False)

    def read(self) -> object:
        with self.lock:
            image, label = _asked(self.dataset, self.index, self.name)
            # PIL reads a file when its pixels are first asked for.
            load = getattr(image, "load", None)
            if callable(load):
                try:
                    load()
                except Exception as error:
                    raise InputError(
                        f"{self.name}: expected an image, got one that can't be decoded ({error})"
                    ) from None
        if label != self.label:
            raise InputError(
                f"{self.name}: expected the label {self.label!r}, as the dataset says beforehand, got {label!r}; give image_dataset labels="
            )
        return image


def image_dataset(
    dataset: MapDataset,
    *,
    classes: Sequence[str] | str | Path | None = None,
    name: str | None = None,
    ids: Sequence[str] | None = None,
    labels: Sequence[Any] | None = None,
    accept: Collection[Kind] = (),
    resize: Size = None,
    crop: Size = None,
    interpolation: Interpolation = "bilinear",
    background: Colour = (255, 255, 255),
    on_bad_image: OnBadImage = "fail",
) -> ImageSet:
    """The items of a map-style dataset: (image, label), or dicts with `image` and `label`.

    An image is PIL's, a tensor or an array, of bytes or of floats in [0, 1], without normalisation: that belongs to the model. PIL's
    are taken as they are, without a look at EXIF. Labels are indices or names of `classes`, which are the dataset's own where it
    has some. `labels` are those of all items; without them they are the dataset's `targets` or `labels`, and where it has
    neither every item is read once. Ids are the files' paths where the dataset has `samples`, else numbers. The dataset is never asked by
    two threads at once. The other settings are those of `image_folder`.

    Raises InputError for what is no such dataset, for labels that are no class, and where the classes are not known.
    """
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise InputError(
            f"image_dataset: expected a dataset with a length and items, got {type(dataset).__name__}; write an iterable one to tar files, "
            "for web_dataset"
        )
    called = name or type(dataset).__name__
    own = _classes(dataset) if classes is None else class_list(classes)
    if own is None:
        raise InputError(
            f"{called}: expected the dataset to have classes, it has none; give image_dataset the model's classes="
        )
    paths = _paths(dataset)
    named = _ids(called, len(dataset), ids, paths)
    lock = threading.Lock()
    found = _known_labels(dataset) if labels is None else list(labels)
    if found is None:
        found = [_asked(dataset, index, f"{called}/{named[index]}")[1] for index in range(len(dataset))]
    if len(found) != len(dataset):
        raise InputError(f"{called}: expected {len(dataset)} labels, one for each item, got {len(found)}")
    images = []
    for index, (image_id, label) in enumerate(zip(named, map(_plain, found), strict=True)):
        where = f"{called}/{image_id}"
        several: Sequence[Any] = label if isinstance(label, (list, tuple)) else [label]
        indices = own.accepted({own.index(each, where) for each in several})
        path = Path(where) if paths is None else paths[index]
        images.append(LabelledImage(image_id, path, indices, content=_Item(dataset, index, label, where, lock)))
    return ImageSet(
        images,
        own.names,
        name=called,
        reading=reading_of(
            called,
            accept=accept,
            resize=resize,
            crop=crop,
            interpolation=interpolation,
            orientation="stored",
            background=background,
        ),
        groups=own.groups,
        on_bad_image=on_bad_image,
    )


def _asked(dataset: MapDataset, index: int, where: str) -> tuple[object, object]:
    """Image and label of an item; what the dataset raises is told as what is wrong with the item."""
    try:
        item = dataset[index]
    # A dataset is anybody's code.
    except Exception as error:
        raise InputError(f"{where}: expected an item, got {type(error).__name__}: {error}") from None
    if isinstance(item, dict):
        image = next((key for key in _IMAGE_KEYS if key in item), None)
        label = next((key for key in _LABEL_KEYS if key in item), None)
        if image is None or label is None:
            raise InputError(
                f"{where}: expected an item with image and label, got one with {', '.join(map(str, item)) or 'nothing'}; rename its keys"
            )
        return item[image], _plain(item[label])
    if not isinstance(item, (tuple, list)) or len(item) < 2:
        raise InputError(f"{where}: expected an item (image, label) or a dict, got {type(item).__name__}")
    return item[0], _plain(item[1])


def _plain(label: Any) -> object:
    """A label without the tensor or the array around it."""
    convert = getattr(label, "tolist", None)
    return convert() if callable(convert) else label


def _inner(dataset: Any) -> tuple[Any, Sequence[int]] | None:
    """What torch's Subset is a part of, and which part; None for another dataset."""
    inner, indices = getattr(dataset, "dataset", None), getattr(dataset, "indices", None)
    return None if inner is None or indices is None or len(indices) != len(dataset) else (inner, indices)


def _classes(dataset: Any) -> ClassList | None:
    if (part := _inner(dataset)) is not None:
        return _classes(part[0])
    names = getattr(dataset, "classes", None)
    if not isinstance(names, (list, tuple)) or not names:
        return None
    # torchvision's ImageNet has all synonyms of a class, the usual one first.
    return ClassList(tuple(str(name[0] if isinstance(name, (list, tuple)) else name) for name in names))


def _known_labels(dataset: Any) -> list[Any] | None:
    """The labels that a dataset tells without reading its items; None where it tells none."""
    if (part := _inner(dataset)) is not None:
        whole = _known_labels(part[0])
        return None if whole is None else [whole[index] for index in part[1]]
    for name in _LABELS:
        found = _plain(getattr(dataset, name, None))
        if isinstance(found, (list, tuple)) and len(found) == len(dataset):
            change = getattr(dataset, "target_transform", None)
            return [change(label) for label in found] if callable(change) else list(found)
    return None


def _paths(dataset: Any) -> list[Path] | None:
    """The files of a dataset such as torchvision's ImageFolder, which has `samples` and a `root`."""
    if (part := _inner(dataset)) is not None:
        whole = _paths(part[0])
        return None if whole is None else [whole[index] for index in part[1]]
    samples = getattr(dataset, "samples", None)
    if not isinstance(samples, list) or len(samples) != len(dataset):
        return None
    pairs = all(isinstance(sample, tuple) and isinstance(sample[0], str) for sample in samples)
    return [Path(sample[0]) for sample in samples] if pairs else None


def _ids(called: str, n: int, ids: Sequence[str] | None, paths: Sequence[Path] | None) -> list[str]:
    if ids is not None:
        if len(ids) != n:
            raise InputError(f"{called}: expected {n} ids, one for each item, got {len(ids)}")
        return [printable(str(image_id)) for image_id in ids]
    if paths:
        roots = [set(path.parents) for path in paths]
        root = max(set.intersection(*roots), key=lambda path: len(path.parts))
        # Of one class folder alone, its name belongs to the ids.
        root = root.parent if all(path.parent == root for path in paths) else root
        return [printable(path.relative_to(root).as_posix()) for path in paths]
    return [f"{index:0{len(str(max(n - 1, 0)))}}" for index in range(n)]
