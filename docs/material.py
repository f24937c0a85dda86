"""What the scripts of the documentation measure: classifiers, with images of what they are asked about.

`plain` and `hardened` are the classifiers of the drawn pictures; `cifar10` a published one with 1000 images; `photos` MobileNetV2
with 200 photos. The last two need ../shared/data.
"""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch

if TYPE_CHECKING:
    from pytest_robustness import ImageSet

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT.parent / "shared" / "data"

# Broad groups of ImageNet's classes, by their numbers.
IMAGENET_GROUPS = {
    "dogs and cats": ((151, 269), (281, 286)),
    "wild mammals": ((101, 107), (147, 151), (269, 281), (286, 300), (330, 389)),
    "birds": ((7, 25), (80, 101), (127, 147)),
    "other animals": ((0, 7), (25, 80), (107, 127), (300, 330), (389, 398)),
    "things": ((398, 924), (981, 984)),
    "food, plants, land": ((924, 981), (984, 1000)),
}


class Asked(NamedTuple):
    """A classifier, images, how many of them are in a batch, and which pairs."""

    model: torch.nn.Module
    images: "ImageSet"
    batch_size: int | Literal["auto"] = "auto"
    pairs: Mapping[str, Any] = MappingProxyType({})


def drawn(name: str) -> Asked:
    """A classifier of the drawn pictures, and these with their groups."""
    from fixtures.classifiers import load_classifier
    from fixtures.draw import CLASSES, GROUPS
    from pytest_robustness import ImageSet, image_folder

    found = image_folder(ROOT / "fixtures" / "images")
    groups = {group: tuple(CLASSES.index(member) for member in members) for group, members in GROUPS.items()}
    return Asked(load_classifier(name), ImageSet(found.images, found.classes, name=found.name, groups=groups))


def cifar10(_: str) -> Asked:
    """ResNet-20 and 1000 images of CIFAR-10's test set."""
    from pytest_robustness import ImageSet, image_folder

    found = image_folder(PUBLISHED / "cifar10" / "images")
    vehicles = {"airplane", "automobile", "ship", "truck"}
    groups = {
        "animals": tuple(at for at, name in enumerate(found.classes) if name not in vehicles),
        "vehicles": tuple(at for at, name in enumerate(found.classes) if name in vehicles),
    }
    return Asked(published("cifar_resnet20"), ImageSet(found.images, found.classes, name=found.name, groups=groups))


def photos(_: str) -> Asked:
    """MobileNetV2 and a photo each of 200 of ImageNet's classes; towards five of the 200 that are drawn for each photo."""
    from pytest_robustness import ImageSet, labelled_images

    folder = PUBLISHED / "imagenet_samples"
    lines = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    classes = [line.partition("\t")[2].partition(",")[0] for line in lines]
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        labels = {row["file"]: [int(row["label"])] for row in csv.DictReader(file)}
    found = labelled_images(folder, labels, classes=classes, resize=256, crop=224)
    groups = {
        name: tuple(number for first, end in ranges for number in range(first, end))
        for name, ranges in IMAGENET_GROUPS.items()
    }
    images = ImageSet(found.images, classes, name=found.name, reading=found.reading, groups=groups)
    named = sorted({classes[image.labels[0]] for image in images.images})
    # Small batches of channels_last run this network several times faster on a CPU.
    model = published("mobilenet_v2").to(memory_format=torch.channels_last)
    return Asked(model, images, 4, {"classes": named, "targets": 5})


def published(name: str) -> torch.nn.Module:
    """One of the classifiers of ../shared/data."""
    sys.path.insert(0, str(PUBLISHED))
    try:
        import models
    finally:
        sys.path.remove(str(PUBLISHED))
    model: torch.nn.Module = getattr(models, name)()
    return model


MAKERS = {"plain": drawn, "hardened": drawn, "cifar10": cifar10, "photos": photos}


def asked(name: str) -> Asked:
    """The material of this name."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return MAKERS[name](name)
