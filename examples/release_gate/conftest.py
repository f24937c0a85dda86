"""What a project tells pytest-robustness: which model to judge, on which images."""

import os
from pathlib import Path

import pytest

from fixtures.classifiers import load_classifier
from pytest_robustness import image_folder

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture(scope="session")
def robustness_model():
    # MODEL=plain, or `make gate MODEL=plain`, judges the fragile classifier instead.
    return load_classifier(os.environ.get("MODEL", "hardened"))


@pytest.fixture(scope="session")
def robustness_images():
    return image_folder(FIXTURES / "images")
