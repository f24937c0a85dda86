"""What a project tells pytest-robustness: which model to judge, on which images."""

import os
from pathlib import Path

import pytest

from fixtures.classifiers import load_classifier
from pytest_robustness import InputError, image_folder

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture(scope="session")
def robustness_model():
    name = os.environ.get("MODEL", "hardened")
    if name not in ("hardened", "plain"):
        raise InputError(f"MODEL: expected 'hardened' or 'plain', got {name!r}")
    return load_classifier(name)


@pytest.fixture(scope="session")
def robustness_images():
    return image_folder(FIXTURES / "images")
