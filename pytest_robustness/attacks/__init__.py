"""Stresses that see the model: they look for the worst change of an image within a ball."""

from pytest_robustness.attacks.apgd import APGD
from pytest_robustness.attacks.fmn import FMN, smallest_epsilons
from pytest_robustness.attacks.foreign import foreign
from pytest_robustness.attacks.goals import Mimic, Miss
from pytest_robustness.attacks.gradient import BIM, FGSM, MIFGSM, PGD
from pytest_robustness.attacks.oblivious import Oblivious
from pytest_robustness.attacks.square import Square
from pytest_robustness.attacks.worst_case import WorstCase, autoattack_like

__all__ = [
    "APGD",
    "BIM",
    "FGSM",
    "FMN",
    "MIFGSM",
    "PGD",
    "Mimic",
    "Miss",
    "Oblivious",
    "Square",
    "WorstCase",
    "autoattack_like",
    "foreign",
    "smallest_epsilons",
]
