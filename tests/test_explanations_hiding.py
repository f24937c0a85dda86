"""Hidden superpixels by their pixels, and who is asked about them."""

import hashlib
import re
from typing import Any

import pytest
import torch

from pytest_robustness.errors import InputError
from pytest_robustness.explanations import Anchors, Lime
from pytest_robustness.explanations.hiding import Asked, Backgrounds, Fill, Scene, asking
from pytest_robustness.explanations.segments import Grid
from tests.attack_models import noise_images
from tests.explanation_models import Learning, classes, state

# Two images of 4 x 6 pixels: halves, and three columns.
SEGMENTS = torch.stack([torch.arange(6) // 3, torch.arange(6) // 2]).unsqueeze(1).expand(2, 4, 6)


def images() -> torch.Tensor:
    return noise_images(2)[:, :, :4]


def scene(fill: Fill = "mean") -> Scene:
    return Scene.of("x", images(), SEGMENTS, fill)


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
    message = "'x': expected backgrounds of the images' 6 x 4 pixels, got 9 x 8"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        scene(backgrounds)


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        (
            SEGMENTS[:, :3],
            "'x': expected segments (2, 4, 6) int64, the superpixel of every pixel, got (2, 3, 6) int64",
        ),
        (
            SEGMENTS.int(),
            "'x': expected segments (2, 4, 6) int64, the superpixel of every pixel, got (2, 4, 6) int32",
        ),
        (
            SEGMENTS + 1,
            "'x': expected superpixels numbered from 0 without gaps, got 2 from 1 to 2 in image 0 of the batch; "
            "number them by torch.unique(..., return_inverse=True)",
        ),
        (
            SEGMENTS + (SEGMENTS == 2) * 3,
            "'x': expected superpixels numbered from 0 without gaps, got 3 from 0 to 5 in image 1 of the batch; "
            "number them by torch.unique(..., return_inverse=True)",
        ),
    ],
)
def test_segments_that_do_not_fit_are_refused(segments: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Scene.of("x", images(), segments, "mean")


def test_a_hidden_superpixel_has_its_mean_colour_grey_or_a_number() -> None:
    images = torch.tensor([[0.0, 0.2, 0.6, 1.0], [0.0, 0.0, 1.0, 1.0], [0.4, 0.4, 0.4, 0.4]]).reshape(1, 3, 1, 4)
    segments = torch.tensor([0, 0, 1, 1]).reshape(1, 1, 4)

    def hidden(fill: Fill) -> torch.Tensor:
        return Scene.of("x", images, segments, fill).fills[:, 0]

    by_mean = hidden("mean").reshape(3, 4)
    assert torch.allclose(by_mean, torch.tensor([[0.1, 0.1, 0.8, 0.8], [0, 0, 1, 1], [0.4, 0.4, 0.4, 0.4]]))
    assert torch.equal(hidden("grey"), torch.full_like(images, 0.5))
    assert torch.equal(hidden(0), torch.zeros_like(images))
    assert torch.equal(hidden(0.25), torch.full_like(images, 0.25))


def test_each_row_shows_the_superpixels_that_are_on() -> None:
    images, segments = noise_images(2, 4), Grid(2, 2)(noise_images(2, 4))
    masks = torch.tensor([[True, False, False, True, False], [False, True, True, False, False]])
    made = Scene.of("x", images, segments, "grey").shown(torch.arange(2), masks, torch.zeros(2))
    for row, on in enumerate(([0, 3], [1, 2])):
        here = torch.isin(segments[row], torch.tensor(on))
        assert torch.equal(made[row][:, here], images[row][:, here])
        assert (made[row][:, ~here] == 0.5).all()


@pytest.mark.parametrize("fill", ["black", 1.5, -0.1, float("nan"), True, None, torch.zeros(1, 3, 8, 8)], ids=str)
@pytest.mark.parametrize("explainer", [Lime, Anchors])
def test_a_fill_is_a_word_a_number_of_a_pixel_or_backgrounds(explainer: Any, fill: object) -> None:
    got = "Tensor" if isinstance(fill, torch.Tensor) else repr(fill)
    message = f"{explainer.__name__}: expected fill to be 'mean', 'grey', a number from 0 to 1 or Backgrounds(images), got {got}"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        explainer(fill=fill)


def test_those_who_ask_are_told_of_their_own_masks_in_the_order_in_which_they_ask() -> None:
    """Two rows ask for two and for three masks, in batches of both."""
    asked = {
        1: Asked(masks("111", "010"), torch.zeros(2)),
        0: Asked(masks("10", "11", "01"), torch.zeros(3)),
    }
    sizes = []

    def model(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return images.flatten(1)

    def read(logits: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
        return 100 * of + logits.sum(1)

    found = scene("grey").answers(model, classes(3, 7), asked, read)
    assert sizes == [5]
    for row, said, (own, chances) in zip((1, 0), found, asked.values(), strict=True):
        padded = torch.nn.functional.pad(own, (0, 3 - own.shape[1]))
        shown = scene("grey").shown(torch.full((len(own),), row), padded, chances)
        assert torch.allclose(said, 100 * (3, 7)[row] + shown.flatten(1).sum(1))


def test_a_model_is_asked_frozen_and_without_gradients_and_left_as_it_was() -> None:
    model = Learning()
    before = state(model)
    with asking(model):
        assert not model.training
        assert not torch.is_grad_enabled()
    assert state(model) == before
    assert torch.is_grad_enabled()
