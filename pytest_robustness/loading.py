"""Image sets of files: a folder of class folders, or files named one by one."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from pytest_robustness.classes import ClassList, class_list, read_classes
from pytest_robustness.contents import Refused
from pytest_robustness.errors import InputError
from pytest_robustness.image_sets import Decoded, ImageSet, LabelledImage, OnBadImage, reading_of
from pytest_robustness.images import Colour, Kind, Orientation
from pytest_robustness.preprocessing import Interpolation, Size
from pytest_robustness.records import path_text, printable

__all__ = ["SUFFIXES", "Decoded", "ImageSet", "LabelledImage", "file_image", "image_folder", "labelled_images"]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif"})
"""The endings of images, in small letters."""


def image_folder(
    root: str | Path,
    *,
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
    """The images of a folder that has one folder per class: `root/<class>/**/<image>`.

    `classes` are the model's classes in the model's order, or the path of a file with them and groups of
    them (see `classes`); `root/classes.yaml` is found without it. Where nothing lists them, the folders' names in
    alphabetical order are taken, as torchvision's ImageFolder does. `resize`, `crop` and `interpolation` are those of
    `preprocessing.Geometry`, `accept`, `orientation` and `background` those of `images.Reading`, `on_bad_image` that of `ImageSet`.
    Hidden files and folders and files without an image's ending are left alone. A link that leads out of the folder is an image
    that can't be read, unless links are to be followed.

    Raises InputError where the folder is missing or empty, or a folder's name is not a class.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(
            f"{printable(str(root))}: expected a folder with one folder per class, found no folder; check the path"
        )
    folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise InputError(
            f"{root}: expected one folder per class, found no folder in it; sort the images into class folders"
        )
    if classes is None and (root / "classes.yaml").is_file():
        known = read_classes(root / "classes.yaml", names=[printable(folder) for folder in folders])
    else:
        known = class_list([printable(folder) for folder in folders] if classes is None else classes)
    # A misspelt folder is told even while it is empty.
    own = {
        folder: known.accepted({known.index(printable(folder), printable(str(root / folder)))}) for folder in folders
    }
    return ImageSet(
        (
            file_image(root, path, own[folder], follow_links=follow_links)
            for folder in folders
            for path in _images_below(root, root / folder, follow_links=follow_links)
        ),
        known.names,
        name=path_text(root),
        reading=reading_of(
            path_text(root),
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


def labelled_images(
    root: str | Path,
    labels: Mapping[str, Collection[str | int]],
    *,
    classes: Sequence[str] | str | Path | ClassList,
    accept: Collection[Kind] = (),
    resize: Size = None,
    crop: Size = None,
    interpolation: Interpolation = "bilinear",
    orientation: Orientation = "upright",
    background: Colour = (255, 255, 255),
    on_bad_image: OnBadImage = "fail",
    follow_links: bool = False,
) -> ImageSet:
    """Images named one by one: path below `root` -> accepted classes, by name or by index.

    The settings are those of `image_folder`. An image with several accepted classes is right when the model gives any of
    them; classes that the file of classes accepts together are added. A name that stands
    for two classes (ImageNet has two "crane") has to be given by index.

    Raises InputError for an empty set, an image without a class, or a class that is unknown or ambiguous.
    """
    root, known = Path(root), class_list(classes)
    images = []
    for path, accepted in labels.items():
        where = printable(str(root / path))
        if isinstance(accepted, str):
            raise InputError(f"{where}: expected a list of accepted classes, got {accepted!r}; write [{accepted!r}]")
        indices = known.accepted({known.index(label, where) for label in accepted})
        if not indices:
            raise InputError(f"{where}: expected at least one accepted class, got none; name one of {known}")
        images.append(file_image(root, root / path, indices, follow_links=follow_links))
    return ImageSet(
        images,
        known.names,
        name=path_text(root),
        reading=reading_of(
            path_text(root),
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


def file_image(
    root: Path,
    path: Path,
    labels: tuple[int, ...],
    *,
    groups: tuple[str, ...] = (),
    mask: Path | None = None,
    follow_links: bool = False,
) -> LabelledImage:
    """The image in a file below `root`, called by its path from there; one that can't be read where a link leads out of it."""
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    content = None
    if not follow_links and _leads_out(root, path):
        content = Refused(
            f"{printable(str(path))}: expected a file in {printable(str(root))}, got a link or a path to "
            f"{printable(os.path.realpath(path))}; copy it, or set follow_links=True"
        )
    return LabelledImage(printable(inside.as_posix()), path, labels, groups, mask, content)


def _images_below(root: Path, folder: Path, *, follow_links: bool) -> Iterator[Path]:
    """The files with an image's ending, and the links that lead nowhere, but hidden ones; a folder is no image whatever its name.

    Of a folder that lies outside the root there is the link alone, as it may lead anywhere.
    """
    if not follow_links and _leads_out(root, folder):
        yield folder
        return
    seen: set[str] = set()
    for current, folders, files in os.walk(folder, onerror=_unreadable, followlinks=follow_links):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if follow_links:
            real = os.path.realpath(current)
            if real in seen:
                # A link back up.
                folders.clear()
                continue
            seen.add(real)
        for name in folders:
            inner = Path(current, name)
            if not follow_links and inner.is_symlink() and _leads_out(root, inner):
                yield inner
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(current, name)


def _leads_out(root: Path, path: Path) -> bool:
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _unreadable(error: OSError) -> None:
    raise InputError(
        f"{printable(str(error.filename))}: expected a folder that can be read, got one that can't be ({error.strerror}); check its "
        "permissions"
    )
