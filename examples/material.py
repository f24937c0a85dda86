"""What the examples and the scripts of the documentation measure: classifiers, with images of what they are asked about.

`plain` and `hardened` are the classifiers of the drawn pictures. `photos` is MobileNetV2 with 200 photos and `cifar10` ResNet-20
with 1000 images, which are not part of this repository: they are looked for in the folder that the environment variable
ROBUSTNESS_DATA names, without it in ../shared/data beside the checkout.
"""

import argparse
import csv
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch

from fixtures.classifiers import CLASSES, GROUPS, load_classifier
from pytest_robustness import ImageSet, InputError, image_folder, labelled_images

__all__ = ["MAKERS", "ROOT", "Asked", "asked", "command", "count", "has_photos", "published", "status"]

ROOT = Path(__file__).parents[1]

# Broad groups of ImageNet's classes, by their numbers.
_IMAGENET_GROUPS = {
    "dogs and cats": ((151, 269), (281, 286)),
    "wild mammals": ((101, 107), (147, 151), (269, 281), (286, 300), (330, 389)),
    "birds": ((7, 25), (80, 101), (127, 147)),
    "other animals": ((0, 7), (25, 80), (107, 127), (300, 330), (389, 398)),
    "things": ((398, 924), (981, 984)),
    "food, plants, land": ((924, 981), (984, 1000)),
}


class Asked(NamedTuple):
    """A classifier, images, how many of them are in a batch, and which pairs of a targeted matrix."""

    model: torch.nn.Module
    images: ImageSet
    batch_size: int | Literal["auto"] = "auto"
    pairs: Mapping[str, Any] = MappingProxyType({})


def published() -> Path:
    """The folder of what is not part of this repository, whether it is there or not."""
    return Path(os.environ.get("ROBUSTNESS_DATA") or ROOT.parent / "shared" / "data")


def has_photos() -> bool:
    """Whether the published classifiers and their photos are there."""
    return (published() / "models.py").is_file()


def asked(name: str) -> Asked:
    """The material of this name; InputError for published material that is not there."""
    return MAKERS[name](name)


def command(
    module: str, doc: str, *, choices: Sequence[str] = (), default: str | None = None
) -> argparse.ArgumentParser:
    """The command line of an example: the file of its `picture`, and of these `choices` one is `what` it measures.

    Without a `default` it measures the photos where they are there, and the plain classifier of the drawn pictures elsewhere.
    """
    parser = argparse.ArgumentParser(f"python -m {module}", description=doc.partition("\n")[0])
    if choices:
        own = default or ("photos" if has_photos() else "plain")
        parser.add_argument("what", choices=choices, nargs="?", default=own, help=f"what is measured (default: {own})")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the figure to this PNG file")
    return parser


def count(text: str) -> int:
    """An option that is a number of things, from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, got {text!r}")
    return int(text)


def status(main: Callable[[Sequence[str]], None]) -> int:
    """Run an example on the arguments of the process, on one thread, so that its figures are the same again; the exit status."""
    torch.set_num_threads(1)
    try:
        main(sys.argv[1:])
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"could not write {error.filename}: {error.strerror}", file=sys.stderr)
        return 3
    return 0


def _drawn(name: str) -> Asked:
    """A classifier of the drawn pictures, and these with their groups."""
    found = image_folder(ROOT / "fixtures" / "images")
    groups = {group: tuple(CLASSES.index(member) for member in members) for group, members in GROUPS.items()}
    classifier = load_classifier("hardened" if name == "hardened" else "plain")
    return Asked(classifier, ImageSet(found.images, found.classes, name=found.name, groups=groups))


def _cifar10(_: str) -> Asked:
    """ResNet-20 and 1000 images of CIFAR-10's test set."""
    model = _published_model("cifar_resnet20", "cifar10")
    found = image_folder(published() / "cifar10" / "images")
    vehicles = {"airplane", "automobile", "ship", "truck"}
    groups = {
        "animals": tuple(at for at, name in enumerate(found.classes) if name not in vehicles),
        "vehicles": tuple(at for at, name in enumerate(found.classes) if name in vehicles),
    }
    return Asked(model, ImageSet(found.images, found.classes, name=found.name, groups=groups))


def _photos(_: str) -> Asked:
    """MobileNetV2 and a photo each of 200 of ImageNet's classes; towards five of the 200 that are drawn for each photo."""
    model = _published_model("mobilenet_v2", "photos")
    folder = published() / "imagenet_samples"
    lines = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    classes = [line.partition("\t")[2].partition(",")[0] for line in lines]
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        labels = {row["file"]: [int(row["label"])] for row in csv.DictReader(file)}
    found = labelled_images(folder, labels, classes=classes, resize=256, crop=224)
    groups = {
        name: tuple(number for first, end in ranges for number in range(first, end))
        for name, ranges in _IMAGENET_GROUPS.items()
    }
    images = ImageSet(found.images, classes, name=found.name, reading=found.reading, groups=groups)
    named = sorted({classes[image.labels[0]] for image in images.images})
    # Small batches of channels_last run this network several times faster on a CPU.
    return Asked(model.to(memory_format=torch.channels_last), images, 4, {"classes": named, "targets": 5})


def _published_model(name: str, what: str) -> torch.nn.Module:
    """A classifier that `models.py` of the published folder loads."""
    folder = published()
    if not has_photos():
        raise InputError(
            f"{what}: expected models.py, classifiers and images in {folder}, found none; name their folder by the "
            "environment variable ROBUSTNESS_DATA, or measure the drawn pictures: plain or hardened"
        )
    sys.path.insert(0, str(folder))
    try:
        models = importlib.import_module("models")
    finally:
        sys.path.remove(str(folder))
    model: torch.nn.Module = getattr(models, name)()
    return model


MAKERS: Mapping[str, Callable[[str], Asked]] = {
    "plain": _drawn,
    "hardened": _drawn,
    "cifar10": _cifar10,
    "photos": _photos,
}
