"""What is measured, and on what: jobs for contenders; classifiers and images, published ones where they are there.

Images are float32 RGB in [0, 1], (n, 3, h, w). Nothing heavy is imported before a classifier or an image is asked for: the
process that starts all others names them only.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = [
    "LEVELS",
    "OVERLAY",
    "PUBLISHED",
    "ROOT",
    "STEPS",
    "Classifier",
    "Device",
    "Job",
    "Material",
    "Stress",
    "classifier",
    "copy_images",
    "draw_grey",
    "draw_pictures",
    "fill_with_photos",
    "material",
    "preloaded",
    "read",
]

Classifier = Literal[
    "cifar_resnet20", "fixtures_hardened", "fixtures_plain", "mobilenet_v2", "resnet50", "two_convolutions"
]

Device = Literal["cpu", "cuda"]
Stress = Literal["clean", "fgsm", "pgd", "blend"]

STEPS = 20
"""Steps of PGD; each is 2.5 / STEPS * epsilon long."""
LEVELS = tuple(level / 20 for level in range(13))
"""The alphas of a sweep of blends, the clean image among them."""

ROOT = Path(__file__).parents[1]
OVERLAY = ROOT / "fixtures" / "overlays" / "zebra_stripes.png"
PUBLISHED = ROOT.parent / "shared" / "data"
"""Published classifiers and images; outside the checkout, and not everywhere."""


@dataclass(frozen=True)
class Job:
    """What a contender does once: one stress, for gradients at one epsilon, over all images of a folder of class folders."""

    classifier: Classifier
    images: Path
    device: Device
    stress: Stress
    epsilon: float = 0.0


@dataclass(frozen=True)
class Material:
    """A classifier and the folder of class folders it is asked about; `title` says both, `published` whose they are."""

    title: str
    classifier: Classifier
    images: Path
    published: bool


def material() -> Material:
    """The published CIFAR-10 classifier and images where they are there, else the product's own fixtures."""
    if PUBLISHED.is_dir():
        return Material("ResNet-20 on CIFAR-10 JPEGs, 32 px", "cifar_resnet20", PUBLISHED / "cifar10" / "images", True)
    return Material(
        "SmallCNN (plain) on the fixtures' pictures, 64 px", "fixtures_plain", ROOT / "fixtures" / "images", False
    )


def classifier(name: Classifier) -> "nn.Module":
    """The classifier of this name as everybody gets it: eval mode, frozen parameters, on the CPU."""
    model: nn.Module = _MAKERS[name]()
    return model.eval().requires_grad_(False)


def _published(name: str) -> Any:
    import importlib.util

    spec = importlib.util.spec_from_file_location("published_models", PUBLISHED / "models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)()


def _fixtures(name: Literal["hardened", "plain"]) -> "nn.Module":
    from fixtures.classifiers import load_classifier

    return load_classifier(name)


def _torchvision(name: str) -> Any:
    import torch
    import torchvision

    torch.manual_seed(0)
    return getattr(torchvision.models, name)(weights=None)


def _mobilenet_v2() -> Any:
    return _published("mobilenet_v2") if PUBLISHED.is_dir() else _torchvision("mobilenet_v2")


def _two_convolutions() -> "nn.Module":
    import torch
    from torch import nn

    torch.manual_seed(0)
    features = [nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU()]
    return nn.Sequential(*features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))


_MAKERS: dict[Classifier, Callable[[], Any]] = {
    "cifar_resnet20": lambda: _published("cifar_resnet20"),
    "fixtures_hardened": lambda: _fixtures("hardened"),
    "fixtures_plain": lambda: _fixtures("plain"),
    "mobilenet_v2": _mobilenet_v2,
    "resnet50": lambda: _torchvision("resnet50"),
    "two_convolutions": _two_convolutions,
}


def copy_images(source: Path, to: Path, *, per_class: int) -> int:
    """Copy the first images of each class folder, and say how many that are in all."""
    chosen = [path for folder in sorted(source.iterdir()) for path in sorted(folder.iterdir())[:per_class]]
    for path in chosen:
        (to / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to / path.parent.name / path.name)
    return len(chosen)


def fill_with_photos(folder: Path, count: int) -> str:
    """Put `count` JPEG photos below a folder, real ones where they are there, else drawn; say which they are."""
    photos = sorted((PUBLISHED / "imagenet_samples" / "images").glob("*.jpg"))[:count]
    if not photos:
        draw_pictures(folder, count, width=427, height=320, suffix=".jpg")
        return f"{count} drawn JPEGs of 427 x 320 px"
    (folder / "photos").mkdir(parents=True)
    for photo in photos:
        shutil.copyfile(photo, folder / "photos" / photo.name)
    return f"{len(photos)} JPEG photos"


def draw_pictures(folder: Path, count: int, *, width: int, height: int, suffix: Literal[".png", ".jpg"]) -> None:
    """Draw `count` pictures into two class folders: soft blotches and some grain, as compressible as photos, no two alike."""
    import numpy as np
    from PIL import Image

    for name in ("even", "odd"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        random = np.random.default_rng(number)
        blotches = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        soft: np.ndarray[Any, Any] = np.asarray(
            blotches.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16
        )
        grain = random.integers(-8, 9, soft.shape, dtype=np.int16)
        picture = Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8))
        picture.save(folder / ("even", "odd")[number % 2] / f"{number:05}{suffix}")


def draw_grey(path: Path, level: int) -> None:
    """Draw a picture of 8 x 8 pixels, all of them of this grey, from 0 to 255."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (level, level, level)).save(path)


def read(path: Path, *, resize: int | None = None, crop: int | None = None) -> "torch.Tensor":
    """One image, (3, h, w), as a loop by hand reads it with Pillow: short side to `resize`, centre cut to `crop`."""
    import numpy as np
    import torch
    from PIL import Image

    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    if resize is not None:
        scale = resize / min(picture.size)
        picture = picture.resize((int(picture.width * scale), int(picture.height * scale)), Image.Resampling.BILINEAR)
    if crop is not None:
        left, top = (picture.width - crop) // 2, (picture.height - crop) // 2
        picture = picture.crop((left, top, left + crop, top + crop))
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div(255)


def preloaded(folder: Path) -> "tuple[torch.Tensor, torch.Tensor]":
    """Every image of the class folders, (n, 3, h, w), and the labels, (n,), in the order of the images' ids."""
    import torch

    classes = sorted(path.name for path in folder.iterdir())
    paths = sorted(folder.glob("*/*"), key=lambda path: path.relative_to(folder).as_posix())
    labels = torch.tensor([classes.index(path.parent.name) for path in paths])
    return torch.stack([read(path) for path in paths]).contiguous(), labels
