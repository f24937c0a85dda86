"""pytest-robustness: release gates for image classifiers.

Names are imported when they are first used (PEP 562): a pytest session that has no robustness test must
not pay for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_robustness.attacks import FGSM, PGD
    from pytest_robustness.corruptions import Corruption
    from pytest_robustness.curves import transparencies
    from pytest_robustness.defenses import SmoothingVote
    from pytest_robustness.engine import Engine
    from pytest_robustness.errors import InputError
    from pytest_robustness.gates import GateFailed
    from pytest_robustness.loading import ImageSet, LabelledImage, image_folder, labelled_images
    from pytest_robustness.perturbations import Blend, GaussianNoise
    from pytest_robustness.robustness import Robustness

__all__ = [
    "FGSM",
    "PGD",
    "Blend",
    "Corruption",
    "Engine",
    "GateFailed",
    "GaussianNoise",
    "ImageSet",
    "InputError",
    "LabelledImage",
    "Robustness",
    "SmoothingVote",
    "image_folder",
    "labelled_images",
    "transparencies",
]

_HOMES = {
    "FGSM": "attacks",
    "PGD": "attacks",
    "Blend": "perturbations",
    "Corruption": "corruptions",
    "Engine": "engine",
    "GateFailed": "gates",
    "GaussianNoise": "perturbations",
    "ImageSet": "loading",
    "InputError": "errors",
    "LabelledImage": "loading",
    "Robustness": "robustness",
    "SmoothingVote": "defenses",
    "image_folder": "loading",
    "labelled_images": "loading",
    "transparencies": "curves",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
