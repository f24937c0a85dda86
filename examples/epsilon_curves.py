"""A small CNN and DarkNet-53, trained by one recipe, under FGSM: `python -m examples.epsilon_curves`.

Both learn the drawn pictures at 32 x 32 pixels, with random rotation, shift and crop, early stopping and a falling learning rate.
One is trained for its few weights, the other for its 40 million: which of them loses its accuracy first, and at which epsilon?
"""

import functools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import timm
import torch
from torch import nn

from examples import figure
from examples.material import ROOT, command, count, status
from fixtures.classifiers import CLASSES, SmallCNN
from fixtures.train import Recipe, train
from pytest_robustness import FGSM, Engine, Robustness, image_folder

SIZE = 32
EPSILONS = (0, 0.5 / 255, 1 / 255, 2 / 255, 4 / 255, 8 / 255, 16 / 255, 32 / 255)


class DarkNet53(nn.Module):
    """timm's DarkNet-53 without pretrained weights, behind the normalisation of the small CNN."""

    def __init__(self) -> None:
        super().__init__()
        self.network = timm.create_model("darknet53", pretrained=False, num_classes=len(CLASSES))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (n, k) of images (n, 3, h, w) in [0, 1]."""
        logits: torch.Tensor = self.network((images - 0.5) / 0.25)
        return logits


def main(arguments: Sequence[str]) -> None:
    """Train both, print their accuracies at every epsilon beside each other, and draw them."""
    parser = command(__spec__.name, __doc__)
    parser.add_argument("--per-class", type=count, default=100, metavar="N", help="pictures to train on (default: 100)")
    parser.add_argument(
        "--epochs", type=count, metavar="N", help="at most, for both (default: 30 and 6, as in the source)"
    )
    parser.add_argument(
        "--images", type=count, default=1, metavar="K", help="attack every K-th of the 300 pictures only"
    )
    options = parser.parse_args(arguments)
    recipe = Recipe(per_class=options.per_class, validated=-(-options.per_class // 4), size=SIZE, batch=32)
    models = {
        "small CNN": trained(replace(recipe, epochs=options.epochs or 30), functools.partial(SmallCNN, size=SIZE)),
        "DarkNet-53": trained(replace(recipe, epochs=options.epochs or 6), DarkNet53),
    }
    images = image_folder(ROOT / "fixtures" / "images", resize=SIZE, interpolation="box")
    robustness = Robustness(Engine(models["small CNN"], images, device="cpu"))
    curves = robustness.accuracy_curves(FGSM(), EPSILONS, models=models, images=images.images[:: options.images])
    print(curves)
    if options.picture is not None:
        figure.save(figure.chart(curves.chart, width=640, height=320), options.picture)


def trained(recipe: Recipe, network: Callable[[], nn.Module]) -> nn.Module:
    """What the recipe makes of a new network; a line per epoch tells how it goes."""
    torch.manual_seed(recipe.seed)
    start, classifier = time.process_time(), network()
    parameters = sum(parameter.numel() for parameter in classifier.parameters())
    print(
        f"{type(classifier).__name__}: {parameters:,} parameters, trained on {len(CLASSES) * recipe.per_class:,} pictures",
        flush=True,
    )
    found = train(recipe, functools.partial(print, flush=True), classifier)
    print(f"trained in {time.process_time() - start:.0f} s of processor time\n", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(status(main))
