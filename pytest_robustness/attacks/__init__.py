"""Stresses that see the model: they look for the worst change of an image within a ball."""

from pytest_robustness.attacks.goals import Miss
from pytest_robustness.attacks.gradient import FGSM, PGD

__all__ = ["FGSM", "PGD", "Miss"]
