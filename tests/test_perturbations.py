"""What holds for every perturbation: no change at strength 0, nothing by company, nothing but the result."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.overrides import TorchFunctionMode

from pytest_robustness import perturbations
from pytest_robustness.cases import case_of
from pytest_robustness.fingerprint import digest
from pytest_robustness.perturbations import (
    JPEG,
    Blend,
    Brightness,
    Contrast,
    DefocusBlur,
    GaussianBlur,
    GaussianNoise,
    Hue,
    ImpulseNoise,
    MotionBlur,
    Occlusion,
    Pixelate,
    Rotation,
    Saturation,
    Scale,
    Shear,
    ShotNoise,
    SpeckleNoise,
    Translation,
    UniformNoise,
    ZoomBlur,
    fixed,
    perturbation,
    then,
    wrapped,
)
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images, Perturbation, Strengths

STREAMS = Streams(0, "test", ("a.png", "b.png", "c.png", "d.png"))


@perturbation(unit="density", limit=1)
def mist(images: Images, strengths: Strengths, streams: Streams) -> Images:
    return images + strengths.reshape(-1, 1, 1, 1) * (streams.uniform(images) - images)


def mirrored(strength: float) -> torch.nn.Module:
    """A transform of no library: the image mixed with its mirror image."""

    class Mirrored(torch.nn.Module):
        def forward(self, images: Images) -> Images:
            return images + strength * (images.flip(3) - images)

    return Mirrored()


@dataclass(frozen=True)
class Row:
    """A stress, its unit and limit, and three strengths up to a strong one.

    `random` where the seed matters; `grows` where a larger strength is never nearer to the clean image.
    """

    stress: Perturbation
    unit: str
    limit: float
    strengths: tuple[float, float, float]
    random: bool = False
    grows: bool = True


SHARES = (0.1, 0.5, 1.0)
ROWS = [
    Row(GaussianNoise(), "sigma", 1.0, SHARES, random=True),
    Row(SpeckleNoise(), "sigma", 1.0, SHARES, random=True),
    Row(UniformNoise(), "width", 1.0, SHARES, random=True),
    Row(ShotNoise(), "1/photons", 1.0, SHARES, random=True, grows=False),
    Row(ImpulseNoise(), "share", 1.0, SHARES, random=True),
    Row(GaussianBlur(), "sigma", math.inf, (0.5, 2.0, 30.0)),
    Row(GaussianBlur(border="replicate"), "sigma", math.inf, (0.5, 2.0, 30.0), grows=False),
    Row(DefocusBlur(), "radius", math.inf, (0.8, 3.0, 30.0), grows=False),
    Row(MotionBlur(), "length", math.inf, (1.5, 6.0, 40.0), random=True, grows=False),
    Row(MotionBlur(angle=20), "length", math.inf, (1.5, 6.0, 40.0), grows=False),
    Row(ZoomBlur(), "zoom - 1", math.inf, (0.1, 0.5, 10.0), grows=False),
    Row(Brightness(), "brightness", 1.0, SHARES),
    Row(Brightness(toward="black"), "brightness", 1.0, SHARES),
    Row(Contrast(), "contrast loss", 1.0, SHARES),
    Row(Saturation(), "saturation", 1.0, SHARES),
    Row(Saturation(toward="vivid"), "saturation", 1.0, SHARES),
    Row(Hue(), "degrees", 180.0, (10.0, 90.0, 180.0)),
    Row(Hue(toward="magenta"), "degrees", 180.0, (10.0, 90.0, 180.0)),
    Row(JPEG(), "quality loss", 99.0, (10.0, 60.0, 99.0), grows=False),
    Row(Pixelate(), "resolution loss", 1.0, SHARES, grows=False),
    Row(Occlusion(), "share of the area", 1.0, SHARES, random=True),
    Row(Occlusion(fill="mean"), "share of the area", 1.0, SHARES, random=True),
    Row(Rotation(), "degrees", 180.0, (5.0, 45.0, 180.0), random=True, grows=False),
    Row(Rotation(direction="left", border="black"), "degrees", 180.0, (5.0, 45.0, 180.0), grows=False),
    Row(Translation(), "share of the sides", 1.0, SHARES, random=True, grows=False),
    Row(Translation(angle=30, border="replicate"), "share of the sides", 1.0, SHARES, grows=False),
    Row(Shear(), "degrees", 80.0, (5.0, 45.0, 80.0), random=True, grows=False),
    Row(Scale(), "share of the sides", 0.99, (0.1, 0.5, 0.99), grows=False),
    Row(Scale(toward="larger"), "share of the sides", 0.99, (0.1, 0.5, 0.99), grows=False),
    Row(then(fixed(GaussianNoise(), 0.1), JPEG()), "quality loss", 99.0, (10.0, 60.0, 99.0), random=True, grows=False),
    Row(mist, "density", 1, SHARES, random=True),
    Row(wrapped(mirrored, unit="share", limit=1), "share", 1, SHARES),
]


@pytest.fixture
def row(request: pytest.FixtureRequest, tmp_path: Path) -> Row:
    """One of the rows above, or a blend with a file of its own."""
    if isinstance(request.param, Row):
        return request.param
    path = tmp_path / "o.png"
    Image.effect_noise((3, 2), 80).convert("RGB").save(path)
    return Row(Blend(str(path), fit=request.param), "alpha", 1.0, SHARES)


def each(rows: list[Row]) -> pytest.MarkDecorator:
    parameters = [pytest.param(row, id=repr(row.stress)) for row in rows]
    return pytest.mark.parametrize("row", [*parameters, "cover", "stretch", "tile"], indirect=True)


every = each(ROWS)
growing = each([row for row in ROWS if row.grows])


def noise_images(n: int = 4, height: int = 9, width: int = 13) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def ladder(row: Row) -> torch.Tensor:
    return torch.tensor([0.0, *row.strengths])


def test_every_perturbation_of_the_package_is_held_to_it() -> None:
    classes = {name for name in perturbations.__all__ if isinstance(getattr(perturbations, name), type)}
    # Those of files have tests of their own.
    assert classes == {"BeforeResize", "Blend"} | {type(row.stress).__name__ for row in ROWS} & classes


@every
def test_strength_0_is_the_identity_to_the_bit_also_beside_stronger_ones(row: Row) -> None:
    images = noise_images()
    assert torch.equal(row.stress(images, torch.zeros(4), STREAMS), images)
    for place in range(4):
        strengths = torch.full((4,), row.strengths[2])
        strengths[place] = 0
        assert torch.equal(row.stress(images, strengths, STREAMS)[place], images[place])


@every
def test_an_image_fares_the_same_alone_in_company_and_in_another_order(row: Row) -> None:
    images, strengths = noise_images(), ladder(row)
    together = row.stress(images, strengths, STREAMS)
    for rows in ([0], [1], [2], [3], [3, 1], [2, 3, 0, 1]):
        apart = row.stress(images[rows], strengths[rows], STREAMS.select(rows))
        assert torch.allclose(apart, together[rows], rtol=0, atol=1e-6)


@every
def test_the_result_is_a_function_of_the_seed_and_the_images_name(row: Row) -> None:
    """Of all that is random, and of nothing else."""
    images, strengths = noise_images(), torch.full((4,), row.strengths[1])
    before = torch.get_rng_state()
    stressed = row.stress(images, strengths, STREAMS)
    assert torch.equal(row.stress(images, strengths, STREAMS), stressed)
    assert torch.equal(torch.get_rng_state(), before)
    for other in (Streams(1, "test", STREAMS.ids), Streams(0, "test", ("e", "f", "g", "h"))):
        assert torch.equal(row.stress(images, strengths, other), stressed) is not row.random


@every
def test_images_are_left_as_they_were(row: Row) -> None:
    images, strengths = noise_images(), ladder(row)
    stressed = row.stress(images, strengths, STREAMS)
    assert torch.equal(images, noise_images())
    assert torch.equal(strengths, ladder(row))
    assert (stressed.shape, stressed.dtype, stressed.device) == (images.shape, torch.float32, images.device)
    assert not torch.allclose(stressed[2], images[2], rtol=0, atol=1e-3)


@every
@pytest.mark.parametrize("size", [(1, 1), (1, 8), (8, 1), (2, 3), (17, 16)], ids=str)
def test_images_may_have_any_size(row: Row, size: tuple[int, int]) -> None:
    images = noise_images(4, *size)
    stressed = row.stress(images, ladder(row), STREAMS)
    assert stressed.shape == images.shape
    assert stressed.isfinite().all()
    assert torch.equal(stressed[0], images[0])


@every
def test_the_memory_format_of_the_images_does_not_matter(row: Row) -> None:
    images, strengths = noise_images(), ladder(row)
    expected = row.stress(images, strengths, STREAMS)
    crossed = images.transpose(2, 3).contiguous().transpose(2, 3)
    for other in (images.contiguous(memory_format=torch.channels_last), crossed):
        assert not other.is_contiguous()
        assert torch.allclose(row.stress(other, strengths, STREAMS), expected, rtol=0, atol=1e-6)


@every
def test_strengths_have_a_unit_and_a_limit(row: Row) -> None:
    assert (row.stress.unit, row.stress.limit) == (row.unit, row.limit)
    strongest = row.strengths[2]
    assert case_of(row.stress, strongest, None).title == f"{row.stress!r} at {row.unit} {strongest:.4g}"


@every
def test_results_are_finite_up_to_the_limit(row: Row) -> None:
    images = torch.cat([torch.zeros(1, 3, 9, 13), torch.ones(1, 3, 9, 13), noise_images(2)])
    for strength in (1e-6, min(row.limit, 1000.0)):
        assert row.stress(images, torch.full((4,), strength), STREAMS).isfinite().all()


@every
def test_the_repr_is_the_constructor_call(row: Row) -> None:
    again = eval(repr(row.stress), {**vars(perturbations), "tests": sys.modules["tests"]})
    assert again == row.stress
    assert hash(again) == hash(row.stress)
    assert repr(again) == repr(row.stress)


@every
def test_products_of_matrices_are_not_rounded_as_the_models_may_be(row: Row) -> None:
    """On a GPU to 10 bits with TF32, on some CPUs to 7."""
    found = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(function, "__name__", "") in ("matmul", "__matmul__", "bmm", "einsum", "baddbmm"):
                found.append(torch.get_float32_matmul_precision())
            return function(*args, **(kwargs or {}))

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with Watch():
            row.stress(noise_images(), ladder(row), STREAMS)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert set(found) <= {"highest"}
    assert found or not isinstance(row.stress, (GaussianBlur, MotionBlur, Pixelate))


@every
def test_answers_to_it_may_be_kept_on_disk(row: Row) -> None:
    assert digest(row.stress) == digest(row.stress)


@growing
def test_a_stronger_one_is_no_nearer_to_the_clean_image(row: Row) -> None:
    images = noise_images(4, 24, 18)
    nearer = torch.zeros(4)
    for strength in torch.linspace(0, row.strengths[2], 12)[1:]:
        stressed = row.stress(images, torch.full((4,), strength.item()), STREAMS)
        farther = (stressed - images).flatten(1).norm(dim=1)
        assert (farther >= nearer - 1e-4).all(), strength
        nearer = farther
