"""A model and images as fixtures give them, brought together: the model loaded, the images as it takes them."""

from collections.abc import Callable
from typing import Any

from pytest_robustness.image_sets import ImageSet
from pytest_robustness.models import LoadedModel, load_model
from pytest_robustness.preprocessing import Geometry
from pytest_robustness.types import Images, Logits

__all__ = ["paired"]


def paired(model: Any, images: ImageSet) -> tuple[Callable[[Images], Logits], ImageSet]:
    """The model, loaded where it is the source of one, and the images at the size that its source says.

    Images that were given a size keep it. Raises InputError as `load_model` does, and where the images have the classes of the
    model's source in another order.
    """
    if isinstance(model, str):
        model = load_model(model)
    if isinstance(model, LoadedModel):
        if sorted(model.classes) == sorted(images.classes):
            images.check_classes(model.classes)
        if images.reading.geometry == Geometry():
            images = images.prepared(model.preprocessing.geometry)
    return model, images
