"""What is found in a folder for sure, and what is not."""

import json
from pathlib import Path

import pytest

from pytest_robustness.starting.finding import found_images, found_models, found_weights

from .conftest import draw_grey


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"architecture": "resnet18", "num_classes": 10}, ["timm:saved"]),
        ({"architectures": ["ResNetForImageClassification"]}, ["hf:saved"]),
        ({"architectures": ["BertForMaskedLM"]}, []),
        ({"architectures": []}, []),
        (["resnet18"], []),
    ],
)
def test_a_folder_is_a_model_where_its_configuration_says_so(tmp_path: Path, config: object, found: list[str]) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert found_models(tmp_path) == found


def test_weights_alone_are_no_model(tmp_path: Path) -> None:
    for name in ("a.safetensors", "b.pt", "c.pth", ".d.onnx", "notes.txt"):
        (tmp_path / name).write_bytes(b"weights")
    assert found_models(tmp_path) == []
    assert found_weights(tmp_path) == ["a.safetensors", "b.pt", "c.pth"]


def test_folders_of_class_folders_are_images_also_one_level_below(tmp_path: Path) -> None:
    for name in ("photos", "data/val"):
        for kind in ("cat", "dog"):
            draw_grey(tmp_path / name / kind / "1.png", 0)
    (tmp_path / "photos" / "classes.yaml").touch()
    assert found_images(tmp_path) == ["photos", "data/val"]


def test_other_folders_are_no_images(tmp_path: Path) -> None:
    draw_grey(tmp_path / "one" / "cat" / "1.png", 0)
    for kind in ("cat", "dog"):
        draw_grey(tmp_path / "code" / kind / "1.png", 0)
        (tmp_path / "empty" / kind).mkdir(parents=True)
    (tmp_path / "code" / "main.py").touch()
    assert found_images(tmp_path) == []


def test_a_csv_file_is_a_list_of_images_by_its_columns(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file,label,group\na.png,cat,night\n", encoding="utf-8")
    (tmp_path / "prices.csv").write_text("item,price\n", encoding="utf-8")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    assert found_images(tmp_path) == ["list.csv"]
