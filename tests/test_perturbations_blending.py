"""Blends by closed forms: what a pattern laid over an image does to each pixel."""

from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from pytest_robustness.errors import InputError
from pytest_robustness.perturbations import Blend, Fit, GaussianNoise
from pytest_robustness.seeding import Streams

STREAMS = Streams(0, "test", ("a.png", "b.png", "c.png", "d.png"))
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


def test_the_colour_under_clear_pixels_does_not_bleed_into_the_edges(tmp_path: Path) -> None:
    """Black and clear beside white and opaque, scaled down to one pixel: half opaque, and white."""
    Image.fromarray(numpy.array([[[0, 0, 0, 0], [255, 255, 255, 255]]], dtype=numpy.uint8)).save(tmp_path / "o.png")
    images = torch.zeros(1, 3, 1, 1)
    blended = Blend(tmp_path / "o.png", fit="stretch")(images, torch.ones(1), Streams(0, "", ("a",)))
    assert blended.flatten().tolist() == pytest.approx([0.5] * 3)


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
