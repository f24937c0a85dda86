"""Explanations: which parts of an image an answer rests on."""

from pytest_robustness.explanations.anchors import AnchorExplanation, Anchors
from pytest_robustness.explanations.grad_cam import GradCAM
from pytest_robustness.explanations.heat import Explainer, Explanation, Heat, PlainExplanation
from pytest_robustness.explanations.hiding import Backgrounds, Fill
from pytest_robustness.explanations.lime import Answer, Lime, LimeExplanation, published_lime
from pytest_robustness.explanations.rollout import AttentionRollout
from pytest_robustness.explanations.segments import Grid, Quickshift, Segmenter, Slic, default_segments

__all__ = [
    "AnchorExplanation",
    "Anchors",
    "Answer",
    "AttentionRollout",
    "Backgrounds",
    "Explainer",
    "Explanation",
    "Fill",
    "GradCAM",
    "Grid",
    "Heat",
    "Lime",
    "LimeExplanation",
    "PlainExplanation",
    "Quickshift",
    "Segmenter",
    "Slic",
    "default_segments",
    "published_lime",
]
