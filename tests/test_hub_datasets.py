"""Hugging Face datasets, written here by the library itself and read from disk."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pytest_robustness.errors import InputError
from pytest_robustness.hub_datasets import hf_dataset
from pytest_robustness.loading import image_folder

from .test_images import noise, saved
from .test_loading import ids

datasets = pytest.importorskip("datasets", exc_type=ImportError)
CLASSES = ["okapi", "zebra"]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four pictures in class folders, the last of which is to be turned."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(4):
        path = tmp_path / "images" / CLASSES[number // 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number == 3:
            Image.fromarray(noise(9, 8, 3)).save(path, exif=exif)
        else:
            saved(path, noise(8, 9, 3))
    return tmp_path / "images"


def rows(files: Path, **more: Any) -> Any:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES), **more})
    content = [{"bytes": path.read_bytes(), "path": None} for path in sorted(files.rglob("*.png"))]
    columns = {"image": content, "label": [0, 0, 1, 1], **{name: [7] * 4 for name in more}}
    return datasets.Dataset.from_dict(columns, features=features)


@pytest.mark.parametrize("kind", ["saved", "split", "parquet", "arrow", "memory"])
def test_a_dataset_is_the_bytes_of_its_files(files: Path, tmp_path: Path, kind: str) -> None:
    table, path, split = rows(files), tmp_path / "hub", None
    if kind == "saved":
        table.save_to_disk(path)
    elif kind == "split":
        datasets.DatasetDict({"train": table.select([0]), "test": table}).save_to_disk(path)
        split = "test"
    elif kind == "parquet":
        path.mkdir()
        table.select([0]).to_parquet(path / "train-00000-of-00001.parquet")
        for number, part in enumerate(([0, 1], [2, 3])):
            table.select(part).to_parquet(path / f"test-0000{number}-of-00002.parquet")
        split = "test"
    elif kind == "arrow":
        table.save_to_disk(path)
        (path / "state.json").unlink()
    images = hf_dataset(table if kind == "memory" else path, split=split, resize=6, crop=(5, 6))
    expected = image_folder(files, resize=6, crop=(5, 6))
    assert ids(images) == ["0", "1", "2", "3"]
    assert images.classes == expected.classes
    assert [image.labels for image in images.images] == [(0,), (0,), (1,), (1,)]
    assert torch.equal(images.batch(ids(images)).images, expected.batch(ids(expected)).images)
    name = {"split": f"{path.as_posix()}/test", "parquet": f"{path.as_posix()}/test", "memory": "Dataset"}
    assert images.name == name.get(kind, path.as_posix())
    streamed = [read for chunk in images.streamed([ids(images)], dict, workers=4) for read in chunk.values()]
    assert len(streamed) == 4


def test_a_row_whose_image_lies_in_a_file_is_read_from_there(files: Path, tmp_path: Path) -> None:
    paths = [str(path) for path in sorted(files.rglob("*.png"))]
    table = datasets.Dataset.from_dict({"picture": paths, "kind": ["a", "b", "a", "b"]})
    table = table.cast_column("picture", datasets.Image())
    table.save_to_disk(tmp_path / "hub")
    images = hf_dataset(tmp_path / "hub", label_column="kind", classes=["b", "a"])
    assert [image.labels for image in images.images] == [(1,), (0,), (1,), (0,)]
    assert torch.equal(images.batch(["1"]).images[0], image_folder(files).batch(["okapi/1.png"]).images[0])


def test_bad_rows_are_listed(files: Path, tmp_path: Path) -> None:
    good = {"bytes": (files / "okapi" / "0.png").read_bytes(), "path": None}
    cells = [None, {"bytes": b"broken", "path": None}, {"bytes": None, "path": str(tmp_path / "none.png")}, good]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)})
    table = datasets.Dataset.from_dict({"image": cells, "label": [0, 0, 1, 1]}, features=features)
    assert hf_dataset(table).bad() == (
        ("0", "Dataset/0: expected an image, got an empty cell; remove the row"),
        ("1", "Dataset/1: expected an image, got a file in no format that Pillow reads; replace or remove it"),
        ("2", f"{tmp_path / 'none.png'}: expected an image file, found none; check the path"),
    )


def test_columns_and_splits_that_there_are_not_are_told(files: Path, tmp_path: Path) -> None:
    hub, name = tmp_path / "hub", (tmp_path / "hub").as_posix()
    datasets.DatasetDict({"train": rows(files), "test": rows(files)}).save_to_disk(hub)
    for settings, message in (
        ({}, f"{hub}: expected split= to be one of test, train, got none"),
        ({"split": "tset"}, f"{hub}: expected split= to be one of test, train, got 'tset'; did you mean 'test'?"),
        (
            {"split": "test", "image_column": "imag"},
            f"{name}/test: expected image_column= to be one of image, label, got 'imag'; did you mean 'image'?",
        ),
        (
            {"split": "test", "label_column": "image"},
            f"{name}/test: expected the label column to name its classes, it does not; give hf_dataset the model's classes=",
        ),
    ):
        with pytest.raises(InputError) as error:
            hf_dataset(hub, **settings)
        assert str(error.value) == message


def test_two_columns_that_may_be_meant_are_told(files: Path, tmp_path: Path) -> None:
    rows(files, coarse=datasets.ClassLabel(num_classes=9)).save_to_disk(tmp_path / "hub")
    with pytest.raises(InputError) as error:
        hf_dataset(tmp_path / "hub")
    assert str(error.value) == (
        f"{(tmp_path / 'hub').as_posix()}: expected one column of the feature ClassLabel, got label, coarse; name one by label_column="
    )
    assert len(hf_dataset(tmp_path / "hub", label_column="label")) == 4
    with pytest.raises(InputError) as error:
        hf_dataset(tmp_path / "hub", split="test", label_column="label")
    assert str(error.value) == (
        f"{tmp_path / 'hub'}: expected several splits for split='test', got one dataset; leave split out"
    )


def test_folders_that_are_no_dataset_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        hf_dataset(tmp_path / "none")
    assert str(error.value) == f"{tmp_path / 'none'}: expected the folder of a dataset, found no folder; check the path"
    with pytest.raises(InputError) as error:
        hf_dataset(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: expected what save_to_disk wrote, or parquet or arrow files, found none; check the path"
    )
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError) as error:
        hf_dataset(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}: expected a dataset, got one that can't be read (")


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError) as error:
        hf_dataset(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: expected datasets to be installed (import of datasets halted; None in sys.modules); "
        "pip install 'pytest-robustness[hf-datasets]'"
    )


def test_pictures_are_not_decoded_by_the_library(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decodes(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(datasets.Image, "decode_example", decodes)
    assert hf_dataset(rows(files)).bad() == ()
