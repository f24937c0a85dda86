"""What numbers are measured on, from the objects that they are measured with."""

import platform
from collections.abc import Callable
from importlib.metadata import version

import torch
from torch import nn

from pytest_robustness.fingerprint import weights_digest
from pytest_robustness.image_sets import ImageSet
from pytest_robustness.models.loaded import LoadedModel
from pytest_robustness.records import Provenance
from pytest_robustness.running import RunningModel
from pytest_robustness.types import Images, Logits

__all__ = ["model_name", "provenance"]


def model_name(model: Callable[[Images], Logits]) -> str:
    """What reports call a model: the source that it was loaded from, its class, or the name of a function."""
    if isinstance(model, LoadedModel):
        return model.source
    own = type(model).__name__
    return own if isinstance(model, nn.Module) else getattr(model, "__qualname__", own)


def provenance(running: RunningModel, images: ImageSet, device: str, seed: int) -> Provenance:
    """The record of these, on the device of this name; `running` is prepared, as how it runs its model is part of it."""
    return Provenance(
        model=model_name(running.model),
        model_digest=weights_digest(running.model),
        images=images.name,
        images_digest=images.digest(),
        n=len(images),
        skipped=images.skipped,
        classes=images.classes,
        device=device,
        seed=seed,
        precision=running.precision,
        execution=running.how,
        versions=(
            ("pytest-robustness", version("pytest-robustness")),
            ("python", platform.python_version()),
            ("torch", torch.__version__),
            *((name, version(name)) for name in ("numpy", "pillow", "scipy")),
        ),
        machine=_machine(device),
        preprocessing=str(running.model.preprocessing) if isinstance(running.model, LoadedModel) else "",
    )


def _machine(device: str) -> str:
    """The operating system and the processors, as far as their names are known."""
    known = f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads"
    return f"{torch.cuda.get_device_name(device)}, {known}" if device.startswith("cuda") else known
