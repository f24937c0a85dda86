"""Turning, moving and shearing: by whole pixels and right angles exactly, in between beside kornia."""

import math

import pytest
import torch
from kornia.geometry.transform import warp_affine

from pytest_robustness.errors import InputError
from pytest_robustness.perturbations import Rotation, Shear, Translation
from pytest_robustness.perturbations.geometry import Surroundings
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Perturbation

STREAMS = Streams(0, "test", ("a.png", "b.png", "c.png", "d.png"))


def noise_images(n: int = 4, height: int = 9, width: int = 9) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def of_one(stress: Perturbation, image: torch.Tensor, strength: float) -> torch.Tensor:
    """A single image (3, h, w) under a stress."""
    return stress(image[None], torch.tensor([float(strength)]), STREAMS.select([0]))[0]


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("border", ["reflect", "replicate", "black"])
@pytest.mark.parametrize("size", [8, 9])
def test_a_quarter_turn_of_a_square_moves_every_pixel_to_another(size: int, border: Surroundings) -> None:
    """To the left is counterclockwise."""
    image = noise_images(1, size, size)[0]
    assert same(of_one(Rotation(direction="left", border=border), image, 90), image.rot90(1, (1, 2)))
    assert same(of_one(Rotation(direction="right", border=border), image, 90), image.rot90(-1, (1, 2)))


def test_half_a_turn_mirrors_both_sides_whatever_the_shape() -> None:
    image = noise_images(1, 5, 12)[0]
    for direction in ("left", "right", None):
        assert same(of_one(Rotation(direction=direction), image, 180), image.flip(1, 2))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(16, 16), (9, 20)], ids=str)
@pytest.mark.parametrize("degrees", [3.0, 30.0, 77.0])
def test_a_turn_is_kornias_about_the_centre(degrees: float, size: tuple[int, int]) -> None:
    images = noise_images(2, *size)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = (size[1] - 1) / 2, (size[0] - 1) / 2
    # From pixel to pixel, with y down.
    matrix = torch.tensor([[cosine, sine, x - cosine * x - sine * y], [-sine, cosine, y + sine * x - cosine * y]])
    expected = warp_affine(images, matrix.expand(2, -1, -1), size, padding_mode="zeros", align_corners=True)
    found = Rotation(direction="left", border="black")(images, torch.full((2,), degrees), STREAMS.select([0, 1]))
    assert same(found, expected)


def test_a_shift_by_whole_pixels_moves_them_exactly() -> None:
    image = noise_images(1, 8, 10)[0]
    assert same(of_one(Translation(angle=0, border="black"), image, 0.2)[..., 2:], image[..., :-2])
    assert same(of_one(Translation(angle=180, border="black"), image, 0.2)[..., :-2], image[..., 2:])
    assert same(of_one(Translation(angle=90, border="black"), image, 0.25)[..., :-2, :], image[..., 2:, :])
    assert same(of_one(Translation(angle=270, border="black"), image, 0.25)[..., 2:, :], image[..., :-2, :])


def test_beyond_the_border_lies_what_the_setting_says() -> None:
    """Three pixels, moved to the right by two."""
    image = torch.tensor([0.2, 0.5, 0.9]).expand(3, 1, 3)
    for border, expected in (
        ("reflect", [0.5, 0.2, 0.2]),
        ("replicate", [0.2, 0.2, 0.2]),
        ("black", [0.0, 0.0, 0.2]),
    ):
        moved = of_one(Translation(angle=0, border=border), image, 2 / 3)  # type: ignore[arg-type]
        assert moved[0, 0].tolist() == pytest.approx(expected, abs=1e-5)


def test_half_a_pixel_is_the_mean_of_two() -> None:
    image = torch.tensor([0.2, 0.4, 0.8, 1.0]).expand(3, 1, 4)
    assert of_one(Translation(angle=0), image, 1 / 8)[0, 0, 1:].tolist() == pytest.approx([0.3, 0.6, 0.9])


@pytest.mark.parametrize("size", [(8, 10), (1, 6), (6, 1)], ids=str)
def test_an_image_moved_by_the_whole_of_its_sides_is_gone(size: tuple[int, int]) -> None:
    for angle in (0, 90, 180, 270):
        image = noise_images(1, *size)[0]
        assert same(of_one(Translation(angle=angle, border="black"), image, 1.0), torch.zeros_like(image))


def test_a_sheared_image_leans_to_its_direction() -> None:
    """At 45 degrees each row is a pixel further than the one below, and the middle one stays."""
    image = noise_images(1, 3, 7)[0]
    right = of_one(Shear(direction="right", border="black"), image, 45)
    assert same(right[:, 1], image[:, 1])
    assert same(right[:, 0, 1:], image[:, 0, :-1])
    assert same(right[:, 2, :-1], image[:, 2, 1:])
    left = of_one(Shear(direction="left", border="black"), image, 45)
    assert same(left, of_one(Shear(direction="right", border="black"), image.flip(2), 45).flip(2))


@pytest.mark.parametrize("make", [Rotation, Shear])
def test_the_direction_is_drawn_for_each_image_half_to_either_side(make: type[Rotation] | type[Shear]) -> None:
    n = 200
    images = noise_images(1).expand(n, -1, -1, -1)
    streams, strengths = Streams(0, "test", tuple(map(str, range(n)))), torch.full((n,), 20.0)
    drawn, left, right = (make(direction=side)(images, strengths, streams) for side in (None, "left", "right"))
    to_left = (drawn == left).flatten(1).all(1)
    to_right = (drawn == right).flatten(1).all(1)
    assert (to_left ^ to_right).all()
    assert to_left.float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_the_angle_of_a_shift_is_drawn_for_each_image() -> None:
    images = noise_images(1).expand(4, -1, -1, -1)
    moved = Translation()(images, torch.full((4,), 0.3), STREAMS)
    angles = torch.rad2deg(2 * math.pi * STREAMS.uniform(torch.empty(4)))
    for result, angle in zip(moved, angles.tolist(), strict=True):
        assert same(result, of_one(Translation(angle=angle), images[0], 0.3))


@pytest.mark.parametrize(
    ("make", "setting", "message"),
    [
        (Rotation, "direction", "expected direction 'left' or 'right', got 'up'; leave it out to have it drawn"),
        (Shear, "direction", "expected direction 'left' or 'right', got 'up'; leave it out to have it drawn"),
        (Translation, "angle", "expected angle to be a number of degrees, got 'up'; leave it out to have it drawn"),
        (Rotation, "border", "expected border 'reflect', 'replicate' or 'black', got 'up'"),
        (Translation, "border", "expected border 'reflect', 'replicate' or 'black', got 'up'"),
        (Shear, "border", "expected border 'reflect', 'replicate' or 'black', got 'up'"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(make: type, setting: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        make(**{setting: "up"})
    assert str(error.value) == f"{make.__name__}({setting}='up'): {message}"
