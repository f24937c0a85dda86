"""The plates of frost: always the same, in the colours of the photos they stand for, without seams."""

import pytest
import torch

from pytest_robustness.corruptions.ice import _PLATES, _SIDE, _drawn, _scaled, frost
from pytest_robustness.seeding import Streams


def streams(n: int) -> Streams:
    return Streams(0, "test", tuple(map(str, range(n))))


def test_plates_are_drawn_the_same_again_and_within_the_range_of_an_image() -> None:
    plates = _drawn()
    assert plates.shape == (6, 3, _SIDE, _SIDE)
    assert 0 <= plates.min() < plates.max() <= 1
    assert torch.equal(_drawn.__wrapped__(), plates)


@pytest.mark.parametrize("number", range(6))
def test_a_plate_has_the_colours_of_its_photo(number: int) -> None:
    """Mean and deviation of each channel, which clipping to [0, 1] changes by less than two steps of 255."""
    plate, pixels = _PLATES[number], 255 * _drawn()[number].flatten(1)
    assert torch.allclose(pixels.mean(1), torch.tensor(plate.mean).float(), rtol=0, atol=2)
    assert torch.allclose(pixels.std(1), torch.tensor(plate.deviation).float(), rtol=0, atol=2)


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("axis", [1, 2])
def test_a_plate_has_no_seam_where_it_meets_itself(number: int, axis: int) -> None:
    plate = _drawn()[number]
    steps = (plate.roll(-1, axis) - plate).abs().mean(tuple({0, 1, 2} - {axis}))
    assert steps[-1] < 1.5 * steps.mean()


def test_an_image_sees_the_part_of_a_plate_that_its_stream_says() -> None:
    """The first number chooses the plate, two the place, two whether it is mirrored; plain slices here."""
    height, width, n = 40, 30, 64
    seen = frost(torch.zeros(n, 3, height, width), streams(n), 1, 1, 1)
    drawn = streams(n).uniform(torch.empty(n, 5))
    plates = _scaled(1.0, torch.device("cpu"))
    for image, (plate, down, across, upside, leftside) in zip(seen, drawn, strict=True):
        top, left = int(down * (_SIDE - height + 1)), int(across * (_SIDE - width + 1))
        part = plates[int(plate * 6), top : top + height, left : left + width].permute(2, 0, 1)
        mirrored = [axis for axis, number in ((1, upside), (2, leftside)) if number < 0.5]
        assert torch.equal(image, part.flip(mirrored))


def test_every_plate_is_seen_about_as_often() -> None:
    """By the mean of red, which tells the plates apart but for the two white ones: binomial, to four deviations."""
    seen = frost(torch.zeros(600, 3, 8, 8), streams(600), 1, 1, 1)
    white = (seen[:, 0].mean((1, 2)) > 0.6).sum().item()
    assert abs(white - 200) < 60


@pytest.mark.parametrize("size", [(600, 500), (512, 512), (300, 900)], ids=str)
def test_a_plate_grows_with_images_that_are_larger(size: tuple[int, int]) -> None:
    seen = frost(torch.zeros(1, 3, *size), streams(1), 1, 1, 1)
    assert seen.shape == (1, 3, *size)
    assert seen.std() > 0.02


def test_the_ice_on_small_images_is_finer() -> None:
    """At a fifth of the scale, a step from one pixel to the next goes as far as five."""
    coarse, fine = (frost(torch.zeros(200, 3, 32, 32), streams(200), 1, 1, scale) for scale in (1.0, 0.2))
    assert fine.diff(dim=3).abs().mean() > 1.2 * coarse.diff(dim=3).abs().mean()
    assert _scaled(0.2, torch.device("cpu")).shape == (6, 103, 103, 3)
