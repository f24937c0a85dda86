"""Why a tabby became a tiger cat: anchors of a picture and of its adversarial twin: `python -m examples.anchors`.

A targeted attack makes the model answer its second choice. An anchor is the fewest superpixels that hold an answer whatever is hidden
of the rest; what made it the one need not be among what makes it the other. `Anchors()` has the published settings.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from examples import figure
from examples.material import asked, command, status
from pytest_robustness import PGD, Anchors, Engine, GradCAM, ImageSet, Robustness, labelled_images
from pytest_robustness.explained import Explained


def cat(classes: Sequence[str], folder: Path) -> ImageSet:
    """The cat that scikit-image carries, which is in the public domain."""
    from skimage import data

    pixels = data.chelsea()  # type: ignore[no-untyped-call]
    Image.fromarray(pixels).save(folder / "chelsea.png")
    return labelled_images(folder, {"chelsea.png": ["tabby", "Egyptian cat"]}, classes=classes, resize=256, crop=224)


def main(arguments: Sequence[str]) -> None:
    """Print the anchors, and Grad-CAM, of both pictures, and draw them beside each other."""
    parser = command(__spec__.name, __doc__, choices=("photos", "plain", "hardened"))
    parser.add_argument("--image", default="mug/mug_000.png", metavar="ID", help="of the drawn pictures")
    parser.add_argument("--epsilon", type=float, metavar="N", help="in units of 1/255 (default: 2; hardened: 8)")
    options = parser.parse_args(arguments)
    model, images, batch_size, _ = asked(options.what)
    default = 8.0 if options.what == "hardened" else 2.0
    epsilon = (default if options.epsilon is None else options.epsilon) / 255
    with tempfile.TemporaryDirectory() as folder:
        image = "chelsea.png" if options.what == "photos" else options.image
        shown = cat(images.classes, Path(folder)) if options.what == "photos" else images
        robustness = Robustness(Engine(model, shown, device="cpu", batch_size=batch_size))
        (clean,) = robustness.accuracy(images=image).evaluation.outcomes
        print(*(f"{name} {share:.2f}" for name, share in clean.top), sep=", ")
        second = next(name for name, _ in clean.top if name not in clean.accepted)
        found = [robustness.explain(image, PGD(), epsilon, target=second, by=by) for by in (Anchors(), GradCAM())]
    print("\n\n".join(map(str, found)))
    if options.picture is not None:
        figure.save(drawn(found), options.picture)


def drawn(found: Sequence[Explained]) -> Image.Image:
    """Both pictures, plain and reduced to their anchors; below, with the heat of Grad-CAM."""
    rows = []
    for explained in found:
        tiles = []
        for side in explained.sides:
            assert side.picture is not None
            picture, said = figure.from_uri(side.picture.png), f"{side.caption}: {side.label} {side.probability:.2f}"
            overlay = figure.from_uri(side.picture.overlay) if side.picture.overlay else None
            rests = figure.kept(picture, overlay) if side.parts and overlay else picture
            tiles.append(figure.tile(picture, [said], width=200))
            tiles.append(
                figure.tile(rests, [side.note.partition(",")[0]], width=200, overlay=None if side.parts else overlay)
            )
        rows.append(figure.titled(explained.method.partition("(")[0], figure.beside(*tiles)))
    return figure.below(*rows)


if __name__ == "__main__":
    sys.exit(status(main))
