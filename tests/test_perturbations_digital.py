"""Storing, showing and covering: JPEG and pixels beside Pillow's own, rectangles by their area."""

import io
import math

import numpy
import pytest
import torch
from PIL import Image

from pytest_robustness.errors import InputError
from pytest_robustness.perturbations import JPEG, Occlusion, Pixelate
from pytest_robustness.perturbations.digital import Fill
from pytest_robustness.seeding import Streams

STREAMS = Streams(0, "test", ("a.png", "b.png", "c.png", "d.png"))


def byte_images(n: int = 4, height: int = 21, width: int = 30) -> torch.Tensor:
    """Images of 8 bits, smooth enough for a codec to do its work."""
    coarse = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return (smooth * 255).round() / 255


def picture(image: torch.Tensor) -> Image.Image:
    return Image.fromarray((image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def levels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(numpy.array(image)).permute(2, 0, 1).float()


def by_pillow(image: torch.Tensor, columns: int, rows: int) -> torch.Tensor:
    """The image pixelated to so many blocks, in levels of 8 bits."""
    small = picture(image).resize((columns, rows), Image.Resampling.BOX)
    return levels(small.resize((image.shape[-1], image.shape[-2]), Image.Resampling.NEAREST))


@pytest.mark.parametrize(("loss", "quality"), [(1.0, 99), (25.0, 75), (50.4, 50), (50.6, 49), (99.0, 1)])
def test_jpeg_is_what_pillow_reads_from_the_file_that_it_wrote(loss: float, quality: int) -> None:
    images = byte_images()
    compressed = JPEG()(images, torch.full((4,), loss), STREAMS)
    for image, result in zip(images, compressed, strict=True):
        stream = io.BytesIO()
        picture(image).save(stream, "JPEG", quality=quality)
        assert torch.equal(result, levels(Image.open(stream)) / 255)


def test_the_least_loss_is_a_file_of_the_best_quality() -> None:
    """Not the identity, which is strength 0 alone: the pixels are rounded to 8 bits and colours are thinned out."""
    images = byte_images() + 0.3 / 255
    compressed = JPEG()(images, torch.tensor([0.0, 1e-6, 0.4, 1.0]), STREAMS)
    assert torch.equal(compressed[0], images[0])
    assert torch.equal(compressed[1], JPEG()(images[1:2], torch.tensor([0.2]), STREAMS)[0])
    assert not torch.equal(compressed[1], images[1])


def test_jpeg_clips_and_rounds_what_is_not_a_byte() -> None:
    images = byte_images() * 3 - 1
    loss = torch.full((4,), 50.0)
    rounded = (images.clamp(0, 1) * 255).round() / 255
    assert torch.equal(JPEG()(images, loss, STREAMS), JPEG()(rounded, loss, STREAMS))


@pytest.mark.parametrize("kept", [0.95, 0.9, 0.85, 0.75, 0.65, 0.6, 0.5, 0.4, 0.3, 0.25])
@pytest.mark.parametrize("size", [(224, 224), (32, 32), (299, 200), (33, 50), (7, 13)], ids=str)
def test_pixels_are_those_of_pillow_to_one_level(kept: float, size: tuple[int, int]) -> None:
    """Pillow rounds to 8 bits after each of two passes. 1 - strength are the settings of ImageNet-C and CIFAR-10-C."""
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255
    found = Pixelate()(image[None], torch.tensor([1 - kept]), STREAMS.select([0]))[0] * 255
    expected = by_pillow(image, int(size[1] * kept), int(size[0] * kept))
    assert (found - expected).abs().max().item() <= 1.001


def test_the_blocks_are_those_of_pillow_for_every_number_of_them() -> None:
    """Also where the centre of a pixel lies on the edge of a block, and its rounding errors decide."""
    for width in (*range(1, 40), 66, 99, 129, 299):
        image = torch.rand(3, 1, width, generator=torch.Generator().manual_seed(width)).mul(255).round() / 255
        counts = sorted({*range(1, min(width, 40) + 1), width // 2 or 1, width})
        shown = Pixelate()(
            image.expand(len(counts), -1, -1, -1),
            torch.tensor([1 - count / width for count in counts]),
            Streams(0, "test", tuple(map(str, counts))),
        )
        for count, result in zip(counts, shown, strict=True):
            assert (result * 255 - by_pillow(image, count, 1)).abs().max().item() < 0.51, (width, count)


def test_half_the_resolution_is_the_mean_of_four_pixels() -> None:
    images = byte_images(1, 4, 6)
    blocks = images.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
    expected = blocks.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(Pixelate()(images, torch.tensor([0.5]), STREAMS.select([0])), expected, rtol=0, atol=1e-6)


def test_without_resolution_one_pixel_is_left() -> None:
    images = byte_images()
    expected = images.mean((2, 3), keepdim=True).expand_as(images)
    assert torch.allclose(Pixelate()(images, torch.ones(4), STREAMS), expected, rtol=0, atol=1e-6)


def test_a_strength_in_float32_loses_no_pixel() -> None:
    """1 - 0.4 of 200 pixels are 120 blocks; float32 says 119.99999."""
    image = torch.rand(3, 1, 200, generator=torch.Generator().manual_seed(0))
    found = Pixelate()(image[None], torch.tensor([0.4]), STREAMS.select([0]))[0, 0, 0]
    assert len(found.unique()) == 120


@pytest.mark.parametrize("size", [(20, 20), (11, 30), (1, 9), (1, 1)], ids=str)
def test_the_share_of_the_area_that_is_covered_is_the_strength(size: tuple[int, int]) -> None:
    strengths = torch.tensor([0.0, 0.1, 0.37, 1.0])
    covered = Occlusion(fill="white")(torch.zeros(4, 3, *size), strengths, STREAMS)
    assert torch.allclose(covered.mean((1, 2, 3)), strengths, rtol=0, atol=1e-5)


def test_what_covers_an_image_is_one_rectangle_of_its_shape() -> None:
    covered = Occlusion(fill="white")(torch.zeros(4, 3, 30, 60), torch.full((4,), 0.25), STREAMS)
    for image in covered:
        assert torch.equal(image[0], image[1])
        assert torch.equal(image[0], image[2])
        # Half of each side, of which the pixels at the ends may be covered in part.
        assert image[0].amax(1).sum().item() == pytest.approx(15, abs=1e-4)
        assert image[0].amax(0).sum().item() == pytest.approx(30, abs=1e-4)
        assert torch.allclose(image[0], image[0].amax(1).outer(image[0].amax(0)), rtol=0, atol=1e-5)


def test_a_larger_rectangle_holds_the_smaller_ones_of_its_image() -> None:
    smaller = torch.zeros(4, 3, 17, 23)
    for strength in (0.01, 0.1, 0.5, 0.9, 1.0):
        larger = Occlusion(fill="white")(torch.zeros_like(smaller), torch.full((4,), strength), STREAMS)
        assert (larger >= smaller - 1e-6).all()
        smaller = larger
    assert torch.allclose(smaller, torch.ones_like(smaller), rtol=0, atol=1e-6)


def test_rectangles_lie_anywhere_in_their_images() -> None:
    n = 500
    streams = Streams(0, "test", tuple(map(str, range(n))))
    covered = Occlusion(fill="white")(torch.zeros(n, 3, 8, 8), torch.full((n,), 0.25), streams)[:, 0]
    for side in (covered.amax(1), covered.amax(2)):
        # How far from the start, of the half of the side that is free.
        starts = ((side * torch.arange(8)).sum(1) / side.sum(1) - 1.5) / 4
        assert starts.mean().item() == pytest.approx(0.5, abs=0.05)
        assert starts.std().item() == pytest.approx(math.sqrt(1 / 12), abs=0.03)


@pytest.mark.parametrize(("fill", "level"), [("grey", 0.5), ("black", 0.0), ("white", 1.0)])
def test_a_covered_pixel_is_of_the_filling(fill: Fill, level: float) -> None:
    assert Occlusion() == Occlusion(fill="grey")
    covered = Occlusion(fill=fill)(byte_images(), torch.ones(4), STREAMS)
    assert torch.allclose(covered, torch.full_like(covered, level), rtol=0, atol=1e-6)


def test_an_image_may_be_covered_by_its_mean() -> None:
    images = byte_images()
    expected = images.mean((2, 3), keepdim=True).expand_as(images)
    assert torch.allclose(Occlusion(fill="mean")(images, torch.ones(4), STREAMS), expected, rtol=0, atol=1e-6)


def test_an_unknown_filling_is_refused() -> None:
    with pytest.raises(InputError) as error:
        Occlusion(fill="pink")  # type: ignore[arg-type]
    assert str(error.value) == ("Occlusion(fill='pink'): expected fill 'grey', 'black', 'white' or 'mean', got 'pink'")
