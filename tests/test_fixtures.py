"""The embedded default: the drawn set is what its scripts draw, and the two classifiers are what they are said to be."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fixtures.classifiers import CLASSES, GROUPS, SmallCNN, load_classifier
from fixtures.draw import draw_picture, files, training_set
from fixtures.train import RECIPES, Recipe, train
from pytest_robustness import FGSM, PGD, Blend, Engine, GaussianNoise, Robustness, SmoothingVote, image_folder

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="module")
def plain() -> Robustness:
    return Robustness(Engine(load_classifier("plain"), image_folder(FIXTURES / "images"), device="cpu"))


@pytest.fixture(scope="module")
def hardened() -> Robustness:
    return Robustness(Engine(load_classifier("hardened"), image_folder(FIXTURES / "images"), device="cpu"))


def test_redrawing_every_file_gives_the_same_bytes() -> None:
    drawn = dict(files())
    committed = [path.relative_to(FIXTURES) for path in (*FIXTURES.glob("images/*/*"), *FIXTURES.glob("overlays/*"))]
    assert sorted(drawn) == sorted(committed)
    assert [path for path, content in drawn.items() if (FIXTURES / path).read_bytes() != content] == []


def test_there_are_300_held_out_pictures_of_twelve_classes_in_three_groups() -> None:
    images = image_folder(FIXTURES / "images")
    assert images.classes == CLASSES
    assert len(images) == 300
    assert [len(names) for names in GROUPS.values()] == [4, 4, 4]
    assert sorted(name for names in GROUPS.values() for name in names) == list(CLASSES)
    for name in CLASSES:
        assert sum(image.id.startswith(f"{name}/") for image in images.images) == 25
    assert images.batch([images.images[0].id]).images.shape == (1, 3, 64, 64)


def test_overlays_are_opaque_transparent_and_small_enough_to_tile() -> None:
    kinds = {}
    for path in FIXTURES.glob("overlays/*.png"):
        with Image.open(path) as image:
            kinds[path.name] = (image.mode, image.size)
    assert kinds == {
        "leopard_spots.png": ("RGBA", (96, 96)),
        "tartan.png": ("RGB", (16, 16)),
        "zebra_stripes.png": ("RGB", (128, 128)),
    }


def test_a_picture_depends_on_its_class_and_seed_alone() -> None:
    again = [draw_picture("zebra", "held-out/3"), draw_picture("zebra", "held-out/3")]
    assert np.array_equal(*again)
    assert not np.array_equal(again[0], draw_picture("zebra", "held-out/4"))
    assert np.array_equal(again[0], np.asarray(Image.open(FIXTURES / "images" / "zebra" / "zebra_003.png")))


def test_no_held_out_picture_was_trained_on() -> None:
    held_out = {hashlib.sha256(np.asarray(Image.open(p)).tobytes()).digest() for p in FIXTURES.glob("images/*/*")}
    assert len(held_out) == 300
    for seed in (1, 2):
        pictures, labels = training_set(6, seed)
        assert pictures.shape == (72, 64, 64, 3)
        assert sorted(set(labels.tolist())) == list(range(12))
        assert not held_out & {hashlib.sha256(picture.tobytes()).digest() for picture in pictures}


def test_the_network_is_the_sources_small_cnn() -> None:
    network = SmallCNN()
    kinds = [type(module) for module in network.modules()]
    filters = [module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert filters == [16, 32, 64]
    assert [kinds.count(kind) for kind in (nn.BatchNorm2d, nn.MaxPool2d, nn.Linear)] == [3, 3, 2]
    assert nn.Dropout in kinds


@pytest.mark.parametrize("name", ["plain", "hardened"])
def test_a_classifier_is_a_small_file_in_evaluation_mode(name: str) -> None:
    assert (FIXTURES / "weights" / f"{name}.safetensors").stat().st_size < 2_000_000
    classifier = load_classifier(name)  # type: ignore[arg-type]
    assert not any(module.training for module in classifier.modules())
    with torch.no_grad():
        assert classifier(torch.rand(2, 3, 64, 64)).shape == (2, 12)


def test_both_classifiers_know_clean_pictures(plain: Robustness, hardened: Robustness) -> None:
    assert plain.accuracy() >= 0.95
    assert hardened.accuracy() >= 0.95


def test_gradient_attacks_break_the_plain_one_and_not_the_hardened_one(plain: Robustness, hardened: Robustness) -> None:
    assert plain.accuracy(FGSM(), 4 / 255) < 0.5
    assert hardened.accuracy(FGSM(), 4 / 255) >= 0.85
    every_third = [image.id for image in plain.engine.images.images[::3]]
    assert plain.accuracy(PGD(steps=10), 4 / 255, images=every_third) < 0.25
    assert hardened.accuracy(PGD(steps=10), 4 / 255, images=every_third) >= 0.8


def test_noise_breaks_the_plain_one_and_not_the_hardened_one(plain: Robustness, hardened: Robustness) -> None:
    assert plain.accuracy(GaussianNoise(), 0.125) < 0.4
    assert hardened.accuracy(GaussianNoise(), 0.125) >= 0.95
    assert hardened.behind(SmoothingVote()).accuracy(GaussianNoise(), 0.25) >= 0.9
    assert plain.behind(SmoothingVote()).accuracy(GaussianNoise(), 0.125) > plain.accuracy(GaussianNoise(), 0.125)


def test_texture_wins_over_shape_in_the_plain_one_and_not_in_the_hardened_one(
    plain: Robustness, hardened: Robustness
) -> None:
    zebra = Blend(FIXTURES / "overlays" / "zebra_stripes.png")
    elephants = [image.id for image in plain.engine.images.images if image.id.startswith("elephant/")]
    answers = [outcome.predicted for outcome in plain.engine.evaluate(elephants, zebra, 0.25).outcomes]
    assert answers.count("zebra") >= 20
    assert answers.count("elephant") <= 2
    hardened.assert_holds_until(elephants, zebra, 0.25)


def test_the_recipe_is_the_sources() -> None:
    for recipe in RECIPES.values():
        assert (recipe.patience, recipe.min_delta > 0) == (5, True)
    assert RECIPES["plain"].epsilon == RECIPES["plain"].sigma == RECIPES["plain"].alpha == 0
    assert RECIPES["hardened"].epsilon > 0


def test_training_learns_and_logs_an_epoch_a_line() -> None:
    lines: list[str] = []
    torch.manual_seed(0)
    classifier = train(Recipe(per_class=8, epochs=3), lines.append)
    assert [line[:8] for line in lines] == ["epoch  1", "epoch  2", "epoch  3"]
    assert not classifier.training
    losses = [float(line.split("training loss ")[1].split()[0]) for line in lines]
    assert losses[-1] < losses[0]


def test_training_stops_early_when_the_loss_no_longer_falls_and_keeps_the_best_weights() -> None:
    lines: list[str] = []
    torch.manual_seed(0)
    # No improvement is large enough after the first epoch: the patience of two epochs runs out.
    train(Recipe(per_class=4, epochs=9, patience=2, min_delta=100.0), lines.append)
    assert len(lines) == 3
