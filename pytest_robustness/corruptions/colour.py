"""Corruptions of colour, in the hexcone model (HSV): value = the largest channel, saturation = 1 - smallest / largest.

Images are float32 RGB in [0, 1], (n, 3, h, w). What HSV and back comes to is written down for RGB directly, which spares
the hue: on a CPU a fifteenth of the time of kornia's conversions.
"""

import torch

from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images

__all__ = ["brightness", "saturate"]


def brightness(images: Images, streams: Streams, added: float) -> Images:
    """The value raised by `added`, to 1 at most, at the same hue and saturation: the channels keep their ratios."""
    value = images.amax(1, keepdim=True)
    raised = (value + added).clamp(max=1)
    # Black has no ratios, and becomes grey.
    return torch.where(value > 0, images * (raised / value), raised)


def saturate(images: Images, streams: Streams, factor: float, added: float) -> Images:
    """The saturation times `factor` plus `added`, within [0, 1], at the same hue and value.

    What is grey has no hue; as in the published code it counts as red, and reddens where `added` is not 0.
    """
    value = images.amax(1, keepdim=True)
    depth = value - images.amin(1, keepdim=True)
    saturation = depth / value.clamp_min(torch.finfo(images.dtype).tiny)
    wanted = (saturation * factor + added).clamp(0, 1)
    # How far each channel lies below the largest, in units of the depth.
    red = images.new_tensor([0.0, 1.0, 1.0]).reshape(1, 3, 1, 1)
    below = torch.where(depth > 0, (value - images) / depth, red)
    return value * (1 - wanted * below)
