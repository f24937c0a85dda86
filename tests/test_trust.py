"""The checks of attacks: each is silent on sound models and speaks up on one that was built to deserve it."""

import re
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from fixtures.classifiers import load_classifier
from pytest_robustness import (
    APGD,
    BIM,
    FGSM,
    FMN,
    MIFGSM,
    PGD,
    Engine,
    GateFailed,
    GaussianNoise,
    InputError,
    Robustness,
    Square,
    foreign,
    image_folder,
    labelled_images,
)
from pytest_robustness.doubts import CHECKS
from pytest_robustness.loading import ImageSet
from pytest_robustness.readings import READINGS
from pytest_robustness.records import Doubt
from pytest_robustness.seeding import Streams
from pytest_robustness.trust import Trust
from pytest_robustness.types import Attack, Classifier, Goal, Images, Norm, Strengths
from tests.attack_models import convnet

Model = Callable[[torch.Tensor], torch.Tensor]
FIXTURES = Path(__file__).parents[1] / "fixtures"
SOUND = [FGSM(), PGD(), PGD(random_start=True), BIM(), MIFGSM(), APGD(30), FMN(30), Square(30)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Forty pictures of noise, 6 x 6, of the classes that the small network says."""
    root, model = tmp_path_factory.mktemp("noise"), convnet()
    labels = {}
    for number in range(40):
        values = torch.randint(256, (6, 6, 3), generator=torch.Generator().manual_seed(number), dtype=torch.uint8)
        Image.fromarray(values.numpy()).save(root / f"{number:02}.png")
        labels[f"{number:02}.png"] = [int(model(values.permute(2, 0, 1)[None] / 255).argmax())]
    return labelled_images(root, labels, classes=["a", "b", "c"])


@pytest.fixture(scope="module")
def drawn() -> ImageSet:
    return image_folder(FIXTURES / "images")


def trust(model: Model, images: ImageSet, seed: int = 0) -> Trust:
    return Trust(Engine(model, images, device="cpu", seed=seed))


def names(doubts: tuple[Doubt, ...]) -> list[str]:
    return [doubt.check for doubt in doubts]


class Shown(nn.Module):
    """The small network, shown what `change` makes of an image."""

    def __init__(self, change: Model, model: nn.Module | None = None) -> None:
        super().__init__()
        self.change, self.model = change, convnet() if model is None else model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(self.change(images))
        return logits


class Said(nn.Module):
    """The small network, of whose logits `change` makes others."""

    def __init__(self, change: Model) -> None:
        super().__init__()
        self.change, self.model = change, convnet()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.change(self.model(images))


class Reversed(torch.autograd.Function):
    """The same images, with a gradient that leads the wrong way."""

    @staticmethod
    def forward(ctx: object, images: torch.Tensor) -> torch.Tensor:
        return images.clone()

    @staticmethod
    def backward(ctx: object, gradients: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return -gradients


def doubts(model: Model, images: ImageSet, attack: Attack, strength: float) -> dict[str, str]:
    """What the checks say, by their names."""
    return {doubt.check: doubt.said for doubt in trust(model, images).doubts(attack, strength)[1]}


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_sound_model_is_not_doubted_under_any_attack(images: ImageSet, norm: Norm) -> None:
    sound = trust(convnet(), images)
    for attack in (type(own)(**{**vars(own), "norm": norm}) for own in SOUND):
        for strength in (0.01, 0.03, 0.1):
            checks, found = sound.doubts(attack, strength * (1 if norm == "linf" else 5))
            assert found == (), (attack, strength)
            assert [name for name in CHECKS if name in checks] == list(checks)


@pytest.mark.parametrize(("name", "strength"), [("plain", 8), ("hardened", 8)])
def test_the_drawn_sets_classifiers_are_not_doubted(drawn: ImageSet, name: str, strength: float) -> None:
    sound = trust(load_classifier(name), drawn)  # type: ignore[arg-type]
    for attack in (FGSM(), PGD(), BIM(), MIFGSM(), APGD(30), Square(30)):
        assert sound.doubts(attack, strength / 255)[1] == (), attack


def test_every_check_that_means_something_for_the_attack_is_made(images: ImageSet) -> None:
    sound = trust(convnet(), images)
    always = CHECKS[:5]
    assert sound.doubts(PGD(), 0.03)[0] == tuple(name for name in CHECKS if name != "oblivious")
    assert sound.doubts(FGSM(), 0.03)[0] == (*always, "gradients", "unbounded", "black-box")
    assert sound.doubts(Square(100), 0.03)[0] == (*always, "unbounded")
    assert sound.doubts(PGD(), 0.0) == (always[:4], ())


def test_a_layer_that_stays_in_training_mode(images: ImageSet) -> None:
    class Hidden(nn.Module):
        """Its dropout lies in a plain list, where train() and eval() don't reach it."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.ReLU(), nn.Dropout(0.3)]
            self.model = convnet()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                images = layer(images)
            logits: torch.Tensor = self.model(images)
            return logits

    found = trust(Hidden(), images).doubts(PGD(), 0.03)[1]
    assert found[0] == Doubt(
        "training-mode",
        "1 layer of the model ran in training mode, Dropout first",
        "call eval() on all of it, layers in plain lists too, and let the model's own train() and eval() reach them",
    )
    assert found[1].check == "repeatable"


def test_a_module_that_overrides_eval_is_not_doubted_because_the_engine_goes_around_it(images: ImageSet) -> None:
    class Stubborn(Shown):
        def train(self, mode: bool = True) -> "Stubborn":
            return self

    assert doubts(Stubborn(nn.Dropout(0.3)), images, PGD(), 0.03) == {}


def test_dropout_that_never_stops(images: ImageSet) -> None:
    model = Shown(lambda shown: F.dropout(shown, 0.2, training=True))
    checks, found = trust(model, images).doubts(PGD(), 0.03)
    # What compares answers to the bit means nothing of random ones.
    assert not {"company", "converged"} & set(checks)
    (doubt,) = (doubt for doubt in found if doubt.check == "repeatable")
    said, _, share = doubt.said.partition(" differ by ")
    assert said == "asked again about the same images, the model's logits"
    assert share.endswith("% of the largest")
    assert doubt.remedy == "switch off what draws random numbers, dropout for example"


def test_batch_norm_on_the_statistics_of_the_batch(images: ImageSet) -> None:
    norm, model = nn.BatchNorm2d(3, affine=False), convnet()
    found = doubts(lambda shown: model(0.5 + 0.3 * norm(shown)), images, PGD(), 0.03)
    assert list(found)[:2] == ["training-mode", "company"]
    assert found["training-mode"] == "1 layer of the model ran in training mode, BatchNorm2d first"
    (doubt,) = trust(Shown(nn.BatchNorm2d(3, track_running_stats=False)), images).doubts(PGD(), 0.03)[1]
    assert doubt.check == "company"
    assert doubt.said.startswith("alone, an image's logits differ by ")
    assert doubt.said.endswith("% of the largest from those among other images")
    assert doubt.remedy == (
        "let batch norms use their running statistics, as eval() does, and nothing else look across the batch"
    )


def test_company_is_noticed_where_there_is_one_image_only(images: ImageSet) -> None:
    image = images.images[0]
    one = labelled_images(image.path.parent, {image.id: image.labels}, classes=images.classes)
    assert "company" in doubts(Shown(nn.BatchNorm2d(3, track_running_stats=False)), one, FGSM(), 0.01)
    assert doubts(convnet(), one, FGSM(), 0.001) == {}


def test_softmax_outputs_are_refused_by_the_gate_itself_and_log_probabilities_are_fine(images: ImageSet) -> None:
    engine = Engine(Said(lambda logits: logits.softmax(1)), images, device="cpu")
    robustness = Robustness(engine, waive=dict.fromkeys(CHECKS, "no reason"))
    with pytest.raises(InputError) as error:
        robustness.assert_accuracy(PGD(), 0.01, at_least=0.1)
    assert str(error.value).partition("\n")[0] == (
        "the model: expected logits, got probabilities (every row is >= 0 and sums to 1), which hide gradients from "
        "attacks; return what goes into the softmax"
    )
    assert robustness.verdicts == []
    assert doubts(Said(lambda logits: logits.log_softmax(1)), images, PGD(), 0.03) == {}


_NORMALISED = {
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}


def _normalised(name: str, *, undone: bool = False) -> Model:
    mean, deviation = (torch.tensor(values).reshape(3, 1, 1) for values in _NORMALISED[name])
    return (lambda shown: shown * deviation + mean) if undone else (lambda shown: (shown - mean) / deviation)


@pytest.mark.parametrize(
    ("change", "reading"),
    [
        (_normalised("ImageNet"), "ImageNet's mean and deviation undone"),
        (_normalised("CIFAR-10"), "CIFAR-10's mean and deviation undone"),
        (_normalised("half", undone=True), "values from -1 to 1"),
        (lambda shown: shown / 255, "values from 0 to 255"),
        (lambda shown: shown * 255, "values from 0 to 255 undone"),
    ],
)
def test_a_wrong_range_or_normalisation(drawn: ImageSet, change: Model, reading: str) -> None:
    checks = trust(Shown(change, load_classifier("plain")), drawn)
    (doubt,) = (doubt for doubt in checks.doubts(FGSM(), 1 / 255)[1] if doubt.check == "input-range")
    right, _, rest = doubt.said.partition(f" of 32 images are right with {reading}, ")
    as_they_are = int(rest.removesuffix(" as they are"))
    assert int(right) >= 31 > as_they_are + 7
    assert doubt.remedy == "let the model take RGB in [0, 1] and normalise it itself, once, as it was trained"


def test_a_range_that_the_model_has_no_answer_to_is_no_better_one(drawn: ImageSet) -> None:
    def from_minus_1_to_1(shown: torch.Tensor) -> torch.Tensor:
        if shown.min() < 0:
            raise ValueError("pixels below 0")
        return 0.5 + 0.5 * shown

    plain = trust(Shown(from_minus_1_to_1, load_classifier("plain")), drawn)
    assert plain._model.input_range() is None
    assert sum(not outcome.correct for outcome in plain._sample.looked) >= 8


def test_answers_that_are_all_alike_are_no_better_ones(images: ImageSet) -> None:
    """Most images are of one class, which is the answer to every image that is nearly black."""
    usual = statistics.mode(image.labels for image in images.images)

    def unsure(shown: torch.Tensor) -> torch.Tensor:
        sides = F.one_hot((shown.flatten(1).sum(1) * 1e4).long() % 2 + 1, 3).float()
        return 5 * torch.where(shown.amax() < 0.1, F.one_hot(torch.tensor(usual), 3).float(), sides)

    checks = trust(unsure, images)
    assert checks._model.input_range() is None
    (undone,) = (reading for reading in READINGS if reading.name == "values from 0 to 255 undone")
    answers = checks._model._read(undone, [image.id for image in images.images])
    assert sum(outcome.correct for outcome in answers) >= 30


def test_logits_so_large_that_cross_entropies_vanish(images: ImageSet) -> None:
    (doubt,) = trust(Said(lambda logits: 1e4 * logits), images).doubts(PGD(), 0.03)[1]
    assert doubt.check == "logit-scale"
    lead = float(doubt.said.removeprefix("the right classes lead by log-odds of ").partition(" ")[0])
    assert lead > 1000
    assert doubt.said.endswith(" in the median of 8 images")
    assert doubt.remedy == (
        "divide the logits by a temperature: in float32 the cross-entropy of such answers has no gradient, and attacks of other "
        "libraries go by it"
    )


def test_quantised_input_has_no_gradient(images: ImageSet) -> None:
    found = trust(Shown(lambda shown: (shown * 16).round() / 16), images).doubts(PGD(), 0.03)[1]
    assert found == (
        Doubt(
            "gradients",
            "the gradient with respect to the image is zero at 8 of 8 images",
            "look for rounding, thresholds, saturation and divisions by zero in the model's forward, or gate on Square(), which "
            "needs no gradient",
        ),
        Doubt(
            "unbounded",
            "PGD() leaves 8 of 8 images right in a ball that holds every image, guessing leaves 2.7",
            "look for what hides the gradient, or leads it astray, in the model's forward",
        ),
        Doubt(
            "black-box",
            "Square(queries=25, share=0.1), which takes no gradient, breaks 1 of 8 images, PGD() 0",
            "look for what hides the gradient in the model's forward, or gate on Square() as well",
        ),
    )


def test_gradients_that_are_not_numbers(images: ImageSet) -> None:
    # The square root of a zero that depends on the image.
    found = doubts(Shown(lambda shown: shown + (shown - shown).sqrt()), images, FGSM(), 0.03)
    assert found["gradients"] == "the gradient with respect to the image is NaN or infinite at 8 of 8 images"


def test_a_model_without_a_gradient_is_refused_by_attacks_that_need_one_and_not_doubted_under_square(
    images: ImageSet,
) -> None:
    robustness = Robustness(Engine(Shown(torch.Tensor.detach), images, device="cpu"))
    with pytest.raises(InputError) as error:
        robustness.assert_accuracy(PGD(), 0.01, at_least=0.1)
    assert str(error.value).partition("\n")[0].endswith("or use Square(), which needs no gradient")
    robustness.assert_accuracy(Square(100), 0.01, at_least=0.1)
    (verdict,) = robustness.verdicts
    assert (verdict.status, verdict.doubts) == ("pass", ())


def test_a_gradient_that_leads_astray(images: ImageSet) -> None:
    model = Shown(Reversed.apply)
    assert doubts(model, images, PGD(), 0.1) == {
        "unbounded": "PGD() leaves 8 of 8 images right in a ball that holds every image, guessing leaves 2.7",
        "black-box": "Square(queries=25, share=0.1), which takes no gradient, breaks 2 of 8 images, PGD() 0",
    }
    assert doubts(model, images, FGSM(), 0.1)["black-box"] == (
        "Square(queries=25, share=0.1), which takes no gradient, breaks 2 of 8 images, FGSM() and PGD(steps=10) together 0"
    )


def _idle(model: Model, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return images.clone()


def test_an_attack_of_elsewhere_that_is_too_weak(images: ImageSet) -> None:
    weak = foreign(_idle, "linf")
    found = trust(convnet(), images).doubts(weak, 0.1)[1]
    assert found[0] == Doubt(
        "single-step",
        f"FGSM() breaks 8 of 8 images, {weak!r} 0",
        "take an attack that breaks no fewer than its first step, such as PGD()",
    )
    assert names(found) == ["single-step", "black-box"]


@pytest.mark.parametrize("attack", [PGD(steps=2), PGD(step_size=0.01), PGD(step_size=0.03)])
def test_an_attack_of_too_few_or_too_small_steps(drawn: ImageSet, attack: PGD) -> None:
    hardened = trust(load_classifier("hardened"), drawn)
    (doubt,) = hardened.doubts(attack, 8 / 255)[1]
    assert doubt.check == "converged"
    fewer, more = (2, 4) if attack.steps == 2 else (10, 20)
    said = rf"with {more} steps, images that hold move (\d+)% further towards another answer than with {fewer} "
    found = re.fullmatch(said + r"\([1-4] tried\)", doubt.said)
    assert found is not None
    assert 5 <= int(found[1]) <= 20 if attack.steps == 2 else 80 <= int(found[1]) <= 120
    assert doubt.remedy == "take more steps or larger ones, or APGD(), which sizes its steps itself"


class _Broken:
    """An attack that raises where it is to attack an image of the sample."""

    norm: Norm = "linf"
    unit, limit = "epsilon", 1.0

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Broken)

    def __repr__(self) -> str:
        return "_Broken()"

    def against(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Images:
        raise InputError("_Broken(): it broke")


def test_a_check_that_cannot_be_made_is_a_doubt(images: ImageSet) -> None:
    found = trust(convnet(), images).doubts(_Broken(), 0.1)[1]
    assert found == tuple(
        Doubt(name, "it could not be checked: _Broken(): it broke", "mend that first")
        for name in ("single-step", "black-box")
    )


def test_the_sample_is_a_seeded_choice_from_the_whole_set(images: ImageSet) -> None:
    model = convnet()
    first, again, other = (trust(model, images, seed) for seed in (0, 0, 1))
    # Whoever asked for what before.
    again.engine.evaluate([images.images[3].id], PGD(), 0.03)
    again.doubts(FGSM(), 0.1)
    assert first._sample.right == again._sample.right
    assert first._sample.looked == again._sample.looked
    assert first._sample.right != other._sample.right
    assert (len(first._sample.looked), len(first._sample.right)) == (32, 8)


def test_images_that_cannot_be_read_are_left_to_their_own_gates(images: ImageSet, tmp_path: Path) -> None:
    for image in images.images[:12]:
        (tmp_path / image.id).write_bytes(image.path.read_bytes())
    some = labelled_images(tmp_path, {image.id: image.labels for image in images.images[:12]}, classes=images.classes)
    for image in some.images[:11]:
        image.path.write_bytes(b"broken")
    sample = trust(convnet(), some)
    assert sample.doubts(PGD(), 0.03)[1] == ()
    assert sample._sample.right == (some.images[11].id,)


def test_a_model_that_is_never_right_is_asked_about_all_images_and_not_attacked(images: ImageSet) -> None:
    checks, _ = trust(Said(torch.Tensor.neg), images).doubts(PGD(), 0.03)
    assert checks == CHECKS[:4]


def test_checks_are_made_once_until_the_model_is_another_one(images: ImageSet) -> None:
    calls: list[int] = []

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.scale = convnet(), nn.Parameter(torch.ones(()))

        def forward(self, shown: torch.Tensor) -> torch.Tensor:
            calls.append(len(shown))
            logits: torch.Tensor = self.model(shown) * self.scale
            return logits

    model = Counting()
    robustness = Robustness(Engine(model, images, device="cpu"))
    robustness.assert_accuracy(PGD(), 0.01, at_least=0.1)
    asked = len(calls)
    robustness.assert_accuracy(PGD(), 0.01, at_least=0.1)
    robustness.assert_holds_until(robustness.verdicts[0].evaluations[0].outcomes[0].image, PGD(), 0.01, levels=1)
    assert len(calls) == asked
    with torch.no_grad():
        model.scale.fill_(1e4)
    with pytest.raises(GateFailed) as failed:
        robustness.assert_accuracy(PGD(), 0.01, at_least=0.1)
    assert names(failed.value.verdict.doubts) == ["logit-scale"]


def test_a_perturbation_is_not_checked(images: ImageSet) -> None:
    robustness = Robustness(Engine(Shown(lambda shown: (shown * 16).round() / 16), images, device="cpu"))
    robustness.assert_accuracy(GaussianNoise(), 0.001, at_least=0.1)
    robustness.assert_accuracy(at_least=0.1)
    robustness.assert_accuracy(PGD(), 0.0, at_least=0.1)
    assert [verdict.checks for verdict in robustness.verdicts] == [(), (), ()]
