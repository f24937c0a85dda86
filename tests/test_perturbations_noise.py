"""Noise by closed forms, and by its moments."""

import math

import pytest
import torch

from pytest_robustness.perturbations import GaussianNoise, ImpulseNoise, ShotNoise, SpeckleNoise, UniformNoise
from pytest_robustness.seeding import Streams

STREAMS = Streams(0, "test", ("a.png", "b.png", "c.png", "d.png"))
STRENGTHS = torch.tensor([0.0, 0.25, 0.5, 1.0])


def noise_images(n: int = 4, height: int = 5, width: int = 7) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


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


def grey(level: float, size: int = 64) -> torch.Tensor:
    return torch.full((4, 3, size, size), level)


def test_speckle_is_normal_noise_in_proportion_to_the_value() -> None:
    images = noise_images()
    noisy = SpeckleNoise()(images, STRENGTHS, STREAMS)
    expected = images * (1 + STRENGTHS.reshape(-1, 1, 1, 1) * STREAMS.normal(images))
    assert torch.allclose(noisy, expected, rtol=0, atol=1e-6)
    assert torch.equal(SpeckleNoise()(torch.zeros_like(images), torch.ones(4), STREAMS), torch.zeros_like(images))


def test_uniform_noise_is_the_image_plus_its_width_times_uniform_numbers() -> None:
    images = noise_images()
    noisy = UniformNoise()(images, STRENGTHS, STREAMS)
    expected = images + STRENGTHS.reshape(-1, 1, 1, 1) * (2 * STREAMS.uniform(images) - 1)
    assert torch.allclose(noisy, expected, rtol=0, atol=1e-6)


def test_uniform_noise_fills_its_width_evenly() -> None:
    noise = UniformNoise()(grey(0.5), torch.full((4,), 0.3), STREAMS) - 0.5
    assert noise.min().item() == pytest.approx(-0.3, abs=1e-4)
    assert noise.max().item() == pytest.approx(0.3, abs=1e-4)
    assert noise.mean().item() == pytest.approx(0, abs=0.003)
    assert noise.square().mean().item() == pytest.approx(0.3**2 / 3, rel=0.02)


def test_shot_noise_counts_photons() -> None:
    """Every value is a whole number of photons, and a white pixel sends 1 / strength of them on average."""
    images = noise_images(height=32, width=32)
    counts = ShotNoise()(images, torch.full((4,), 1 / 8), STREAMS) * 8
    assert torch.equal(counts, counts.round())
    assert torch.equal(counts, STREAMS.poisson(images * 8))
    assert torch.equal(ShotNoise()(torch.zeros_like(images), torch.ones(4), STREAMS), torch.zeros_like(images))


@pytest.mark.parametrize("photons", [3, 60, 1e6])
@pytest.mark.parametrize("level", [0.2, 1.0])
def test_shot_noise_has_the_mean_of_the_image_and_a_variance_in_proportion(photons: float, level: float) -> None:
    noisy = ShotNoise()(grey(level), torch.full((4,), 1 / photons), STREAMS)
    assert noisy.mean().item() == pytest.approx(level, abs=5 * math.sqrt(level / photons / noisy.numel()))
    assert (noisy - level).square().mean().item() == pytest.approx(level / photons, rel=0.03)


def test_a_pixel_that_sends_two_photons_is_black_as_often_as_poisson_says() -> None:
    black = ShotNoise()(grey(0.5), torch.full((4,), 1 / 4), STREAMS) == 0
    assert black.float().mean().item() == pytest.approx(math.exp(-2), abs=0.005)


def test_a_billion_photons_are_no_noise() -> None:
    images = noise_images()
    for strength in (1e-9, 1e-30, 1e-45):
        assert torch.equal(ShotNoise()(images, torch.full((4,), strength), STREAMS), images)
    assert not torch.equal(ShotNoise()(images, torch.full((4,), 1e-7), STREAMS), images)


def test_impulse_noise_replaces_a_share_of_the_values_half_by_0_and_half_by_1() -> None:
    images = grey(0.5, 128)
    noisy = ImpulseNoise()(images, torch.full((4,), 0.2), STREAMS)
    for level, share in ((0.0, 0.1), (0.5, 0.8), (1.0, 0.1)):
        assert (noisy == level).float().mean().item() == pytest.approx(share, abs=0.005)


def test_impulse_noise_takes_each_channel_by_itself() -> None:
    replaced = ImpulseNoise()(grey(0.5, 128), torch.full((4,), 0.5), STREAMS) != 0.5
    assert replaced.all(1).float().mean().item() == pytest.approx(0.5**3, abs=0.01)


def test_impulse_noise_of_1_leaves_no_value() -> None:
    noisy = ImpulseNoise()(grey(0.5), torch.ones(4), STREAMS)
    assert set(noisy.unique().tolist()) == {0.0, 1.0}


def test_a_value_replaced_by_impulse_noise_stays_replaced_by_the_same() -> None:
    images = grey(0.5)
    weaker = ImpulseNoise()(images, torch.full((4,), 0.01), STREAMS)
    for strength in (0.05, 0.3, 1.0):
        stronger = ImpulseNoise()(images, torch.full((4,), strength), STREAMS)
        assert torch.equal(stronger[weaker != 0.5], weaker[weaker != 0.5])
        assert (stronger != 0.5).sum() > (weaker != 0.5).sum()
        weaker = stronger
