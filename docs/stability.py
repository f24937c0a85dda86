"""How stable explanations are, as docs/explanations.md shows it: `python -m docs.stability`.

How much of the explanations of 50 photos stays where it was under noise that leaves the answer. MobileNetV2: see examples/material.py.
"""

import sys
from collections.abc import Sequence

from examples.material import asked, status
from pytest_robustness import Engine, GaussianNoise, GradCAM, Robustness


def main(_: Sequence[str]) -> None:
    """Measure and print."""
    model, photos, batch_size, _pairs = asked("photos")
    robustness = Robustness(Engine(model, photos, device="cpu", batch_size=batch_size))
    for sigma in (0.02, 0.05):
        print(repr(robustness.explanation_stability(GaussianNoise(), sigma, by=GradCAM(), images=photos.images[::4])))


if __name__ == "__main__":
    sys.exit(status(main))
