"""Image sources: files with their accepted classes, listed at once and decoded batch by batch."""

import collections
import difflib
import hashlib
import operator
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pytest_robustness.errors import InputError
from pytest_robustness.images import Kind, check_kinds, check_sizes, read_image
from pytest_robustness.records import path_text
from pytest_robustness.types import Batch

__all__ = ["ImageSet", "LabelledImage", "image_folder", "labelled_images"]

_RECENT_BYTES = 256 * 2**20
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif"})


@dataclass(frozen=True)
class LabelledImage:
    """One file of a set: its id (the path inside the set), where it lies, and its accepted classes by index."""

    id: str
    path: Path
    labels: tuple[int, ...]


class ImageSet:
    """Labelled images of one size, decoded when they are needed and never all in memory.

    The images decoded last are kept, up to 256 MB: the levels of a ladder ask for the same batch again.
    `images` are in the order of their ids. `classes` are the model's classes in the model's order: an
    accepted class is an index into them.
    """

    def __init__(
        self,
        images: Iterable[LabelledImage],
        classes: Sequence[str],
        *,
        name: str,
        accept: Collection[Kind] = (),
        resize: int | None = None,
        crop: int | None = None,
    ) -> None:
        self.name = name
        self.classes = tuple(classes)
        self.images = tuple(sorted(images, key=lambda image: image.id))
        check_sizes(name, resize=resize, crop=crop)
        self._accept, self._resize, self._crop = check_kinds(accept, name), resize, crop
        self._by_id = {image.id: image for image in self.images}
        self._recent: collections.OrderedDict[str, torch.Tensor] = collections.OrderedDict()
        self._recent_bytes = 0
        if not self.images:
            raise InputError(f"{name}: expected at least one image, found none; check the path and the file endings")
        if len(self._by_id) < len(self.images):
            twice = next(a.id for a, b in zip(self.images, self.images[1:], strict=False) if a.id == b.id)
            raise InputError(f"{name}: expected every image once, got {twice!r} twice; give each image one entry")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"<ImageSet {self.name}: {len(self)} images, {len(self.classes)} classes>"

    def __getitem__(self, image_id: str) -> LabelledImage:
        """The image of this id; InputError names the nearest ids where there is none."""
        try:
            return self._by_id[image_id]
        except KeyError:
            raise InputError(
                f"{self.name}: expected the id of one of its {len(self)} images, got {image_id!r}{_nearest(image_id, self._by_id)}"
            ) from None

    def accepted(self, image: LabelledImage) -> tuple[str, ...]:
        """The names of the image's accepted classes."""
        return tuple(self.classes[label] for label in image.labels)

    def digest(self) -> str:
        """SHA-256 over ids, accepted classes, preprocessing and the bytes of every file, as 64 hex digits.

        A file that can't be read counts as such: decoding it is what raises.
        """
        total = hashlib.sha256(repr((self.classes, sorted(self._accept), self._resize, self._crop)).encode())
        for image in self.images:
            total.update(repr((image.id, image.labels, _file_digest(image.path))).encode())
        return total.hexdigest()

    def batch(self, ids: Sequence[str]) -> Batch:
        """These images, decoded; InputError where a file is bad or their sizes differ."""
        chosen = [self[image_id] for image_id in ids]
        pixels: list[torch.Tensor] = []
        for image in chosen:
            read = self._read(image)
            if pixels and read.shape != pixels[0].shape:
                first, this = (f"{p.shape[2]} x {p.shape[1]}" for p in (pixels[0], read))
                raise InputError(
                    f"{image.path}: expected {first} pixels as in {chosen[0].path}, got {this}; give the image set resize= and crop="
                )
            pixels.append(read)
        accepted = torch.zeros(len(chosen), len(self.classes), dtype=torch.bool)
        for row, image in zip(accepted, chosen, strict=True):
            row[list(image.labels)] = True
        return Batch(torch.stack(pixels), accepted, tuple(ids))

    def _read(self, image: LabelledImage) -> torch.Tensor:
        kept = self._recent.pop(image.id, None)
        if kept is None:
            kept = read_image(image.path, accept=self._accept, resize=self._resize, crop=self._crop)
            self._recent_bytes += kept.nbytes
        self._recent[image.id] = kept
        while self._recent_bytes > _RECENT_BYTES:
            self._recent_bytes -= self._recent.popitem(last=False)[1].nbytes
        return kept

    def batches(self, ids: Sequence[str], size: int) -> Iterator[Batch]:
        """These images in batches of at most `size`, in the given order."""
        for start in range(0, len(ids), size):
            yield self.batch(ids[start : start + size])


def image_folder(
    root: str | Path,
    *,
    classes: Sequence[str] | None = None,
    accept: Collection[Kind] = (),
    resize: int | None = None,
    crop: int | None = None,
) -> ImageSet:
    """The images of a folder that has one folder per class: `root/<class>/**/<image>`.

    `classes` are the model's classes in the model's order; without it, the folders' names in
    alphabetical order are taken, as torchvision's ImageFolder does. `accept`, `resize` and `crop` are
    those of `images.read_image`. Hidden files and folders and files without an image's ending are left alone.

    Raises InputError where the folder is missing or empty, or a folder's name is not a class.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: expected a folder with one folder per class, found no folder; check the path")
    folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise InputError(
            f"{root}: expected one folder per class, found no folder in it; sort the images into class folders"
        )
    names = list(folders) if classes is None else list(classes)
    for folder in folders:
        # A misspelt folder is told even while it is empty.
        _index(folder, names, root / folder)
    files = {
        path.relative_to(root).as_posix(): [folder]
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.suffix.lower() in _SUFFIXES and path.is_file() and not _hidden(path.relative_to(root))
    }
    return labelled_images(root, files, classes=names, accept=accept, resize=resize, crop=crop)


def labelled_images(
    root: str | Path,
    labels: Mapping[str, Collection[str | int]],
    *,
    classes: Sequence[str],
    accept: Collection[Kind] = (),
    resize: int | None = None,
    crop: int | None = None,
) -> ImageSet:
    """Images named one by one: path below `root` -> accepted classes, by name or by index.

    An image with several accepted classes is right when the model gives any of them. A name that stands
    for two classes (ImageNet has two "crane") has to be given by index.

    Raises InputError for an empty set, an image without a class, or a class that is unknown or ambiguous.
    """
    root = Path(root)
    images = []
    for path, accepted in labels.items():
        if isinstance(accepted, str):
            raise InputError(
                f"{root / path}: expected a list of accepted classes, got {accepted!r}; write [{accepted!r}]"
            )
        indices = {_index(label, classes, root / path) for label in accepted}
        images.append(LabelledImage(path, root / path, tuple(sorted(indices))))
    for image in images:
        if not image.labels:
            raise InputError(
                f"{image.path}: expected at least one accepted class, got none; name one of {_some(classes)}"
            )
    return ImageSet(images, classes, name=path_text(root), accept=accept, resize=resize, crop=crop)


def _file_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return type(error).__name__


def _index(label: str | int, classes: Sequence[str], where: Path) -> int:
    if not isinstance(label, str):
        # Whatever counts as an index in Python, numpy's integers among it.
        label = operator.index(label)
        if not 0 <= label < len(classes):
            raise InputError(
                f"{where}: expected a class index from 0 to {len(classes) - 1}, got {label}; check the labels"
            )
        return label
    places = [index for index, name in enumerate(classes) if name == label]
    if not places:
        raise InputError(
            f"{where}: expected one of {_some(classes)}, got the label {label!r}{_nearest(label, classes)}"
        )
    if len(places) > 1:
        raise InputError(
            f"{where}: expected one class called {label!r}, got those at {places}; give the index instead, to labelled_images"
        )
    return places[0]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _some(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:3])
    return f"{len(classes)} classes ({shown}{', ...' if len(classes) > 3 else ''})"


def _nearest(got: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(got, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
