"""The object that tests and notebooks talk to, without pytest."""

import contextlib
import math
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
from pytest_robustness.corruptions import Corruption
from pytest_robustness.curves import transparencies
from pytest_robustness.views import Album

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
        "required: alpha 0.3, short by 0.2\nto do: train with such images, put a defense in front, by robustness.behind(...), or ask for less"
    )
    assert [verdict.status for verdict in robustness.verdicts] == ["pass", "fail"]
    assert [picture.caption for picture in failed.value.verdict.pictures] == ["clean", "alpha 0.2"]


def test_a_vote_recovers_or_not(robustness: Robustness) -> None:
    robustness.assert_vote_recovers("dark/0.png", GaussianNoise(), 0.1, SmoothingVote())
    robustness.assert_vote_recovers(robustness.engine.images, GaussianNoise(), 0.01, SmoothingVote())
    with pytest.raises(GateFailed):
        robustness.behind(SmoothingVote()).assert_accuracy(
            Blend(robustness.engine.images["bright/0.png"].path), 0.9, at_least=0.9
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
    assert (
        str(error.value)
        == "expected one image to find the breaking point of, got 2; ask for the breaking_points of several"
    )


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
            "furthest off: dark/2.png (bright 0.75)\nto do: train with such images, put a defense in front, by robustness.behind(...), or ask for less"
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


def share(mean: float) -> float:
    """The probability of bright at this mean brightness."""
    return 1 / (1 + math.exp(-8 * (mean - 0.5)))


def test_a_sweep_has_both_classes_at_every_strength(robustness: Robustness, white: Blend) -> None:
    curve = robustness.sweep("dark/1.png", white, transparencies(100, 40, step=20))
    means = [0.2 + alpha * 0.8 for alpha in (0, 0.2, 0.4, 0.6)]
    assert [point.strength for point in curve.points] == [0, 0.2, 0.4, 0.6]
    assert [point.intruder for point in curve.points] == pytest.approx([share(mean) for mean in means], abs=2e-6)
    assert [point.outcome.subject for point in curve.points] == pytest.approx([1 - share(m) for m in means], abs=2e-6)
    assert (curve.accepted, curve.intruder) == (("dark",), ("bright",))
    assert (curve.leaves, curve.takeover, curve.returns, curve.drops_below(0.5)) == (0.4, 0.4, None, 0.4)
    assert robustness.measurements == [curve]


def test_sweeps_are_the_curves_of_the_images_one_by_one(robustness: Robustness, white: Blend) -> None:
    strengths = (0.1, 0.3, 0.5)
    together = robustness.sweeps(robustness.engine.images, white, strengths)
    assert [curve.image for curve in together] == [image.id for image in robustness.engine.images.images]
    assert list(together) == [robustness.sweep(curve.image, white, strengths) for curve in together]
    # A bright one stays bright: nobody intrudes, unless somebody is named.
    bright = together[0]
    assert (bright.intruder, bright.takeover, [point.intruder for point in bright.points]) == ((), None, [0.0] * 3)
    named = robustness.sweep("bright/0.png", white, strengths, intruder="dark")
    assert named.intruder == ("dark",)
    assert [point.intruder for point in named.points] == pytest.approx([1 - share(1.0)] * 3, abs=2e-6)


def test_an_intruder_may_be_a_group_of_classes(tmp_path: Path, robustness: Robustness, white: Blend) -> None:
    (tmp_path / "classes.yaml").write_text(
        "classes: [dark, bright]\ngroups: {any: [dark, bright], light: [bright]}", encoding="utf-8"
    )
    images = image_folder(tmp_path / "images", classes=tmp_path / "classes.yaml")
    grouped = Robustness(Engine(brightness, images, device="cpu"))
    curve = grouped.sweep("dark/1.png", white, (0.0, 0.5), intruder=["any"])
    assert curve.intruder == ("dark", "bright")
    assert [point.intruder for point in curve.points] == pytest.approx([1.0, 1.0], abs=2e-6)
    assert grouped.sweep("dark/1.png", white, (0.0, 0.5), intruder="light").takeover == 0.5
    with pytest.raises(InputError) as error:
        grouped.sweep("dark/1.png", white, (0.0, 0.5), intruder="lights")
    assert str(error.value) == (
        f"{images.name}: expected a class or a group of classes, got 'lights'; did you mean 'light'?"
    )


@pytest.mark.parametrize("strengths", [(), (0.2, 0.1), (0.1, 0.1)])
def test_strengths_of_a_sweep_that_do_not_ascend_are_refused(
    robustness: Robustness, white: Blend, strengths: tuple[float, ...]
) -> None:
    with pytest.raises(InputError) as error:
        robustness.sweep("dark/1.png", white, strengths)
    assert str(error.value) == f"{white!r}: expected ascending strengths, got {strengths}"


def test_a_sweep_of_an_attack_keeps_what_fell_at_a_smaller_epsilon(robustness: Robustness) -> None:
    curve = robustness.sweep("dark/2.png", PGD(steps=3), (0.0, 0.05, 0.11, 0.2))
    assert [point.outcome.correct for point in curve.points] == [True, True, False, False]
    assert curve.intruder == ("bright",)
    assert curve.points[1].intruder == pytest.approx(share(0.45), abs=1e-5)


def test_breaking_points_of_a_set_are_those_of_its_images(robustness: Robustness, white: Blend) -> None:
    points = robustness.breaking_points(white, tolerance=0.001)
    assert points.unbroken == ("bright/0.png", "bright/1.png", "bright/2.png")
    # (1/2 - m) / (1 - m)
    for image_id, exact in {"dark/0.png": 0.5, "dark/1.png": 0.375, "dark/2.png": 1 / 6}.items():
        assert exact - 1e-6 <= points[image_id] <= exact + 0.001 * 1.01
        assert robustness.breaking_point(image_id, white, tolerance=0.001) == points[image_id]
    assert points.quantile(0.2) == pytest.approx(0.375, abs=0.001)


def test_a_breaking_point_gate_lets_a_share_of_the_images_break(robustness: Robustness, white: Blend) -> None:
    robustness.assert_breaking_point(white, at_least=0.3, quantile=0.2)
    robustness.assert_breaking_point(white, at_least=0.1, quantile=0)
    (verdict, _) = robustness.verdicts
    # One of six may break earlier; the others hold until 0.3, which is where the search ends.
    assert (verdict.status, verdict.measured, verdict.margin, verdict.n) == ("pass", 0.3, 0.0, 6)
    with pytest.raises(GateFailed) as failed:
        robustness.assert_breaking_point(white, at_least=0.3, quantile=0.1, levels=3)
    assert str(failed.value) == (
        f"0.1 quantile of the breaking points under {white!r} >= alpha 0.3\n"
        "0.1 quantile alpha 0.1, required >= 0.3, short by 0.2\n"
        "5 of 6 images hold until alpha 0.3; 1 break, 5 never up to alpha 0.3, 0 wrong when clean\n"
        "dark/2.png holds until alpha 0.1 and breaks at 0.2: bright 0.54, dark 0.46\nto do: train with such images, put a defense in front, by robustness.behind(...), or ask for less"
    )
    assert {picture.image for picture in failed.value.verdict.pictures} == {"dark/2.png"}


def test_a_search_beyond_the_bar_tells_by_how_much_it_is_cleared(robustness: Robustness, white: Blend) -> None:
    robustness.assert_breaking_point(white, at_least=0.33, quantile=0.2, up_to=1.0, levels=10)
    (verdict,) = robustness.verdicts
    # Levels are tenths and 0.33; dark/1.png breaks above 0.375.
    assert (verdict.measured, verdict.required) == (0.33, 0.33)
    assert verdict.ladders[-1].levels == (0.1, 0.2, 0.3, 0.33, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@pytest.mark.parametrize(("at_least", "top"), [(0, "1"), (0.5, "0.25")])
def test_a_bar_that_no_search_can_reach_is_refused(
    robustness: Robustness, white: Blend, at_least: float, top: str
) -> None:
    with pytest.raises(InputError) as error:
        robustness.assert_breaking_point(white, at_least=at_least, up_to=float(top))
    assert str(error.value) == f"{white!r}: expected at_least in (0, {top}], got {at_least}"


def test_corruption_errors_are_those_of_each_corruption_at_each_severity(robustness: Robustness) -> None:
    measured = robustness.corruption_errors(["brightness", "contrast"])
    assert list(measured.errors) == ["brightness", "contrast"]
    assert measured.clean_error == 0
    for name, evaluations in measured.evaluations.items():
        for severity, evaluation in enumerate(evaluations, start=1):
            assert evaluation == robustness.engine.evaluate(
                [image.id for image in robustness.engine.images.images], Corruption(name), severity
            )
    # Grey of 0.4 is brightened beyond one half.
    assert measured.errors["brightness"][4] > 0
    assert measured.errors["contrast"] == (0, 0, 0, 0, 0)
    robustness.assert_corruption_accuracy("contrast", 5, at_least=1.0)
    with pytest.raises(GateFailed):
        robustness.assert_corruption_accuracy("brightness", 5, at_least=1.0)


def test_the_mean_corruption_error_is_judged_plainly_or_by_a_normalizer(robustness: Robustness) -> None:
    names = ("brightness", "contrast")
    mean = robustness.corruption_errors(names).mean
    assert 0 < mean < 0.5
    robustness.assert_mean_corruption_error(at_most=mean, normalizer=None, corruptions=names)
    with pytest.raises(GateFailed):
        robustness.assert_mean_corruption_error(at_most=mean * 0.9, normalizer=None, corruptions=names)
    robustness.assert_mean_corruption_error(
        at_most=mean, normalizer={"brightness": 1.0, "contrast": 1.0}, corruptions=names
    )
    with pytest.raises(InputError) as error:
        robustness.assert_mean_corruption_error(at_most=0.8)
    assert str(error.value) == (
        "expected normalizer=, because AlexNet's errors are on ImageNet's 1000 classes and this set has 2; "
        "give None for the plain mean error"
    )
    with pytest.raises(InputError) as error:
        robustness.corruption_errors([])
    assert str(error.value) == (
        "expected at least one corruption, got none; leave corruptions out for the fifteen common ones"
    )


def test_a_gate_over_corruption_errors_is_one_gate_and_brings_its_curves(robustness: Robustness) -> None:
    robustness.assert_mean_corruption_error(at_most=0.99, normalizer=None, corruptions=("brightness", "contrast"))
    (verdict,) = robustness.verdicts
    assert robustness.measurements == []
    (chart,) = verdict.charts
    assert (chart.x, len(chart.lines[0].points)) == ("severity", 6)
