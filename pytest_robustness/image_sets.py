"""Sets of labelled images: listed at once, decoded chunk by chunk and never all in memory."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar, get_args

import torch

from pytest_robustness.classes import ClassList, check_order, nearest
from pytest_robustness.contents import Content
from pytest_robustness.errors import InputError
from pytest_robustness.images import (
    Colour,
    Kind,
    Orientation,
    Reading,
    as_floats,
    file_bytes,
    fitted,
    item_pixels,
    read_pixels,
)
from pytest_robustness.preprocessing import Geometry, Interpolation, Size
from pytest_robustness.recent import Recent
from pytest_robustness.records import printable
from pytest_robustness.types import Accepted, Batch, Images

__all__ = ["Decoded", "ImageSet", "LabelledImage", "OnBadImage", "bad_ones", "reading_of"]

Decoded: TypeAlias = Mapping[str, torch.Tensor | InputError]
"""Images by id, (3, h, w) float32 in [0, 1], or what is wrong with one."""
OnBadImage: TypeAlias = Literal["fail", "skip"]
"""An image that can't be read fails whatever asks for it, or is left out, and counted."""

_T = TypeVar("_T")

_RECENT_BYTES = 256 * 2**20
# Reading and hashing wait for the disk and release the interpreter.
_READERS = 4
_NAMED = 5
_PLAIN = Reading()


@dataclass(frozen=True)
class LabelledImage:
    """One image of a set: its id (the path inside the set), where it lies, and its accepted classes by index.

    `groups` are the groups of images that it is in, `mask` the file of the region that matters. An image that is no file of its own
    has a `content`, and `path` is what errors call it. Ids are `printable`.
    """

    id: str
    path: Path
    labels: tuple[int, ...]
    groups: tuple[str, ...] = ()
    mask: Path | None = None
    content: Content | None = field(default=None, compare=False, repr=False)


class ImageSet:
    """Labelled images of one size, decoded when they are needed.

    The images decoded last are kept, up to 256 MB of bytes: the levels of a ladder ask for the same batch again.
    `images` are in the order of their ids. `classes` are the model's classes in the model's order: an
    accepted class is an index into them. `groups` are named sets of classes, as indices. `reading` has the rules by which
    files become pixels.

    With `on_bad_image="skip"`, images that can't be read are left out: all are decoded once, when the set is first asked which
    images it has, and `skipped` tells the id and the reason of those that failed. InputError where none is left.
    """

    def __init__(
        self,
        images: Iterable[LabelledImage],
        classes: Sequence[str],
        *,
        name: str,
        reading: Reading = _PLAIN,
        groups: Mapping[str, tuple[int, ...]] | None = None,
        on_bad_image: OnBadImage = "fail",
    ) -> None:
        self.name = name
        self.classes = tuple(classes)
        self.groups = dict(groups or {})
        self.reading = reading
        self._on_bad_image = on_bad_image
        self._every = tuple(sorted(images, key=lambda image: image.id))
        self._recent: Recent[str] = Recent(_RECENT_BYTES)
        self._digests: dict[str, str] = {}
        if on_bad_image not in get_args(OnBadImage):
            raise InputError(f"{name}: expected on_bad_image to be 'fail' or 'skip', got {on_bad_image!r}")
        if not self._every:
            raise InputError(f"{name}: expected at least one image, found none; check the path and the file endings")
        for before, image in zip(self._every, self._every[1:], strict=False):
            if before.id == image.id:
                raise InputError(
                    f"{name}: expected every image once, got {image.id!r} twice; give each image one entry"
                )
        for image in self._every:
            for label in image.labels:
                if not 0 <= label < len(self.classes):
                    raise InputError(
                        f"{name}: expected class indices from 0 to {len(self.classes) - 1}, got {label!r} for {image.id}; "
                        "check the labels"
                    )

    @property
    def images(self) -> tuple[LabelledImage, ...]:
        """The images, but those that are left out, in the order of their ids."""
        return self._kept[0]

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Id and reason of each image that is left out, in the order of their ids."""
        return self._kept[1]

    @property
    def masks(self) -> dict[str, Path]:
        """The file of the region that matters, by id, of the images that have one: what `assert_attends_to` takes."""
        return {image.id: image.mask for image in self.images if image.mask is not None}

    @functools.cached_property
    def _kept(self) -> tuple[tuple[LabelledImage, ...], tuple[tuple[str, str], ...]]:
        if self._on_bad_image == "fail":
            return self._every, ()
        reasons = dict(self.bad())
        if len(reasons) == len(self._every):
            raise InputError(
                f"{self.name}: expected at least one image that can be read, got {len(reasons)} that can't be:{bad_ones(tuple(reasons.items()))}"
            )
        return tuple(image for image in self._every if image.id not in reasons), tuple(reasons.items())

    @functools.cached_property
    def _by_id(self) -> dict[str, LabelledImage]:
        return {image.id: image for image in self.images}

    def bad(self) -> tuple[tuple[str, str], ...]:
        """Id and reason of every image that can't be read, in the order of their ids: all are decoded, four at a time.

        Of a file that is whole there is nothing in its header that tells it from one that is not.
        """
        with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
            reasons = pool.map(self._fault, self._every)
            return tuple((image.id, reason) for image, reason in zip(self._every, reasons, strict=True) if reason)

    def _fault(self, image: LabelledImage) -> str:
        try:
            self._decoded(image)
        except InputError as error:
            return str(error)
        return ""

    def prepared(self, geometry: Geometry) -> "ImageSet":
        """The same images brought to another size, for a caller who learns it from the model; files that were hashed are not
        hashed again."""
        if geometry == self.reading.geometry:
            return self
        return self._with(self._every, self.classes, dataclasses.replace(self.reading, geometry=geometry), self.groups)

    def among(self, names: Sequence[str]) -> "ImageSet":
        """The same images for a model of more classes: each class of the set is the one of that name among `names`.

        Raises InputError where a name is not among them, or stands there for several.
        """
        known = ClassList(tuple(names))
        place = [known.index(name, self.name) for name in self.classes]
        images = (
            dataclasses.replace(image, labels=tuple(sorted(place[label] for label in image.labels)))
            for image in self._every
        )
        groups = {name: tuple(sorted(place[label] for label in group)) for name, group in self.groups.items()}
        return self._with(images, known.names, self.reading, groups)

    def _with(
        self,
        images: Iterable[LabelledImage],
        classes: Sequence[str],
        reading: Reading,
        groups: Mapping[str, tuple[int, ...]],
    ) -> "ImageSet":
        other = ImageSet(
            images, classes, name=self.name, reading=reading, groups=groups, on_bad_image=self._on_bad_image
        )
        other._digests = self._digests
        return other

    def check_classes(self, names: Sequence[str]) -> None:
        """Refuse to judge a model by labels that mean something else to it: `names` are its classes in its order.

        Raises InputError where the set has others, more, fewer, or the same ones in another order, with the first that differ.
        """
        check_order(self.classes, names, self.name)

    def in_group(self, name: str) -> tuple[LabelledImage, ...]:
        """The images of this group of images; InputError names the nearest where there is none."""
        found = tuple(image for image in self.images if name in image.groups)
        if not found:
            known = sorted({group for image in self.images for group in image.groups})
            there = (
                f"one of the groups of images {', '.join(known)}"
                if known
                else "a group of images, of which there is none"
            )
            raise InputError(f"{self.name}: expected {there}, got {name!r}{nearest(name, known)}")
        return found

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
        """SHA-256 over ids, accepted classes, preprocessing and the content of every image, as 64 hex digits.

        Of a file its bytes count, of an item of a dataset its pixels. What can't be read counts as such: decoding it is what raises.
        """
        total = hashlib.sha256(repr((self.classes, *self.reading.text)).encode())
        with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
            for image, content in zip(self.images, pool.map(self._content_digest, self.images), strict=True):
                total.update(repr((image.id, image.labels, content)).encode())
        return total.hexdigest()

    def digest_of(self, image_id: str) -> str:
        """SHA-256 over all that one image is asked as: id, accepted classes by name, preprocessing, its content.

        Of a file that was decoded, the bytes that were decoded count.
        """
        image = self[image_id]
        settings = (image.id, self.accepted(image), *self.reading.text)
        return hashlib.sha256(repr((*settings, self._content_digest(image))).encode()).hexdigest()

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
        return self.reading.geometry.resize is not None

    def native(self, image_id: str) -> torch.Tensor:
        """The pixels of the image at its own size, (3, h, w) float32 in [0, 1]; InputError as `batch`."""
        return as_floats(self._pixels(self[image_id], self.reading.native))

    def fitted(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels at the size of a file, (3, h, w) float32 in [0, 1], resized and cropped as the images of the set are."""
        return fitted(pixels, self.name, self.reading.geometry)

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
                f"{printable(str(image.path))}: expected {expected} pixels as in {printable(str(self._first[0]))}, got {got}; give the image "
                "set resize= and crop="
            )
        return read

    def _decoded(self, image: LabelledImage) -> torch.Tensor:
        pixels = self._recent.get(image.id)
        if pixels is None:
            pixels = self._pixels(image, self.reading)
            # As bytes, which are a quarter of the floats; the few images of 16 bits are decoded anew.
            if pixels.dtype == torch.uint8:
                self._recent.put(image.id, pixels)
        return as_floats(pixels)

    def _pixels(self, image: LabelledImage, reading: Reading) -> torch.Tensor:
        """The pixels of an image by these rules; on the way its content is hashed."""
        content, where = _content(image), printable(str(image.path))
        if isinstance(content, bytes):
            self._digests[image.id] = hashlib.sha256(content).hexdigest()
            return read_pixels(image.path, reading, data=content)
        pixels = item_pixels(content, where, reading)
        self._digests[image.id] = _pixel_digest(pixels)
        return fitted(pixels, where, reading.geometry)

    def _content_digest(self, image: LabelledImage) -> str:
        if image.id not in self._digests:
            try:
                content = _content(image)
                if isinstance(content, bytes):
                    self._digests[image.id] = hashlib.sha256(content).hexdigest()
                else:
                    self._digests[image.id] = _pixel_digest(item_pixels(content, image.id, self.reading))
            except InputError:
                return "unreadable"
        return self._digests[image.id]


def reading_of(
    name: str,
    *,
    accept: Collection[Kind],
    resize: Size,
    crop: Size,
    interpolation: Interpolation,
    orientation: Orientation,
    background: Colour,
) -> Reading:
    """The rules of reading that these settings make; InputError begins with the name of the set."""
    try:
        geometry = Geometry(resize, crop, interpolation)
        return Reading(accept, orientation, background, geometry)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def bad_ones(reasons: Sequence[tuple[str, str]]) -> str:
    """The first five of the reasons, a line each, and how many more there are; begins with a line break."""
    more = len(reasons) - _NAMED
    return "".join(f"\n{reason}" for _, reason in reasons[:_NAMED]) + (f"\nand {more} more" if more > 0 else "")


def _content(image: LabelledImage) -> object:
    return file_bytes(image.path) if image.content is None else image.content.read()


def _pixel_digest(pixels: torch.Tensor) -> str:
    told = f"{tuple(pixels.shape)} {pixels.dtype}".encode()
    return hashlib.sha256(told + pixels.contiguous().numpy().tobytes()).hexdigest()


def _staged(
    stage: Callable[[Decoded], _T], reads: Mapping[str, concurrent.futures.Future[torch.Tensor | InputError]]
) -> _T:
    return stage({image_id: read.result() for image_id, read in reads.items()})


def _raised(read: torch.Tensor | InputError) -> torch.Tensor:
    if isinstance(read, InputError):
        raise read
    return read
