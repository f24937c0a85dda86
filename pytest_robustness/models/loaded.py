"""A model together with what it was trained to see and what it calls its classes.

Images are float32 RGB in [0, 1], (n, 3, h, w); logits are (n, k).
"""

from collections.abc import Sequence

import torch
from torch import nn

from pytest_robustness.errors import InputError
from pytest_robustness.preprocessing import Preprocessing
from pytest_robustness.types import Images, Logits

__all__ = ["LoadedModel"]


class LoadedModel(nn.Module):
    """A classifier that normalises by itself: RGB in [0, 1], (n, 3, h, w), to logits (n, k).

    `inner` takes normalised images and returns logits, as a tensor or in the field `logits` of what it returns. `source` is the string
    that it was loaded from, by which reports call it; `classes` are the names of its outputs in their order, empty where the source has
    none.
    """

    def __init__(
        self, inner: nn.Module, *, source: str, preprocessing: Preprocessing, classes: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.inner = inner
        self.source = source
        self.preprocessing = preprocessing
        self.classes = tuple(classes)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name)).reshape(1, 3, 1, 1)
            # Of the preprocessing, not of the weights.
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: Images) -> Logits:
        """The logits of images in [0, 1]."""
        if self.preprocessing.normalises:
            images = (images - self.mean) / self.std  # type: ignore[operator]
        answer = self.inner(images)
        logits = getattr(answer, "logits", answer)
        if not isinstance(logits, torch.Tensor):
            raise InputError(
                f"{self.source}: expected a model that returns logits, or has them in .logits, got {type(answer).__name__}; wrap it in a "
                "factory that returns them"
            )
        return logits
