"""What all attacks have in common: balls, ids, first successes, settings; and a linear model whose minimal distance is known."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from fixtures.classifiers import CLASSES, load_classifier
from pytest_robustness import Engine, ImageSet, image_folder
from pytest_robustness.attacks import APGD, BIM, FGSM, FMN, MIFGSM, PGD, Mimic, Miss, Square
from pytest_robustness.errors import InputError
from pytest_robustness.norms import length
from pytest_robustness.types import Attack, LooksFirst, Norm, SingleStep
from tests.attack_models import (
    Endless,
    Linear,
    Model,
    accepted,
    attacked,
    convnet,
    near_grey,
    noise_images,
    streams,
)

# Models of two and three classes have no DLR: tests/test_worst_case.py has what is said of that.
pytestmark = pytest.mark.filterwarnings("ignore:loss=.dlr.:UserWarning")

# Each attack in both norms, and each way of running it that draws numbers or starts again.
EVERY: list[Attack] = [
    *(
        attack
        for norm in ("linf", "l2")
        for attack in (FGSM(norm), BIM(4, norm), MIFGSM(4, norm=norm), PGD(5, norm=norm))
    ),
    *(attack for norm in ("linf", "l2") for attack in (APGD(9, norm), Square(30, norm), FMN(9, norm))),
    PGD(5, random_start=True),
    PGD(5, norm="l2", random_start=True, restarts=1),
    PGD(4, restarts=2, loss="margin"),
    APGD(9, random_start=True),
    APGD(9, restarts=1, loss="margin"),
    APGD(9, "l2", random_start=True),
    APGD(9, loss="dlr", targets=2),
    Square(30, share=0.1, loss="log-odds"),
]
every = pytest.mark.parametrize("attack", EVERY, ids=repr)
by_gradient = pytest.mark.parametrize(
    "attack", [attack for attack in EVERY if not isinstance(attack, Square)], ids=repr
)


def some_epsilons(norm: Norm, n: int) -> torch.Tensor:
    """From one that changes nothing much to one that breaks every image."""
    return torch.linspace(0.01, 0.2, n) * (1 if norm == "linf" else 6)


@by_gradient
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-20])
def test_a_linear_model_flips_where_epsilon_exceeds_its_distance_and_nowhere_before(
    attack: Attack, scale: float
) -> None:
    """Exactly there from the image itself; from a random start in L2 a few steps turn to within a share of the best direction."""
    model, images = Linear(scale=scale), near_grey()
    distance = model.distance(images, attack.norm)
    assert (distance > 0).all()
    assert distance.unique().numel() == len(images)
    assert (model.margin(attacked(attack, model, images, 0.999 * distance)) > 0).all()
    enough = 1.1 if attack.norm == "l2" and getattr(attack, "random_start", False) else 1.001
    if isinstance(attack, FMN):
        enough = 1.01
    assert (model.margin(attacked(attack, model, images, enough * distance)) < 0).all()


@by_gradient
@pytest.mark.parametrize("margin", [10, 80, 500])
def test_a_confident_linear_model_flips_where_an_unsure_one_does(attack: Attack, margin: float) -> None:
    """The distance does not depend on the scale of the logits, and a softmax rounded to 1 has a gradient all the same."""
    unsure, model, images = Linear(), Linear(scale=2 * margin), near_grey()
    distance = model.distance(images, attack.norm)
    assert (model.margin(images) > 0.6 * margin).all()
    for share in (0.999, 1.01, 1.1):
        loud, quiet = (attacked(attack, m, images, share * distance) for m in (model, unsure))
        assert torch.equal(model.margin(loud) < 0, unsure.margin(quiet) < 0)
    assert (model.margin(attacked(attack, model, images, 1.1 * distance)) < 0).all()


@every
def test_each_image_has_its_own_epsilon(attack: Attack) -> None:
    model, images = Linear(), near_grey()
    factors = torch.tensor([0.0, 0.5, 0.99, 3.0, 3.5, 4.0])
    found = attacked(attack, model, images, factors * model.distance(images, attack.norm))
    assert torch.equal(found[0], images[0])
    assert (model.margin(found[:3]) > 0).all()
    if not isinstance(attack, Square):
        assert (model.margin(found[3:]) < 0).all()


@every
def test_strength_0_is_the_identity(attack: Attack) -> None:
    images = noise_images(6)
    assert torch.equal(attacked(attack, convnet(5), images, 0.0, classes=5), images)


@every
def test_an_image_fares_the_same_alone_in_company_and_in_another_order(attack: Attack) -> None:
    """Of a model whose answer to an image has the same bits in every batch: the engine sees to that."""
    images, drawn = noise_images(8), streams(8)

    def model(batch: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = convnet(5)(torch.cat([batch, batch[:1].expand(16 - len(batch), -1, -1, -1)]))
        return logits[: len(batch)]

    goal = Miss(F.one_hot(model(images).argmax(1), 5).bool())
    epsilons = some_epsilons(attack.norm, 8)
    together = attack.against(model, goal, images, epsilons, drawn)
    assert not torch.equal(together, images)
    for rows in ([0], [3], [7], [6, 1], [7, 6, 5, 4, 3, 2, 1, 0]):
        some = attack.against(model, Miss(goal.accepted[rows]), images[rows], epsilons[rows], drawn.select(rows))
        assert torch.allclose(some, together[rows], rtol=0, atol=1e-5)


@every
def test_an_attack_leaves_images_parameters_and_the_global_generator_as_they_were(attack: Attack) -> None:
    model, images = convnet(5).requires_grad_(), noise_images(6)
    state = torch.get_rng_state()
    with torch.no_grad():
        found = attacked(attack, model, images, 0.1, classes=5)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, noise_images(6))
    assert not images.requires_grad
    assert not found.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


@every
def test_everything_that_is_shown_and_found_is_in_the_ball_and_in_0_to_1(attack: Attack) -> None:
    model, images, rows = convnet(5), noise_images(12).round(decimals=1), []
    epsilons = torch.logspace(-3, 0.5 if attack.norm == "l2" else -0.3, 12)

    @dataclass(frozen=True)
    class Watched:
        """The model, told which images it is shown."""

        mine: torch.Tensor
        at_a_time: int = 100

        def select(self, rows: torch.Tensor) -> "Watched":
            return Watched(self.mine[rows])

        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            seen.append((self.mine, batch.detach().clone()))
            logits: torch.Tensor = model(batch)
            return logits

    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    everything = torch.arange(12)
    goal = Endless(Miss(accepted([0] * 12, 5)))
    found = attack.against(Watched(everything), goal, images, epsilons, streams(12))
    for rows, shown in (*seen, (everything, found)):
        assert shown.min() >= 0
        assert shown.max() <= 1
        assert (length(shown - images[rows], attack.norm) <= epsilons[rows] * (1 + 1e-5) + 1e-7).all()
    assert len(seen) > 1 or isinstance(attack, FGSM)


@every
def test_an_image_that_reached_the_goal_before_is_left_as_it_is_by_an_attack_that_looks_first(attack: Attack) -> None:
    model, images = Linear(bias=0.0), near_grey(40)
    there = model.margin(images) < 0
    assert 0 < there.sum() < 40
    found = attacked(attack, model, images, 0.1 if attack.norm == "linf" else 0.5)
    if not isinstance(attack, SingleStep):
        assert isinstance(attack, LooksFirst)
        assert torch.equal(found[there], images[there]) == attack.looks_first
    if isinstance(attack, LooksFirst) and attack.looks_first:
        assert torch.equal(model.seen[0], images)
    assert (model.margin(found) < 0).sum() > 0.9 * 40


@every
def test_what_is_found_for_an_image_that_falls_is_a_success(attack: Attack) -> None:
    model, images = convnet(5), noise_images(20)
    goal = Miss(F.one_hot(model(images).argmax(1), 5).bool())
    found = attack.against(model, goal, images, some_epsilons(attack.norm, 20), streams(20))
    fallen = goal.reached(model(found))
    assert 0 < fallen.sum() <= 20


@every
def test_an_attack_goes_for_a_target_where_the_goal_is_one(attack: Attack) -> None:
    """To the class that was the least likely, past the others; thirty queries or one step only bring it nearer."""
    model, images = convnet(5), noise_images(8)
    goal = Mimic(model(images).argmin(1))
    epsilons = torch.full((8,), 0.4 if attack.norm == "linf" else 4.0)
    found = attack.against(model, goal, images, epsilons, streams(8))
    assert (goal.objective(model(found)) > goal.objective(model(images))).all()
    assert goal.reached(model(found)).sum() >= (0 if isinstance(attack, (FGSM, Square)) else 6)


@every
@pytest.mark.parametrize("at_a_time", [1, 5, 100])
def test_a_classifier_is_shown_no_more_images_at_a_time_than_it_takes(attack: Attack, at_a_time: int) -> None:
    @dataclass(frozen=True)
    class Slow:
        model: torch.nn.Module
        at_a_time: int

        def select(self, rows: torch.Tensor) -> "Slow":
            return self

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            assert len(images) <= self.at_a_time
            logits: torch.Tensor = self.model(images)
            return logits

    images, goal, epsilons = noise_images(12), Miss(accepted([0, 1, 2, 0] * 3, 5)), torch.full((12,), 0.01)
    whole = attack.against(convnet(5), goal, images, epsilons, streams(12))
    parts = attack.against(Slow(convnet(5), at_a_time), goal, images, epsilons, streams(12))
    assert torch.allclose(parts, whole, atol=1e-6)


def _detaching() -> Model:
    linear = Linear()
    scale = torch.ones((), requires_grad=True)
    return lambda images: scale * linear(images.detach())


@every
def test_a_model_without_a_gradient_is_refused_not_called_robust_except_by_square(attack: Attack) -> None:
    models: list[Model] = [
        lambda images: Linear()(images.detach()),
        lambda images: torch.from_numpy(Linear()(images).detach().numpy().copy()),
        torch.no_grad()(lambda images: Linear()(images)),
        # Its answers have a gradient, with respect to its own parameters.
        _detaching(),
    ]
    images = near_grey()
    for model in models:
        if isinstance(attack, Square):
            with_gradient = attacked(attack, Linear(), images, 0.1)
            assert torch.equal(attacked(attack, model, images, 0.1), with_gradient)
            continue
        with pytest.raises(InputError) as error:
            attacked(attack, model, images, 0.1)
        assert str(error.value) == (
            "expected logits that depend on the images by differentiable operations, got logits without a gradient; "
            "remove no_grad, detach() or a round trip through numpy from the model's forward, or use Square(), which needs "
            "no gradient"
        )


@every
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_images_of_integers_are_refused(attack: Attack, dtype: torch.dtype) -> None:
    with pytest.raises(InputError) as error:
        attacked(attack, Linear(), (near_grey() * 255).to(dtype), 0.1)
    assert str(error.value) == f"expected images as floats in [0, 1], got {dtype}; divide bytes by 255"


@pytest.fixture(scope="module")
def pictures() -> ImageSet:
    return image_folder(Path(__file__).parents[1] / "fixtures" / "images", classes=list(CLASSES))


@pytest.mark.parametrize(
    ("attack", "epsilon"),
    [
        (MIFGSM(4), 2 / 255),
        (PGD(4, restarts=1), 2 / 255),
        (APGD(6), 2 / 255),
        (APGD(6, loss="dlr", targets=2), 2 / 255),
        (APGD(6, "l2"), 0.4),
        (Square(20), 16 / 255),
        (FMN(6), 2 / 255),
        (FMN(6, "l2"), 0.4),
    ],
    ids=repr,
)
def test_the_engine_has_the_same_outcomes_in_any_company_and_leaves_the_model_as_it_was(
    attack: Attack, epsilon: float, pictures: ImageSet
) -> None:
    model = load_classifier("plain").train()
    some = [image.id for image in pictures.images[::40]]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    together = Engine(model, pictures, device="cpu").evaluate(some, attack, epsilon).outcomes
    assert 0 < sum(outcome.correct for outcome in together) < len(some)
    again = Engine(model, pictures, device="cpu")
    for outcome in (together[-1], together[0]):
        assert again.evaluate([outcome.image], attack, epsilon).outcomes == (outcome,)
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", [FGSM, BIM, MIFGSM, PGD, APGD, Square, FMN])
def test_epsilon_ends_at_1_in_linf_and_nowhere_in_l2(kind: Callable[..., Attack]) -> None:
    assert kind().unit == "epsilon"
    assert kind().limit == 1.0
    assert kind(norm="l2").limit == math.inf
    assert isinstance(kind(), Attack)


def test_only_a_random_start_keeps_an_attack_from_looking_first() -> None:
    for attack in EVERY:
        assert isinstance(attack, LooksFirst)
        assert attack.looks_first is not getattr(attack, "random_start", False)
        assert isinstance(attack, SingleStep) is isinstance(attack, FGSM)


@pytest.mark.parametrize(
    ("attack", "text"),
    [
        (FGSM(), "FGSM()"),
        (FGSM(norm="linf"), "FGSM()"),
        (FGSM("l2"), "FGSM(norm='l2')"),
        (FGSM(loss="dlr", expectation=3), "FGSM(loss='dlr', expectation=3)"),
        (BIM(), "BIM()"),
        (BIM(20, "l2"), "BIM(steps=20, norm='l2')"),
        (MIFGSM(), "MIFGSM()"),
        (MIFGSM(decay=0.5), "MIFGSM(decay=0.5)"),
        (PGD(), "PGD()"),
        (PGD(steps=20), "PGD()"),
        (PGD(7, 0.5, "l2", True), "PGD(steps=7, step_size=0.5, norm='l2', random_start=True)"),
        (PGD(random_start=True, restarts=4), "PGD(random_start=True, restarts=4)"),
        (APGD(), "APGD()"),
        (APGD(loss="dlr", targets=9), "APGD(loss='dlr', targets=9)"),
        (Square(), "Square()"),
        (Square(5000, share=0.05), "Square(queries=5000, share=0.05)"),
        (FMN(), "FMN()"),
        (FMN(norm="l2"), "FMN(norm='l2')"),
    ],
)
def test_the_repr_is_the_shortest_constructor_call(attack: Attack, text: str) -> None:
    assert repr(attack) == text
    assert eval(text) == attack
    assert hash(eval(text)) == hash(attack)


KINDS: dict[str, Any] = {kind.__name__: kind for kind in (FGSM, BIM, MIFGSM, PGD, APGD, Square, FMN)}


def having(setting: str) -> list[str]:
    """The attacks with this setting."""
    return [name for name, kind in KINDS.items() if setting in {field.name for field in dataclasses.fields(kind)}]


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("norm", "l1", "norm 'linf' or 'l2', got 'l1'"),
        ("norm", "Linf", "norm 'linf' or 'l2', got 'Linf'"),
        (
            "loss",
            "ce",
            "loss 'log-odds' (the direction of the cross-entropy), 'margin' or 'dlr', got 'ce'",
        ),
        *(
            (setting, value, f"{setting} to be a whole number >= 1, got {value}")
            for setting in ("steps", "queries", "expectation")
            for value in (0, -3, 2.5, *([] if setting == "expectation" else [True]))
        ),
        *(
            (setting, value, f"{setting} to be a whole number >= 0, got {value}")
            for setting in ("restarts", "targets")
            for value in (-1, True, 1.5)
        ),
        ("random_start", 1, "random_start to be True or False, got 1"),
        *(("share", value, f"a share of the pixels in (0, 1], got {value}") for value in (0, -0.1, 1.5, math.nan)),
        *(("decay", value, f"a decay >= 0 (1 weighs all gradients alike), got {value}") for value in (-1.0, math.nan)),
        *(
            ("step_size", value, f"a step_size > 0 (a fraction of epsilon), got {value}; leave it out for 2.5 / steps")
            for value in (0.0, -0.1, math.nan, math.inf)
        ),
    ],
)
def test_settings_that_mean_nothing_are_refused(setting: str, value: object, expected: str) -> None:
    kinds = having(setting)
    assert kinds
    for name in kinds:
        with pytest.raises(InputError) as error:
            KINDS[name](**{setting: value})
        assert str(error.value) == f"{name}({setting}={value!r}): expected {expected}"
