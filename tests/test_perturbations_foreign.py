"""Functions of a user's own, and the real transforms of torchvision, kornia and albumentations."""

import functools
import importlib
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest
import torch
from torchvision.transforms import v2

from pytest_robustness.errors import InputError
from pytest_robustness.fingerprint import digest
from pytest_robustness.perturbations import GaussianBlur, perturbation, wrapped
from pytest_robustness.perturbations.foreign import Wrapped
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images, Perturbation, Strengths

STREAMS = Streams(0, "test", ("a.png", "b.png", "c.png", "d.png"))
STRENGTHS = torch.tensor([0.0, 0.5, 1.0, 1.0])


def noise_images(n: int = 4, height: int = 16, width: int = 24) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


@perturbation(unit="density", limit=1)
def fog(images: Images, strengths: Strengths) -> Images:
    return images + strengths.reshape(-1, 1, 1, 1) * (0.8 - images)


@perturbation(unit="sigma")
def grain(images: Images, strengths: Strengths, streams: Streams) -> Images:
    return images + strengths.reshape(-1, 1, 1, 1) * streams.normal(images)


def written(folder: Path, name: str, body: str) -> Any:
    """What `stress` is in a fresh module of this name and text."""
    (folder / f"{name}.py").write_text(
        f"from pytest_robustness.perturbations import perturbation, wrapped\n{body}", encoding="utf-8"
    )
    importlib.invalidate_caches()
    sys.modules.pop(name, None)
    return importlib.import_module(name).stress


def test_a_function_is_a_perturbation_under_its_own_name() -> None:
    images = noise_images()
    expected = images + STRENGTHS.reshape(-1, 1, 1, 1) * (0.8 - images)
    assert torch.equal(fog(images, STRENGTHS, STREAMS), expected)
    assert repr(fog) == f"{__name__}.fog"
    assert (fog.unit, fog.limit) == ("density", 1)
    assert (grain.unit, grain.limit) == ("sigma", math.inf)
    perturbed: Perturbation = fog
    assert hash(perturbed) == hash(fog)
    assert fog != grain


def test_a_function_of_three_arguments_is_given_the_streams() -> None:
    images = noise_images()
    expected = images + STRENGTHS.reshape(-1, 1, 1, 1) * STREAMS.normal(images)
    assert torch.equal(grain(images, STRENGTHS, STREAMS), expected)


def test_a_third_argument_with_a_default_is_the_streams_only_by_that_name() -> None:
    given = []

    @perturbation(unit="strength")
    def setting(images: Images, strengths: Strengths, power: float = 2.0) -> Images:
        given.append(power)
        return images

    @perturbation(unit="strength")
    def optional(images: Images, strengths: Strengths, streams: Streams | None = None) -> Images:
        given.append(streams)
        return images

    for stress in (setting, optional):
        stress(noise_images(), STRENGTHS, STREAMS)
    assert given == [2.0, STREAMS]


def test_whatever_a_function_returns_an_image_stays_as_it_is_at_strength_0() -> None:
    @perturbation(unit="strength")
    def division(images: Images, strengths: Strengths) -> Images:
        return images / strengths.reshape(-1, 1, 1, 1)

    images = noise_images()
    assert torch.equal(division(images, STRENGTHS, STREAMS)[0], images[0])


def test_a_function_may_write_to_the_images_that_it_is_given() -> None:
    @perturbation(unit="strength")
    def careless(images: Images, strengths: Strengths) -> Images:
        images += strengths.reshape(-1, 1, 1, 1)
        return images

    images = noise_images()
    stressed = careless(images, STRENGTHS, STREAMS)
    assert torch.equal(images, noise_images())
    assert torch.equal(stressed, images + STRENGTHS.reshape(-1, 1, 1, 1))


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda images: images, "(images)"),
        (lambda images, strengths, streams, more: images, "(images, strengths, streams, more)"),
        (lambda images, strengths, *, streams: images, "(images, strengths, *, streams)"),
        (lambda: None, "()"),
    ],
)
def test_a_function_of_other_arguments_is_refused(function: Callable[..., Images], got: str) -> None:
    with pytest.raises(InputError) as error:
        perturbation(unit="density")(function)
    assert str(error.value) == (
        f"{__name__}.<lambda>: expected a function of (images, strengths) or (images, strengths, streams), got {got}"
    )


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(InputError) as error:
        perturbation(unit="density")(3)  # type: ignore[arg-type]
    assert str(error.value) == (
        "3: expected a function of (images, strengths) or (images, strengths, streams), "
        "got 3, whose arguments are not known"
    )


@pytest.mark.parametrize("unit", ["", " ", None])
def test_a_unit_has_to_say_something(unit: str) -> None:
    with pytest.raises(InputError) as error:
        perturbation(unit=unit)(fog.function)
    assert str(error.value) == (
        f"{__name__}.fog: expected unit to be what strengths are counted in, such as 'sigma', got {unit!r}"
    )


@pytest.mark.parametrize("limit", [0, -1.0, math.nan, "1", True])
def test_a_limit_has_to_be_above_0(limit: float) -> None:
    with pytest.raises(InputError) as error:
        perturbation(unit="density", limit=limit)(fog.function)
    assert str(error.value) == (
        f"{__name__}.fog: expected limit to be a number > 0, got {limit!r}; leave it out for none"
    )


def test_a_function_that_returns_something_else_is_named() -> None:
    def halved(images: Images, strengths: Strengths) -> object:
        return images[..., ::2]

    for function, got in ((halved, "(4, 3, 16, 12)"), (lambda images, strengths: None, "NoneType")):
        stress = perturbation(unit="density")(function)  # type: ignore[arg-type]
        with pytest.raises(InputError) as error:
            stress(noise_images(), STRENGTHS, STREAMS)
        assert str(error.value) == f"{stress!r}: expected it to return images of shape (4, 3, 16, 24), got {got}"


FUNCTION = """
@perturbation(unit="density", limit=1)
def stress(images, strengths):
    return images + {change}
"""
TRANSFORM = """
def transform(strength):
    return lambda images: images + strength * {change}
stress = wrapped(transform)
"""
SETTING = "import torch\nstress = wrapped(torch.nn.Threshold, parameter='threshold', limit={change})"


@pytest.mark.parametrize("body", [FUNCTION, TRANSFORM, SETTING], ids=["function", "transform", "setting"])
def test_a_change_of_the_code_is_another_stress(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are kept on disk by this digest."""
    monkeypatch.syspath_prepend(tmp_path)
    first, again, other = (
        digest(written(tmp_path, "own_stress", body.format(change=change))) for change in (0.25, 0.25, 0.5)
    )
    assert first == again
    assert first != other
    monkeypatch.delitem(sys.modules, "own_stress")


def test_what_a_function_closes_over_is_part_of_the_stress() -> None:
    def lighter(level: float) -> Perturbation:
        return perturbation(unit="density")(lambda images, strengths: images + level)

    assert digest(lighter(0.25)) == digest(lighter(0.25))
    assert digest(lighter(0.25)) != digest(lighter(0.5))


def test_a_transform_is_made_once_for_each_strength_but_0() -> None:
    asked = []

    def brighter(strength: float) -> Callable[[Images], Images]:
        asked.append(strength)
        return lambda images: images + strength

    images = noise_images()
    stressed = wrapped(brighter)(images, STRENGTHS, STREAMS)
    assert torch.equal(stressed, images + STRENGTHS.reshape(-1, 1, 1, 1))
    assert asked == [0.5, 1.0]


def test_images_of_one_strength_share_a_batch_where_nothing_is_drawn() -> None:
    shown = []

    def transform(images: Images) -> Images:
        shown.append(len(images))
        return images.flip(3)

    wrapped(lambda strength: transform)(noise_images(), torch.tensor([0.0, 1.0, 1.0, 1.0]), STREAMS)
    assert shown == [1, 2]


@pytest.mark.parametrize("draw", [random.random, numpy.random.random, lambda: torch.rand(()).item()])
def test_images_are_transformed_one_by_one_where_numbers_are_drawn(draw: Callable[[], float]) -> None:
    shown, drawn = [], []

    def transform(images: Images) -> Images:
        shown.append(len(images))
        drawn.append(draw())
        return images + drawn[-1]

    stress = wrapped(lambda strength: transform)
    stress(noise_images(), torch.tensor([0.0, 1.0, 1.0, 1.0]), STREAMS)
    assert shown == [1, 1, 1]
    assert len(set(drawn)) == 3


def test_a_batch_in_which_numbers_were_drawn_after_all_is_taken_apart() -> None:
    """Drawn for bright images only, of which the first is none."""
    shown = []

    def transform(images: Images) -> Images:
        shown.append(len(images))
        return images + (torch.rand(()) if images.max() > 0.5 else 0)

    images = torch.tensor([0.1, 0.2, 0.9, 0.9]).reshape(4, 1, 1, 1).expand(4, 3, 2, 2)
    stress = wrapped(lambda strength: transform)
    together = stress(images, torch.ones(4), STREAMS)
    assert shown == [1, 3, 1, 1, 1]
    assert torch.equal(together[:2], images[:2])
    for row in range(4):
        assert torch.equal(stress(images[[row]], torch.ones(1), STREAMS.select([row]))[0], together[row])


def sigma(strength: float) -> v2.GaussianBlur:
    return v2.GaussianBlur(5, strength)


@pytest.mark.parametrize(
    ("stress", "unit", "shown"),
    [
        (wrapped(sigma), "strength", f"wrapped({__name__}.sigma)"),
        (wrapped(sigma, unit="sigma", limit=3.0), "sigma", f"wrapped({__name__}.sigma, unit='sigma', limit=3.0)"),
        (
            wrapped(functools.partial(v2.GaussianBlur, 5), parameter="sigma"),
            "sigma",
            f"wrapped(functools.partial({v2.GaussianBlur.__module__}.GaussianBlur, 5), parameter='sigma')",
        ),
        (
            wrapped(v2.RandomPosterize, parameter="bits", unit="bits", pixels="uint8"),
            "bits",
            f"wrapped({v2.RandomPosterize.__module__}.RandomPosterize, parameter='bits', pixels='uint8')",
        ),
    ],
)
def test_a_wrapped_transform_is_named_as_it_was_made(stress: Wrapped, unit: str, shown: str) -> None:
    assert stress.unit == unit
    assert repr(stress) == shown
    modules = {v2.GaussianBlur.__module__.partition(".")[0]: sys.modules["torchvision"], "tests": sys.modules["tests"]}
    again = eval(shown, {**modules, "functools": functools, "wrapped": wrapped})
    assert repr(again) == shown


def test_torchvisions_blur_is_applied_at_the_strength_of_each_image() -> None:
    images = noise_images()
    for stress in (wrapped(sigma), wrapped(functools.partial(v2.GaussianBlur, 5), parameter="sigma")):
        stressed = stress(images, STRENGTHS, STREAMS)
        for image, result, strength in zip(images[1:], stressed[1:], (0.5, 1.0, 1.0), strict=True):
            expected = v2.functional.gaussian_blur(image, [5, 5], [strength, strength])
            assert torch.allclose(result, expected, rtol=0, atol=1e-6)


def test_pixels_may_be_given_as_bytes() -> None:
    """Torchvision posterizes bytes only as bytes: three bits are levels of 32."""
    stress = wrapped(lambda s: functools.partial(v2.functional.posterize, bits=int(s)), pixels="uint8")
    images = noise_images()
    stressed = stress(images, torch.full((4,), 3.0), STREAMS)
    assert stressed.dtype == torch.float32
    expected = (images * 255).round().div(32, rounding_mode="floor") * 32 / 255
    assert torch.allclose(stressed, expected, rtol=0, atol=1e-6)


@pytest.fixture
def albumentations(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The library, without its question to its server whether it is the newest."""
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
    return importlib.import_module("albumentations")


@pytest.fixture
def transform(request: pytest.FixtureRequest, albumentations: ModuleType) -> Wrapped:
    """A transform of one of the three libraries by its name, all random but for the last two."""
    kornia = importlib.import_module("kornia.augmentation")
    a = albumentations
    makers: dict[str, tuple[Callable[[float], object], str]] = {
        "torchvision jitter": (lambda s: v2.ColorJitter(brightness=s, hue=s / 4), "float"),
        "torchvision noise": (lambda s: v2.GaussianNoise(sigma=s), "float"),
        "kornia noise": (lambda s: kornia.RandomGaussianNoise(mean=0.0, std=s, p=1.0), "float"),
        "kornia erasing": (lambda s: kornia.RandomErasing(scale=(s / 4, s / 2), p=0.7), "float"),
        "albumentations noise": (lambda s: a.GaussNoise(std_range=(s / 2, s / 2), p=1), "float"),
        "albumentations compression": (lambda s: a.ImageCompression(quality_range=(20, 90), p=1), "uint8"),
        "albumentations chain": (lambda s: a.Compose([a.RandomGamma(p=0.7), a.GaussNoise(p=1)]), "float"),
        "albumentations blur": (lambda s: a.GaussianBlur(sigma_limit=(s, s), blur_limit=0, p=1), "float"),
        "torchvision blur": (sigma, "float"),
    }
    maker, pixels = makers[request.param]
    return wrapped(maker, pixels=pixels)  # type: ignore[arg-type]


libraries = pytest.mark.parametrize(
    "transform",
    [
        "torchvision jitter",
        "torchvision noise",
        "kornia noise",
        "kornia erasing",
        "albumentations noise",
        "albumentations compression",
        "albumentations chain",
        "albumentations blur",
        "torchvision blur",
    ],
    indirect=True,
)


@libraries
def test_a_transform_treats_an_image_the_same_alone_in_company_and_in_another_order(transform: Wrapped) -> None:
    images = noise_images()
    together = transform(images, STRENGTHS, STREAMS)
    assert torch.equal(images, noise_images())
    assert torch.equal(together[0], images[0])
    assert torch.equal(transform(images, STRENGTHS, STREAMS), together)
    for rows in ([1], [2], [3], [3, 1], [2, 3, 0, 1]):
        apart = transform(images[rows], STRENGTHS[rows], STREAMS.select(rows))
        assert torch.allclose(apart, together[rows], rtol=0, atol=1e-6)


@libraries
def test_a_transform_is_random_by_seed_and_images_name_alone(
    transform: Wrapped, request: pytest.FixtureRequest
) -> None:
    images = noise_images(1).expand(4, -1, -1, -1)
    strengths = torch.ones(4)
    stressed = transform(images, strengths, STREAMS)
    other = transform(images, strengths, Streams(1, "test", STREAMS.ids))
    is_random = not request.node.callspec.id.endswith("blur")
    assert torch.equal(stressed, other) is not is_random
    assert torch.equal(stressed[0], stressed[1]) is not is_random


@libraries
def test_the_global_generators_are_put_back(transform: Wrapped) -> None:
    def states() -> tuple[object, ...]:
        return random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    transform(noise_images(), STRENGTHS, STREAMS)
    assert states() == before
    # What they are at the start makes no difference either.
    random.seed(5)
    numpy.random.seed(5)
    torch.manual_seed(5)
    first = transform(noise_images(), STRENGTHS, STREAMS)
    torch.manual_seed(6)
    assert torch.equal(transform(noise_images(), STRENGTHS, STREAMS), first)


def test_generators_are_put_back_when_a_transform_fails() -> None:
    def broken(images: Images) -> Images:
        random.random()
        raise RuntimeError("no")

    before = random.getstate()
    with pytest.raises(RuntimeError, match=r"^no$"):
        wrapped(lambda s: broken)(noise_images(), STRENGTHS, STREAMS)
    assert random.getstate() == before


def test_albumentations_blur_is_ours(albumentations: ModuleType) -> None:
    """By OpenCV, with a kernel as long as ours: of 8 pixels to 4 sigma."""
    stress = wrapped(lambda s: albumentations.GaussianBlur(sigma_limit=(s, s), blur_limit=(17, 17), p=1), unit="sigma")
    images, sigmas = noise_images(4, 40, 30), torch.full((4,), 2.0)
    expected = GaussianBlur()(images, sigmas, STREAMS)
    assert torch.allclose(stress(images, sigmas, STREAMS), expected, rtol=0, atol=1e-5)


def test_a_transform_in_place_of_what_makes_one_is_refused() -> None:
    with pytest.raises(InputError) as error:
        wrapped(v2.GaussianBlur(5))
    assert str(error.value) == (
        "wrapped: expected a class or a function that makes a transform of a strength, got "
        "GaussianBlur(kernel_size=(5, 5), sigma=[0.1, 2.0]); write lambda s: in front of it and s in place of the "
        "parameter to sweep"
    )


def test_a_function_that_makes_no_transform_is_named() -> None:
    def halved(strength: float) -> float:
        return strength / 2

    stress = wrapped(halved)  # type: ignore[arg-type]
    with pytest.raises(InputError) as error:
        stress(noise_images(), STRENGTHS, STREAMS)
    assert str(error.value) == f"{stress!r}: expected it to make a transform of strength 0.5, got float"


def test_a_transform_that_changes_the_size_is_named() -> None:
    stress = wrapped(lambda s: v2.CenterCrop(8))
    with pytest.raises(InputError) as error:
        stress(noise_images(), STRENGTHS, STREAMS)
    assert str(error.value) == (f"{stress!r}: expected it to return images of shape (1, 3, 16, 24), got (1, 3, 8, 8)")


def test_settings_of_a_wrapped_transform_that_mean_nothing_are_refused() -> None:
    with pytest.raises(InputError) as error:
        wrapped(sigma, pixels="int8")  # type: ignore[arg-type]
    assert str(error.value) == (
        f"wrapped({__name__}.sigma, pixels='int8'): expected pixels 'float' or 'uint8', got 'int8'"
    )
    with pytest.raises(InputError) as error:
        wrapped(sigma, limit=0)
    assert str(error.value) == (
        f"wrapped({__name__}.sigma, limit=0): expected limit to be a number > 0, got 0; leave it out for none"
    )
