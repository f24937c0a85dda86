"""What a folder holds that can be told for sure: saved models, and folders of class folders or lists of images."""

import csv
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from pytest_robustness.loading import SUFFIXES
from pytest_robustness.models.exported import is_torchscript

__all__ = ["found_images", "found_models", "found_weights"]

_SAVED = (".onnx", ".pt2")
_TORCH = (".pt", ".pth", ".ts", ".torchscript")
# Files that a folder of class folders may have beside them.
_BESIDE = (".yaml", ".yml", ".txt", ".json", ".md")


def found_models(folder: Path) -> list[str]:
    """The sources of the models that were saved whole in this folder: files of ONNX, torch.export and TorchScript, and folders as
    timm and transformers save them."""
    found = []
    for entry in _entries(folder):
        if entry.suffix.lower() in _SAVED or (entry.suffix.lower() in _TORCH and is_torchscript(entry)):
            found.append(entry.name)
        elif entry.is_dir() and (scheme := _library(entry / "config.json")):
            found.append(f"{scheme}:{entry.name}")
    return found


def found_weights(folder: Path) -> list[str]:
    """The files of weights alone in this folder, to which somebody has to name the architecture."""
    return [
        entry.name
        for entry in _entries(folder)
        if entry.suffix.lower() == ".safetensors"
        or (entry.suffix.lower() in (".pt", ".pth") and not is_torchscript(entry))
    ]


def found_images(folder: Path) -> list[str]:
    """The sets of images in this folder and one level below: folders with nothing but folders of images, and CSV files with the columns
    of a manifest. Paths relative to it, with forward slashes."""
    entries = list(_entries(folder))
    below = itertools.chain.from_iterable(_entries(entry) for entry in entries if entry.is_dir())
    found = [entry for entry in (*entries, *below) if entry.is_dir() and _sorted_by_class(entry)]
    found += [entry for entry in entries if entry.suffix.lower() == ".csv" and _is_manifest(entry)]
    return [entry.relative_to(folder).as_posix() for entry in found]


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return


def _sorted_by_class(folder: Path) -> bool:
    entries = list(_entries(folder))
    classes = [entry for entry in entries if entry.is_dir()]
    others = [entry for entry in entries if not entry.is_dir() and entry.suffix.lower() not in _BESIDE]
    return len(classes) > 1 and not others and all(any(map(_is_image, _entries(own))) for own in classes)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _is_manifest(path: Path) -> bool:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return {"file", "label"} <= set(next(csv.reader(file), []))
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def _library(path: Path) -> str:
    """Which library saved an image classifier with this configuration; empty for any other."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    if not isinstance(config, dict):
        return ""
    if "architecture" in config and "num_classes" in config:
        return "timm"
    known = config.get("architectures")
    return "hf" if isinstance(known, list) and str(*known[:1]).endswith("ForImageClassification") else ""
