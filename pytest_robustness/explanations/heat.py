"""What explanations have in common: a map of the image, and how far it may be believed."""

from dataclasses import dataclass

import torch

__all__ = ["Heat"]


@dataclass(frozen=True, eq=False)
class Heat:
    """What an explanation says about one image.

    `heat` (h, w) float32 is larger where the answer rests on it more, `method` the explainer's repr, `note` a short sentence on
    how far it may be believed, empty where there is nothing to say. `believable` is False where it must not be ranked.
    """

    heat: torch.Tensor
    method: str
    note: str = ""
    believable: bool = True
