"""Superpixels: grids by hand, and those of scikit-image as it makes them."""

import sys

import pytest
import torch

from pytest_robustness.explanations.segments import (
    Grid,
    Quickshift,
    Segmenter,
    Slic,
    check_segments,
    default_segments,
)
from tests.attack_models import noise_images
from tests.explanation_models import dim_noise, refused


def halves(n: int = 1, side: int = 32) -> torch.Tensor:
    """Red to the left and green to the right, unevenly lit."""
    images = dim_noise(n, side)
    images[:, 0, :, : side // 2] += 0.7
    images[:, 1, :, side // 2 :] += 0.7
    return images


def test_a_grid_is_numbered_row_by_row() -> None:
    assert Grid(2, 3)(noise_images(2, 6))[1].tolist() == [[0, 0, 1, 1, 2, 2]] * 3 + [[3, 3, 4, 4, 5, 5]] * 3


def test_the_rectangles_of_a_grid_differ_by_a_pixel_at_most() -> None:
    segments = Grid(3, 5)(torch.zeros(1, 3, 13, 17))[0]
    sizes = torch.bincount(segments.flatten())
    assert len(sizes) == 15
    assert set(sizes.tolist()) <= {3 * 4, 3 * 5, 4 * 4, 4 * 5} | {4 * 3, 5 * 3, 5 * 4}


def test_a_grid_of_none_and_one_finer_than_the_image_are_refused() -> None:
    refused("Grid(rows=0): expected at least one row and one column", lambda: Grid(0))
    refused("Grid(): expected images of at least 7 x 7 pixels, got 6 x 6", lambda: Grid()(noise_images(1)))


segmenters = pytest.mark.parametrize("segmenter", [Grid(4, 4), Slic(), Quickshift(least_side=48)], ids=repr)


@segmenters
def test_every_image_is_numbered_from_0_without_gaps_and_by_itself(segmenter: Segmenter) -> None:
    images = torch.cat([halves(1), dim_noise(2, 32)])
    together = segmenter(images)
    check_segments(segmenter, together, images)
    for row in range(3):
        assert torch.equal(segmenter(images[row : row + 1])[0], together[row])
    assert torch.equal(segmenter(images.flip(0)), together.flip(0))
    assert segmenter(images[:0]).shape == (0, 32, 32)


def test_slic_is_that_of_scikit_image() -> None:
    from skimage.segmentation import slic

    image = halves()
    expected = slic(
        image[0].permute(1, 2, 0).numpy(), n_segments=9, compactness=2.0, sigma=1.0, start_label=0, channel_axis=-1
    )
    assert torch.equal(Slic(9, compactness=2.0, sigma=1.0)(image)[0], torch.from_numpy(expected).long())


def test_quickshift_of_a_large_enough_image_is_that_of_scikit_image() -> None:
    from skimage.segmentation import quickshift

    image = halves(1, 48)
    expected = quickshift(image[0].permute(1, 2, 0).numpy(), kernel_size=4, max_dist=200, ratio=0.2)
    assert torch.equal(Quickshift(least_side=48)(image)[0], torch.from_numpy(expected).long())


def test_quickshift_cuts_a_small_image_enlarged_and_so_finds_more_in_it() -> None:
    image = torch.nn.functional.interpolate(
        torch.rand(1, 3, 6, 4, generator=torch.Generator().manual_seed(0)), (48, 32)
    )
    as_it_is, enlarged = (int(Quickshift(least_side=side)(image).max()) + 1 for side in (1, 128))
    assert as_it_is < enlarged
    assert Quickshift(least_side=128)(image).shape == (1, 48, 32)


def test_superpixels_of_scikit_image_follow_the_edges_of_the_image() -> None:
    for segmenter in (Slic(16, compactness=10), Quickshift(least_side=96)):
        segments = segmenter(halves())[0]
        left, right = segments[:, :16].unique(), segments[:, 16:].unique()
        assert not set(left.tolist()) & set(right.tolist()), segmenter


def test_grey_images_of_one_channel_are_cut_too() -> None:
    image = halves()[:, :1]
    for segmenter in (Slic(9), Quickshift(least_side=96)):
        assert segmenter(image).max() > 0


def test_settings_that_mean_nothing_are_refused() -> None:
    refused("Slic(superpixels=0): expected superpixels to be a whole number >= 1, got 0", lambda: Slic(0))
    refused("Slic(compactness=0): expected compactness to be a number > 0, got 0", lambda: Slic(compactness=0))
    refused("Slic(sigma=-1): expected sigma to be a number >= 0, got -1", lambda: Slic(sigma=-1))
    refused(
        "Quickshift(kernel_size=0.5): expected kernel_size to be a number >= 1, got 0.5",
        lambda: Quickshift(kernel_size=0.5),
    )
    refused("Quickshift(max_dist=0): expected max_dist to be a number > 0, got 0", lambda: Quickshift(max_dist=0))
    refused("Quickshift(ratio=2): expected ratio to be a number from 0 to 1, got 2", lambda: Quickshift(ratio=2))
    refused(
        "Quickshift(ratio=nan): expected ratio to be a number from 0 to 1, got nan",
        lambda: Quickshift(ratio=float("nan")),
    )
    refused(
        "Quickshift(least_side=0): expected least_side to be a whole number >= 1, got 0",
        lambda: Quickshift(least_side=0),
    )


@pytest.mark.parametrize("segmenter", [Slic(), Quickshift()], ids=repr)
def test_without_scikit_image_the_way_out_is_named(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    refused(
        f"{segmenter!r}: expected scikit-image, which is not installed; "
        "pip install pytest-robustness[explain], or take Grid(), which needs no library",
        lambda: segmenter(halves()),
    )


def test_by_default_superpixels_are_slic_and_a_grid_without_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_segments(50) == Slic()
    assert default_segments(15) == Slic(15, compactness=20, sigma=0.5)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert default_segments(50) == Grid()
    assert default_segments(15) == Grid(4, 4)
    assert default_segments(1) == Grid(1, 1)


def test_segments_of_another_kind_are_refused() -> None:
    images = noise_images(2, 4)
    refused(
        "'x': expected segments (2, 4, 4) int64, the superpixel of every pixel, got (1, 4, 4) int64",
        lambda: check_segments("x", torch.zeros(1, 4, 4, dtype=torch.int64), images),
    )
    refused(
        "'x': expected segments (2, 4, 4) int64, the superpixel of every pixel, got (2, 4, 4) int32",
        lambda: check_segments("x", torch.zeros(2, 4, 4, dtype=torch.int32), images),
    )
    gap = torch.zeros(2, 4, 4, dtype=torch.int64)
    gap[1, 0, 0] = 2
    refused(
        "'x': expected superpixels numbered from 0 without gaps, got 2 from 0 to 2 in image 1 of the batch; "
        "number them by torch.unique(..., return_inverse=True)",
        lambda: check_segments("x", gap, images),
    )
