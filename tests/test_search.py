"""Breaking points, on pictures whose breaking point can be computed by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from PIL import Image

from pytest_robustness.attacks import FGSM
from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.loading import ImageSet, image_folder
from pytest_robustness.perturbations import Blend, GaussianNoise
from pytest_robustness.search import climb, evenly, planned
from pytest_robustness.seeding import Streams

# None of them is where a picture's two answers tie.
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.49, 0.6)

# Mean brightness of each dark picture, 0 to 255. Under white at alpha a, mean m becomes m + a * (1 - m) and turns bright
# above 1/2, which is at a > (1/2 - m) / (1 - m).
DARK = {"0.png": 0, "1.png": 26, "2.png": 51, "3.png": 77, "4.png": 90, "5.png": 102, "6.png": 115, "7.png": 122}


class Brightness:
    """Logits (bright, dark) = (8 * (mean - 1/2), 0); remembers how many images each call brought."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(images))
        margin = 8 * (images.mean((1, 2, 3)) - 0.5)
        return torch.stack([margin, torch.zeros_like(margin)], 1)


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """Eight dark pictures, a bright one, and one that is filed as dark and is bright."""
    levels = {f"dark/{name}": level for name, level in DARK.items()} | {"bright/0.png": 200, "dark/wrong.png": 200}
    for name, level in levels.items():
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (level,) * 3).save(path)
    return image_folder(tmp_path / "images")


@pytest.fixture
def white(tmp_path: Path) -> Blend:
    path = tmp_path / "white.png"
    Image.new("RGB", (4, 4), "white").save(path)
    return Blend(str(path))


def dark_ids() -> list[str]:
    return [f"dark/{name}" for name in DARK]


def breaking_level(image_id: str, levels: Sequence[float]) -> float | None:
    mean = DARK[image_id.removeprefix("dark/")] / 255
    return next((level for level in levels if mean + level * (1 - mean) > 0.5), None)


@pytest.mark.parametrize(
    ("strength", "levels", "expected"),
    [
        (0.5, 1, (0.5,)),
        (0.25, 5, (0.05, 0.1, 0.15, 0.2, 0.25)),
        (1.0, 4, (0.25, 0.5, 0.75, 1.0)),
        (8 / 255, 2, (4 / 255, 8 / 255)),
        (1, 2, (0.5, 1.0)),
        (0.3, 3, (0.1, 0.2, 0.3)),
        (1e-11, 2, (5e-12, 1e-11)),
    ],
)
def test_levels_are_equal_steps_up_to_the_strength(strength: float, levels: int, expected: tuple[float, ...]) -> None:
    assert evenly(strength, levels) == expected
    assert evenly(strength, levels)[-1] == strength
    assert all(type(level) is float for level in evenly(strength, levels))


@pytest.mark.parametrize("levels", [0, -1, 2.0, 2.5, True, "3", None])
def test_a_number_of_levels_that_is_none_is_refused(levels: int) -> None:
    with pytest.raises(InputError) as error:
        evenly(0.5, levels)
    assert str(error.value) == f"expected levels to be a whole number >= 1, got {levels!r}"


def test_each_image_breaks_at_the_first_level_above_its_closed_form(images: ImageSet, white: Blend) -> None:
    ladders = climb(Engine(Brightness(), images, device="cpu"), dark_ids(), white, LEVELS)
    assert [ladder.image for ladder in ladders] == dark_ids()
    assert [ladder.broke for ladder in ladders] == [0.6, 0.49, 0.4, 0.3, 0.3, 0.2, 0.1, 0.1]
    for ladder in ladders:
        broke = breaking_level(ladder.image, LEVELS)
        assert ladder.broke == broke
        assert ladder.held == (0.0, *LEVELS)[LEVELS.index(broke)]
        assert (ladder.stress, ladder.unit, ladder.levels) == (repr(white), "alpha", LEVELS)
        assert [strength for strength, _ in ladder.rungs] == [0.0, *LEVELS[: LEVELS.index(broke) + 1]]
        assert [outcome.correct for _, outcome in ladder.rungs] == [True] * (len(ladder.rungs) - 1) + [False]
        assert {outcome.image for _, outcome in ladder.rungs} == {ladder.image}


def closed_form(image_id: str) -> float:
    """The alpha of white at which the picture ties: m + a (1 - m) = 1/2."""
    mean = DARK[image_id.removeprefix("dark/")] / 255
    return (0.5 - mean) / (1 - mean)


@pytest.mark.parametrize("tolerance", [0.01, 0.001])
def test_a_tolerance_brings_every_image_to_its_own_closed_form(
    images: ImageSet, white: Blend, tolerance: float
) -> None:
    engine = Engine(Brightness(), images, device="cpu")
    ids = [*dark_ids(), "bright/0.png", "dark/wrong.png"]
    together = climb(engine, ids, white, LEVELS, tolerance=tolerance)
    for ladder in together[: len(DARK)]:
        assert ladder.held is not None
        assert ladder.broke is not None
        assert ladder.held <= closed_form(ladder.image) <= ladder.broke
        assert ladder.broke - ladder.held <= tolerance * (1 + 1e-6)
        strengths = [strength for strength, _ in ladder.rungs]
        assert strengths == sorted(set(strengths))
        assert [outcome.correct for _, outcome in ladder.rungs] == [True] * (len(ladder.rungs) - 1) + [False]
    assert (together[-2].held, together[-2].broke) == (0.6, None)
    assert (together[-1].held, together[-1].broke) == (None, 0.0)
    alone = [climb(Engine(Brightness(), images, device="cpu"), [i], white, LEVELS, tolerance=tolerance) for i in ids]
    assert [ladder for (ladder,) in alone] == list(together)


def test_refining_halves_for_all_images_in_one_batch_a_time(images: ImageSet, white: Blend) -> None:
    model = Brightness()
    engine = Engine(model, images, device="cpu", batch_size=100)
    climb(engine, dark_ids(), white, (0.2, 0.4, 0.6))
    model.calls.clear()
    climb(engine, dark_ids(), white, (0.2, 0.4, 0.6), tolerance=0.05)
    # From 0.2 to 0.1 and to 0.05.
    assert model.calls == [8, 8]


@dataclass(frozen=True)
class Window:
    """Adds 1 at strengths from 0.25 to 0.45 alone."""

    unit: ClassVar[str] = "strength"
    limit: ClassVar[float] = 1.0

    def __call__(self, images: torch.Tensor, strengths: torch.Tensor, streams: Streams) -> torch.Tensor:
        inside = (strengths >= 0.25) & (strengths <= 0.45)
        return images + inside.float().reshape(-1, 1, 1, 1)


def test_an_image_that_is_right_again_above_its_break_is_seen_where_it_is_looked_for(images: ImageSet) -> None:
    engine = Engine(Brightness(), images, device="cpu")
    levels = (0.2, 0.4, 0.6, 0.8)
    (seen,) = climb(engine, ["dark/0.png"], Window(), levels, beyond=True)
    assert (seen.held, seen.broke, seen.recovered) == (0.2, 0.4, 0.6)
    assert [(strength, outcome.correct) for strength, outcome in seen.above] == [(0.6, True), (0.8, True)]
    (unseen,) = climb(engine, ["dark/0.png"], Window(), levels)
    assert (unseen.broke, unseen.recovered, unseen.above) == (0.4, None, ())
    refined = climb(engine, ["dark/0.png", "bright/0.png"], Window(), levels, beyond=True, tolerance=0.06)
    assert [(r.held, r.broke, r.recovered) for r in refined] == [(0.2, 0.25, 0.6), (0.8, None, None)]
    assert [strength for strength, _ in refined[0].above] == [0.4, 0.6, 0.8]


@dataclass(frozen=True)
class Steps:
    """White at an alpha of its grade / 10.1."""

    unit: ClassVar[str] = "severity"
    limit: ClassVar[float] = 5.0
    grades: ClassVar[tuple[float, ...]] = (1.0, 2.0, 3.0, 4.0, 5.0)

    def __call__(self, images: torch.Tensor, strengths: torch.Tensor, streams: Streams) -> torch.Tensor:
        return images + (1 - images) * strengths.reshape(-1, 1, 1, 1) / 10.1


def test_a_stress_that_comes_in_steps_is_climbed_by_them(images: ImageSet) -> None:
    engine = Engine(Brightness(), images, device="cpu")
    assert planned(Steps(), 5, 20) == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert planned(Steps(), 3, 1) == (1.0, 2.0, 3.0)
    assert planned(GaussianNoise(), 0.4, 2) == (0.2, 0.4)
    ladders = climb(engine, dark_ids(), Steps(), planned(Steps(), 5, 10))
    assert [ladder.broke for ladder in ladders] == [None, 5.0, 4.0, 3.0, 3.0, 2.0, 1.0, 1.0]


def test_between_steps_there_is_nothing(images: ImageSet) -> None:
    engine = Engine(Brightness(), images, device="cpu")
    with pytest.raises(InputError) as error:
        engine.evaluate(dark_ids(), Steps(), 2.5)
    assert str(error.value) == "Steps(): expected severity 1, 2, 3, 4 or 5, got 2.5"
    with pytest.raises(InputError) as error:
        climb(engine, dark_ids(), Steps(), (1.0, 2.0), tolerance=0.5)
    assert str(error.value) == (
        "Steps(): expected no tolerance, as there is nothing between two steps of severity; leave it out"
    )


@pytest.mark.parametrize("tolerance", [0, -0.1, float("nan")])
def test_a_tolerance_that_is_none_is_refused(images: ImageSet, white: Blend, tolerance: float) -> None:
    with pytest.raises(InputError) as error:
        climb(Engine(Brightness(), images, device="cpu"), dark_ids(), white, LEVELS, tolerance=tolerance)
    assert (
        str(error.value) == f"expected a tolerance > 0 in alpha, got {tolerance!r}; leave it out for the levels alone"
    )


def test_an_image_that_never_breaks_holds_the_last_level(images: ImageSet, white: Blend) -> None:
    ids = ["dark/0.png", "bright/0.png", "dark/7.png"]
    ladders = climb(Engine(Brightness(), images, device="cpu"), ids, white, [0.2, 0.4])
    assert [(ladder.held, ladder.broke) for ladder in ladders] == [(0.4, None), (0.4, None), (0.0, 0.2)]
    assert [len(ladder.rungs) for ladder in ladders] == [3, 3, 2]


def test_an_image_that_is_wrong_when_clean_has_one_rung(images: ImageSet, white: Blend) -> None:
    (ladder,) = climb(Engine(Brightness(), images, device="cpu"), ["dark/wrong.png"], white, LEVELS)
    assert (ladder.held, ladder.broke) == (None, 0.0)
    ((strength, outcome),) = ladder.rungs
    assert (strength, outcome.predicted, outcome.correct) == (0.0, "bright", False)


def test_images_that_hold_share_batches_and_broken_ones_are_not_asked_again(images: ImageSet, white: Blend) -> None:
    """Standing at levels 0, .1, ... .49, .6: 9, 8, 6, 5, 3, 2 and 1 images; 3 images share a batch with the level above."""
    model = Brightness()
    engine = Engine(model, images, device="cpu", batch_size=100)
    _ = engine.provenance
    model.calls.clear()
    climb(engine, [*dark_ids(), "dark/wrong.png"], white, LEVELS)
    assert model.calls == [9, 8, 6, 5, 2 * 3, 4]


def test_a_single_image_is_asked_about_eight_levels_at_a_time(images: ImageSet, white: Blend) -> None:
    model = Brightness()
    engine = Engine(model, images, device="cpu")
    _ = engine.provenance
    model.calls.clear()
    levels = evenly(0.6, 12)
    (ladder,) = climb(engine, dark_ids()[:1], white, levels)
    assert model.calls == [4, 8, 4]
    assert len(ladder.rungs) == 1 + sum(level < 0.5 for level in levels) + 1


def test_batches_are_no_larger_than_the_engines(images: ImageSet, white: Blend) -> None:
    """Standing at levels 0, .1 and .2: 8, 8 and 6 images, in batches of 5 and a rest, filled up to 4."""
    model = Brightness()
    engine = Engine(model, images, device="cpu", batch_size=5)
    _ = engine.provenance
    model.calls.clear()
    climb(engine, dark_ids(), white, [0.1, 0.2])
    assert model.calls == [5, 4, 5, 4, 5, 4]


def test_no_level_is_asked_once_all_images_are_broken(images: ImageSet, white: Blend) -> None:
    model = Brightness()
    ladders = climb(Engine(model, images, device="cpu"), ["dark/6.png", "dark/7.png"], white, LEVELS)
    assert [ladder.broke for ladder in ladders] == [0.1, 0.1]
    # Tried out on noise of 16 and 4 images; then clean, and at four levels, for which two images leave room.
    assert model.calls == [16, 4, 4, 8]


def test_climbing_again_or_with_more_levels_asks_only_what_is_new(images: ImageSet, white: Blend) -> None:
    model = Brightness()
    engine = Engine(model, images, device="cpu")
    first = climb(engine, dark_ids(), white, LEVELS)
    calls = len(model.calls)
    assert climb(engine, dark_ids(), white, LEVELS) == first
    assert len(model.calls) == calls
    climb(engine, dark_ids(), white, (*LEVELS[:5], 0.55, 0.6))
    assert len(model.calls) == calls + 1


def test_an_image_climbs_the_same_alone_in_company_and_in_another_order(images: ImageSet) -> None:
    levels = evenly(1.0, 5)
    together = climb(Engine(Brightness(), images, device="cpu"), dark_ids(), GaussianNoise(), levels)
    backwards = climb(
        Engine(Brightness(), images, device="cpu", batch_size=3), dark_ids()[::-1], GaussianNoise(), levels
    )
    assert [(ladder.image, ladder.held, ladder.broke) for ladder in together] == [
        (ladder.image, ladder.held, ladder.broke) for ladder in backwards[::-1]
    ]
    for ladder in together:
        (alone,) = climb(Engine(Brightness(), images, device="cpu"), [ladder.image], GaussianNoise(), levels)
        assert (alone.held, alone.broke) == (ladder.held, ladder.broke)


def test_a_stronger_stress_is_not_always_the_worse_one_and_the_first_break_counts(images: ImageSet) -> None:
    @dataclass(frozen=True)
    class Window:
        """White between strengths 0.25 and 0.45, nothing elsewhere: bisection over 0 to 0.6 would miss it."""

        unit: ClassVar[str] = "amount"
        limit: ClassVar[float] = 1.0

        def __call__(self, images: torch.Tensor, strengths: torch.Tensor, streams: Streams) -> torch.Tensor:
            inside = ((strengths > 0.25) & (strengths < 0.45)).reshape(-1, 1, 1, 1)
            return torch.where(inside, torch.ones_like(images), images)

    ladders = climb(Engine(Brightness(), images, device="cpu"), dark_ids(), Window(), LEVELS)
    assert {(ladder.held, ladder.broke) for ladder in ladders} == {(0.2, 0.3)}


def test_attacks_climb_too(images: ImageSet) -> None:
    """The mean is linear: FGSM at epsilon adds epsilon to it, and m breaks above 1/2 - m."""
    levels = evenly(0.6, 7)
    ladders = climb(Engine(Brightness(), images, device="cpu"), dark_ids(), FGSM(), levels)
    for ladder in ladders:
        mean = DARK[ladder.image.removeprefix("dark/")] / 255
        assert ladder.broke == next((level for level in levels if mean + level > 0.5), None)
        assert (ladder.stress, ladder.unit) == ("FGSM()", "epsilon")


def test_no_images_have_no_ladders(images: ImageSet, white: Blend) -> None:
    assert climb(Engine(Brightness(), images, device="cpu"), [], white, LEVELS) == ()


@pytest.mark.parametrize(
    ("levels", "got"),
    [
        ([], "()"),
        ([0.2, 0.1], "(0.2, 0.1)"),
        ([0.1, 0.1], "(0.1, 0.1)"),
        ([0.0, 0.1], "(0.0, 0.1)"),
        ([-0.1, 0.1], "(-0.1, 0.1)"),
        ((0.0,), "(0.0,)"),
    ],
)
def test_levels_that_do_not_ascend_from_0_are_refused(images: ImageSet, levels: Sequence[float], got: str) -> None:
    model = Brightness()
    with pytest.raises(InputError) as error:
        climb(Engine(model, images, device="cpu"), dark_ids(), GaussianNoise(), levels)
    assert str(error.value) == f"GaussianNoise(): expected ascending levels > 0, got {got}"
    assert model.calls == []


def test_levels_outside_the_range_of_the_stress_are_refused_before_the_model_is_asked(images: ImageSet) -> None:
    model = Brightness()
    with pytest.raises(InputError) as error:
        climb(Engine(model, images, device="cpu"), dark_ids(), GaussianNoise(), [0.5, 1.5])
    assert str(error.value) == (
        "GaussianNoise(): expected sigma in [0, 1], in units of the [0, 1] pixel scale, got 1.5"
    )
    assert model.calls == []
