"""Models of transformers, run by `test_models` in a process of their own: its loading changes torch for the whole process."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pytest_robustness.models import load_model
from tests.test_models import picture, prepared, refusal

__all__ = ["picture"]


@pytest.fixture(scope="module")
def transformers() -> Any:
    return pytest.importorskip("transformers")


def resnet(transformers: Any) -> Any:
    config = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8],
        depths=[1, 1],
        layer_type="basic",
        num_labels=3,
        id2label={0: "a", 1: "b", 2: "c"},
        label2id={"a": 0, "b": 1, "c": 2},
    )
    return transformers.ResNetForImageClassification(config).eval()


PROCESSORS: dict[str, Callable[[Any], Any]] = {
    "vit": lambda library: library.ViTImageProcessor(size={"height": 48, "width": 64}),
    "clip": lambda library: library.CLIPImageProcessor(
        size={"shortest_edge": 64}, crop_size={"height": 56, "width": 48}
    ),
    "convnext": lambda library: library.ConvNextImageProcessor(size={"shortest_edge": 56}, crop_pct=0.875),
    "convnext, large": lambda library: library.ConvNextImageProcessor(size={"shortest_edge": 384}),
    "no normalisation": lambda library: library.ViTImageProcessor(
        size={"height": 48, "width": 48}, do_normalize=False, resample=3
    ),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_classifier_of_transformers_sees_what_its_processor_would_show_it(
    transformers: Any, tmp_path: Path, picture: Path, name: str
) -> None:
    model, processor, folder = resnet(transformers), PROCESSORS[name](transformers), tmp_path / "own"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    loaded = load_model(f"hf:{folder}")
    assert loaded.classes == ("a", "b", "c")
    with Image.open(picture) as opened, torch.no_grad():
        pixels = processor(opened, return_tensors="pt")["pixel_values"]
        theirs = model(pixels).logits
        shown = (prepared(picture, loaded.preprocessing.geometry) - loaded.mean) / loaded.std
        ours = loaded(prepared(picture, loaded.preprocessing.geometry))
    assert shown.shape == pixels.shape
    # Processors resize tensors or pictures, by the version, and round in between.
    assert (shown - pixels).abs().max() < 2.5 / 255 / min(loaded.preprocessing.std)
    assert torch.allclose(ours, theirs, atol=0.05)


def test_files_of_transformers_can_be_pinned_and_pickles_are_not_read(transformers: Any, tmp_path: Path) -> None:
    model, folder = resnet(transformers), tmp_path / "own"
    model.save_pretrained(folder)
    PROCESSORS["vit"](transformers).save_pretrained(folder)
    weights = folder / "model.safetensors"
    load_model(f"hf:{folder}", sha256=hashlib.sha256(weights.read_bytes()).hexdigest())
    assert refusal(f"hf:{folder}", sha256="0" * 64).startswith(f"{weights}: expected sha256 ")
    weights.unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    said = refusal(f"hf:{folder}")
    assert said.startswith(
        f"hf:{folder}: expected its files in the cache, in a folder, or to be fetched, got OSError: "
    )
    assert refusal(f"hf:{folder}", state="weights.pth") == (
        f"hf:{folder}: expected no state= beside a model of transformers; save it with save_pretrained and name the folder"
    )


def test_names_that_are_only_numbers_are_no_names(transformers: Any, tmp_path: Path) -> None:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=3)
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path / "own")
    PROCESSORS["vit"](transformers).save_pretrained(tmp_path / "own")
    assert load_model(f"hf:{tmp_path / 'own'}").classes == ()
    assert refusal(f"hf:{tmp_path / 'own'}", classes=["a", "b"]) == (
        f"hf:{tmp_path / 'own'}: expected 3 classes, one for each output, got 2; name them in the order of the outputs"
    )
