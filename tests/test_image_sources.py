"""One function for every source: the same pixels, labels and outcomes whichever way a set is kept."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.datasets import ImageFolder

from pytest_robustness.errors import InputError
from pytest_robustness.image_sources import image_source
from pytest_robustness.loading import image_folder

from .test_images import noise, saved
from .test_loading import ids

CLASSES = ["okapi", "zebra"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(6):
        path = tmp_path / "images" / CLASSES[number // 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        saved(path, (noise(9, 8, 3) // (number + 1)))
    return tmp_path / "images"


def manifest(root: Path) -> Path:
    rows = [{"file": image.id, "label": CLASSES[image.labels[0]]} for image in image_folder(root).images]
    (root / "photos.json").write_text(json.dumps(rows))
    return root / "photos.json"


def tar(root: Path) -> Path:
    for image in image_folder(root).images:
        image.path.with_suffix(".cls").write_text(str(image.labels[0]))
    path = root.parent / "photos.tar"
    with tarfile.open(path, "w") as file:
        file.add(root, arcname="photos")
    return path


def hub(root: Path) -> Path:
    datasets = pytest.importorskip("datasets", exc_type=ImportError)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)})
    images = image_folder(root).images
    cells = [{"bytes": image.path.read_bytes(), "path": None} for image in images]
    datasets.disable_progress_bars()
    table = datasets.Dataset.from_dict({"image": cells, "label": [i.labels[0] for i in images]}, features=features)
    table.save_to_disk(root.parent / "hub")
    return root.parent / "hub"


SOURCES = {
    "folder": lambda root: root,
    "folder as text": str,
    "set": image_folder,
    "manifest": manifest,
    "tar": tar,
    "tars": lambda root: [tar(root)],
    "pattern": lambda root: str(tar(root)).replace("photos.tar", "ph*.tar"),
    "dataset": lambda root: ImageFolder(str(root)),
    "hub": hub,
}


@pytest.mark.parametrize("name", SOURCES)
def test_the_pixels_and_labels_are_the_same_through_every_source(root: Path, name: str) -> None:
    made = SOURCES[name](root)  # type: ignore[operator]
    images = image_source(made, **({"classes": CLASSES} if name in ("tar", "tars", "pattern") else {}))
    files = image_folder(root)
    assert images.classes == files.classes
    assert [image.labels for image in images.images] == [image.labels for image in files.images]
    assert torch.equal(images.batch(ids(images)).images, files.batch(ids(files)).images)
    assert images.bad() == ()


def test_settings_reach_the_source(root: Path) -> None:
    settings: dict[str, Any] = {
        "classes": CLASSES[::-1],
        "resize": (5, 4),
        "interpolation": "box",
        "on_bad_image": "skip",
    }
    (root / "zebra" / "7.png").write_bytes(b"")
    for made in (root, ImageFolder(str(root), is_valid_file=lambda name: "7" not in Path(name).name)):
        images = image_source(made, **settings)
        assert images.classes == ("zebra", "okapi")
        assert images.batch(ids(images)[:1]).images.shape == (1, 3, 5, 4)
    assert [image_id for image_id, _ in image_source(root, **settings).skipped] == ["zebra/7.png"]


def test_links_are_followed_in_folders_where_that_is_said(root: Path, tmp_path: Path) -> None:
    saved(tmp_path / "outside.png", noise(9, 8, 3))
    (root / "zebra" / "9.png").symlink_to(tmp_path / "outside.png")
    assert [image_id for image_id, _ in image_source(root).bad()] == ["zebra/9.png"]
    assert image_source(root, follow_links=True).bad() == ()


def test_a_folder_of_parquet_files_is_no_folder_of_classes(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"expected (a dataset, got one that can't be read|datasets to be installed)"):
        image_source(tmp_path)


KNOWN = (
    "expected an ImageSet, a dataset, or the path of a folder of class folders, of a manifest (.csv, .json, .jsonl, .yaml), of tar files or "
    "of a Hugging Face dataset"
)


def test_what_is_no_source_is_refused(root: Path) -> None:
    (root / "photos.zip").write_bytes(b"")
    for made, settings, message in (
        (3, {}, f"{KNOWN}, got int; return image_folder('path/to/images')"),
        ({}, {}, f"{KNOWN}, got dict; return image_folder('path/to/images')"),
        (root / "photos.zip", {}, f"{root / 'photos.zip'}: {KNOWN}, got a file of another kind; rename it"),
        (root / "none", {}, f"{root / 'none'}: expected a folder with one folder per class, found no folder; check the path"),
        ("a.tar", {}, "a.tar: expected classes= for tar files, which don't name them; use web_dataset(paths, classes=...)"),
        (image_folder(root), {"resize": 3}, f"{root.as_posix()}: expected no settings for an ImageSet, got resize; make it with them"),
        (
            ImageFolder(str(root)),
            {"orientation": "stored"},
            "ImageFolder: expected no orientation for a dataset, which opens its files itself; leave it out",
        ),
    ):  # fmt: skip
        with pytest.raises(InputError) as error:
            image_source(made, **settings)
        assert str(error.value) == message
