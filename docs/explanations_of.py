"""Explanations as docs/explanations.md shows them: `python docs/explanations_of.py cat`, or `stability`.

`cat` is the photo that scikit-image carries, made a tiger cat by a targeted attack, by anchors and by Grad-CAM; `stability` how much
of the explanations of 50 photos stays where it was under noise that leaves the answer. MobileNetV2, which needs ../shared/data.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from material import asked


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the exit status."""
    parser = argparse.ArgumentParser("python docs/explanations_of.py", description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["cat", "stability"])
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, photos, batch_size, _ = asked("photos")
    from PIL import Image

    from pytest_robustness import (
        PGD,
        Anchors,
        Engine,
        GaussianNoise,
        GradCAM,
        Robustness,
        labelled_images,
    )

    if options.what == "stability":
        robustness = Robustness(Engine(model, photos, device="cpu", batch_size=batch_size))
        some = photos.images[::4]
        for sigma in (0.02, 0.05):
            print(repr(robustness.explanation_stability(GaussianNoise(), sigma, by=GradCAM(), images=some)))
        return 0
    from skimage import data

    with tempfile.TemporaryDirectory() as folder:
        Image.fromarray(data.chelsea()).save(Path(folder) / "chelsea.png")
        cats = labelled_images(
            folder, {"chelsea.png": ["tabby", "Egyptian cat"]}, classes=photos.classes, resize=256, crop=224
        )
        robustness = Robustness(Engine(model, cats, device="cpu", batch_size=batch_size))
        print(*(f"{name} {share:.2f}" for name, share in robustness.accuracy().evaluation.outcomes[0].top), sep=", ")
        for explainer in (Anchors(), GradCAM()):
            print(robustness.explain("chelsea.png", PGD(), 2 / 255, target="tiger cat", by=explainer), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
