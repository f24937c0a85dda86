"""Datasets in Python: torchvision's and anybody's, asked by one thread at a time."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset
from torchvision.datasets import FakeData, ImageFolder
from torchvision.transforms import Normalize, ToTensor

from pytest_robustness.errors import InputError
from pytest_robustness.loading import image_folder
from pytest_robustness.map_datasets import image_dataset

from .test_images import noise, saved
from .test_loading import ids

CLASSES = ["okapi", "zebra"]


class Pairs:
    """Three pictures of noise, which no two threads may ask for."""

    classes = CLASSES

    def __init__(self, items: list[Any] | None = None) -> None:
        self.items = [(Image.fromarray(noise(6 + n, 7, 3)), n % 2) for n in range(3)] if items is None else items
        self.asked: list[int] = []
        self.busy = threading.Lock()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        assert self.busy.acquire(blocking=False), "asked by two threads"
        self.asked.append(index)
        time.sleep(0.002)
        self.busy.release()
        return self.items[index]


def test_the_pixels_are_those_of_the_files_whatever_the_transform_makes_of_them(tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / "images" / CLASSES[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        saved(path, noise(9, 8 + number, 3))
    files = image_folder(tmp_path / "images", resize=(7, 6))
    for transform in (None, ToTensor(), numpy.asarray):
        dataset = ImageFolder(str(tmp_path / "images"), transform=transform)
        images = image_dataset(dataset, resize=(7, 6))
        assert ids(images) == ids(files)
        assert images.classes == files.classes
        assert [image.labels for image in images.images] == [image.labels for image in files.images]
        assert images.images[0].path.name == "0.png"
        found, expected = (each.batch(ids(files)).images for each in (images, files))
        # Floats are resized without rounding.
        assert torch.allclose(found, expected, rtol=0, atol=0.008 if transform is not None else 0)
    part = image_dataset(Subset(ImageFolder(str(tmp_path / "images")), [3, 0]), name="part")
    assert ids(part) == ["okapi/0.png", "zebra/3.png"]
    assert [image.labels for image in part.images] == [(0,), (1,)]


def test_torchvisions_made_up_data_needs_classes_and_is_read_once_for_its_labels() -> None:
    data = FakeData(size=12, image_size=(3, 8, 8), num_classes=2)
    with pytest.raises(InputError) as error:
        image_dataset(data)
    assert str(error.value) == (
        "FakeData: expected the dataset to have classes, it has none; give image_dataset the model's classes="
    )
    images = image_dataset(data, classes=CLASSES)
    assert ids(images) == [f"{n:02}" for n in range(12)]
    assert [image.labels for image in images.images] == [(int(data[n][1]),) for n in range(12)]
    assert images.name == "FakeData"


def test_a_dataset_is_asked_by_one_thread_at_a_time() -> None:
    dataset = Pairs([(Image.fromarray(noise(6, 7, 3)), n % 2) for n in range(12)])
    images = image_dataset(dataset, name="pairs")
    chunks = [ids(images)[:6], ids(images)[6:]]
    assert [len(chunk) for chunk in images.streamed(chunks, dict, workers=4)] == [6, 6]
    images.digest()


def test_labels_that_the_dataset_tells_cost_no_item() -> None:
    for name, labels in (
        ("targets", [0, 1, 0]),
        ("labels", numpy.array([0, 1, 0])),
        ("_labels", torch.tensor([0, 1, 0])),
    ):
        dataset = Pairs()
        setattr(dataset, name, labels)
        assert [image.labels for image in image_dataset(dataset).images] == [(0,), (1,), (0,)]
        assert dataset.asked == []
    dataset = Pairs([(image, 1 - label) for image, label in Pairs().items])
    dataset.targets, dataset.target_transform = [0, 1, 0], lambda label: 1 - label  # type: ignore[attr-defined]
    images = image_dataset(dataset)
    assert [image.labels for image in images.images] == [(1,), (0,), (1,)]
    assert images.bad() == ()


def test_a_label_that_is_another_when_the_item_is_read_is_told() -> None:
    images = image_dataset(Pairs(), labels=[0, 0, 0], name="pairs")
    assert images.bad() == (
        (
            "1",
            "pairs/1: expected the label 0, as the dataset says beforehand, got 1; give image_dataset labels=",
        ),
    )


def test_items_may_be_dicts_and_labels_names_and_several() -> None:
    items = [{"img": image, "label": ["okapi", CLASSES[label]]} for image, label in Pairs().items]
    images = image_dataset(Pairs(items), ids=["c", "b", "a"])
    assert [(image.id, image.labels) for image in images.images] == [("a", (0,)), ("b", (0, 1)), ("c", (0,))]


def test_a_digest_is_of_the_pixels_and_is_shared_by_other_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    images = image_dataset(Pairs())
    assert images.digest() == image_dataset(Pairs()).digest()
    other = Pairs()
    other.items[1] = (Image.fromarray(255 - noise(7, 7, 3)), 1)
    assert images.digest() != image_dataset(other).digest()


class Broken(Pairs):
    def __getitem__(self, index: int) -> Any:
        if index == 1:
            raise KeyError("gone")
        return super().__getitem__(index)


def test_what_a_dataset_raises_is_what_is_wrong_with_the_item() -> None:
    images = image_dataset(Broken(), labels=[0, 1, 0], on_bad_image="skip")
    assert images.skipped == (("1", "Broken/1: expected an item, got KeyError: 'gone'"),)
    assert ids(images) == ["0", "2"]


@pytest.mark.parametrize(
    ("items", "settings", "message"),
    [
        ([7], {}, "Pairs/0: expected an item (image, label) or a dict, got int"),
        ([{"picture": 1}], {}, "Pairs/0: expected an item with image and label, got one with picture; rename its keys"),
        ([(None, 5)], {}, "Pairs/0: expected a class index from 0 to 1, got 5; check the labels"),
        ([(None, "tiger")], {}, "Pairs/0: expected one of 2 classes (okapi, zebra), got the label 'tiger'"),
        ([(None, 1)], {"ids": ["a", "b"]}, "Pairs: expected 1 ids, one for each item, got 2"),
        ([(None, 1)], {"labels": [1, 1]}, "Pairs: expected 1 labels, one for each item, got 2"),
        ([(None, 1), (None, 1)], {"ids": ["a", "a"]}, "Pairs: expected every image once, got 'a' twice; give each image one entry"),
        ([], {}, "Pairs: expected at least one image, found none; check the path and the file endings"),
    ],
)  # fmt: skip
def test_a_dataset_of_something_else_is_refused(items: list[Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        image_dataset(Pairs(items), **settings)
    assert str(error.value) == message


def test_an_iterable_dataset_is_refused() -> None:
    with pytest.raises(InputError) as error:
        image_dataset(iter([1]))  # type: ignore[arg-type]
    assert str(error.value) == (
        "image_dataset: expected a dataset with a length and items, got list_iterator; write an iterable one to tar files, for web_dataset"
    )


def test_a_transform_that_normalises_is_refused_when_an_image_is_read(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", noise(6, 7, 3))
    normal = Normalize([0.5] * 3, [0.25] * 3)(ToTensor()(Image.open(tmp_path / "a.png")))
    images = image_dataset(Pairs([(normal, 0)]))
    ((_, reason),) = images.bad()
    assert reason == (
        f"Pairs/0: expected floats in [0, 1], got {float(normal.min()):.4g} to {float(normal.max()):.4g}; take the normalisation out of the "
        "dataset's transform and put it into the model"
    )
