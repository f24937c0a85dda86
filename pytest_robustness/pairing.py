"""A model and images as fixtures give them, brought together: the model loaded, the images as it takes them."""

from collections.abc import Callable, Sequence
from typing import Any

from pytest_robustness.image_sets import ImageSet
from pytest_robustness.models import LoadedModel, load_model
from pytest_robustness.preprocessing import Geometry
from pytest_robustness.types import Images, Logits

__all__ = ["paired"]


def paired(model: Any, images: ImageSet) -> tuple[Callable[[Images], Logits], ImageSet]:
    """The model, loaded where it is the source of one, and the images as its source says: their size, and its classes.

    Images that were given a size keep it. Images of some of the model's classes have theirs found by name among all that its source
    names. Raises InputError as `load_model` does, where the images have the same classes in another order, and where they have fewer
    or more of which some are not the model's.
    """
    if isinstance(model, str):
        model = load_model(model)
    if isinstance(model, LoadedModel):
        images = _of_its_classes(images, model.classes)
        if images.reading.geometry == Geometry():
            images = images.prepared(model.preprocessing.geometry)
    return model, images


def _of_its_classes(images: ImageSet, names: Sequence[str]) -> ImageSet:
    if sorted(names) == sorted(images.classes):
        images.check_classes(names)
    elif set(images.classes) <= set(names):
        return images.among(names)
    elif names and len(names) != len(images.classes):
        images.check_classes(names)
    # As many under other names: a set may call them otherwise than the model's source does.
    return images
