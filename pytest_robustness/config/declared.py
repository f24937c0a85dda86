"""The model and the images that a file of gates names, for tests in Python beside it."""

from pathlib import Path
from typing import Any

from pytest_robustness.config.documents import read_sources
from pytest_robustness.errors import InputError
from pytest_robustness.image_sets import ImageSet
from pytest_robustness.models import LoadedModel
from pytest_robustness.records import path_text

__all__ = ["declared_images", "declared_model"]


def declared_model(path: str | Path) -> LoadedModel:
    """The model that a file of gates names, loaded anew: what a fixture `robustness_model` returns to judge the same one.

    Raises InputError where the file can't be read or names no model, and as `load_model` does.
    """
    model: LoadedModel = _declared(Path(path), "model")
    return model


def declared_images(path: str | Path) -> ImageSet:
    """The images that a file of gates names: what a fixture `robustness_images` returns to judge on the same ones.

    Raises InputError where the file can't be read or names no images, and as `image_source` does.
    """
    images: ImageSet = _declared(Path(path), "images")
    return images


def _declared(path: Path, name: str) -> Any:
    source = getattr(read_sources(path), name)
    if source is None:
        raise InputError(
            f"{path_text(path)}: expected {name}: in it, got none; write it there, or let the fixture return your own"
        )
    return source.load()
