"""Image sources: files with their accepted classes, listed at once and decoded chunk by chunk."""

import collections
import concurrent.futures
import contextlib
import functools
import hashlib
import itertools
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import torch

from pytest_robustness.classes import ClassList, nearest, read_classes
from pytest_robustness.errors import InputError
from pytest_robustness.images import Kind, as_floats, check_kinds, check_sizes, fitted, read_image, read_pixels
from pytest_robustness.recent import Recent
from pytest_robustness.records import path_text
from pytest_robustness.types import Accepted, Batch, Images

__all__ = ["Decoded", "ImageSet", "LabelledImage", "image_folder", "labelled_images"]

Decoded: TypeAlias = Mapping[str, torch.Tensor | InputError]
"""Images by id, (3, h, w) float32 in [0, 1], or what is wrong with one."""

_T = TypeVar("_T")

_RECENT_BYTES = 256 * 2**20
# Reading and hashing wait for the disk and release the interpreter.
_READERS = 4
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif"})


@dataclass(frozen=True)
class LabelledImage:
    """One file of a set: its id (the path inside the set), where it lies, and its accepted classes by index."""

    id: str
    path: Path
    labels: tuple[int, ...]


class ImageSet:
    """Labelled images of one size, decoded when they are needed and never all in memory.

    The images decoded last are kept, up to 256 MB of bytes: the levels of a ladder ask for the same batch again.
    `images` are in the order of their ids. `classes` are the model's classes in the model's order: an
    accepted class is an index into them. `groups` are named sets of classes, as indices.
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
        groups: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self.name = name
        self.classes = tuple(classes)
        self.groups = dict(groups or {})
        self.images = tuple(sorted(images, key=lambda image: image.id))
        check_sizes(name, resize=resize, crop=crop)
        self._accept, self._resize, self._crop = check_kinds(accept, name), resize, crop
        self._by_id = {image.id: image for image in self.images}
        self._recent: Recent[str] = Recent(_RECENT_BYTES)
        self._digests: dict[str, str] = {}
        if not self.images:
            raise InputError(f"{name}: expected at least one image, found none; check the path and the file endings")
        if len(self._by_id) < len(self.images):
            twice = next(a.id for a, b in zip(self.images, self.images[1:], strict=False) if a.id == b.id)
            raise InputError(f"{name}: expected every image once, got {twice!r} twice; give each image one entry")
        for image in self.images:
            for label in image.labels:
                if not 0 <= label < len(self.classes):
                    raise InputError(
                        f"{name}: expected class indices from 0 to {len(self.classes) - 1}, got {label!r} for {image.id}; "
                        "check the labels"
                    )

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
                f"{self.name}: expected the id of one of its {len(self)} images, got {image_id!r}{nearest(image_id, self._by_id)}"
            ) from None

    def accepted(self, image: LabelledImage) -> tuple[str, ...]:
        """The names of the image's accepted classes."""
        return tuple(self.classes[label] for label in image.labels)

    def indices(self, name: str) -> tuple[int, ...]:
        """The classes that a name stands for: those of a group, or all that are called so.

        Raises InputError, with the nearest name, where it is neither.
        """
        found = self.groups.get(name) or tuple(index for index, known in enumerate(self.classes) if known == name)
        if not found:
            known = [*self.groups, *self.classes]
            raise InputError(f"{self.name}: expected a class or a group of classes, got {name!r}{nearest(name, known)}")
        return found

    def of_group(self, name: str) -> tuple[LabelledImage, ...]:
        """The images with an accepted class among those that the name stands for; InputError as `indices`."""
        wanted = set(self.indices(name))
        return tuple(image for image in self.images if wanted & set(image.labels))

    def digest(self) -> str:
        """SHA-256 over ids, accepted classes, preprocessing and the bytes of every file, as 64 hex digits.

        A file that can't be read counts as such: decoding it is what raises.
        """
        total = hashlib.sha256(repr((self.classes, sorted(self._accept), self._resize, self._crop)).encode())
        with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
            for image, content in zip(self.images, pool.map(self._file_digest, self.images), strict=True):
                total.update(repr((image.id, image.labels, content)).encode())
        return total.hexdigest()

    def digest_of(self, image_id: str) -> str:
        """SHA-256 over all that one image is asked as: id, accepted classes by name, preprocessing, bytes of its file.

        Of a file that was decoded, the bytes that were decoded count.
        """
        image = self[image_id]
        settings = (image.id, self.accepted(image), sorted(self._accept), self._resize, self._crop)
        return hashlib.sha256(repr((*settings, self._file_digest(image))).encode()).hexdigest()

    def accepted_mask(self, ids: Sequence[str]) -> Accepted:
        """(n, k) bool, True at the accepted classes of these images."""
        mask = torch.zeros(len(ids), len(self.classes), dtype=torch.bool)
        for row, image_id in zip(mask, ids, strict=True):
            row[list(self[image_id].labels)] = True
        return mask

    def batch(self, ids: Sequence[str]) -> Batch:
        """These images, decoded; InputError where a file is bad or is not of the set's size."""
        pixels = [_raised(self._read(image_id)) for image_id in ids]
        return Batch(torch.stack(pixels), self.accepted_mask(ids), tuple(ids))

    @property
    def resized(self) -> bool:
        """Whether the images are resized from the size of their files."""
        return self._resize is not None

    def native(self, image_id: str) -> torch.Tensor:
        """The pixels of the image's file at its own size, (3, h, w) float32 in [0, 1]; InputError as `batch`."""
        return read_image(self[image_id].path, accept=self._accept)

    def fitted(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels at the size of a file, (3, h, w) float32 in [0, 1], resized and cropped as the images of the set are."""
        return fitted(pixels, self.name, resize=self._resize, crop=self._crop)

    def probe(self, n: int) -> Images | None:
        """The first n images of the set that can be read, fewer where it has fewer; None where there is none."""
        readable = (read for image in self.images if isinstance(read := self._read(image.id), torch.Tensor))
        pixels = list(itertools.islice(readable, n))
        return torch.stack(pixels) if pixels else None

    def streamed(
        self, chunks: Iterable[Sequence[str]], stage: Callable[[Decoded], _T], *, workers: int = 1
    ) -> Generator[_T, None, None]:
        """What `stage` makes of each chunk's images, in order; it runs in a thread.

        While the caller is busy with a chunk, `workers` threads decode and stage the next one: two chunks are in
        memory, however many there are.
        """
        waiting: collections.deque[concurrent.futures.Future[_T]] = collections.deque()
        pool = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="robustness-decode")
        try:
            for chunk in chunks:
                reads = {image_id: pool.submit(self._read, image_id) for image_id in dict.fromkeys(chunk)}
                # Behind its reads in the queue: it never waits for one that can't start.
                waiting.append(pool.submit(_staged, stage, reads))
                if len(waiting) == 2:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    @functools.cached_property
    def _first(self) -> tuple[Path, torch.Size] | None:
        """The first image that can be decoded, with its shape: all others have to have it too."""
        for image in self.images:
            with contextlib.suppress(InputError):
                return image.path, self._decoded(image).shape
        return None

    def _read(self, image_id: str) -> torch.Tensor | InputError:
        """The image's pixels, or what is wrong with it. An error is a value here, so that it stays with its image."""
        image = self[image_id]
        try:
            read = self._decoded(image)
        except InputError as error:
            return error
        if self._first is not None and read.shape != self._first[1]:
            expected, got = (f"{shape[2]} x {shape[1]}" for shape in (self._first[1], read.shape))
            return InputError(
                f"{image.path}: expected {expected} pixels as in {self._first[0]}, got {got}; give the image set resize= and crop="
            )
        return read

    def _decoded(self, image: LabelledImage) -> torch.Tensor:
        pixels = self._recent.get(image.id)
        if pixels is None:
            data = _file_bytes(image.path)
            pixels = read_pixels(image.path, accept=self._accept, resize=self._resize, crop=self._crop, data=data)
            if data is not None:
                self._digests[image.id] = hashlib.sha256(data).hexdigest()
            # As bytes, which are a quarter of the floats; the few images of 16 bits are decoded anew.
            if pixels.dtype == torch.uint8:
                self._recent.put(image.id, pixels)
        return as_floats(pixels)

    def _file_digest(self, image: LabelledImage) -> str:
        if image.id not in self._digests:
            data = _file_bytes(image.path)
            if data is None:
                return "unreadable"
            self._digests[image.id] = hashlib.sha256(data).hexdigest()
        return self._digests[image.id]


def image_folder(
    root: str | Path,
    *,
    classes: Sequence[str] | str | Path | None = None,
    accept: Collection[Kind] = (),
    resize: int | None = None,
    crop: int | None = None,
) -> ImageSet:
    """The images of a folder that has one folder per class: `root/<class>/**/<image>`.

    `classes` are the model's classes in the model's order, or the path of a YAML file with them and groups of
    them (see `classes`); `root/classes.yaml` is found without it. Where nothing lists them, the folders' names in
    alphabetical order are taken, as torchvision's ImageFolder does. `accept`, `resize` and `crop` are
    those of `images.read_pixels`. Hidden files and folders and files without an image's ending are left alone.

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
    if classes is None and (root / "classes.yaml").is_file():
        known = read_classes(root / "classes.yaml", names=folders)
    else:
        known = _class_list(folders if classes is None else classes)
    for folder in folders:
        # A misspelt folder is told even while it is empty.
        known.index(folder, str(root / folder))
    files = {
        path.relative_to(root).as_posix(): [folder]
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.suffix.lower() in _SUFFIXES and path.is_file() and not _hidden(path.relative_to(root))
    }
    return labelled_images(root, files, classes=known, accept=accept, resize=resize, crop=crop)


def labelled_images(
    root: str | Path,
    labels: Mapping[str, Collection[str | int]],
    *,
    classes: Sequence[str] | str | Path | ClassList,
    accept: Collection[Kind] = (),
    resize: int | None = None,
    crop: int | None = None,
) -> ImageSet:
    """Images named one by one: path below `root` -> accepted classes, by name or by index.

    `classes` are those of `image_folder`. An image with several accepted classes is right when the model gives any of
    them; classes that the YAML file accepts together are added. A name that stands
    for two classes (ImageNet has two "crane") has to be given by index.

    Raises InputError for an empty set, an image without a class, or a class that is unknown or ambiguous.
    """
    root, known = Path(root), _class_list(classes)
    images = []
    for path, accepted in labels.items():
        if isinstance(accepted, str):
            raise InputError(
                f"{root / path}: expected a list of accepted classes, got {accepted!r}; write [{accepted!r}]"
            )
        indices = {known.index(label, str(root / path)) for label in accepted}
        images.append(LabelledImage(path, root / path, known.accepted(indices)))
    for image in images:
        if not image.labels:
            raise InputError(f"{image.path}: expected at least one accepted class, got none; name one of {known}")
    return ImageSet(
        images, known.names, name=path_text(root), accept=accept, resize=resize, crop=crop, groups=known.groups
    )


def _staged(
    stage: Callable[[Decoded], _T], reads: Mapping[str, concurrent.futures.Future[torch.Tensor | InputError]]
) -> _T:
    return stage({image_id: read.result() for image_id, read in reads.items()})


def _file_bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _raised(read: torch.Tensor | InputError) -> torch.Tensor:
    if isinstance(read, InputError):
        raise read
    return read


def _class_list(classes: Sequence[str] | str | Path | ClassList) -> ClassList:
    if isinstance(classes, ClassList):
        return classes
    # A text of one-letter names is a sequence of names.
    named = isinstance(classes, Path) or (isinstance(classes, str) and classes.endswith((".yaml", ".yml")))
    return read_classes(classes) if named else ClassList(tuple(classes))  # type: ignore[arg-type]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
