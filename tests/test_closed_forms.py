"""Breaking points on a linear classifier, where each is one division."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from pytest_robustness import Blend, Engine, GaussianNoise, Robustness, image_folder
from pytest_robustness.loading import ImageSet
from pytest_robustness.perturbations import Brightness, Contrast
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Perturbation

TOLERANCE = 1e-4
SIZE = 8


class Linear(nn.Module):
    """Classes "low" and "high"; high leads by w . (x - 1/2) + bias."""

    def __init__(self, weight: torch.Tensor, bias: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = bias

    def margin(self, images: torch.Tensor) -> torch.Tensor:
        return ((images - 0.5) * self.weight).sum((1, 2, 3)) + self.bias

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        margin = self.margin(images)
        return torch.stack([torch.zeros_like(margin), margin], 1)


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """Twelve pictures near grey, so that no value meets 0 or 1; all are "low"."""
    for number in range(12):
        values = torch.randint(100, 150, (SIZE, SIZE, 3), generator=torch.Generator().manual_seed(number))
        (tmp_path / "images" / "low").mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.to(torch.uint8).numpy()).save(tmp_path / "images" / "low" / f"{number:02}.png")
    return image_folder(tmp_path / "images", classes=["low", "high"])


def linear(bias: float) -> Linear:
    return Linear(0.2 * torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) + 0.05, bias)


def agree(model: Linear, images: ImageSet, stress: Perturbation, up_to: float, expected: torch.Tensor) -> None:
    """Each image breaks within the tolerance above its closed form, in company and alone; one of +inf never does."""
    ids = [image.id for image in images.images]
    assert (expected > 0).all()
    assert (expected < up_to).sum() >= 3
    together = Robustness(Engine(model, images, device="cpu")).breaking_points(
        stress, up_to=up_to, levels=7, tolerance=TOLERANCE
    )
    assert [point.ladder.image for point in together] == ids
    for point, exact in zip(together, expected.tolist(), strict=True):
        if exact < up_to:
            assert point - TOLERANCE * 1.01 <= exact <= point + 1e-6
        else:
            assert point == float("inf")
    alone = Robustness(Engine(model, images, device="cpu"))
    points = [alone.breaking_point(image_id, stress, up_to=up_to, levels=7, tolerance=TOLERANCE) for image_id in ids]
    assert points == list(together)


def positive(distances: torch.Tensor) -> torch.Tensor:
    """A stress that leads away from the other class never arrives."""
    return torch.where(distances > 0, distances, torch.inf)


def test_a_blend_breaks_where_the_two_margins_cancel(tmp_path: Path, images: ImageSet) -> None:
    model = linear(-0.6)
    overlay = (model.weight.detach() > 0).float().permute(1, 2, 0) * 255
    Image.fromarray(overlay.to(torch.uint8).numpy()).save(tmp_path / "overlay.png")
    batch = images.batch([image.id for image in images.images])
    with torch.no_grad():
        own = model.margin(batch.images)
        other = model.margin((overlay / 255).permute(2, 0, 1)[None])
    # (1 - a) m + a o = 0
    agree(model, images, Blend(tmp_path / "overlay.png"), 1.0, positive(own / (own - other)))


def test_brightness_breaks_at_the_margin_over_the_sum_of_the_weights(images: ImageSet) -> None:
    model = linear(-0.6)
    batch = images.batch([image.id for image in images.images])
    with torch.no_grad():
        distance = -model.margin(batch.images) / model.weight.sum()
    agree(model, images, Brightness(), 0.3, positive(distance))


def test_noise_breaks_at_the_margin_over_its_own_projection(images: ImageSet) -> None:
    """The noise of an image is known by its id; one whose noise pushes it away from the other class never breaks."""
    ids = tuple(image.id for image in images.images)
    model = linear(0.0)
    batch = images.batch(ids)
    noise = Streams(0, "GaussianNoise()", ids).normal(batch.images)
    with torch.no_grad():
        pushed = (noise * model.weight).sum((1, 2, 3))
        distance = -model.margin(batch.images) / pushed
    # Up to 0.08 hardly a value of these pictures is clamped.
    agree(model, images, GaussianNoise(), 0.08, positive(distance))


def test_contrast_breaks_where_the_mean_alone_would_be_answered_otherwise(images: ImageSet) -> None:
    """What is left of the image at loss s is mean + (1 - s)(x - mean): a margin linear in s."""
    model = linear(0.105)
    batch = images.batch([image.id for image in images.images])
    flat = batch.images.mean((2, 3), keepdim=True).expand_as(batch.images)
    with torch.no_grad():
        own, left = model.margin(batch.images), model.margin(flat)
    right = [image.id for image, margin in zip(images.images, own.tolist(), strict=True) if margin < 0]
    exact = dict(zip((image.id for image in images.images), positive(own / (own - left)).tolist(), strict=True))
    assert len(right) >= 6
    points = Robustness(Engine(model, images, device="cpu")).breaking_points(
        Contrast(), images=right, tolerance=TOLERANCE
    )
    assert len(points.broken) >= 2
    for point in points:
        if exact[point.ladder.image] < 1:
            assert point - TOLERANCE * 1.01 <= exact[point.ladder.image] <= point + 1e-5
        else:
            assert point == float("inf")
