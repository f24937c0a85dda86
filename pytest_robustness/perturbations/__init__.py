"""Stresses that can't see the model: what a camera, a channel or a hand may do to an image."""

from pytest_robustness.perturbations.blending import Blend, Fit
from pytest_robustness.perturbations.blur import DefocusBlur, GaussianBlur, MotionBlur, gaussian_blur
from pytest_robustness.perturbations.colour import Brightness, Contrast, Hue, Saturation
from pytest_robustness.perturbations.composing import fixed, then
from pytest_robustness.perturbations.digital import JPEG, Occlusion, Pixelate
from pytest_robustness.perturbations.foreign import perturbation, wrapped
from pytest_robustness.perturbations.geometry import Rotation, Shear, Translation
from pytest_robustness.perturbations.native import BeforeResize
from pytest_robustness.perturbations.noise import GaussianNoise, ImpulseNoise, ShotNoise, SpeckleNoise, UniformNoise
from pytest_robustness.perturbations.zooming import Scale, ZoomBlur

__all__ = [
    "JPEG",
    "BeforeResize",
    "Blend",
    "Brightness",
    "Contrast",
    "DefocusBlur",
    "Fit",
    "GaussianBlur",
    "GaussianNoise",
    "Hue",
    "ImpulseNoise",
    "MotionBlur",
    "Occlusion",
    "Pixelate",
    "Rotation",
    "Saturation",
    "Scale",
    "Shear",
    "ShotNoise",
    "SpeckleNoise",
    "Translation",
    "UniformNoise",
    "ZoomBlur",
    "fixed",
    "gaussian_blur",
    "perturbation",
    "then",
    "wrapped",
]
