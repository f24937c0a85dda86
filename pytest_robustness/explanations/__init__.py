"""Explanations: which parts of an image an answer rests on."""

from pytest_robustness.explanations.anchors import AnchorExplanation, Anchors
from pytest_robustness.explanations.grad_cam import GradCAM
from pytest_robustness.explanations.heat import Heat
from pytest_robustness.explanations.hiding import Backgrounds
from pytest_robustness.explanations.lime import Lime, LimeExplanation, published_lime
from pytest_robustness.explanations.rollout import AttentionRollout
from pytest_robustness.explanations.segments import Grid, Quickshift, Segmenter, Slic, default_segments

__all__ = [
    "AnchorExplanation",
    "Anchors",
    "AttentionRollout",
    "Backgrounds",
    "GradCAM",
    "Grid",
    "Heat",
    "Lime",
    "LimeExplanation",
    "Quickshift",
    "Segmenter",
    "Slic",
    "default_segments",
    "published_lime",
]
