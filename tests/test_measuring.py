"""Accuracy curves, smallest epsilons and targeted matrices, measured and asserted: on linear models, known in closed form."""

import collections
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from PIL import Image
from torch import nn

from pytest_robustness import (
    PGD,
    Blend,
    Engine,
    GateFailed,
    GaussianNoise,
    ImageSet,
    InputError,
    Robustness,
    image_folder,
)
from pytest_robustness.attacks import FGSM, FMN
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Classifier, Goal, Images, Norm, Strengths, finds_nearest
from tests.attack_models import Linear
from tests.test_targeted import CLASSES, WRONG, Bands, distance, paint, pairs_of

norms = pytest.mark.parametrize("norm", ["linf", "l2"])


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """Ten 6 x 6 pictures near to grey, nine of them of the class that a `Linear` says, and one that it is wrong about."""
    for number in range(10):
        path = tmp_path / "images" / ("other" if number == 9 else "first") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = torch.Generator().manual_seed(number)
        values = torch.randint(124 - 2 * number, 132 + 2 * number, (6, 6, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(values.numpy()).save(path)
    return image_folder(tmp_path / "images")


@pytest.fixture
def model() -> Linear:
    return Linear(bias=1.0)


@pytest.fixture
def robustness(model: Linear, images: ImageSet) -> Robustness:
    return Robustness(Engine(model, images, device="cpu"))


@pytest.fixture
def distances(model: Linear, images: ImageSet) -> dict[tuple[str, Norm], float]:
    """The distance of each image to the other class: margin / ||w||_1 in Linf, margin / ||w||_2 in L2."""
    batch = images.batch([image.id for image in images.images])
    found: dict[tuple[str, Norm], float] = {}
    for norm in ("linf", "l2"):
        own = model.distance(batch.images, norm).tolist()
        found.update({(image_id, norm): distance for image_id, distance in zip(batch.ids, own, strict=True)})
    assert min(found.values()) > 0
    return found


@norms
def test_an_attack_that_looks_for_the_nearest_finds_every_smallest_epsilon_in_one_evaluation(
    robustness: Robustness, model: Linear, distances: dict[tuple[str, Norm], float], norm: Norm
) -> None:
    calls = len(model.seen)
    found = robustness.smallest_epsilons(FMN(100, norm))
    assert found.wrong_when_clean == ("other/9.png",)
    assert found["other/9.png"] == 0
    for number in range(9):
        exact = distances[f"first/{number}.png", norm]
        assert exact * (1 - 1e-5) <= found[f"first/{number}.png"] <= exact * (1 + 1e-3)
    # In Linf 1, in L2 the diagonal of the image: nothing is out of reach.
    assert found.up_to == pytest.approx(1.0 if norm == "linf" else (3 * 6 * 6) ** 0.5)
    # A hundred steps for all images at once, with the trials and the check.
    assert len(model.seen) - calls < 120
    assert robustness.measurements == [found]


@norms
def test_other_attacks_are_climbed_to_the_level_that_breaks_each_image(
    robustness: Robustness, distances: dict[tuple[str, Norm], float], norm: Norm
) -> None:
    top = 1.01 * max(distances.values()) if norm == "l2" else 0.05
    levels = robustness.smallest_epsilons(PGD(5, norm=norm), up_to=top, levels=8)
    halved = robustness.smallest_epsilons(PGD(5, norm=norm), up_to=top, levels=8, tolerance=top / 1000)
    for number in range(9):
        image_id = f"first/{number}.png"
        exact = distances[image_id, norm]
        level = next(top * step / 8 for step in range(1, 9) if top * step / 8 > exact)
        assert levels[image_id] == pytest.approx(level)
        assert exact * (1 - 1e-5) <= halved[image_id] <= exact + top / 1000 * 1.01
    assert levels.wrong_when_clean == ("other/9.png",)
    points = robustness.breaking_points(PGD(5, norm=norm), up_to=top, levels=8)
    assert list(levels) == [float(point) for point in points]


def test_what_is_farther_than_the_largest_epsilon_is_held(
    robustness: Robustness, distances: dict[tuple[str, Norm], float]
) -> None:
    ordered = sorted(distances[f"first/{number}.png", "linf"] for number in range(9))
    top = (ordered[4] + ordered[5]) / 2
    for attack in (FMN(), PGD(5)):
        found = robustness.smallest_epsilons(attack, up_to=top)
        assert (len(found.broken), len(found.unbroken)) == (5, 4)
        assert found.median == pytest.approx(ordered[4], rel=0.06)


@dataclass(frozen=True)
class Exact:
    """Straight to the other class of the `Linear` with this bias, a little too far: an attack of a user."""

    bias: float

    unit: ClassVar[str] = "epsilon"
    limit: ClassVar[float] = 1.0
    norm: ClassVar[Norm] = "linf"
    finds_nearest: ClassVar[bool] = True

    def against(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Images:
        model = Linear(bias=self.bias)
        lengths = 1.001 * model.distance(images, "linf")
        return images - lengths.reshape(-1, 1, 1, 1) * model.weight.sign()


def test_a_users_attack_may_say_that_it_finds_the_nearest(
    robustness: Robustness, distances: dict[tuple[str, Norm], float]
) -> None:
    assert finds_nearest(Exact(1.0))
    assert [finds_nearest(stress) for stress in (PGD(), FGSM(), GaussianNoise())] == [False] * 3
    found = robustness.smallest_epsilons(Exact(1.0), images=["first/3.png", "other/9.png"])
    assert list(found) == [pytest.approx(1.001 * distances["first/3.png", "linf"], rel=1e-4), 0.0]


@pytest.mark.parametrize("attack", [FMN(), PGD(5)])
def test_a_gate_lets_no_epsilon_break_more_than_a_share_of_the_images(
    robustness: Robustness, distances: dict[tuple[str, Norm], float], attack: FMN | PGD
) -> None:
    """Two of ten are broken at the bar: the one that is wrong when clean, and the nearest."""
    ordered = sorted(distances[f"first/{number}.png", "linf"] for number in range(9))
    bar = (ordered[0] + ordered[1]) / 2
    robustness.assert_smallest_epsilon(attack, at_least=bar, quantile=0.2)
    with pytest.raises(GateFailed) as failed:
        robustness.assert_smallest_epsilon(attack, at_least=bar, quantile=0.1)
    nearest = min(range(9), key=lambda number: distances[f"first/{number}.png", "linf"])
    assert f"8 of 10 images are not broken up to epsilon {bar:.4g}; " in str(failed.value)
    assert f"\nfirst/{nearest}.png breaks at epsilon " in str(failed.value)
    assert str(failed.value).splitlines()[-3].startswith("other/9.png is wrong on the clean image already: first ")
    # The clean image that is wrong has no attacked picture to show.
    assert {picture.image for picture in failed.value.verdict.pictures} == {f"first/{nearest}.png"}
    assert [verdict.status for verdict in robustness.verdicts] == ["pass", "fail"]
    assert robustness.measurements == []


def test_a_gate_over_an_attack_that_finds_the_nearest_asks_what_the_measurement_asks(
    robustness: Robustness, model: Linear
) -> None:
    found = robustness.smallest_epsilons(FMN())
    # The checks of the attack ask about it at the bar too.
    robustness.assert_smallest_epsilon(FMN(), at_least=0.001, quantile=0.1)
    calls = len(model.seen)
    robustness.assert_smallest_epsilon(FMN(), at_least=0.001, quantile=0.2)
    assert len(model.seen) == calls
    assert robustness.verdicts.pop().evaluations == (found.found,)
    assert robustness.verdicts[0].evaluations == (found.found,)
    assert robustness.verdicts[0].measured == found.quantile(0.1)
    # Another attack climbs to the bar alone.
    robustness.assert_smallest_epsilon(PGD(5), at_least=0.001, quantile=0.1)
    assert robustness.verdicts[1].ladders[0].levels[-1] == 0.001


def test_what_is_no_attack_or_no_bar_is_refused(robustness: Robustness) -> None:
    noise = GaussianNoise()
    for call, instead in (
        (lambda: robustness.smallest_epsilons(noise), "breaking_points"),  # type: ignore[arg-type]
        (lambda: robustness.assert_smallest_epsilon(noise, at_least=0.1), "assert_breaking_point"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError) as error:
            call()
        assert str(error.value) == (
            "expected an attack, whose strength is the radius of a ball, got GaussianNoise(); "
            f"use {instead} for a perturbation"
        )
    for attack, at_least, up_to, message in (
        (FMN(), 0, None, "FMN(): expected at_least in (0, 1], got 0"),
        (PGD(), 0.5, 0.25, "PGD(): expected at_least in (0, 0.25], got 0.5"),
        (
            FMN(),
            2,
            None,
            "FMN(): expected epsilon in [0, 1], in units of the [0, 1] pixel scale, got 2; did you mean 2/255?",
        ),
    ):
        with pytest.raises(InputError) as error:
            robustness.assert_smallest_epsilon(attack, at_least=at_least, up_to=up_to)
        assert str(error.value) == message
    with pytest.raises(InputError) as error:
        robustness.smallest_epsilons(PGD(norm="l2"))
    assert str(error.value) == "PGD(norm='l2'): expected up_to=, because epsilon has no largest value; name one"
    with pytest.raises(InputError) as error:
        robustness.smallest_epsilons(FMN(), up_to=0)
    assert str(error.value) == "FMN(): expected up_to > 0, got 0; leave it out for all of the images"


def test_curves_of_two_models_are_those_of_each_by_itself(robustness: Robustness, images: ImageSet) -> None:
    weaker = Linear(bias=0.7)
    for stress, strengths in ((PGD(3), [0.0, 0.004, 0.008, 0.012]), (GaussianNoise(), [0.02, 0.1])):
        curves = robustness.accuracy_curves(stress, strengths, models={"weaker": weaker})
        assert [curve.model for curve in curves] == ["Linear", "weaker"]
        assert list(curves["Linear"]) == list(robustness.accuracies(stress, strengths))
        alone = Robustness(Engine(weaker, images, device="cpu"))
        assert list(curves["weaker"].evaluations) == [a.evaluation for a in alone.accuracies(stress, strengths)]
    some = robustness.accuracy_curves(PGD(3), [0.004], images=["first/1.png", "other/9.png"])
    assert some["Linear"].points == {0.004: 0.5}
    assert robustness.measurements[-1] is some
    assert len(some) == 1


def test_the_gap_between_two_linear_models_is_where_their_distances_say(
    robustness: Robustness, images: ImageSet
) -> None:
    strengths = [0.0, 0.002, 0.004, 0.006, 0.008, 0.01, 0.012]
    batch = images.batch([f"first/{number}.png" for number in range(9)])
    both = {"Linear": Linear(bias=1.0), "weaker": Linear(bias=0.7)}
    distances = {name: own.distance(batch.images, "linf") for name, own in both.items()}
    curves = robustness.accuracy_curves(PGD(3), strengths, models={"weaker": both["weaker"]})
    for name, own in distances.items():
        right = [int((own > strength).sum()) for strength in strengths]
        assert [found.correct for found in curves[name].evaluations] == right
    # The other nearly always loses an image before the first does, and never after it.
    held = {name: torch.stack([own > strength for strength in strengths]).sum(0) for name, own in distances.items()}
    compared = curves.compared("weaker")
    assert (compared.more, compared.fewer) == (0, int((held["weaker"] < held["Linear"]).sum()))
    assert compared.fewer > 4


def test_a_model_that_was_asked_is_not_asked_again(robustness: Robustness) -> None:
    weaker = Linear(bias=0.7)
    robustness.accuracy_curves(PGD(3), [0.004, 0.008], models={"weaker": weaker})
    calls = len(weaker.seen)
    robustness.accuracy_curves(PGD(3), [0.004], models={"by another name": weaker})
    robustness.accuracy_curves(PGD(3), [0.008], models={"weaker": weaker}, images="first/1.png")
    assert len(weaker.seen) == calls


def test_the_model_itself_may_be_named_too_and_comes_first(robustness: Robustness, model: Linear) -> None:
    curves = robustness.accuracy_curves(FGSM(), [0.004], models={"old": Linear(bias=0.7), "new": model})
    assert [curve.model for curve in curves] == ["new", "old"]
    with pytest.raises(InputError) as error:
        robustness.accuracy_curves(FGSM(), [0.004], models={"Linear": Linear(bias=0.7)})
    assert str(error.value) == (
        "expected a name for each model, got 'Linear' twice, as the model itself is called so; name both of them in models="
    )


def test_what_is_wrong_with_another_model_is_said_with_its_name(robustness: Robustness) -> None:
    with pytest.raises(InputError) as error:
        robustness.accuracy_curves(FGSM(), [0.004], models={"old": "weights.pt"})  # type: ignore[dict-item]
    assert str(error.value) == "old: expected a model that maps images to logits, got str; return an nn.Module"
    with pytest.raises(InputError) as error:
        robustness.accuracy_curves(FGSM(), [0.004], models={"wide": nn.Sequential(nn.Flatten(), nn.Linear(108, 5))})
    assert str(error.value).startswith("wide: the model: expected ")


@pytest.mark.parametrize("strengths", [[], [0.2, 0.1], [0.1, 0.1]])
def test_strengths_of_a_curve_that_do_not_ascend_are_refused(robustness: Robustness, strengths: list[float]) -> None:
    with pytest.raises(InputError) as error:
        robustness.accuracy_curves(PGD(), strengths)
    assert str(error.value) == f"PGD(): expected ascending strengths, got {tuple(strengths)}"


def test_a_curve_has_to_be_on_or_above_its_floors(robustness: Robustness, images: ImageSet, tmp_path: Path) -> None:
    weaker = Linear(bias=0.7)
    strengths = [0.0, 0.004, 0.008]
    curves = robustness.accuracy_curves(PGD(3), strengths, models={"weaker": weaker})
    robustness.assert_curve_above(PGD(3), curves["weaker"].points)
    robustness.assert_curve_above(PGD(3), {0.008: 0.01, 0.0: 0.9})
    assert robustness.verdicts[1].claim == "accuracy under PGD(steps=3) >= 0.9 at epsilon 0, 0.01 at epsilon 0.008"
    beaten = Robustness(Engine(weaker, images, device="cpu"))
    with pytest.raises(GateFailed) as failed:
        beaten.assert_curve_above(PGD(3), curves["Linear"].points)
    short = [s for s in strengths if curves["weaker"].points[s] < curves["Linear"].points[s]]
    assert short
    assert f"{3 - len(short)} of 3 accuracies are as high as required" in str(failed.value)
    # Each image where it first fell, which is where it was attacked last.
    pictures = failed.value.verdict.pictures
    assert {picture.caption for picture in pictures} == {"clean", *(f"epsilon {strength}" for strength in short)}
    assert "other/9.png" not in {picture.image for picture in pictures}
    Image.new("RGB", (6, 6), (255, 255, 255)).save(tmp_path / "white.png")
    robustness.assert_curve_above(Blend(tmp_path / "white.png"), {0.01: 0.5}, images="first/1.png")


def test_floors_out_of_range_are_refused_before_anything_is_computed(robustness: Robustness, model: Linear) -> None:
    with pytest.raises(InputError) as error:
        robustness.assert_curve_above(PGD(), {2 / 255: 0.5, 4: 0.2})
    assert str(error.value) == (
        "PGD(): expected epsilon in [0, 1], in units of the [0, 1] pixel scale, got 4; did you mean 4/255?"
    )
    with pytest.raises(InputError) as error:
        robustness.assert_curve_above(PGD(), {})
    assert str(error.value) == (
        "expected accuracies by strength such as {2/255: 0.5, 4/255: 0.2}, got {}; a gate over nothing would pass every model"
    )
    assert model.seen == []


# Modify and mimic: whether a target is within reach is known from the brightness of four bands.


@pytest.fixture
def bands(tmp_path: Path) -> Robustness:
    return Robustness(Engine(Bands(), paint(tmp_path / "bands"), device="cpu"))


def test_a_targeted_matrix_has_the_targets_within_reach_by_class(bands: Robustness) -> None:
    measured = bands.targeted_matrix(PGD(), 4.5 / 255)
    within: collections.Counter[tuple[str, str]] = collections.Counter()
    for image_id, target in pairs_of(bands.engine.images):
        if image_id != WRONG:
            within[image_id[0], CLASSES[target]] += distance(image_id, target) < 4.5 / 255
    tried = {"a": 2, "b": 1, "c": 1, "d": 1}
    for true, target in itertools.product(CLASSES, repeat=2):
        assert measured.attempts(true, target) == (tried[true] if true != target else 0)
        assert measured.successes(true, target) == within[true, target]
    assert measured.excluded == 1
    assert (measured.record.excluded, measured.record.planned) == ((("d", 1),), 18)
    assert measured.computed == 15
    assert measured.seconds > 0
    assert measured.record.queries == sum(
        outcome.queries for outcome in bands.engine.targeted(pairs_of(bands.engine.images)[:15], PGD(), 4.5 / 255)
    )
    assert bands.measurements == [measured]
    again = bands.targeted_matrix(PGD(), 4.5 / 255)
    assert again == measured
    assert again.computed == 0


def test_a_matrix_may_be_of_some_classes_images_or_pairs(bands: Robustness) -> None:
    some = bands.targeted_matrix(FGSM(), 0.05, classes=["a", "c"])
    assert (some.classes, some.pairs, some.record.choice) == (("a", "c"), 3, "all")
    fewer = bands.targeted_matrix(FGSM(), 0.05, images_per_class=1)
    assert fewer.record.planned == 4 * 3
    drawn = bands.targeted_matrix(FGSM(), 0.05, targets=2)
    assert (drawn.record.planned, drawn.record.targets) == (12, 2)
    given = bands.targeted_matrix(FGSM(), 0.05, targets=[("a/1.png", "d"), (WRONG, "b")])
    assert (given.classes, given.pairs, given.excluded, given.successes("a", "d")) == (("a", "b", "d"), 1, 1, 1)


def test_examples_are_successes_of_the_matrix(bands: Robustness) -> None:
    measured = bands.targeted_matrix(PGD(), 4.5 / 255)
    assert measured.record.examples
    for pair in measured.record.examples:
        assert pair.outcome.predicted == pair.target
        assert pair.true == pair.image[0]
        assert distance(pair.image, CLASSES.index(pair.target)) < 4.5 / 255


def test_modify_and_mimic_rates_are_judged(bands: Robustness) -> None:
    # 7 of 15 pairs are within reach: of a 3 of 6, of b 1, of c 0 and of d 3 of 3.
    bands.assert_modify_rate(PGD(), 4.5 / 255, at_most=0.42)
    bands.assert_modify_rate(PGD(), 4.5 / 255, at_most=0.5, of="a")
    bands.assert_modify_rate(PGD(), 1 / 255, at_most=0, of="worst", targets=["b", "c"])
    with pytest.raises(GateFailed) as failed:
        bands.assert_modify_rate(PGD(), 4.5 / 255, at_most=0.5, of="worst")
    assert str(failed.value) == (
        "highest modify rate of a class under PGD() at epsilon 4.5/255 towards every other class <= 0.5\n"
        "highest modify rate of a class 1.000 (3/3, 0.292 to 1.000): d, required <= 0.5, above by 0.5\n"
        "highest d 1.00, a 0.50; lowest c 0.00, b 0.33\n"
        "15 pairs; left out: 1 image wrong when clean (d 1)\nto do: train against such attacks, put a defense in front, by robustness.behind(...), or ask for less"
    )
    bands.assert_mimic_rate(PGD(), 4.5 / 255, at_most=0.5, of="c")
    with pytest.raises(GateFailed) as failed:
        bands.assert_mimic_rate(PGD(), 4.5 / 255, at_most=0.4, of="d")
    assert str(failed.value).startswith(
        "mimic rate of d under PGD() at epsilon 4.5/255 towards every other class <= 0.4\n"
    )
    assert [verdict.status for verdict in bands.verdicts] == ["pass", "pass", "pass", "fail", "pass", "fail"]
    assert all(verdict.matrices and verdict.run for verdict in bands.verdicts)


def test_a_matrix_of_a_perturbation_and_a_gate_that_means_nothing_are_refused(bands: Robustness) -> None:
    with pytest.raises(InputError) as error:
        bands.targeted_matrix(GaussianNoise(), 0.1)  # type: ignore[arg-type]
    assert str(error.value) == (
        "expected an attack, which can go for a target, got GaussianNoise(); use one such as PGD()"
    )
    with pytest.raises(InputError) as error:
        bands.assert_mimic_rate(PGD(), 0.1, at_most=0.5, of="e")
    assert str(error.value) == "expected a class or a group of the matrix, got 'e'; it has a, b, c, ..."
