"""Explanations: which parts of an image an answer rests on."""

from pytest_robustness.explanations.heat import Heat
from pytest_robustness.explanations.segments import Grid, Quickshift, Slic, default_segments

__all__ = ["Grid", "Heat", "Quickshift", "Slic", "default_segments"]
