"""Any source of images as an image set, told by what it is: a folder, a manifest, tar files, a dataset."""

import glob
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_robustness.errors import InputError
from pytest_robustness.hub_datasets import hf_dataset
from pytest_robustness.image_sets import ImageSet, OnBadImage
from pytest_robustness.images import Colour, Kind, Orientation
from pytest_robustness.loading import image_folder
from pytest_robustness.manifests import MANIFESTS, image_manifest
from pytest_robustness.map_datasets import image_dataset
from pytest_robustness.preprocessing import Interpolation, Size
from pytest_robustness.records import printable
from pytest_robustness.tars import web_dataset

__all__ = ["image_source"]

_KNOWN = (
    "expected an ImageSet, a dataset, or the path of a folder of class folders, of a manifest (.csv, .json, .jsonl, .yaml), of tar files or "
    "of a Hugging Face dataset"
)


def image_source(
    given: Any,
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
    """The image set that a source makes, by the function for its kind, with these settings.

    A path of a folder is one of class folders, or a Hugging Face dataset where it has such files in place of folders; of a file, a
    manifest or a tar, for which there may be a pattern or a list. Anything with a length and items is a dataset. An ImageSet
    is itself, and takes no settings; links are followed in folders and manifests alone. Raises InputError for anything else, and as the function for the kind does.
    """
    said: dict[str, object] = {
        "classes": classes,
        "accept": accept,
        "resize": resize,
        "crop": crop,
        "interpolation": interpolation,
    }
    said |= {"orientation": orientation, "background": background, "on_bad_image": on_bad_image}
    said |= {"follow_links": follow_links or None}
    usual: Mapping[str, object] = {"interpolation": "bilinear", "orientation": "upright", "on_bad_image": "fail"}
    settings: dict[str, Any] = {
        name: value
        for name, value in said.items()
        if value not in (None, (), (255, 255, 255)) and value != usual.get(name)
    }
    if isinstance(given, ImageSet):
        if settings:
            raise InputError(
                f"{given.name}: expected no settings for an ImageSet, got {', '.join(settings)}; make it with them"
            )
        return given
    if isinstance(given, (str, os.PathLike)):
        return _of_path(str(given), settings)
    if isinstance(given, (list, tuple)) and given and all(isinstance(part, (str, os.PathLike)) for part in given):
        return _of_tars([str(part) for part in given], settings)
    if type(given).__module__.partition(".")[0] == "datasets":
        return hf_dataset(given, **_unlinked(settings))
    if (
        hasattr(given, "__getitem__")
        and hasattr(given, "__len__")
        and not isinstance(given, (list, tuple, dict, bytes))
    ):
        if "orientation" in settings:
            raise InputError(
                f"{type(given).__name__}: expected no orientation for a dataset, which opens its files itself; leave it out"
            )
        return image_dataset(given, **_unlinked(settings))
    raise InputError(f"{_KNOWN}, got {type(given).__name__}; return image_folder('path/to/images')")


def _of_path(text: str, settings: Mapping[str, Any]) -> ImageSet:
    path = Path(text)
    if path.is_dir():
        return hf_dataset(path, **_unlinked(settings)) if _is_hub(path) else image_folder(path, **settings)
    if path.suffix in MANIFESTS:
        return image_manifest(path, **settings)
    if path.suffix == ".tar" or (not path.exists() and glob.has_magic(text)):
        return _of_tars(text, settings)
    if path.exists():
        raise InputError(f"{printable(text)}: {_KNOWN}, got a file of another kind; rename it")
    # Whose message about a missing folder fits.
    return image_folder(path, **settings)


def _of_tars(paths: str | list[str], settings: Mapping[str, Any]) -> ImageSet:
    if "classes" not in settings:
        raise InputError(
            f"{paths}: expected classes= for tar files, which don't name them; use web_dataset(paths, classes=...)"
        )
    return web_dataset(paths, **_unlinked(settings))


def _unlinked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a source that has no links."""
    return {name: value for name, value in settings.items() if name != "follow_links"}


def _is_hub(path: Path) -> bool:
    """Whether a folder is a Hugging Face dataset: what `save_to_disk` wrote, or parquet or arrow files beside no folders."""
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return True
    return any(entry.suffix in (".parquet", ".arrow") for entry in path.iterdir() if entry.is_file())
