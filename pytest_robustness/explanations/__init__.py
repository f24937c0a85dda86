"""Explanations: which parts of an image an answer rests on."""

from pytest_robustness.explanations.grad_cam import GradCAM
from pytest_robustness.explanations.heat import Heat
from pytest_robustness.explanations.lime import Lime, LimeExplanation, published_lime
from pytest_robustness.explanations.rollout import AttentionRollout
from pytest_robustness.explanations.segments import Grid, Quickshift, Slic, default_segments

__all__ = [
    "AttentionRollout",
    "GradCAM",
    "Grid",
    "Heat",
    "Lime",
    "LimeExplanation",
    "Quickshift",
    "Slic",
    "default_segments",
    "published_lime",
]
