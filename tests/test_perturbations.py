"""Perturbations by closed forms: what a blend, a noise and a blur do to each pixel."""

import math
from pathlib import Path

import numpy
import pytest
import torch
from kornia.filters import gaussian_blur2d
from PIL import Image

from pytest_robustness.errors import InputError
from pytest_robustness.perturbations import Blend, Fit, GaussianNoise, gaussian_blur
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Perturbation

IDS = ("a.png", "b.png", "c.png", "d.png")
STREAMS = Streams(0, "test", IDS)
STRENGTHS = torch.tensor([0.0, 0.25, 0.5, 1.0])


def noise_images(n: int = 4, height: int = 5, width: int = 7) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def overlay(path: Path, rows: list[list[int]]) -> Path:
    """A grey overlay file of these levels, as RGB."""
    Image.fromarray(numpy.array(rows, dtype="uint8")).convert("RGB").save(path)
    return path


def laid(path: Path, fit: Fit, height: int, width: int) -> list[list[float]]:
    """The levels, 0 to 255, of an overlay at alpha 1 over a black image of this size; the channels are equal."""
    blended = Blend(path, fit=fit)(torch.zeros(1, 3, height, width), torch.ones(1), Streams(0, "", ("a",))) * 255
    assert torch.equal(blended[0, 0], blended[0, 1])
    assert torch.equal(blended[0, 0], blended[0, 2])
    rows: list[list[float]] = blended[0, 0].tolist()
    return rows


def test_a_blend_is_a_weighted_mean_with_a_weight_per_image(tmp_path: Path) -> None:
    path = tmp_path / "overlay.png"
    colour = torch.arange(5 * 7 * 3, dtype=torch.uint8).reshape(5, 7, 3) * 2
    Image.fromarray(colour.numpy()).save(path)
    pattern = colour.permute(2, 0, 1) / 255
    images = noise_images()
    blended = Blend(path)(images, STRENGTHS, STREAMS)
    for image, result, alpha in zip(images, blended, (0.0, 0.25, 0.5, 1.0), strict=True):
        assert torch.allclose(result, (1 - alpha) * image + alpha * pattern, rtol=0, atol=1e-7)
    assert torch.equal(blended[3], pattern)
    assert (Blend.unit, Blend.limit) == ("alpha", 1.0)


def test_the_alpha_channel_of_an_overlay_weighs_alpha_pixel_by_pixel(tmp_path: Path) -> None:
    """Over a grey of 0.6: clear pixels keep it, opaque red ones move by alpha, pixels of opacity 51 by a fifth of it."""
    path = tmp_path / "overlay.png"
    Image.fromarray(numpy.array([[[255, 0, 0, 0], [255, 0, 0, 51], [255, 0, 0, 255]]], dtype="uint8")).save(path)
    blended = Blend(path)(torch.full((2, 3, 1, 3), 0.6), torch.tensor([0.5, 1.0]), STREAMS.select([0, 1]))
    red = torch.tensor([[0.6, 0.64, 0.8], [0.6, 0.68, 1.0]])
    others = torch.tensor([[0.6, 0.54, 0.3], [0.6, 0.48, 0.0]])
    assert torch.allclose(blended, torch.stack([red, others, others], 1).reshape(2, 3, 1, 3), rtol=0, atol=1e-6)


def test_the_alpha_channel_is_fitted_as_the_colours_are(tmp_path: Path) -> None:
    path = tmp_path / "overlay.png"
    Image.fromarray(numpy.array([[[255] * 4, [255] * 3 + [0]]], dtype="uint8")).save(path)
    tiled, stretched = (
        Blend(path, fit=fit)(torch.zeros(1, 3, 1, 4), torch.ones(1), STREAMS.select([0]))[0, 0, 0]
        for fit in ("tile", "stretch")
    )
    assert tiled.tolist() == [1.0, 0.0, 1.0, 0.0]
    assert stretched.tolist() == pytest.approx([1.0, 0.75, 0.25, 0.0])


@pytest.mark.parametrize("fit", ["cover", "stretch", "tile"])
def test_an_overlay_of_the_images_size_is_laid_pixel_by_pixel(tmp_path: Path, fit: Fit) -> None:
    rows = [[0, 50, 100], [150, 200, 250]]
    assert laid(overlay(tmp_path / "o.png", rows), fit, 2, 3) == [pytest.approx(row) for row in rows]


def test_cover_cuts_the_centre_of_a_wider_overlay(tmp_path: Path) -> None:
    path = overlay(tmp_path / "o.png", [[0, 50, 100, 150], [10, 60, 110, 160]])
    assert laid(path, "cover", 2, 2) == [pytest.approx([50, 100]), pytest.approx([60, 110])]


def test_cover_cuts_the_centre_of_a_higher_overlay(tmp_path: Path) -> None:
    path = overlay(tmp_path / "o.png", [[0, 10], [50, 60], [100, 110], [150, 160]])
    assert laid(path, "cover", 2, 2) == [pytest.approx([50, 60]), pytest.approx([100, 110])]


def test_cover_scales_a_small_overlay_keeping_its_shape(tmp_path: Path) -> None:
    """1 x 2 pixels become 2 x 4 (0, 50, 150, 200), of which the middle ones are kept."""
    path = overlay(tmp_path / "o.png", [[0, 200]])
    assert laid(path, "cover", 2, 2) == [pytest.approx([50, 150])] * 2


def test_cover_leaves_no_pixel_uncovered_whatever_the_shapes(tmp_path: Path) -> None:
    for height, width in ((1, 1), (2, 9), (9, 2), (3, 4), (7, 5)):
        path = overlay(tmp_path / "o.png", [[200] * width] * height)
        for rows in (laid(path, "cover", 4, 6), laid(path, "cover", 6, 4), laid(path, "cover", 5, 5)):
            assert all(row == pytest.approx([200] * len(row), abs=1e-3) for row in rows)


def test_stretch_scales_each_side_by_itself(tmp_path: Path) -> None:
    path = overlay(tmp_path / "o.png", [[0, 200]])
    assert laid(path, "stretch", 2, 4) == [pytest.approx([0, 50, 150, 200])] * 2


def test_stretch_to_fewer_pixels_averages(tmp_path: Path) -> None:
    """Half the width: a triangle of twice the width weighs the four pixels in reach 3 : 3 : 1 at the border."""
    path = overlay(tmp_path / "o.png", [[0, 70, 140, 210]])
    assert laid(path, "stretch", 1, 2) == [pytest.approx([(3 * 70 + 140) / 7, (3 * 210 + 3 * 140 + 70) / 7])]


def test_tile_repeats_an_overlay_unscaled_from_the_upper_left_corner(tmp_path: Path) -> None:
    path = overlay(tmp_path / "o.png", [[0, 50], [100, 150]])
    assert laid(path, "tile", 3, 5) == [
        pytest.approx([0, 50, 0, 50, 0]),
        pytest.approx([100, 150, 100, 150, 100]),
        pytest.approx([0, 50, 0, 50, 0]),
    ]


def test_tile_cuts_an_overlay_that_is_larger_than_the_image(tmp_path: Path) -> None:
    path = overlay(tmp_path / "o.png", [[0, 50, 100], [110, 150, 200]])
    assert laid(path, "tile", 1, 2) == [pytest.approx([0, 50])]


def test_cover_is_the_fit_unless_said_otherwise(tmp_path: Path) -> None:
    path = overlay(tmp_path / "o.png", [[0, 200]])
    assert Blend(path) == Blend(path, fit="cover")
    assert Blend(path) != Blend(path, fit="tile")


def test_an_unknown_fit_is_refused(tmp_path: Path) -> None:
    path = overlay(tmp_path / "o.png", [[0]])
    with pytest.raises(InputError) as error:
        Blend(path, fit="contain")  # type: ignore[arg-type]
    assert str(error.value) == f"Blend({str(path)!r}): expected fit 'cover', 'stretch' or 'tile', got 'contain'"


def test_a_missing_overlay_is_named_when_the_blend_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        Blend(tmp_path / "none.png")
    assert str(error.value) == f"{tmp_path / 'none.png'}: expected an image file, found none; check the path"


def test_noise_is_the_image_plus_sigma_times_normal_numbers_of_its_stream() -> None:
    images = noise_images()
    noisy = GaussianNoise()(images, STRENGTHS, STREAMS)
    assert torch.equal(noisy, images + STRENGTHS.reshape(-1, 1, 1, 1) * STREAMS.normal(images))
    assert (GaussianNoise.unit, GaussianNoise.limit) == ("sigma", 1.0)


def test_noise_has_the_moments_of_a_normal_distribution() -> None:
    images = torch.full((4, 3, 64, 64), 0.5)
    for sigma in (0.05, 0.4):
        noise = GaussianNoise()(images, torch.full((4,), sigma), STREAMS) - images
        assert noise.mean().item() == pytest.approx(0, abs=0.02 * sigma)
        assert noise.std().item() == pytest.approx(sigma, rel=0.02)
        assert (noise**4).mean().item() == pytest.approx(3 * sigma**4, rel=0.05)


def test_noise_is_not_clipped_here_because_the_engine_clips() -> None:
    noisy = GaussianNoise()(noise_images(), torch.ones(4), STREAMS)
    assert noisy.min() < 0
    assert noisy.max() > 1


def test_a_stronger_noise_is_the_same_noise_made_louder() -> None:
    images = noise_images()
    quiet, loud = (GaussianNoise()(images, torch.full((4,), sigma), STREAMS) - images for sigma in (0.1, 0.4))
    assert torch.allclose(4 * quiet, loud, atol=1e-6)


@pytest.fixture
def perturbation(request: pytest.FixtureRequest, tmp_path: Path) -> Perturbation:
    """One of the perturbations, by its name and fit."""
    if request.param == "noise":
        return GaussianNoise()
    return Blend(str(overlay(tmp_path / "o.png", [[0, 50, 255], [100, 150, 20]])), fit=request.param)


every = pytest.mark.parametrize("perturbation", ["noise", "cover", "stretch", "tile"], indirect=True)


@every
def test_strength_0_is_the_identity_to_the_bit(perturbation: Perturbation) -> None:
    images = noise_images()
    assert torch.equal(perturbation(images, torch.zeros(4), STREAMS), images)


@every
def test_an_image_fares_the_same_alone_in_company_and_in_another_order(perturbation: Perturbation) -> None:
    images = noise_images()
    together = perturbation(images, STRENGTHS, STREAMS)
    for rows in ([0], [1], [2], [3], [3, 1], [2, 3, 0, 1]):
        assert torch.equal(perturbation(images[rows], STRENGTHS[rows], STREAMS.select(rows)), together[rows])


@every
def test_images_are_left_as_they_were(perturbation: Perturbation) -> None:
    images = noise_images()
    stressed = perturbation(images, STRENGTHS, STREAMS)
    assert torch.equal(images, noise_images())
    assert (stressed.shape, stressed.dtype) == (images.shape, torch.float32)


@every
def test_the_repr_is_the_constructor_call(perturbation: Perturbation) -> None:
    again = eval(repr(perturbation))
    assert again == perturbation
    assert hash(again) == hash(perturbation)
    assert repr(again) == repr(perturbation)


def test_reprs_are_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    overlay(tmp_path / "o.png", [[0]])
    assert repr(GaussianNoise()) == "GaussianNoise()"
    assert repr(Blend("o.png")) == "Blend('o.png')"
    assert repr(Blend(tmp_path / "o.png")) == "Blend('o.png')"
    assert repr(Blend("o.png", fit="tile")) == "Blend('o.png', fit='tile')"


def test_blends_of_the_same_repr_are_equal_however_the_path_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repr is the constructor call and names the case in reports; answers are kept by equality."""
    monkeypatch.chdir(tmp_path)
    path = overlay(tmp_path / "o.png", [[0]])
    for one in (Blend("o.png"), Blend(Path("o.png")), Blend(path), Blend(str(path))):
        assert repr(one) == "Blend('o.png')"
        assert eval(repr(one)) == one
        assert hash(eval(repr(one))) == hash(one)


def test_a_blur_of_a_single_point_is_the_normalised_gaussian() -> None:
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 4] = 1
    weights = torch.tensor([math.exp(-(x**2) / (2 * 1.5**2)) for x in (-2, -1, 0, 1, 2)])
    weights /= weights.sum()
    blurred = gaussian_blur(image, kernel=5, sigma=1.5)[0, 0]
    assert torch.allclose(blurred[2:7, 2:7], torch.outer(weights, weights), rtol=0, atol=1e-7)
    assert blurred.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("kernel", [3, 5, 9])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("size", [(9, 9), (8, 13), (5, 6), (32, 20)], ids=str)
def test_a_blur_is_kornias_with_reflected_borders(kernel: int, sigma: float, size: tuple[int, int]) -> None:
    images = noise_images(2, *size)
    expected = gaussian_blur2d(images, (kernel, kernel), (sigma, sigma), border_type="reflect")
    assert torch.allclose(gaussian_blur(images, kernel=kernel, sigma=sigma), expected, rtol=0, atol=1e-6)


def test_a_blur_is_of_5_pixels_and_sigma_1_unless_said_otherwise() -> None:
    images = noise_images()
    assert torch.equal(gaussian_blur(images), gaussian_blur(images, kernel=5, sigma=1.0))


def test_a_blur_keeps_constants() -> None:
    images = torch.tensor([0.0, 0.3, 1.0]).reshape(3, 1, 1, 1).expand(3, 3, 8, 6)
    assert torch.allclose(gaussian_blur(images, kernel=7, sigma=2.0), images, rtol=0, atol=1e-6)


def test_a_blur_is_differentiable() -> None:
    images = noise_images(1, 5, 5).double()[:, :1].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: gaussian_blur(x, kernel=3, sigma=0.8), (images,))


def test_a_blur_keeps_shape_type_and_the_images_themselves() -> None:
    for dtype in (torch.float32, torch.float64):
        images = noise_images().to(dtype)
        blurred = gaussian_blur(images)
        assert (blurred.shape, blurred.dtype) == (images.shape, dtype)
        assert torch.equal(images, noise_images().to(dtype))


def test_the_colour_under_clear_pixels_does_not_bleed_into_the_edges(tmp_path: Path) -> None:
    """Black and clear beside white and opaque, scaled down to one pixel: half opaque, and white."""
    Image.fromarray(numpy.array([[[0, 0, 0, 0], [255, 255, 255, 255]]], dtype=numpy.uint8)).save(tmp_path / "o.png")
    images = torch.zeros(1, 3, 1, 1)
    blended = Blend(tmp_path / "o.png", fit="stretch")(images, torch.ones(1), Streams(0, "", ("a",)))
    assert blended.flatten().tolist() == pytest.approx([0.5] * 3)


def test_a_blur_with_an_even_kernel_is_refused() -> None:
    with pytest.raises(InputError) as error:
        gaussian_blur(torch.zeros(1, 3, 8, 8), kernel=4)
    assert str(error.value) == "gaussian_blur: expected an odd kernel (pixels), got 4"
