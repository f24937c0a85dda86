"""Defenses: a class decided by what the model says to several views of an image."""

from pytest_robustness.defenses.smoothing import RandomizedSmoothing
from pytest_robustness.defenses.voting import SmoothingVote, Vote

__all__ = ["RandomizedSmoothing", "SmoothingVote", "Vote"]
