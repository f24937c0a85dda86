"""The release gate: what the classifier has to withstand before it ships."""

from pathlib import Path

import pytest

from pytest_robustness import FGSM, Blend, GaussianNoise, SmoothingVote

ZEBRA = Blend(Path(__file__).parents[2] / "fixtures" / "overlays" / "zebra_stripes.png")


@pytest.mark.robustness(images="elephant/*")
def test_an_elephant_under_zebra_stripes_stays_an_elephant(robustness, robustness_image):
    robustness.assert_holds_until(robustness_image, ZEBRA, 0.25)


@pytest.mark.robustness(images="leopard/*")
def test_the_vote_recovers_a_noisy_leopard(robustness, robustness_image):
    robustness.assert_vote_recovers(robustness_image, GaussianNoise(), 0.25, SmoothingVote())


def test_most_images_withstand_fgsm(robustness):
    robustness.assert_accuracy(FGSM(), 4 / 255, at_least=0.80)


def test_noise_costs_at_most_a_tenth_of_the_accuracy(robustness):
    assert robustness.accuracy(GaussianNoise(), 0.125) >= 0.9 * robustness.accuracy()
