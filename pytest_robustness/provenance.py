"""What numbers are measured on, from the objects that they are measured with."""

import platform
from importlib.metadata import version

import torch
from torch import nn

from pytest_robustness.fingerprint import weights_digest
from pytest_robustness.loading import ImageSet
from pytest_robustness.records import Provenance
from pytest_robustness.running import RunningModel

__all__ = ["provenance"]


def provenance(running: RunningModel, images: ImageSet, device: str, seed: int) -> Provenance:
    """The record of these, on the device of this name; `running` is prepared, as how it runs its model is part of it."""
    model = running.model
    name = (
        type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__qualname__", type(model).__name__)
    )
    return Provenance(
        model=name,
        model_digest=weights_digest(model),
        images=images.name,
        images_digest=images.digest(),
        n=len(images),
        classes=images.classes,
        device=device,
        seed=seed,
        precision=running.precision,
        execution=running.how,
        versions=(
            ("pytest-robustness", version("pytest-robustness")),
            ("python", platform.python_version()),
            ("torch", torch.__version__),
        ),
    )
