"""An elephant under zebra stripes, until it is a zebra: `python -m examples.elephant_and_zebra`.

The stripes are laid over the picture from a transparency of 100 %, none of them, down to 40 %. If texture counts more than shape,
the zebra takes over while anybody still sees an elephant.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from examples import figure
from examples.material import ROOT, asked, command, published, status
from pytest_robustness import Blend, Engine, ImageSet, Robustness, transparencies
from pytest_robustness.curves import Curve

LEVELS = transparencies(100, 40, step=5)
_PHOTO, _DRAWN = "images/n02504013_Indian_elephant.jpg", "elephant/elephant_001.png"
# Any of these will do for an elephant.
_ELEPHANTS = ("African elephant", "Indian elephant", "tusker", "elephant")


def main(arguments: Sequence[str]) -> None:
    """Print the top-5 at every level and where the answer breaks; draw the curve of both classes."""
    parser = command(__spec__.name, __doc__, choices=("photos", "plain", "hardened"))
    parser.add_argument("--image", metavar="ID", help="the elephant, by its path in the image set")
    parser.add_argument("--overlay", type=Path, metavar="FILE", help="what is laid over it, in place of the stripes")
    options = parser.parse_args(arguments)
    model, images, batch_size, _ = asked(options.what)
    folder, default = (published(), _PHOTO) if options.what == "photos" else (ROOT / "fixtures", _DRAWN)
    stripes = Blend(options.overlay or folder / "overlays" / "zebra_stripes.png")
    named = images[options.image or default]
    elephant = dataclasses.replace(
        named, labels=tuple(images.classes.index(e) for e in _ELEPHANTS if e in images.classes)
    )
    alone = ImageSet([elephant], images.classes, name=images.name, reading=images.reading)

    robustness = Robustness(Engine(model, alone, device="cpu", batch_size=batch_size))
    curve = robustness.sweep(elephant, stripes, LEVELS, intruder="zebra")
    print(curve.table(top=5))
    print(repr(robustness.breaking_point(elephant, stripes, up_to=LEVELS[-1], levels=len(LEVELS) - 1, tolerance=0.005)))
    if options.picture is not None:
        figure.save(drawn(robustness, curve, stripes), options.picture)


def drawn(robustness: Robustness, curve: Curve, stripes: Blend) -> Image.Image:
    """The picture at every other level with its answer, above the curve of both classes."""
    points = curve.points[::2]
    shown = robustness.engine.shown([(curve.image, point.strength) for point in points], stripes)
    pictures = [picture for _, stressed in shown for picture in stressed.images]
    tiles = [
        figure.tile(
            figure.from_tensor(picture),
            [
                f"transparency {100 * (1 - point.strength):.0f} %",
                *(f"{share:.2f} {name}" for name, share in point.outcome.top[:2]),
            ],
            width=112,
        )
        for point, picture in zip(points, pictures, strict=True)
    ]
    return figure.below(figure.beside(*tiles), figure.chart(curve.chart, width=840, height=300))


if __name__ == "__main__":
    sys.exit(status(main))
