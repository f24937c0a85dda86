"""Perturbations of the files: before they are resized to what the model sees."""

from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from pytest_robustness import BeforeResize, Brightness, Engine, GaussianNoise, ImageSet, fixed, image_folder, then
from pytest_robustness.attacks import FGSM
from pytest_robustness.errors import InputError
from pytest_robustness.images import fitted
from pytest_robustness.perturbations import GaussianBlur
from pytest_robustness.preprocessing import Geometry
from pytest_robustness.seeding import Streams
from tests.attack_models import streams


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three smooth photos of different sizes."""
    (tmp_path / "a").mkdir()
    for row, (width, height) in enumerate([(60, 48), (48, 96), (64, 64)]):
        down, across = numpy.mgrid[0:height, 0:width]
        pixels = numpy.stack([down * 2, across * 2, (down + across)], 2).clip(20, 230).astype(numpy.uint8)
        Image.fromarray(pixels).save(tmp_path / "a" / f"{row}.png")
    return tmp_path


@pytest.fixture
def images(root: Path) -> ImageSet:
    return image_folder(root, resize=24, crop=24)


def made(stress: BeforeResize, images: ImageSet, strength: float, ids: list[str] | None = None) -> torch.Tensor:
    ids = [image.id for image in images.images] if ids is None else ids
    engine = Engine(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 24 * 24, 1)), images, device="cpu")
    return torch.cat([stressed.images for _, stressed in engine.shown([(i, strength) for i in ids], stress)])


def test_a_perturbation_of_pixels_one_by_one_commutes_with_the_resize_but_for_rounding(images: ImageSet) -> None:
    """Of a file, Pillow rounds to 8 bits after each of the two directions."""
    ids = [image.id for image in images.images]
    before = made(BeforeResize(Brightness()), images, 0.05)
    after = (images.batch(ids).images + 0.05).clamp(0, 1)
    assert (before - after).abs().max() <= 1 / 255 + 1e-6


def test_noise_is_averaged_away_where_the_image_shrinks(images: ImageSet) -> None:
    clean = images.batch([image.id for image in images.images]).images
    before = (made(BeforeResize(GaussianNoise()), images, 0.1) - clean).flatten(1).std(1)
    # The first is halved, a quarter of the pixels goes into each: the filter's own weights leave a little more than half.
    assert (before < 0.06).all()
    assert (before > 0.02).all()


def test_it_is_the_perturbation_at_the_files_own_size(images: ImageSet) -> None:
    ids = [image.id for image in images.images]
    stress = BeforeResize(GaussianNoise())
    for row, image_id in enumerate(ids):
        native = images.native(image_id).unsqueeze(0)
        noisy = GaussianNoise()(native, torch.tensor([0.1]), Streams(0, repr(stress), (image_id,))).clamp(0, 1)[0]
        assert torch.equal(made(stress, images, 0.1)[row], fitted(noisy, "", Geometry(24, 24)))


def test_strength_0_is_the_image_itself_and_every_image_fares_the_same_alone(images: ImageSet) -> None:
    ids = [image.id for image in images.images]
    stress = BeforeResize(GaussianNoise())
    engine = Engine(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 24 * 24, 1)), images, device="cpu")
    ((batch, shown),) = engine.shown([(ids[0], 0.0), (ids[1], 0.1), (ids[0], 0.2)], stress)
    assert torch.equal(shown.images[0], batch.images[0])
    assert torch.equal(shown.images[1], made(stress, images, 0.1, [ids[1]])[0])
    assert torch.equal(shown.images[2], made(stress, images, 0.2, [ids[0]])[0])


def test_pixels_are_fitted_as_files_are(images: ImageSet, root: Path) -> None:
    whole = image_folder(root, resize=24, crop=24)
    for image in whole.images:
        pixels = whole.fitted(whole.native(image.id))
        assert pixels.shape == (3, 24, 24)
        assert (pixels - whole.batch([image.id]).images[0]).abs().max() <= 1 / 255 + 1e-6


def test_a_chain_goes_inside(images: ImageSet) -> None:
    chain = BeforeResize(then(fixed(GaussianBlur(), 1.0), GaussianNoise()))
    assert repr(chain) == "BeforeResize(then(fixed(GaussianBlur(), 1.0), GaussianNoise()))"
    assert (chain.unit, chain.limit) == ("sigma", 1.0)
    assert made(chain, images, 0.1).shape == (3, 3, 24, 24)


def test_what_it_cannot_be_is_refused(images: ImageSet) -> None:
    for given in (FGSM(), BeforeResize(GaussianNoise())):
        with pytest.raises(InputError) as error:
            BeforeResize(given)
        assert str(error.value) == f"BeforeResize: expected a perturbation such as GaussianNoise(), got {given!r}"
    with pytest.raises(InputError) as error:
        BeforeResize(GaussianNoise())(torch.zeros(1, 3, 4, 4), torch.zeros(1), streams(1))
    assert str(error.value) == (
        "BeforeResize(GaussianNoise()): expected to be put to the images of an image set, not to a part of a chain; chain inside of "
        "it, as in BeforeResize(then(...))"
    )
    cropped = image_folder(images.images[0].path.parents[1], crop=24)
    with pytest.raises(InputError) as error:
        cropped.fitted(torch.zeros(3, 10, 10))
    assert "expected at least 24 x 24 pixels for crop=24, got 10 x 10; add resize=24 or crop less" in str(error.value)
