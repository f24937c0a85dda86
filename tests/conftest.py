"""What tests of the plugin share: a small project with known pictures and a model that can be computed by hand."""

import os
import sys
from pathlib import Path

import pytest
from PIL import Image

# A model of two classes, bright and dark, whose margin is linear in the mean brightness of the image.
MODEL = """
import torch

class Brightness(torch.nn.Module):
    \"\"\"Logits (dark, bright) = (0, 8 * (mean - 0.5)): bright wins above a mean of one half.\"\"\"

    def forward(self, images):
        margin = 8 * (images.mean((1, 2, 3)) - 0.5)
        return torch.stack([torch.zeros_like(margin), margin], 1)
"""

CONFTEST = """
import pytest
import torch

from brightness import Brightness
from pytest_robustness import image_folder

@pytest.fixture(scope="session")
def robustness_model():
    return Brightness()

@pytest.fixture(scope="session")
def robustness_images(pytestconfig):
    return image_folder(pytestconfig.rootpath / "images", classes=["dark", "bright"])
"""


def draw_grey(path: Path, level: int, size: int = 16) -> None:
    """One picture of a single grey level, 0 to 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), (level, level, level)).save(path)


def run_on(project: pytest.Pytester, workers: int, *arguments: str) -> pytest.RunResult:
    """A run on workers of pytest-xdist, or in this process: three processes take ten times as long as none."""
    quiet = ("-p", "no:randomly", "-p", "no:cacheprovider")
    if not workers:
        return project.runpytest_inprocess(*quiet, *arguments)
    pytest.importorskip("xdist")
    with pytest.MonkeyPatch.context() as patch:
        # They keep their state apart from this process's, and don't look for modules where it does.
        patch.setenv("PYTHONPATH", str(project.path), prepend=os.pathsep)
        return project.runpytest_subprocess(*quiet, f"-n{workers}", *arguments)


@pytest.fixture(autouse=True)
def not_on_github(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs within a test are no step of the job that runs the tests."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with a model of brightness and six pictures, three dark ones and three bright ones.

    Under a white overlay at alpha a, a dark picture of mean m turns bright when m + a * (1 - m) > 1/2:
    dark_0 (m = 0) at a > 0.5, dark_1 (m = 0.2) at a > 0.375, dark_2 (m = 0.4) at a > 1/6.
    """
    for number, level in enumerate((0, 51, 102)):
        draw_grey(pytester.path / "images" / "dark" / f"dark_{number}.png", level)
        draw_grey(pytester.path / "images" / "bright" / f"bright_{number}.png", 255 - level)
    draw_grey(pytester.path / "white.png", 255)
    pytester.makepyfile(brightness=MODEL)
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    # Every project brings its own module of this name, and all run in this process.
    monkeypatch.delitem(sys.modules, "brightness", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("CI", raising=False)
    return pytester
