"""Devices: which there are, how images get onto one, and how many fit."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from pytest_robustness.errors import InputError
from pytest_robustness.image_sets import Decoded
from pytest_robustness.running import LEAST_BATCH, RunningModel
from pytest_robustness.types import Images

__all__ = ["Stage", "Staged", "device_name", "fitting_batch_size", "resolve_device"]


def resolve_device(name: str) -> torch.device:
    """The torch device of this name, "auto" being CUDA, else MPS, else the CPU; InputError where it isn't there."""
    cuda = torch.cuda.device_count()
    there = [f"cuda:{index}" for index in range(cuda)] + ["mps"] * torch.backends.mps.is_available() + ["cpu"]
    if name == "auto":
        return torch.device(there[0])
    full = "cuda:0" if name == "cuda" else name
    if full not in there:
        raise InputError(
            f"expected a device out of auto, {', '.join(there)}, got {name!r}; choose another with --robustness-device"
        )
    return torch.device(full)


def device_name(device: torch.device) -> str:
    """The device as a report names it: `cpu`, `cuda:0 (NVIDIA H200)`."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


@dataclass(frozen=True)
class Staged:
    """Images on their device, their rows by id, and what is wrong with the others."""

    rows: Mapping[str, int]
    errors: Mapping[str, InputError]
    _pixels: Images
    _copied: torch.cuda.Event | None = None

    def images(self, ids: Sequence[str]) -> Images:
        """(n, 3, h, w), a row per id; an id may come several times."""
        if self._copied is not None:
            current = torch.cuda.current_stream(self._pixels.device)
            current.wait_event(self._copied)
            self._pixels.record_stream(current)
        rows = [self.rows[image_id] for image_id in ids]
        everything = rows == list(range(len(self._pixels)))
        return self._pixels if everything else self._pixels[torch.tensor(rows, device=self._pixels.device)]


class Stage:
    """Brings decoded images onto a device; on CUDA from pinned memory, while the device computes something else."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(self, decoded: Decoded) -> Staged:
        pixels = {image_id: read for image_id, read in decoded.items() if isinstance(read, torch.Tensor)}
        errors = {image_id: read for image_id, read in decoded.items() if isinstance(read, InputError)}
        rows = {image_id: row for row, image_id in enumerate(pixels)}
        images = torch.stack(list(pixels.values())) if pixels else torch.empty(0)
        if self.device.type != "cuda":
            return Staged(rows, errors, images.to(self.device))
        with torch.cuda.stream(self._copying):
            images = images.pin_memory().to(self.device, non_blocking=True)
            return Staged(rows, errors, images, self._copying.record_event())

    @functools.cached_property
    def _copying(self) -> torch.cuda.Stream:
        return torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]


def fitting_batch_size(model: RunningModel, probe: Images | None) -> int:
    """How many images of the probe's size make a good batch on the model's device.

    32 up to 158 x 158 pixels on a CPU and 16 at 224 x 224, measured to be the fastest; on a GPU as many as keep it
    busy and, on CUDA, fit in seven tenths of its free memory while a gradient is computed.
    """
    pixels = 64 * 64 if probe is None else probe.shape[-2] * probe.shape[-1]
    if model.device.type == "cpu":
        return max(LEAST_BATCH, min(32, 16 * 224 * 224 // pixels))
    busy = max(LEAST_BATCH, min(1024, 128 * 224 * 224 // pixels))
    each = model.bytes_per_image(probe) if probe is not None and model.device.type == "cuda" else 0
    if not each:
        return busy
    free, _ = torch.cuda.mem_get_info(model.device)
    return max(LEAST_BATCH, min(busy, int(0.7 * free / each)))
