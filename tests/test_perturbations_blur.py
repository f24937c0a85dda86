"""Blurs by closed forms, and beside those of scipy, scikit-image, kornia and a plain convolution."""

import math

import pytest
import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d
from skimage.filters import gaussian

from pytest_robustness.errors import InputError
from pytest_robustness.perturbations import DefocusBlur, GaussianBlur, MotionBlur, gaussian_blur
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Perturbation

STREAMS = Streams(0, "test", ("a.png", "b.png", "c.png", "d.png"))


def noise_images(n: int = 4, height: int = 5, width: int = 7) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def point(size: int) -> torch.Tensor:
    """One white value in the centre of a black image."""
    image = torch.zeros(1, 1, size, size)
    image[0, 0, size // 2, size // 2] = 1
    return image


def spread(blur: Perturbation, strength: float, size: int = 9) -> torch.Tensor:
    """What a blur of this strength makes of a point, (size, size)."""
    return blur(point(size), torch.tensor([strength]), STREAMS.select([0]))[0, 0]


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


def test_a_blur_with_an_even_kernel_is_refused() -> None:
    with pytest.raises(InputError) as error:
        gaussian_blur(torch.zeros(1, 3, 8, 8), kernel=4)
    assert str(error.value) == "gaussian_blur: expected an odd kernel (pixels), got 4"


@pytest.mark.parametrize(("border", "mode"), [("reflect", "mirror"), ("replicate", "nearest")])
@pytest.mark.parametrize("size", [(32, 20), (9, 50), (5, 3), (1, 7), (1, 1)], ids=str)
def test_a_gaussian_of_a_sigma_per_image_is_scikit_images(size: tuple[int, int], border: str, mode: str) -> None:
    """Also where the kernel is many times as large as the image."""
    images = noise_images(4, *size)
    blurred = GaussianBlur(border=border)(images, torch.tensor([0.0, 0.4, 2.3, 6.0]), STREAMS)  # type: ignore[arg-type]
    assert torch.equal(blurred[0], images[0])
    for image, result, sigma in zip(images[1:], blurred[1:], (0.4, 2.3, 6.0), strict=True):
        expected = torch.from_numpy(gaussian(image.numpy(), sigma=sigma, mode=mode, channel_axis=0))
        assert torch.allclose(result, expected, rtol=0, atol=1e-6)


def test_a_gaussian_spreads_a_point_as_its_formula_says() -> None:
    weights = torch.tensor([math.exp(-(x**2) / (2 * 0.8**2)) for x in (-3, -2, -1, 0, 1, 2, 3)])
    weights /= weights.sum()
    # Cut off at 4 sigma, which is at three pixels here.
    assert torch.allclose(spread(GaussianBlur(), 0.8)[1:8, 1:8], torch.outer(weights, weights), rtol=0, atol=1e-7)
    assert (spread(GaussianBlur(), 0.8) > 0).sum().item() == 49


@pytest.mark.parametrize(
    "blur", [GaussianBlur(), GaussianBlur(border="replicate"), DefocusBlur(), MotionBlur()], ids=repr
)
@pytest.mark.parametrize("strength", [0.7, 3.0, 40.0])
def test_blurs_keep_constants(blur: Perturbation, strength: float) -> None:
    images = torch.tensor([0.0, 0.3, 0.6, 1.0]).reshape(4, 1, 1, 1).expand(4, 3, 8, 6)
    assert torch.allclose(blur(images, torch.full((4,), strength), STREAMS), images, rtol=0, atol=1e-6)


def test_out_of_focus_a_point_becomes_a_disk_with_a_soft_edge() -> None:
    """Inside it is even, and a pixel on the edge weighs as much less as the edge is nearer than half a pixel."""
    disk = spread(DefocusBlur(), 2.2)
    expected = torch.tensor([[min(max(2.7 - math.hypot(x, y), 0), 1) for x in range(-4, 5)] for y in range(-4, 5)])
    assert torch.allclose(disk, expected / expected.sum(), rtol=0, atol=1e-6)
    assert disk[4, 4].item() == pytest.approx(disk[4, 5].item(), abs=1e-7)


def test_a_disk_within_one_pixel_changes_nothing() -> None:
    images = noise_images()
    assert torch.allclose(DefocusBlur()(images, torch.full((4,), 0.5), STREAMS), images, rtol=0, atol=1e-6)
    assert not torch.allclose(DefocusBlur()(images, torch.full((4,), 0.6), STREAMS), images, rtol=0, atol=1e-3)


def test_motion_along_the_rows_is_a_mean_along_the_rows() -> None:
    """Length 3: a box of three pixels between bilinear ones, which leaves an eighth of a pixel at either end."""
    weights = torch.zeros(9)
    weights[2:7] = torch.tensor([0.125, 0.875, 1, 0.875, 0.125]) / 3
    line = spread(MotionBlur(angle=0), 3.0)
    assert torch.allclose(line[4], weights, rtol=0, atol=2e-3)
    assert line.sum().item() == pytest.approx(1, abs=1e-6)
    assert line[4].sum().item() == pytest.approx(1, abs=1e-6)


def test_motion_turns_counterclockwise_with_its_angle() -> None:
    along = spread(MotionBlur(angle=0), 5.0)
    assert torch.allclose(spread(MotionBlur(angle=90), 5.0), along.T, rtol=0, atol=1e-6)
    assert torch.allclose(spread(MotionBlur(angle=180), 5.0), along, rtol=0, atol=1e-6)
    rising = spread(MotionBlur(angle=45), 5.0)
    # Up is towards row 0.
    assert rising[3, 5] > 0.1
    assert rising[5, 5] < 0.03
    assert torch.allclose(rising, rising.T.flip(0, 1), rtol=0, atol=1e-6)
    assert torch.allclose(spread(MotionBlur(angle=-45), 5.0), rising.flip(0), rtol=0, atol=1e-6)


def test_the_angle_of_a_motion_is_drawn_for_each_image() -> None:
    points = point(9).expand(4, -1, -1, -1)
    lines = MotionBlur()(points, torch.full((4,), 5.0), STREAMS)
    angles = torch.rad2deg(2 * math.pi * STREAMS.uniform(torch.empty(4)))
    for row, angle in enumerate(angles.tolist()):
        expected = MotionBlur(angle=angle)(points[:1], torch.tensor([5.0]), STREAMS.select([row]))
        assert torch.allclose(lines[row], expected[0], rtol=0, atol=1e-6)
    assert len({round(angle) for angle in angles.tolist()}) == 4


@pytest.mark.parametrize("blur", [DefocusBlur(), MotionBlur(angle=30)], ids=repr)
@pytest.mark.parametrize("size", [(9, 13), (30, 17), (64, 64)], ids=str)
def test_a_blur_by_fourier_transform_is_a_convolution_of_the_mirrored_image(
    blur: Perturbation, size: tuple[int, int]
) -> None:
    images, strengths = noise_images(4, *size), torch.tensor([1.0, 2.5, 4.0, 7.0])
    blurred = blur(images, strengths, STREAMS)
    for image, result, strength in zip(images, blurred, strengths.tolist(), strict=True):
        # Of a point in the centre of nothing.
        kernel = spread(blur, strength, 17)
        padded = F.pad(image.unsqueeze(1), (8, 8, 8, 8), mode="reflect")
        expected = F.conv2d(padded, kernel.reshape(1, 1, 17, 17)).squeeze(1)
        assert torch.allclose(result, expected, rtol=0, atol=1e-6)


def test_a_blur_larger_than_the_image_sees_it_mirrored_again_and_again() -> None:
    """Two pixels mirrored without end are both worth half, but for the ends of the line."""
    image = torch.tensor([[0.0, 1.0]]).reshape(1, 1, 1, 2)
    blurred = MotionBlur(angle=0)(image, torch.tensor([1000.0]), STREAMS.select([0]))
    assert torch.allclose(blurred, torch.full_like(image, 0.5), rtol=0, atol=2e-3)


def test_an_unknown_border_of_a_gaussian_is_refused() -> None:
    with pytest.raises(InputError) as error:
        GaussianBlur(border="mirror")  # type: ignore[arg-type]
    assert str(error.value) == ("GaussianBlur(border='mirror'): expected border 'reflect' or 'replicate', got 'mirror'")


@pytest.mark.parametrize("angle", [math.nan, math.inf, "up", True])
def test_an_angle_of_motion_that_is_no_number_is_refused(angle: float) -> None:
    with pytest.raises(InputError) as error:
        MotionBlur(angle=angle)
    assert str(error.value) == (
        f"MotionBlur(angle={angle!r}): expected angle to be a number of degrees, got {angle!r}; "
        "leave it out to have it drawn"
    )
