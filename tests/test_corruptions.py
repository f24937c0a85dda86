"""The common corruptions: what holds for all of them, by both tables; closed forms of those that have one."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import fixtures
from pytest_robustness.corruptions import COMMON, EXTRA, Corruption, Table
from pytest_robustness.corruptions.blurs import streaked
from pytest_robustness.corruptions.table import CIFAR_C, IMAGENET_C
from pytest_robustness.errors import InputError
from pytest_robustness.fingerprint import digest
from pytest_robustness.images import read_image
from pytest_robustness.perturbations import (
    JPEG,
    Contrast,
    GaussianBlur,
    GaussianNoise,
    ImpulseNoise,
    Pixelate,
    ShotNoise,
    SpeckleNoise,
)
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Graded, Images, Perturbation

NAMES = COMMON + EXTRA
RANDOM = {
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "glass_blur",
    "motion_blur",
    "snow",
    "frost",
    "fog",
    "elastic_transform",
    "speckle_noise",
    "spatter",
}
TABLES: tuple[Table, ...] = ("imagenet-c", "cifar-c")

every = pytest.mark.parametrize("name", NAMES)
by_every_table = pytest.mark.parametrize("table", TABLES)


def streams(n: int, corruption: Corruption, seed: int = 0) -> Streams:
    return Streams(seed, repr(corruption), tuple(f"{row}.png" for row in range(n)))


def drawn(n: int, height: int, width: int) -> Images:
    """Smooth colours, each image with its own, under a checkerboard: every corruption has something to change."""
    down, across = torch.linspace(0, 1, height).unsqueeze(1), torch.linspace(0, 1, width)
    waves = [
        0.5 + 0.35 * torch.sin(3 * (row + 1) * down + (channel + 2) * 2 * across + row)
        for row in range(n)
        for channel in range(3)
    ]
    board = (torch.arange(height).unsqueeze(1) // 5 + torch.arange(width) // 7) % 2
    return (torch.stack(waves).reshape(n, 3, height, width) + 0.2 * board - 0.1).clamp(0, 1)


def corrupted(corruption: Corruption, images: Images, *severities: float, seed: int = 0) -> Images:
    """The images at these severities, or all at the one."""
    strengths = torch.tensor(severities).expand(len(images))
    return corruption(images, strengths, streams(len(images), corruption, seed))


def test_there_are_fifteen_and_four() -> None:
    assert (len(COMMON), len(EXTRA), len(set(NAMES))) == (15, 4, 19)
    assert set(IMAGENET_C) == set(CIFAR_C) == set(NAMES)
    assert all(len(rows) == 5 for table in (IMAGENET_C, CIFAR_C) for rows in table.values())


@every
@by_every_table
def test_severity_0_is_the_identity_to_the_bit_beside_stronger_ones(name: str, table: Table) -> None:
    images = drawn(4, 24, 30)
    changed = corrupted(Corruption(name, table), images, 0, 5, 0, 3)
    assert torch.equal(changed[[0, 2]], images[[0, 2]])
    assert not torch.equal(changed[1], images[1])
    assert torch.equal(corrupted(Corruption(name, table), images, 0), images)


@every
@by_every_table
def test_an_image_fares_the_same_alone_in_company_and_in_another_order(name: str, table: Table) -> None:
    corruption, images = Corruption(name, table), drawn(6, 30, 24)
    strengths = torch.tensor([1.0, 4.0, 4.0, 0.0, 5.0, 4.0])
    own = streams(6, corruption)
    together = corruption(images, strengths, own)
    for rows in ([0], [2], [4], [5, 1], [4, 5, 3, 2, 1, 0]):
        assert torch.equal(corruption(images[rows], strengths[rows], own.select(rows)), together[rows])


@every
def test_an_image_of_224_pixels_fares_the_same_alone_and_in_company(name: str) -> None:
    """Where each image is corrupted by itself, and where the order of sums could depend on how many there are."""
    corruption, images = Corruption(name), drawn(3, 224, 160)
    own = streams(3, corruption)
    together = corruption(images, torch.tensor([2.0, 5.0, 5.0]), own)
    for row, severity in enumerate((2.0, 5.0, 5.0)):
        alone = corruption(images[[row]], torch.tensor([severity]), own.select([row]))
        assert torch.equal(alone[0], together[row])


@every
@by_every_table
@pytest.mark.parametrize("size", [(224, 160), (32, 32), (40, 28), (5, 7), (1, 1)], ids=str)
def test_images_of_every_size_come_back_finite_and_in_shape(name: str, table: Table, size: tuple[int, int]) -> None:
    images = drawn(5, *size)
    before = images.clone()
    changed = corrupted(Corruption(name, table), images, 1, 2, 3, 4, 5)
    assert (changed.shape, changed.dtype) == (images.shape, torch.float32)
    assert changed.isfinite().all()
    assert torch.equal(images, before)


@every
def test_black_and_white_images_come_back_finite(name: str) -> None:
    flat = torch.tensor([0.0, 1.0, 0.5]).reshape(3, 1, 1, 1).expand(3, 3, 70, 66).contiguous()
    for severity in (1, 3, 5):
        assert corrupted(Corruption(name), flat, severity).isfinite().all()


@every
def test_the_memory_format_of_the_images_does_not_matter(name: str) -> None:
    corruption, images = Corruption(name), drawn(3, 66, 70)
    last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(corrupted(corruption, last, 1, 3, 3), corrupted(corruption, images, 1, 3, 3))


@every
def test_the_seed_and_the_id_decide_and_nothing_else_does(name: str) -> None:
    corruption, images = Corruption(name), drawn(1, 66, 70).expand(2, -1, -1, -1)
    torch.manual_seed(0)
    changed = corrupted(corruption, images, 3)
    torch.manual_seed(1)
    assert torch.equal(corrupted(corruption, images, 3), changed)
    assert torch.equal(changed[0], changed[1]) == (name not in RANDOM)
    assert torch.equal(corrupted(corruption, images, 3, seed=1), changed) == (name not in RANDOM)


# After which severity the published settings make less of a change, not more: glass and mud are blurred more or moved
# less, frost takes more from the image than it adds, the affine map that goes with an elastic field gets gentler, and
# colours are first taken away, then added.
FALLING: dict[Table, dict[str, set[int]]] = {
    "imagenet-c": {"glass_blur": {1, 3}, "frost": {3}, "elastic_transform": {2}, "saturate": {2}},
    "cifar-c": {
        "glass_blur": {2, 4},
        "frost": {3, 4},
        "elastic_transform": {1, 2, 3, 4},
        "spatter": {3},
        "saturate": {2},
    },
}


@every
@by_every_table
def test_a_higher_severity_is_further_from_the_clean_image_where_the_published_one_is(name: str, table: Table) -> None:
    """The mean distance over drawn pictures, which may fall by 1 % from one severity to the next."""
    side = 160 if table == "imagenet-c" else 32
    folder = Path(fixtures.__file__).parent / "images"
    paths = sorted(folder.glob("*/*.png"))[::25]
    images = F.interpolate(torch.stack([read_image(path) for path in paths]), size=(side, side), mode="bilinear")
    corruption = Corruption(name, table)
    distances = [
        (corrupted(corruption, images, severity).clamp(0, 1) - images).pow(2).mean((1, 2, 3)).sqrt().mean().item()
        for severity in (1, 2, 3, 4, 5)
    ]
    fell = {severity for severity in (1, 2, 3, 4) if distances[severity] < 0.99 * distances[severity - 1]}
    assert fell == FALLING[table].get(name, set())


@pytest.mark.parametrize(
    ("name", "stress", "strength"),
    [
        ("gaussian_noise", GaussianNoise(), lambda setting: setting),
        ("speckle_noise", SpeckleNoise(), lambda setting: setting),
        ("impulse_noise", ImpulseNoise(), lambda setting: setting),
        ("shot_noise", ShotNoise(), lambda setting: 1 / setting),
        ("contrast", Contrast(), lambda setting: 1 - setting),
        ("pixelate", Pixelate(), lambda setting: 1 - setting),
        ("jpeg_compression", JPEG(), lambda setting: 100 - setting),
        ("gaussian_blur", GaussianBlur(border="replicate"), lambda setting: setting),
    ],
)
@by_every_table
def test_a_corruption_that_is_a_perturbation_is_that_at_the_strength_of_its_table(
    name: str, stress: Perturbation, strength: object, table: Table
) -> None:
    assert callable(strength)
    images, corruption = drawn(2, 41, 33), Corruption(name, table)
    for severity, (setting,) in enumerate((IMAGENET_C if table == "imagenet-c" else CIFAR_C)[name], start=1):
        expected = stress(images, torch.full((2,), float(strength(setting))), streams(2, corruption))
        assert torch.allclose(corrupted(corruption, images, severity), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(63, 80), (80, 63), (32, 32), (64, 64), (224, 100)], ids=str)
def test_small_images_take_the_small_table_unless_said_otherwise(size: tuple[int, int]) -> None:
    images = drawn(1, *size)
    table: Table = "cifar-c" if min(size) < 64 else "imagenet-c"
    assert torch.equal(
        corrupted(Corruption("brightness"), images, 3), corrupted(Corruption("brightness", table), images, 3)
    )
    other: Table = "imagenet-c" if table == "cifar-c" else "cifar-c"
    assert not torch.equal(
        corrupted(Corruption("brightness"), images, 3), corrupted(Corruption("brightness", other), images, 3)
    )


def test_a_corruption_says_what_it_is() -> None:
    corruption = Corruption("fog")
    assert repr(corruption) == "Corruption('fog')"
    assert repr(Corruption("snow", "cifar-c")) == "Corruption('snow', table='cifar-c')"
    assert Corruption("snow", table="cifar-c") == eval(repr(Corruption("snow", "cifar-c")))
    assert hash(corruption) == hash(Corruption("fog"))
    assert isinstance(corruption, Graded)
    assert (corruption.unit, corruption.limit, corruption.grades) == ("severity", 5.0, (1.0, 2.0, 3.0, 4.0, 5.0))


def test_what_a_corruption_says_on_disk_depends_on_its_name_and_table() -> None:
    stresses = [Corruption("fog"), Corruption("snow"), Corruption("fog", "cifar-c")]
    assert len({digest(stress) for stress in stresses}) == 3


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("fogg", "did you mean 'fog'?"),
        ("Gaussian_noise", "did you mean 'gaussian_noise'?"),
        ("jpeg", f"it is one of {', '.join(NAMES)}"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_right_one(name: str, advice: str) -> None:
    with pytest.raises(InputError) as error:
        Corruption(name)
    assert str(error.value) == f"Corruption: expected the name of a common corruption, got {name!r}; {advice}"


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(InputError) as error:
        Corruption("fog", table="imagenet")  # type: ignore[arg-type]
    assert str(error.value) == (
        "Corruption('fog', table='imagenet'): expected table 'auto', 'imagenet-c' or 'cifar-c', got 'imagenet'"
    )


@pytest.mark.parametrize(("severity", "text"), [(2.5, "2.5"), (6, "6"), (-1, "-1"), (math.nan, "nan")])
def test_a_severity_between_or_beyond_is_refused(severity: float, text: str) -> None:
    with pytest.raises(InputError) as error:
        corrupted(Corruption("fog"), drawn(2, 8, 8), 1, severity)
    assert str(error.value) == (
        f"Corruption('fog'): expected severity 0, 1, 2, 3, 4 or 5, got {text}; nothing lies between"
    )


def test_black_becomes_grey_and_white_stays_when_brightened() -> None:
    """Value + 0.3, at most 1, the ratios of the channels kept."""
    image = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.2, 0.4, 0.5], [0.45, 0.9, 0.0]])
    bright = corrupted(Corruption("brightness", "imagenet-c"), image.T.reshape(1, 3, 2, 2).contiguous(), 3)
    expected = torch.tensor([[0.3, 0.3, 0.3], [1.0, 1.0, 1.0], [0.32, 0.64, 0.8], [0.5, 1.0, 0.0]])
    assert torch.allclose(bright, expected.T.reshape(1, 3, 2, 2), rtol=0, atol=1e-6)


def test_saturation_is_scaled_and_shifted_at_the_same_hue_and_value() -> None:
    """(0.4, 0.6, 0.8) has saturation 0.5; severity 4 makes it 5 * 0.5 + 0.1, so 1: red 0, green at its half way. Grey reddens."""
    image = torch.tensor([[0.4, 0.6, 0.8], [0.5, 0.5, 0.5]]).T.reshape(1, 3, 1, 2).contiguous()
    for severity, colour, grey in (
        (1, (0.68, 0.74, 0.8), (0.5, 0.5, 0.5)),
        (4, (0.0, 0.4, 0.8), (0.5, 0.45, 0.45)),
    ):
        vivid = corrupted(Corruption("saturate", "imagenet-c"), image, severity)
        expected = torch.tensor([colour, grey]).T.reshape(1, 3, 1, 2)
        assert torch.allclose(vivid, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["motion_blur", "zoom_blur", "glass_blur", "gaussian_blur", "elastic_transform"])
@by_every_table
def test_a_blur_and_a_stretch_keep_constants(name: str, table: Table) -> None:
    flat = torch.tensor([0.0, 0.3, 1.0]).reshape(3, 1, 1, 1).expand(3, 3, 36, 40).contiguous()
    for severity in (1, 2, 3, 4, 5):
        changed = corrupted(Corruption(name, table), flat, severity)
        assert torch.allclose(changed, flat, rtol=0, atol=1e-5)


def point(height: int, width: int, row: int, column: int) -> Images:
    image = torch.zeros(1, 3, height, width)
    image[..., row, column] = 1
    return image


def test_a_point_in_motion_leaves_a_streak_that_fades() -> None:
    """Along the horizontal to the left, pixel i of it with a weight of exp(-i^2 / (2 sigma^2)), 21 of them."""
    weights = torch.exp(-0.5 * (torch.arange(21) / 3.0) ** 2)
    streak = streaked(point(5, 40, 2, 30), [0.0], 10, 3)
    assert torch.allclose(streak[0, 0, 2, 10:31].flip(0), weights / weights.sum(), rtol=0, atol=1e-6)
    assert streak.sum().item() == pytest.approx(3)


def test_a_point_out_of_focus_is_a_disk() -> None:
    """Radius 3, 29 pixels of the same weight: its edge is smoothed by a Gaussian of 0.1 pixels, so not at all."""
    disk = corrupted(Corruption("defocus_blur", "imagenet-c"), point(21, 23, 10, 11), 1)[0, 0]
    distances = (torch.arange(21).unsqueeze(1) - 10) ** 2 + (torch.arange(23) - 11) ** 2
    assert torch.allclose(disk, (distances <= 9) / 29, rtol=0, atol=1e-6)


def test_a_zoom_blur_is_the_mean_of_the_image_and_what_it_is_zoomed_to() -> None:
    """A ramp about its middle, zoomed by z, is a ramp of 1 / z of the slope; with the image, which counts twice."""
    ramp = (torch.arange(225.0) - 112).expand(1, 3, 225, 225).contiguous()
    zooms = [1, *(1 + 0.03 * number for number in range(11))]
    blurred = corrupted(Corruption("zoom_blur", "imagenet-c"), ramp, 5)
    slope = (blurred[..., 150] - blurred[..., 75]) / 75
    assert torch.allclose(slope, torch.tensor(sum(1 / zoom for zoom in zooms) / len(zooms)), rtol=0, atol=0.01)


@pytest.mark.parametrize(("severity", "thickness"), [(1, 1.5), (5, 3.0)])
def test_fog_over_white_goes_from_the_thickest_to_none(severity: int, thickness: float) -> None:
    """(1 + thickness * cloud) / (1 + thickness), the cloud from 0 to 1; black, whose brightest value is 0, stays black."""
    white = torch.ones(2, 3, 64, 64)
    foggy = corrupted(Corruption("fog"), white, severity)
    assert torch.allclose(foggy.amin((1, 2, 3)), torch.full((2,), 1 / (1 + thickness)), rtol=0, atol=1e-6)
    assert torch.allclose(foggy.amax((1, 2, 3)), torch.ones(2), rtol=0, atol=1e-6)
    assert torch.equal(foggy[:, 0], foggy[:, 2])
    assert not corrupted(Corruption("fog"), 0 * white, severity).any()


def test_flakes_fall_twice_turned_by_half_a_turn_on_a_whitened_image() -> None:
    """Black becomes (1 - 0.8) * 0.5 at least, and white more than 1, which the engine clamps."""
    black = torch.zeros(1, 3, 80, 70)
    snowed = corrupted(Corruption("snow"), black, 1)
    assert torch.allclose(snowed, snowed.flip(2, 3), rtol=0, atol=1e-6)
    assert snowed.min().item() == pytest.approx(0.1)
    assert 0.3 < snowed.max() < 1.6
    whitened = corrupted(Corruption("snow"), black + 1, 1) - corrupted(Corruption("snow"), black, 1)
    assert torch.allclose(whitened, torch.tensor(0.8 + 0.2 * 2 - 0.1), rtol=0, atol=1e-6)


def test_water_is_turquoise_and_added_and_mud_is_brown_and_covers() -> None:
    name = "spatter"
    black = torch.zeros(2, 3, 80, 70)
    water = corrupted(Corruption(name), black, 2)
    assert torch.allclose(water, water[:, 1:2] * torch.tensor([175 / 238, 1, 1]).reshape(3, 1, 1), rtol=0, atol=1e-6)
    assert torch.allclose(water.amax((1, 2, 3)), torch.tensor(0.6 * 238 / 255), rtol=0, atol=1e-6)
    assert torch.allclose(corrupted(Corruption(name), black + 0.2, 2), water + 0.2, rtol=0, atol=1e-6)
    mud, over_white = corrupted(Corruption(name), black, 5), corrupted(Corruption(name), black + 1, 5)
    assert torch.allclose(mud * torch.tensor([20 / 63, 20 / 42, 1]).reshape(3, 1, 1), mud[:, 2:], rtol=0, atol=1e-6)
    cover = mud[:, :1] * 255 / 63
    assert ((cover == 0) | ((cover > 0.8 - 1e-6) & (cover < 1 + 1e-6))).all()
    assert torch.allclose(over_white, mud + 1 - cover, rtol=0, atol=1e-6)


def test_frost_takes_from_the_image_and_lays_ice_over_it() -> None:
    images = drawn(3, 70, 66)
    frosted = corrupted(Corruption("frost"), images, 4)
    ice = corrupted(Corruption("frost"), 0 * images, 4)
    assert torch.allclose(frosted, 0.65 * images + ice, rtol=0, atol=1e-6)
    assert ice.min() >= 0
    assert ice.max() <= 0.7
