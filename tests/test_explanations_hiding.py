"""Hidden superpixels by their pixels."""

import hashlib
import re

import pytest
import torch

from pytest_robustness.errors import InputError
from pytest_robustness.explanations.hiding import Backgrounds, Fill, Scene
from tests.attack_models import noise_images

# Two images of 4 x 6 pixels: halves, and three columns.
SEGMENTS = torch.stack([torch.arange(6) // 3, torch.arange(6) // 2]).unsqueeze(1).expand(2, 4, 6)


def images() -> torch.Tensor:
    return noise_images(2)[:, :, :4]


def scene(fill: Fill = "mean") -> Scene:
    return Scene.of(images(), SEGMENTS, fill)


def masks(*rows: str) -> torch.Tensor:
    return torch.tensor([[letter == "1" for letter in row] for row in rows])


def test_a_visible_superpixel_stays_to_the_bit_and_a_hidden_one_is_its_mean_colour() -> None:
    shown = scene().shown(torch.tensor([1, 0]), masks("101", "010"), torch.zeros(2))
    assert torch.equal(shown[0, :, :, [0, 1, 4, 5]], images()[1, :, :, [0, 1, 4, 5]])
    middle = images()[1, :, :, 2:4]
    assert torch.allclose(shown[0, :, :, 2:4], middle.mean((1, 2), keepdim=True).expand_as(middle))
    assert torch.equal(shown[1, :, :, 3:], images()[0, :, :, 3:])
    left = images()[0, :, :, :3]
    assert torch.allclose(shown[1, :, :, :3], left.mean((1, 2), keepdim=True).expand_as(left))


def test_superpixels_are_counted_image_by_image() -> None:
    assert scene().superpixels == (2, 3)


def test_each_background_shows_through_for_its_share_of_the_chances() -> None:
    other = torch.rand(4, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    rows = torch.tensor([0, 1, 0, 1, 0])
    chances = torch.tensor([0.0, 0.3, 0.6, 0.99999, 1 - 2**-24])
    shown = scene(Backgrounds(other)).shown(rows, torch.zeros(5, 3, dtype=torch.bool), chances)
    assert torch.equal(shown, other[[0, 1, 2, 3, 3]])
    shown = scene(Backgrounds(other)).shown(rows[:1], masks("100"), chances[:1])
    assert torch.equal(shown[0, :, :, :3], images()[0, :, :, :3])
    assert torch.equal(shown[0, :, :, 3:], other[0, :, :, 3:])


def test_backgrounds_are_known_by_their_pixels() -> None:
    pixels = torch.zeros(2, 3, 4, 6)
    digest = hashlib.sha256(bytes(4 * pixels.numel())).hexdigest()[:12]
    assert repr(Backgrounds(pixels)) == f"Backgrounds(2 of 6 x 4, {digest})"
    assert Backgrounds(pixels) == Backgrounds(pixels.clone())
    assert hash(Backgrounds(pixels)) == hash(Backgrounds(pixels.clone()))
    assert Backgrounds(pixels) != Backgrounds(pixels + 0.5)
    assert Backgrounds(pixels) != "mean"


@pytest.mark.parametrize("shape", [(3, 4, 6), (2, 1, 4, 6), (0, 3, 4, 6)])
def test_backgrounds_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    message = f"Backgrounds: expected images (m, 3, h, w), at least one, got {shape}"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Backgrounds(torch.zeros(shape))


def test_backgrounds_of_integers_are_refused() -> None:
    message = "expected images as floats in [0, 1], got torch.uint8; divide bytes by 255"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Backgrounds(torch.zeros(1, 3, 4, 6, dtype=torch.uint8))


def test_backgrounds_of_another_size_than_the_images_are_refused() -> None:
    backgrounds = Backgrounds(torch.zeros(1, 3, 8, 9))
    message = f"{backgrounds!r}: expected backgrounds of the images' 6 x 4 pixels, got 9 x 8"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        scene(backgrounds)


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        (SEGMENTS[:, :3], "expected segments (2, 4, 6) of torch.int64, got (2, 3, 6) of torch.int64"),
        (SEGMENTS.int(), "expected segments (2, 4, 6) of torch.int64, got (2, 4, 6) of torch.int32"),
        (SEGMENTS + 1, "expected segments numbered from 0 without gaps, got 2 numbers from 1 to 2 in image 0"),
        (
            SEGMENTS + (SEGMENTS == 2) * 3,
            "expected segments numbered from 0 without gaps, got 3 numbers from 0 to 5 in image 1",
        ),
    ],
)
def test_segments_that_do_not_fit_are_refused(segments: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Scene.of(images(), segments, "mean")


def test_images_of_integers_are_refused() -> None:
    message = "expected images as floats in [0, 1], got torch.uint8; divide bytes by 255"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Scene.of(images().byte(), SEGMENTS, "mean")
