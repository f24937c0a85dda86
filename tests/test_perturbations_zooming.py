"""Scaling by closed forms: a linear ramp stays linear, and its slope tells the scale."""

import pytest
import torch

from pytest_robustness.errors import InputError
from pytest_robustness.perturbations import Scale, ZoomBlur
from pytest_robustness.seeding import Streams

STREAMS = Streams(0, "test", ("a.png", "b.png", "c.png", "d.png"))


def ramp(height: int = 21, width: int = 31, *, down: float = 0.004, right: float = 0.01) -> torch.Tensor:
    """0.5 in the centre, changing by so much from pixel to pixel."""
    rows = (torch.arange(height) - (height - 1) / 2).unsqueeze(1) * down
    columns = (torch.arange(width) - (width - 1) / 2) * right
    return (0.5 + rows + columns).expand(1, 3, -1, -1)


def noise_images(n: int = 4, height: int = 9, width: int = 12) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_larger_image_shows_the_rest_of_its_sides(share: float) -> None:
    found = Scale(toward="larger")(ramp(), torch.tensor([share]), STREAMS.select([0]))
    expected = ramp(down=0.004 * (1 - share), right=0.01 * (1 - share))
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_a_smaller_image_is_steeper_within_its_sides(share: float) -> None:
    found = Scale()(ramp(), torch.tensor([share]), STREAMS.select([0]))
    expected = ramp(down=0.004 / (1 - share), right=0.01 / (1 - share))
    # Away from the border, where the smoothing meets what lies beyond.
    assert torch.allclose(found[..., 8:-8, 12:-12], expected[..., 8:-8, 12:-12], rtol=0, atol=1e-4)


def test_around_a_smaller_image_lies_what_the_border_says() -> None:
    image = torch.full((1, 3, 20, 20), 0.7)
    strengths = torch.tensor([0.5])
    inside = torch.zeros(20, 20, dtype=torch.bool)
    inside[5:15, 5:15] = True
    black = Scale(border="black")(image, strengths, STREAMS.select([0]))[0, 0]
    assert torch.allclose(black[inside], torch.full((100,), 0.7), rtol=0, atol=1e-5)
    assert torch.allclose(black[~inside], torch.zeros(300), rtol=0, atol=1e-5)
    for border in ("reflect", "replicate"):
        full = Scale(border=border)(image, strengths, STREAMS.select([0]))  # type: ignore[arg-type]
        assert torch.allclose(full, image, rtol=0, atol=1e-5)


def test_fine_stripes_fade_in_a_smaller_image() -> None:
    """Every other column white: shrunk to a quarter without smoothing, any mixture of them would be picked out."""
    stripes = (torch.arange(64) % 2).float().expand(1, 3, 64, 64)
    small = Scale(border="black")(stripes, torch.tensor([0.75]), STREAMS.select([0]))[..., 26:38, 26:38]
    assert torch.allclose(small, torch.full_like(small, 0.5), rtol=0, atol=0.01)


def test_a_zoom_during_the_exposure_is_a_mean_over_zooms() -> None:
    """A ramp keeps its form; its slope is the mean of 1 / zoom over 1, 1.2 and 1.4."""
    found = ZoomBlur(steps=3)(ramp(), torch.tensor([0.4]), STREAMS.select([0]))
    slope = (1 + 1 / 1.2 + 1 / 1.4) / 3
    assert torch.allclose(found, ramp(down=0.004 * slope, right=0.01 * slope), rtol=0, atol=1e-5)


def test_a_zoom_keeps_the_centre_sharp() -> None:
    image = torch.zeros(1, 3, 41, 41)
    image[..., 20, 20] = 1
    image[..., 2, 2] = 1
    blurred = ZoomBlur()(image, torch.tensor([0.2]), STREAMS.select([0]))[0, 0]
    assert blurred[20, 20].item() == pytest.approx(1, abs=1e-5)
    assert blurred[:10, :10].max().item() < 0.2


def test_more_steps_of_a_zoom_agree_better() -> None:
    images, strengths = noise_images(), torch.full((4,), 0.3)
    finest = ZoomBlur(steps=200)(images, strengths, STREAMS)
    coarse, fine = ((ZoomBlur(steps=n)(images, strengths, STREAMS) - finest).abs().mean() for n in (3, 40))
    assert fine < coarse / 5


@pytest.mark.parametrize("steps", [1, 0, 2.5, True])
def test_a_zoom_in_less_than_two_steps_is_refused(steps: int) -> None:
    with pytest.raises(InputError) as error:
        ZoomBlur(steps=steps)
    assert str(error.value) == f"ZoomBlur(steps={steps!r}): expected steps to be a whole number >= 2, got {steps!r}"


def test_settings_of_a_scale_that_mean_nothing_are_refused() -> None:
    with pytest.raises(InputError) as error:
        Scale(toward="wider")  # type: ignore[arg-type]
    assert str(error.value) == "Scale(toward='wider'): expected toward 'smaller' or 'larger', got 'wider'"
    with pytest.raises(InputError) as error:
        Scale(border="mirror")  # type: ignore[arg-type]
    assert str(error.value) == (
        "Scale(border='mirror'): expected border 'reflect', 'replicate' or 'black', got 'mirror'"
    )
