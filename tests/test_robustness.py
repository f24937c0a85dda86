"""The object that tests and notebooks talk to, without pytest."""

import contextlib
from pathlib import Path

import pytest
import torch

from pytest_robustness import (
    FGSM,
    PGD,
    Blend,
    Engine,
    GateFailed,
    GaussianNoise,
    InputError,
    Robustness,
    SmoothingVote,
    image_folder,
)
from pytest_robustness.robustness import Album

from .conftest import draw_grey


def brightness(images: torch.Tensor) -> torch.Tensor:
    """Logits (dark, bright) = (0, 8 * (mean - 0.5))."""
    margin = 8 * (images.mean((1, 2, 3)) - 0.5)
    return torch.stack([torch.zeros_like(margin), margin], 1)


@pytest.fixture
def robustness(tmp_path: Path) -> Robustness:
    """Dark pictures of mean 0, 0.2 and 0.4, bright ones of 1, 0.8 and 0.6, and a white overlay."""
    for number, level in enumerate((0, 51, 102)):
        draw_grey(tmp_path / "images" / "dark" / f"{number}.png", level)
        draw_grey(tmp_path / "images" / "bright" / f"{number}.png", 255 - level)
    draw_grey(tmp_path / "white.png", 255)
    return Robustness(Engine(brightness, image_folder(tmp_path / "images", classes=["dark", "bright"]), device="cpu"))


@pytest.fixture
def white(tmp_path: Path, robustness: Robustness) -> Blend:
    return Blend(tmp_path / "white.png")


def test_accuracy_of_all_images_or_of_some(robustness: Robustness, white: Blend) -> None:
    images = robustness.engine.images
    assert robustness.accuracy() == 1.0
    assert robustness.accuracy(white, 0.4) == 4 / 6
    assert robustness.accuracy(white, 0.4, images="dark/0.png") == 1.0
    assert robustness.accuracy(white, 0.4, images=[images["dark/1.png"], "dark/2.png"]) == 0.0
    assert robustness.accuracy(white, 0.4, images=images) == 4 / 6
    assert [float(measured) for measured in robustness.measurements] == [1.0, 4 / 6, 1.0, 0.0, 4 / 6]


def test_breaking_points_are_the_first_level_past_the_closed_form(robustness: Robustness, white: Blend) -> None:
    # Dark of mean m turns bright when m + a (1 - m) > 1/2.
    assert robustness.breaking_point("dark/0.png", white) == 0.55
    assert robustness.breaking_point("dark/1.png", white) == 0.4
    assert robustness.breaking_point("dark/2.png", white, up_to=0.2, levels=2) == 0.2
    assert robustness.breaking_point("bright/0.png", white) == float("inf")


def test_fgsm_flips_an_image_exactly_when_epsilon_passes_its_distance_from_one_half(robustness: Robustness) -> None:
    robustness.assert_accuracy(FGSM(), 0.09, at_least=1.0)
    assert robustness.accuracy(FGSM(), 0.11) == 4 / 6
    assert robustness.accuracy(FGSM(), 0.31) == 2 / 6


def test_assertions_pass_in_silence_and_fail_with_their_verdict(robustness: Robustness, white: Blend) -> None:
    robustness.assert_holds_until("dark/0.png", white, 0.5)
    with pytest.raises(GateFailed) as failed:
        robustness.assert_holds_until(robustness.engine.images, white, 0.3, levels=3)
    assert str(failed.value) == (
        f"top-1 holds until alpha 0.3 under {white!r}\n"
        "5 of 6 images hold until alpha 0.3\n"
        "dark/2.png holds until alpha 0.1 and breaks at 0.2: bright 0.54, dark 0.46\n"
        "required: alpha 0.3, short by 0.2"
    )
    assert [verdict.status for verdict in robustness.verdicts] == ["pass", "fail"]
    assert [picture.caption for picture in failed.value.verdict.pictures] == ["clean", "alpha 0.2"]


def test_a_vote_recovers_or_not(robustness: Robustness) -> None:
    robustness.assert_vote_recovers("dark/0.png", GaussianNoise(), 0.1, SmoothingVote())
    robustness.assert_vote_recovers(robustness.engine.images, GaussianNoise(), 0.01, SmoothingVote())
    with pytest.raises(GateFailed):
        robustness.assert_accuracy(
            Blend(robustness.engine.images["bright/0.png"].path), 0.9, at_least=0.9, defense=SmoothingVote()
        )


def test_company_changes_the_calls_and_not_the_results(robustness: Robustness, white: Blend) -> None:
    calls = []

    def counted(images: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        return brightness(images)

    images = robustness.engine.images
    everyone = [image.id for image in images.images]
    together = Robustness(Engine(counted, images, device="cpu"), company=lambda image_id, question: everyone)
    for image in images.images:
        try:
            together.assert_holds_until(image, white, 0.3, levels=3)
        except GateFailed:
            assert image.id == "dark/2.png"
    # Tried out on noise; then clean and three levels; dark/2 leaves after the second.
    assert calls == [16, 4, 6, 6, 6, 5]


def test_an_image_is_judged_although_its_company_cannot_be_read(robustness: Robustness, white: Blend) -> None:
    images = robustness.engine.images
    images["dark/1.png"].path.write_bytes(b"broken")
    everyone = [image.id for image in images.images]
    together = Robustness(robustness.engine, company=lambda image_id, question: everyone)
    together.assert_holds_until("dark/0.png", white, 0.3, levels=1)
    with pytest.raises(InputError) as error:
        together.assert_holds_until("dark/1.png", white, 0.3, levels=1)
    assert str(error.value) == (
        f"{images['dark/1.png'].path}: expected an image, got a file in no format that Pillow reads; replace or remove it"
    )


def test_a_gate_over_nothing_is_refused(robustness: Robustness, white: Blend) -> None:
    with pytest.raises(InputError) as error:
        robustness.assert_holds_until([], white, 0.3)
    assert str(error.value) == (
        "expected at least one image to judge, got none; a gate over nothing would pass every model"
    )


def test_a_breaking_point_is_one_images(robustness: Robustness, white: Blend) -> None:
    with pytest.raises(InputError) as error:
        robustness.breaking_point(["dark/0.png", "dark/1.png"], white)  # type: ignore[arg-type]
    assert str(error.value) == "expected one image to find the breaking point of, got 2; ask image by image"


def test_an_unknown_image_is_refused_with_the_nearest(robustness: Robustness) -> None:
    with pytest.raises(InputError) as error:
        robustness.accuracy(images="dark/0.jpg")
    assert str(error.value) == (
        f"{robustness.engine.images.name}: expected the id of one of its 6 images, got 'dark/0.jpg'; did you mean 'dark/0.png'?"
    )


def test_a_strength_out_of_range_is_refused_before_anything_is_computed(robustness: Robustness, white: Blend) -> None:
    with pytest.raises(InputError) as error:
        robustness.assert_holds_until("dark/0.png", white, 1.5)
    assert str(error.value) == f"{white!r}: expected alpha in [0, 1], got 1.5"
    with pytest.raises(InputError) as error:
        robustness.breaking_point("dark/0.png", FGSM(norm="l2"))
    assert str(error.value) == "FGSM(norm='l2'): expected up_to=, because epsilon has no largest value; name one"


def test_an_album_is_full_after_its_limit_and_per_claim() -> None:
    album = Album(limit=4, per_claim=3)
    assert [album.take("a", 2), album.take("a", 2), album.take("b", 5), album.take("b", 1)] == [2, 1, 1, 0]


def test_accuracies_are_those_of_every_strength_by_itself(robustness: Robustness, white: Blend) -> None:
    strengths = [0.4, 0.0, 0.55, 0.2]
    curve = robustness.accuracies(white, strengths)
    assert [float(accuracy) for accuracy in curve] == [4 / 6, 1.0, 3 / 6, 5 / 6]
    assert [accuracy.evaluation.case.at for accuracy in curve] == ["alpha 0.4", "alpha 0", "alpha 0.55", "alpha 0.2"]
    assert robustness.measurements == list(curve)
    some = robustness.accuracies(white, [0.4], images=["dark/0.png", "dark/1.png"])
    assert [float(accuracy) for accuracy in some] == [0.5]


def test_a_curve_over_no_strength_is_refused(robustness: Robustness) -> None:
    with pytest.raises(InputError) as error:
        robustness.accuracies(GaussianNoise(), [])
    assert str(error.value) == "GaussianNoise(): expected at least one strength, got none"


def test_an_image_that_fell_is_not_attacked_at_larger_epsilons(robustness: Robustness) -> None:
    """Brightness moves by at most epsilon: dark_2 (0.4) and bright_2 (0.6) fall at 0.11, the next two at 0.31."""
    calls: list[int] = []

    def counted(images: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        return brightness(images)

    fast = Robustness(Engine(counted, robustness.engine.images, device="cpu"))
    steps = PGD(steps=2)
    curve = fast.accuracies(steps, [0.31, 0.05, 0.11])
    assert [float(accuracy) for accuracy in curve] == [2 / 6, 1.0, 4 / 6]
    calls.clear()
    again = [robustness.accuracy(steps, epsilon) for epsilon in (0.31, 0.05, 0.11)]
    assert [a.evaluation.correct for a in again] == [a.evaluation.correct for a in curve]
    fallen = dict(zip((0.31, 0.05, 0.11), curve, strict=True))
    names = ("dark/2.png", "bright/2.png")
    at = {e: {o.image: o for o in fallen[e].evaluation.outcomes if o.image in names} for e in (0.11, 0.31)}
    assert at[0.11] == at[0.31]


@pytest.mark.parametrize("at_least", [0.1, 0.5, 4 / 6, 0.8, 1.0])
@pytest.mark.parametrize("strength", [0.1, 0.4, 0.6])
def test_fast_verdicts_are_those_of_all_images(
    robustness: Robustness, white: Blend, at_least: float, strength: float
) -> None:
    fast = Robustness(Engine(brightness, robustness.engine.images, device="cpu", batch_size=1), fast=True)
    for gate in (robustness, fast):
        with contextlib.suppress(GateFailed):
            gate.assert_accuracy(white, strength, at_least=at_least)
    (full,), (early,) = robustness.verdicts, fast.verdicts
    assert (early.status, early.claim, early.n) == (full.status, full.claim, 6)
    assert early.measured is not None
    assert full.measured is not None
    # What was measured is a bound on the side of the verdict.
    assert early.measured <= full.measured + 1e-9 if full.status == "pass" else early.measured >= full.measured - 1e-9


def test_a_fast_gate_asks_about_the_shakiest_images_first_and_no_more_than_it_takes(
    robustness: Robustness, white: Blend
) -> None:
    found = []
    for batch_size in (1, 2, 6):
        engine = Engine(brightness, robustness.engine.images, device="cpu", batch_size=batch_size)
        if batch_size == 2:
            # What is known already changes nothing.
            engine.evaluate(["bright/0.png"], white, 0.4)
        fast = Robustness(engine, fast=True)
        with pytest.raises(GateFailed) as error:
            fast.assert_accuracy(white, 0.4, at_least=0.9)
        assert str(error.value) == (
            "accuracy under Blend('white.png') at alpha 0.4 >= 0.9\n"
            "accuracy at most 0.8333, required >= 0.9\n"
            "decided after 1 of 6 images, the shakiest first: 0 right, 1 wrong\n"
            "furthest off: dark/2.png (bright 0.75)"
        ).replace("white.png", white.overlay if isinstance(white.overlay, str) else "")
        (verdict,) = fast.verdicts
        found.append(verdict)
    assert found[0] == found[1] == found[2]
    assert [outcome.image for outcome in found[0].evaluations[0].outcomes] == ["dark/2.png"]


def test_a_fast_gate_over_clean_images_or_one_image_is_a_gate_as_any_other(
    robustness: Robustness, white: Blend
) -> None:
    fast = Robustness(robustness.engine, fast=True)
    fast.assert_accuracy(at_least=0.5)
    fast.assert_accuracy(white, 0.1, at_least=1.0, images="dark/0.png")
    assert [verdict.reason for verdict in fast.verdicts] == [
        "accuracy 1 (6 of 6, 95 % interval 0.541 to 1.000), required >= 0.5",
        "accuracy 1 (1 of 1, 95 % interval 0.025 to 1.000), required >= 1",
    ]
