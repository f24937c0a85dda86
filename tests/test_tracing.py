"""An attack on one image of a set, followed: frames that are what the attack went through and what the engine verified."""

import base64
import io
from pathlib import Path

import pytest
import torch
from PIL import Image

from pytest_robustness import APGD, FGSM, PGD, Engine, GaussianNoise, InputError, Robustness, Square, image_folder
from pytest_robustness.attacks import BIM, MIFGSM
from pytest_robustness.images import data_uri
from pytest_robustness.tracing import followed
from pytest_robustness.types import Attack
from pytest_robustness.views import Album

from .attack_models import convnet
from .test_robustness import brightness


@pytest.fixture
def robustness(tmp_path: Path) -> Robustness:
    """Six pictures of noise in two classes, by their brightness."""
    for number in range(6):
        folder = tmp_path / "images" / ("dark", "bright")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        low = (0, 130)[number % 2]
        generator = torch.Generator().manual_seed(number)
        values = torch.randint(low, low + 120, (6, 6, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(values.numpy()).save(folder / f"{number}.png")
    return Robustness(Engine(brightness, image_folder(tmp_path / "images", classes=["dark", "bright"]), device="cpu"))


def pixels(png: str) -> torch.Tensor:
    with Image.open(io.BytesIO(base64.b64decode(png.partition(",")[2]))) as image:
        return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).long().reshape(-1, 3)


def test_probabilities_on_the_way_are_those_of_the_closed_form(robustness: Robustness) -> None:
    """Brightness moves by a step, the margin by eight times that."""
    found = robustness.trace("dark/0.png", PGD(steps=8, step_size=0.125), 0.02, steps=range(9))
    clean = robustness.engine.images.batch(["dark/0.png"]).images
    margin = 8 * (0.5 - clean.mean()) - 8 * 0.02 * torch.arange(9) / 8
    assert [frame.step for frame in found.frames] == list(range(9))
    assert [frame.subject for frame in found.frames] == pytest.approx(margin.sigmoid().tolist(), abs=1e-5)
    assert [frame.target for frame in found.frames] == pytest.approx((-margin).sigmoid().tolist(), abs=1e-5)
    assert [frame.distance for frame in found.frames] == pytest.approx([0.0025 * k for k in range(9)], abs=1e-6)
    assert (found.ending, found.target, found.accepted, found.aimed) == ("held", "bright", ("dark",), False)


@pytest.mark.parametrize(
    "attack",
    [PGD(), BIM(), MIFGSM(), APGD(steps=10), FGSM(), FGSM(norm="l2"), PGD(random_start=True), Square(queries=20)],
    ids=repr,
)
@pytest.mark.parametrize("epsilon", [0.01, 0.3])
def test_the_first_frame_is_the_image_and_the_last_what_the_engine_verifies_to_the_bit(
    tmp_path: Path, robustness: Robustness, attack: Attack, epsilon: float
) -> None:
    engine = Engine(convnet(2), robustness.engine.images, device="cpu")
    for image in engine.images.images:
        batch, steps, images = followed(engine, image.id, attack, epsilon, lambda step: True)
        everyone = [(other.id, epsilon) for other in engine.images.images]
        ((_, shown),) = engine.shown(everyone, attack)
        own = shown.ids.index(image.id)
        assert steps[0] == 0
        assert torch.equal(images[-1], shown.images[own])
        assert torch.equal(batch.images[0], engine.images.batch([image.id]).images[0])
        if engine.evaluate([image.id]).outcomes[0].correct:
            assert torch.equal(images[0], batch.images[0])
            assert len(steps) > 1


@pytest.mark.parametrize(
    "attack", [PGD(), BIM(), APGD(steps=10), FGSM(), PGD(random_start=True), Square(queries=20)], ids=repr
)
def test_towards_a_class_it_ends_as_the_pair_does_to_the_bit(
    tmp_path: Path, robustness: Robustness, attack: Attack
) -> None:
    folder = robustness.engine.images.images[0].path.parents[1]
    images = image_folder(folder, classes=["dark", "bright", "neither"])
    engine = Engine(convnet(3), images, device="cpu")
    pairs = [(image.id, target) for image in images.images for target in range(3) if target not in image.labels]
    outcomes = engine.targeted(pairs, attack, 0.3)
    endings = set()
    for (image_id, target), outcome in zip(pairs, outcomes, strict=True):
        found = Robustness(engine).trace(image_id, attack, 0.3, images.classes[target])
        _, _, seen = followed(engine, image_id, attack, 0.3, lambda step: True, target)
        ((_, shown),) = engine.shown([(image_id, 0.3, target)], attack)
        assert torch.equal(seen[-1], shown.images[0])
        assert (found.target, found.aimed, found.answer) == (images.classes[target], True, outcome.answer)
        if engine.evaluate([image_id]).outcomes[0].correct:
            assert found.ending == ("reached" if outcome.predicted == images.classes[target] else "held")
            assert found.last.target == pytest.approx(dict(outcome.top)[images.classes[target]], abs=2e-6)
        endings.add(found.ending)
    assert endings >= {"reached", "wrong when clean"}


def test_of_classes_with_one_name_the_first_is_the_target(robustness: Robustness) -> None:
    folder = robustness.engine.images.images[0].path.parents[1]
    engine = Engine(convnet(4), image_folder(folder, classes=["dark", "bright", "crane", "crane"]), device="cpu")
    _, _, first = followed(engine, "dark/0.png", PGD(), 0.1, (1).__eq__, 2)
    found = Robustness(engine).trace("dark/0.png", PGD(), 0.1, "crane")
    assert found.last.png == data_uri(first[-1])


def test_the_trace_ends_as_the_outcome_does(robustness: Robustness) -> None:
    for image in robustness.engine.images.images:
        for epsilon in (0.01, 0.3):
            (outcome,) = robustness.engine.evaluate([image.id], PGD(), epsilon).outcomes
            found = robustness.trace(image, PGD(), epsilon)
            assert found.answer == outcome.answer
            assert found.ending == ("held" if outcome.correct else "reached")
            assert found.last.subject == pytest.approx(outcome.subject, abs=2e-6)
            assert found.last.distance == pytest.approx(outcome.distance, abs=1e-6)


def test_without_steps_the_frames_are_at_the_powers_of_two_and_at_the_end(robustness: Robustness) -> None:
    found = robustness.trace("dark/0.png", PGD(steps=20), 0.01)
    assert [frame.step for frame in found.frames] == [0, 1, 2, 4, 8, 16, 20]
    assert [frame.step for frame in robustness.trace("dark/0.png", PGD(), 0.01, steps=[3]).frames] == [0, 3, 20]


def test_pictures_are_those_of_the_frames(robustness: Robustness) -> None:
    _, _, images = followed(robustness.engine, "dark/0.png", PGD(), 0.01, (4).__eq__)
    found = robustness.trace("dark/0.png", PGD(), 0.01, steps=[4])
    assert [frame.png for frame in found.frames] == [data_uri(image) for image in images]
    expected = (images[0] * 255).round().long().permute(1, 2, 0).reshape(-1, 3)
    assert torch.equal(pixels(found.frames[0].png), expected)


def test_a_trace_is_pictured_as_long_as_there_is_room(robustness: Robustness) -> None:
    some = Robustness(robustness.engine, album=Album(limit=1, per_claim=1))
    pictured = [bool(some.trace(image, PGD(), 0.01).frames[0].png) for image in robustness.engine.images.images[:2]]
    assert pictured == [True, False]


def test_an_image_that_is_wrong_when_clean_is_not_attacked(robustness: Robustness) -> None:
    """The classes the other way round: everything is wrong."""
    images = image_folder(robustness.engine.images.images[0].path.parents[1], classes=["bright", "dark"])
    found = Robustness(Engine(brightness, images, device="cpu")).trace("dark/0.png", PGD(), 0.01)
    assert [frame.step for frame in found.frames] == [0]
    assert repr(found).startswith(
        "dark/0.png under PGD() at epsilon 0.01: not attacked, as it is wrong when clean (bright 0."
    )


def test_a_trace_is_a_measurement(robustness: Robustness) -> None:
    found = robustness.trace("dark/0.png", FGSM(), 0.01)
    assert robustness.measurements == [found]


def test_a_target_is_one_class(robustness: Robustness, tmp_path: Path) -> None:
    (tmp_path / "classes.yaml").write_text("classes: [dark, bright]\ngroups:\n  light: [dark, bright]\n")
    images = image_folder(tmp_path / "images", classes=tmp_path / "classes.yaml")
    grouped = Robustness(Engine(brightness, images, device="cpu"))
    with pytest.raises(InputError) as error:
        grouped.trace("dark/0.png", PGD(), 0.01, "light")
    assert str(error.value) == ("expected one class as the target, got 'light', a group of 2; name one of its classes")
    with pytest.raises(InputError) as error:
        grouped.trace("dark/0.png", PGD(), 0.01, "brigth")
    assert str(error.value) == (
        f"{images.name}: expected a class or a group of classes, got 'brigth'; did you mean 'bright'?"
    )


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (
            lambda r: r.trace("dark/0.png", PGD(), 0.0),
            "PGD(): expected an epsilon > 0 to follow the attack at, got 0.0",
        ),
        (
            lambda r: r.trace(["dark/0.png", "dark/2.png"], PGD(), 0.01),
            "expected one image to follow an attack on, got 2; ask for a trace of each",
        ),
        (
            lambda r: r.trace("dark/0.png", GaussianNoise(), 0.01),
            "expected an attack, whose strength is the radius of a ball, got GaussianNoise(); use sweep for a perturbation",
        ),
        (
            lambda r: r.trace("dark/0.png", PGD(), 2),
            "PGD(): expected epsilon in [0, 1], in units of the [0, 1] pixel scale, got 2; did you mean 2/255?",
        ),
        (
            lambda r: r.trace("dark/0.png", PGD(), 0.01, steps=[0, 1.5]),
            "expected steps to be whole numbers >= 0, got [0, 1.5]; leave them out for 0, 1, 2, 4, 8 ...",
        ),
        (
            lambda r: r.trace("dark/0.png", PGD(), 0.01, "dark"),
            "dark/0.png: expected a target that is not accepted, got 'dark', which is right; choose another class",
        ),
    ],
)
def test_what_can_not_be_followed_is_refused(robustness: Robustness, ask: object, said: str) -> None:
    with pytest.raises(InputError) as error:
        ask(robustness)  # type: ignore[operator]
    assert str(error.value) == said
