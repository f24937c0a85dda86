"""Light and colour by closed forms, and beside torchvision's, kornia's and Python's own."""

import colorsys
import math

import pytest
import torch
from kornia.enhance import adjust_hue
from torchvision.transforms.v2.functional import adjust_saturation

from pytest_robustness.errors import InputError
from pytest_robustness.perturbations import Brightness, Contrast, Hue, Saturation
from pytest_robustness.seeding import Streams

STREAMS = Streams(0, "test", ("a.png", "b.png", "c.png", "d.png"))
STRENGTHS = torch.tensor([0.0, 0.25, 0.5, 1.0])


def noise_images(n: int = 4, height: int = 5, width: int = 7) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def turned(colour: tuple[float, float, float], degrees: float, stress: Hue) -> list[float]:
    """One pixel of this colour after a turn."""
    pixel = torch.tensor(colour).reshape(1, 3, 1, 1)
    found: list[float] = stress(pixel, torch.tensor([degrees]), STREAMS.select([0])).flatten().tolist()
    return found


def test_brightness_is_added_or_taken_away() -> None:
    images = noise_images()
    change = STRENGTHS.reshape(-1, 1, 1, 1)
    assert torch.equal(Brightness()(images, STRENGTHS, STREAMS), images + change)
    assert torch.equal(Brightness(toward="black")(images, STRENGTHS, STREAMS), images - change)


def test_contrast_shrinks_differences_from_the_mean_of_the_channel() -> None:
    images = noise_images()
    means = images.mean((2, 3), keepdim=True)
    expected = means + (1 - STRENGTHS.reshape(-1, 1, 1, 1)) * (images - means)
    flat = Contrast()(images, STRENGTHS, STREAMS)
    assert torch.allclose(flat, expected, rtol=0, atol=1e-6)
    assert torch.allclose(flat[3], means[3].expand(3, 5, 7), rtol=0, atol=1e-6)
    assert torch.allclose(flat.mean((2, 3)), images.mean((2, 3)), rtol=0, atol=1e-6)


def test_saturation_fades_towards_grey_or_away_from_it_as_torchvision_does() -> None:
    images = noise_images() * 0.5 + 0.25
    for image, strength in zip(images, STRENGTHS.tolist(), strict=True):
        for toward, factor in (("grey", 1 - strength), ("vivid", 1 + strength)):
            stress = Saturation(toward=toward)  # type: ignore[arg-type]
            found = stress(image[None], torch.tensor([strength]), STREAMS.select([0]))[0].clamp(0, 1)
            # Its weights are rounded to four digits.
            assert torch.allclose(found, adjust_saturation(image, factor), rtol=0, atol=3e-4)


def test_without_saturation_all_channels_are_the_luma() -> None:
    pixel = torch.tensor([1.0, 0.5, 0.2]).reshape(1, 3, 1, 1)
    grey = Saturation()(pixel, torch.ones(1), STREAMS.select([0]))
    assert grey.flatten().tolist() == pytest.approx([0.299 + 0.587 * 0.5 + 0.114 * 0.2] * 3)


def test_greys_have_no_colour_to_lose_or_turn() -> None:
    grey = torch.tensor([0.0, 0.3, 0.6, 1.0]).reshape(4, 1, 1, 1).expand(4, 3, 2, 2)
    for stress in (Saturation(), Saturation(toward="vivid"), Hue()):
        assert torch.allclose(stress(grey, torch.ones(4), STREAMS), grey, rtol=0, atol=1e-6)


def test_red_turns_over_yellow_and_green_or_over_magenta_and_blue() -> None:
    red = (1.0, 0.0, 0.0)
    for degrees, over_yellow, over_magenta in (
        (30, [1, 0.5, 0], [1, 0, 0.5]),
        (60, [1, 1, 0], [1, 0, 1]),
        (120, [0, 1, 0], [0, 0, 1]),
        (180, [0, 1, 1], [0, 1, 1]),
    ):
        assert turned(red, degrees, Hue()) == pytest.approx(over_yellow, abs=1e-6)
        assert turned(red, degrees, Hue(toward="magenta")) == pytest.approx(over_magenta, abs=1e-6)


@pytest.mark.parametrize("degrees", [1.0, 45.0, 100.0, 180.0])
def test_a_turn_of_the_hue_is_that_of_the_hexcone(degrees: float) -> None:
    pixels = noise_images(1, 6, 6)
    found = Hue()(pixels, torch.tensor([degrees]), STREAMS.select([0]))[0].flatten(1).T.tolist()
    for before, after in zip(pixels[0].flatten(1).T.tolist(), found, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before)
        expected = colorsys.hsv_to_rgb((hue + degrees / 360) % 1, saturation, value)
        assert after == pytest.approx(expected, abs=1e-5)


def test_a_turn_of_the_hue_is_kornias() -> None:
    images, degrees = noise_images(4, 32, 32), torch.tensor([0.0, 20.0, 75.0, 180.0])
    for toward, sign in (("yellow", 1), ("magenta", -1)):
        found = Hue(toward=toward)(images, degrees, STREAMS)  # type: ignore[arg-type]
        assert torch.allclose(found, adjust_hue(images, sign * degrees * math.pi / 180), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Brightness, "Brightness(toward='up'): expected toward 'white' or 'black', got 'up'"),
        (Saturation, "Saturation(toward='up'): expected toward 'grey' or 'vivid', got 'up'"),
        (Hue, "Hue(toward='up'): expected toward 'yellow' or 'magenta', got 'up'"),
    ],
)
def test_an_unknown_direction_of_a_colour_is_refused(make: type, message: str) -> None:
    with pytest.raises(InputError) as error:
        make(toward="up")
    assert str(error.value) == message
