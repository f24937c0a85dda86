"""pytest-robustness: release gates for image classifiers.

Names are imported when they are first used (PEP 562): a pytest session that has no robustness test must
not pay for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_robustness.attacks import (
        APGD,
        BIM,
        FGSM,
        FMN,
        MIFGSM,
        PGD,
        Oblivious,
        Square,
        WorstCase,
        autoattack_like,
        foreign,
    )
    from pytest_robustness.config.declared import declared_images, declared_model
    from pytest_robustness.corruptions import Corruption
    from pytest_robustness.curves import transparencies
    from pytest_robustness.defenses import RandomizedSmoothing, SmoothingVote, Vote
    from pytest_robustness.engine import Engine
    from pytest_robustness.errors import InputError
    from pytest_robustness.explanations import (
        Anchors,
        AttentionRollout,
        Backgrounds,
        GradCAM,
        Grid,
        Lime,
        Quickshift,
        Slic,
        published_lime,
    )
    from pytest_robustness.gates import GateFailed
    from pytest_robustness.hub_datasets import hf_dataset
    from pytest_robustness.image_sets import ImageSet, LabelledImage
    from pytest_robustness.image_sources import image_source
    from pytest_robustness.loading import image_folder, labelled_images
    from pytest_robustness.manifests import image_manifest
    from pytest_robustness.map_datasets import image_dataset
    from pytest_robustness.models import LoadedModel, load_model
    from pytest_robustness.perturbations import (
        JPEG,
        BeforeResize,
        Blend,
        Brightness,
        Contrast,
        DefocusBlur,
        GaussianBlur,
        GaussianNoise,
        Hue,
        ImpulseNoise,
        MotionBlur,
        Occlusion,
        Pixelate,
        Rotation,
        Saturation,
        Scale,
        Shear,
        ShotNoise,
        SpeckleNoise,
        Translation,
        UniformNoise,
        ZoomBlur,
        fixed,
        perturbation,
        then,
        wrapped,
    )
    from pytest_robustness.preprocessing import Geometry
    from pytest_robustness.robustness import Robustness
    from pytest_robustness.tars import web_dataset

__all__ = [
    "APGD",
    "BIM",
    "FGSM",
    "FMN",
    "JPEG",
    "MIFGSM",
    "PGD",
    "Anchors",
    "AttentionRollout",
    "Backgrounds",
    "BeforeResize",
    "Blend",
    "Brightness",
    "Contrast",
    "Corruption",
    "DefocusBlur",
    "Engine",
    "GateFailed",
    "GaussianBlur",
    "GaussianNoise",
    "Geometry",
    "GradCAM",
    "Grid",
    "Hue",
    "ImageSet",
    "ImpulseNoise",
    "InputError",
    "LabelledImage",
    "Lime",
    "LoadedModel",
    "MotionBlur",
    "Oblivious",
    "Occlusion",
    "Pixelate",
    "Quickshift",
    "RandomizedSmoothing",
    "Robustness",
    "Rotation",
    "Saturation",
    "Scale",
    "Shear",
    "ShotNoise",
    "Slic",
    "SmoothingVote",
    "SpeckleNoise",
    "Square",
    "Translation",
    "UniformNoise",
    "Vote",
    "WorstCase",
    "ZoomBlur",
    "autoattack_like",
    "declared_images",
    "declared_model",
    "fixed",
    "foreign",
    "hf_dataset",
    "image_dataset",
    "image_folder",
    "image_manifest",
    "image_source",
    "labelled_images",
    "load_model",
    "perturbation",
    "published_lime",
    "then",
    "transparencies",
    "web_dataset",
    "wrapped",
]

_HOMES = {
    "APGD": "attacks",
    "BIM": "attacks",
    "FGSM": "attacks",
    "FMN": "attacks",
    "JPEG": "perturbations",
    "MIFGSM": "attacks",
    "PGD": "attacks",
    "Anchors": "explanations",
    "AttentionRollout": "explanations",
    "Backgrounds": "explanations",
    "BeforeResize": "perturbations",
    "Blend": "perturbations",
    "Brightness": "perturbations",
    "Contrast": "perturbations",
    "Corruption": "corruptions",
    "DefocusBlur": "perturbations",
    "Engine": "engine",
    "GateFailed": "gates",
    "GaussianBlur": "perturbations",
    "GaussianNoise": "perturbations",
    "Geometry": "preprocessing",
    "GradCAM": "explanations",
    "Grid": "explanations",
    "Hue": "perturbations",
    "ImageSet": "image_sets",
    "ImpulseNoise": "perturbations",
    "InputError": "errors",
    "LabelledImage": "image_sets",
    "Lime": "explanations",
    "LoadedModel": "models",
    "MotionBlur": "perturbations",
    "Oblivious": "attacks",
    "Occlusion": "perturbations",
    "Pixelate": "perturbations",
    "Quickshift": "explanations",
    "RandomizedSmoothing": "defenses",
    "Robustness": "robustness",
    "Rotation": "perturbations",
    "Saturation": "perturbations",
    "Scale": "perturbations",
    "Shear": "perturbations",
    "ShotNoise": "perturbations",
    "Slic": "explanations",
    "SmoothingVote": "defenses",
    "SpeckleNoise": "perturbations",
    "Square": "attacks",
    "Translation": "perturbations",
    "UniformNoise": "perturbations",
    "Vote": "defenses",
    "WorstCase": "attacks",
    "ZoomBlur": "perturbations",
    "autoattack_like": "attacks",
    "declared_images": "config.declared",
    "declared_model": "config.declared",
    "fixed": "perturbations",
    "foreign": "attacks",
    "hf_dataset": "hub_datasets",
    "image_dataset": "map_datasets",
    "image_folder": "loading",
    "image_manifest": "manifests",
    "image_source": "image_sources",
    "labelled_images": "loading",
    "load_model": "models",
    "perturbation": "perturbations",
    "published_lime": "explanations",
    "then": "perturbations",
    "transparencies": "curves",
    "web_dataset": "tars",
    "wrapped": "perturbations",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
