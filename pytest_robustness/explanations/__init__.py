"""Explanations: which parts of an image an answer rests on."""

from pytest_robustness.explanations.anchors import AnchorExplanation, Anchors
from pytest_robustness.explanations.heat import Heat
from pytest_robustness.explanations.hiding import Backgrounds
from pytest_robustness.explanations.segments import Grid, Segmenter

__all__ = ["AnchorExplanation", "Anchors", "Backgrounds", "Grid", "Heat", "Segmenter"]
