"""Readings of an image: what a model is shown that has one normalisation in itself and was trained with another."""

import pytest
import torch

from pytest_robustness.readings import READINGS, Reading

NAMES = {reading.name: reading for reading in READINGS}
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def shown(reading: Reading, images: torch.Tensor) -> torch.Tensor:
    """What the reading shows the model."""
    return reading(images)


def normalised(images: torch.Tensor, values: tuple[tuple[float, ...], tuple[float, ...]]) -> torch.Tensor:
    mean, deviation = (torch.tensor(value).reshape(3, 1, 1) for value in values)
    return (images - mean) / deviation


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))


def test_a_model_without_a_normalisation_is_shown_the_wanted_one(images: torch.Tensor) -> None:
    for name, values in (("ImageNet's", IMAGENET), ("CIFAR-10's", CIFAR)):
        torch.testing.assert_close(shown(NAMES[f"{name} mean and deviation"], images), normalised(images, values))
    torch.testing.assert_close(shown(NAMES["values from 0 to 255"], images), 255 * images)
    torch.testing.assert_close(shown(NAMES["values from -1 to 1"], images), 2 * images - 1)


def test_a_normalisation_that_is_undone_leaves_the_image(images: torch.Tensor) -> None:
    inside = shown(NAMES["ImageNet's mean and deviation undone"], images)
    torch.testing.assert_close(normalised(inside, IMAGENET), images)
    torch.testing.assert_close(255 * shown(NAMES["values from 0 to 255 undone"], images), images)


def test_a_normalisation_in_place_of_another_is_the_wanted_one_behind_the_other(images: torch.Tensor) -> None:
    inside = shown(NAMES["CIFAR-10's mean and deviation in place of ImageNet's mean and deviation"], images)
    torch.testing.assert_close(normalised(inside, IMAGENET), normalised(images, CIFAR))


def test_red_and_blue_swapped(images: torch.Tensor) -> None:
    assert torch.equal(shown(NAMES["red and blue swapped"], images), images[:, [2, 1, 0]])


def test_there_is_one_for_each_pair_of_five_ranges_and_one_for_the_channels() -> None:
    assert len(NAMES) == len(READINGS) == 5 * 4 + 1
