"""Attacks by closed forms: the sign of a gradient, and a linear model whose minimal distance is known."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pytest_robustness.attacks import FGSM, PGD, Miss
from pytest_robustness.errors import InputError
from pytest_robustness.norms import length
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Attack, Norm

Model = Callable[[torch.Tensor], torch.Tensor]

norms = pytest.mark.parametrize("norm", ["linf", "l2"])


def streams(n: int, seed: int = 0) -> Streams:
    return Streams(seed, "test", tuple(f"{row}.png" for row in range(n)))


def noise_images(n: int, size: int = 6) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def accepted(labels: list[int], k: int) -> torch.Tensor:
    return F.one_hot(torch.tensor(labels), k).bool()


class Linear:
    """Two classes; class 0 leads by a margin of scale * (w . (x - 1/2) + bias), and every call is remembered."""

    def __init__(self, *, scale: float = 1.0, bias: float = 0.5, size: int = 6) -> None:
        self.weight = torch.randn(3, size, size, generator=torch.Generator().manual_seed(1))
        self.scale, self.bias = scale, bias
        self.seen: list[torch.Tensor] = []

    def margin(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * ((self.weight * (images - 0.5)).sum((1, 2, 3)) + self.bias)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images.detach().clone())
        margin = self.margin(images)
        return torch.stack([margin, torch.zeros_like(margin)], 1)

    def distance(self, images: torch.Tensor, norm: Norm) -> torch.Tensor:
        """How far each image is from the other class: margin / ||w||_1 in Linf, margin / ||w||_2 in L2."""
        return self.margin(images) / self.scale / self.weight.norm(p=1 if norm == "linf" else 2)


def near_grey(n: int = 6) -> torch.Tensor:
    """Images so near to 1/2 that no step towards the other class meets 0 or 1."""
    return 0.5 + 0.02 * (noise_images(n) - 0.5)


def convnet() -> nn.Module:
    """A small convolutional network of three classes with fixed random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        layers = [nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Conv2d(8, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3)]
        model = nn.Sequential(*layers).requires_grad_(False)
    with torch.no_grad():
        model[-1].weight *= 6
    return model


@dataclass(frozen=True, eq=False)
class Endless:
    """The objective of a goal that is never reached, so that an attack climbs to the end."""

    goal: Miss

    def select(self, rows: torch.Tensor) -> "Endless":
        return Endless(self.goal.select(rows))

    def objective(self, logits: torch.Tensor) -> torch.Tensor:
        return self.goal.objective(logits)

    def reached(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(self.goal.reached(logits))


def attacked(
    attack: Attack, model: Model, images: torch.Tensor, epsilon: float | torch.Tensor, *, classes: int = 2
) -> torch.Tensor:
    """The images under the attack; class 0 is the accepted one."""
    strengths = torch.as_tensor(epsilon).expand(len(images))
    goal = Miss(accepted([0] * len(images), classes))
    return attack.against(model, goal, images, strengths, streams(len(images)))


@pytest.mark.parametrize(
    ("classes", "odds"),
    [
        ([0], (math.exp(2) + math.exp(3)) / math.exp(1)),
        ([2], (math.exp(1) + math.exp(2)) / math.exp(3)),
        ([0, 2], math.exp(2) / (math.exp(1) + math.exp(3))),
    ],
)
def test_the_objective_is_the_logarithm_of_the_odds_of_a_miss(classes: list[int], odds: float) -> None:
    rows = torch.zeros(1, 3, dtype=torch.bool)
    rows[0, classes] = True
    objective = Miss(rows).objective(torch.tensor([[1.0, 2.0, 3.0]]))
    assert objective.tolist() == pytest.approx([math.log(odds)], abs=1e-6)


def test_the_objective_rises_as_the_cross_entropy_does_which_is_log_of_1_plus_the_odds() -> None:
    logits = 3 * torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(20) % 5
    objective = Miss(F.one_hot(labels, 5).bool()).objective(logits)
    assert torch.allclose(F.softplus(objective), F.cross_entropy(logits, labels, reduction="none"), atol=1e-6)


@pytest.mark.parametrize("margin", [0.0, 1.0, 20.0, 1e3, 1e30])
def test_the_objective_has_a_gradient_however_certain_the_model_is(margin: float) -> None:
    logits = torch.tensor([[margin, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(Miss(accepted([0], 2)).objective(logits).sum(), logits)
    assert gradient.tolist() == [[-1.0, 1.0]]


def test_where_every_class_is_accepted_the_objective_is_flat() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], requires_grad=True)
    goal = Miss(torch.tensor([[True, True, True], [True, False, True]]))
    objective = goal.objective(logits)
    (gradient,) = torch.autograd.grad(objective.sum(), logits)
    assert objective[0].item() == 0
    assert gradient[0].tolist() == [0.0, 0.0, 0.0]
    assert (gradient[1] != 0).all()


def test_a_miss_is_any_answer_outside_the_accepted_classes() -> None:
    goal = Miss(torch.tensor([[True, False, True]] * 3 + [[True, True, True]]))
    logits = torch.tensor([[5.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 5.0], [1.0, 5.0, 1.0]])
    assert goal.reached(logits).tolist() == [False, True, False, False]


def test_fgsm_is_the_image_plus_epsilon_times_the_sign_of_the_gradient() -> None:
    model, images, labels = convnet(), noise_images(16), torch.arange(16) % 3
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(leaf), labels, reduction="sum"), leaf)
    assert (gradient != 0).all()
    for epsilon in (1 / 255, 8 / 255, 0.3):
        found = FGSM().against(
            model, Miss(F.one_hot(labels, 3).bool()), images, torch.full((16,), epsilon), streams(16)
        )
        assert torch.allclose(found, (images + epsilon * gradient.sign()).clamp(0, 1), rtol=0, atol=2e-7)


def test_fgsm_in_l2_is_the_image_plus_epsilon_along_the_normalised_gradient() -> None:
    model, images, labels = convnet(), noise_images(16), torch.arange(16) % 3
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(leaf), labels, reduction="sum"), leaf)
    direction = gradient / gradient.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    goal = Miss(F.one_hot(labels, 3).bool())
    found = FGSM(norm="l2").against(model, goal, images, torch.full((16,), 0.7), streams(16))
    assert torch.allclose(found, (images + 0.7 * direction).clamp(0, 1), rtol=0, atol=1e-6)


def test_pgd_of_one_whole_step_is_fgsm() -> None:
    model, images = convnet(), noise_images(16)
    goal, epsilons = Miss(F.one_hot(model(images).argmax(1), 3).bool()), torch.full((16,), 0.1)
    for norm in ("linf", "l2"):
        one, fgsm = (
            attack.against(model, goal, images, epsilons, streams(16))
            for attack in (PGD(1, 1.0, norm=norm), FGSM(norm=norm))
        )
        assert torch.allclose(one, fgsm, atol=1e-6)


@pytest.mark.parametrize(
    "attack",
    [FGSM(), FGSM(norm="l2"), PGD(), PGD(norm="l2"), PGD(steps=7, step_size=0.3), PGD(random_start=True)],
    ids=repr,
)
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-20])
def test_a_linear_model_flips_exactly_where_epsilon_exceeds_its_distance(attack: Attack, scale: float) -> None:
    model, images = Linear(scale=scale), near_grey()
    distance = model.distance(images, attack.norm)
    assert (distance > 0).all()
    assert distance.unique().numel() == len(images)
    assert (model.margin(attacked(attack, model, images, 0.999 * distance)) > 0).all()
    assert (model.margin(attacked(attack, model, images, 1.001 * distance)) < 0).all()


def test_from_a_random_start_in_l2_a_linear_model_flips_where_epsilon_clearly_exceeds_its_distance() -> None:
    """Twenty steps turn a random direction to within 3 % of the best one, and never past it."""
    model, images, attack = Linear(), near_grey(), PGD(norm="l2", random_start=True)
    distance = model.distance(images, "l2")
    assert (model.margin(attacked(attack, model, images, 0.999 * distance)) > 0).all()
    assert (model.margin(attacked(attack, model, images, 1.04 * distance)) < 0).all()


@pytest.mark.parametrize("attack", [FGSM(), FGSM(norm="l2"), PGD(), PGD(norm="l2")], ids=repr)
@pytest.mark.parametrize("margin", [10, 20, 80, 500])
def test_a_confident_linear_model_flips_where_an_unsure_one_does(attack: Attack, margin: float) -> None:
    """The distance does not depend on the scale of the logits, and a softmax rounded to 1 has a gradient all the same."""
    model, images = Linear(scale=2 * margin), near_grey()
    distance = model.distance(images, attack.norm)
    assert (model.margin(images) > 0.6 * margin).all()
    assert (model.margin(attacked(attack, model, images, 0.999 * distance)) > 0).all()
    assert (model.margin(attacked(attack, model, images, 1.001 * distance)) < 0).all()


@norms
def test_each_image_has_its_own_epsilon(norm: Norm) -> None:
    model, images = Linear(), near_grey()
    factors = torch.tensor([0.0, 0.5, 0.99, 1.01, 1.5, 2.0])
    for attack in (FGSM(norm=norm), PGD(norm=norm)):
        found = attacked(attack, model, images, factors * model.distance(images, norm))
        assert torch.equal(found[0], images[0])
        assert (model.margin(found) < 0).tolist() == [False, False, False, True, True, True]


def test_a_step_is_two_and_a_half_of_epsilon_over_the_steps_unless_said_otherwise() -> None:
    model, images = convnet(), noise_images(8)
    goal, epsilons = Endless(Miss(accepted([0] * 8, 3))), torch.full((8,), 0.05)
    default, said, other = (
        attack.against(model, goal, images, epsilons, streams(8))
        for attack in (PGD(steps=5), PGD(steps=5, step_size=0.5), PGD(steps=5, step_size=0.25))
    )
    assert torch.equal(default, said)
    assert not torch.equal(default, other)


def test_pgd_takes_as_many_steps_as_it_has_of_the_length_it_has() -> None:
    """On a linear model every step goes the same way, so that k steps of s * epsilon make k * s * epsilon."""
    model, images = Linear(bias=9.0), near_grey()
    found = attacked(PGD(steps=4, step_size=0.1), model, images, 0.05)
    assert len(model.seen) == 4 + 1  # and once at the edge
    assert torch.allclose(found, images - 0.02 * model.weight.sign(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("random_start", [False, True])
@norms
def test_every_iterate_is_in_the_ball_and_in_0_to_1(norm: Norm, random_start: bool) -> None:
    model, images = convnet(), noise_images(12).round(decimals=1)
    epsilons = torch.logspace(-3, 0.5 if norm == "l2" else -0.3, 12)
    seen: list[torch.Tensor] = []

    def watched(batch: torch.Tensor) -> torch.Tensor:
        seen.append(batch.detach().clone())
        logits: torch.Tensor = model(batch)
        return logits

    goal = Endless(Miss(accepted([0] * 12, 3)))
    attack = PGD(steps=6, step_size=0.8, norm=norm, random_start=random_start)
    final = attack.against(watched, goal, images, epsilons, streams(12))
    assert len(seen) == 6 + 1
    for iterate in (*seen, final):
        assert iterate.min() >= 0
        assert iterate.max() <= 1
        assert (length(iterate - images, norm) <= epsilons * (1 + 1e-5) + 1e-7).all()


@norms
def test_pgd_climbs_higher_than_fgsm(norm: Norm) -> None:
    model, images = convnet(), noise_images(32)
    goal = Miss(accepted([0, 1, 2, 0] * 8, 3))
    epsilons = torch.full((32,), 0.1 if norm == "linf" else 0.8)
    fgsm, pgd = (
        goal.objective(model(attack.against(model, Endless(goal), images, epsilons, streams(32))))
        for attack in (FGSM(norm=norm), PGD(norm=norm))
    )
    clean = goal.objective(model(images))
    assert (pgd > clean).all()
    assert (pgd >= fgsm - 1e-5).float().mean().item() >= 0.9
    assert pgd.mean() > fgsm.mean()


class Narrow(torch.nn.Module):
    """Wrong only half way to the edge of a ball of 0.1: the margin is 1 - 5 u (1 - u), u = (0.5 - mean) / 0.1."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images.detach().clone())
        u = (0.5 - images.mean((1, 2, 3))) / 0.1
        margin = 1 - 5 * u * (1 - u)
        return torch.stack([margin, torch.zeros_like(margin)], 1)


def test_an_image_stays_at_the_first_iterate_that_reached_the_goal() -> None:
    model, images = Narrow(), torch.full((4, 3, 4, 4), 0.5)
    found = attacked(PGD(steps=8, step_size=0.2), model, images, 0.1)
    # u is 0, at the edge 1, then 0.2 and 0.4, the first below zero.
    assert [round((0.5 - batch.mean().item()) / 0.1, 3) for batch in model.seen] == [0.0, 1.0, 0.2, 0.4]
    assert torch.equal(found, model.seen[-1])


def test_an_image_that_falls_at_the_edge_stays_there_and_leaves_the_batch() -> None:
    model, images = Linear(), near_grey()
    far = torch.tensor([3.0, 0.5, 3.0, 0.5, 3.0, 0.5]) * model.distance(images, "linf")
    found = attacked(PGD(steps=8), model, images, far)
    assert (model.margin(found) < 0).tolist() == [True, False] * 3
    assert [len(batch) for batch in model.seen] == [6, 6, 3, 3, 3, 3, 3, 3, 3]
    assert torch.equal(found[::2], model.seen[1][::2])
    alone = [attacked(PGD(steps=8), Linear(), images[row : row + 1], far[row : row + 1]) for row in range(6)]
    assert torch.equal(found, torch.cat(alone))


@pytest.mark.parametrize("at_a_time", [1, 4, 5, 100])
def test_a_classifier_is_shown_no_more_images_at_a_time_than_it_takes(at_a_time: int) -> None:
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

    images, goal, epsilons = noise_images(12), Miss(accepted([0, 1, 2, 0] * 3, 3)), torch.full((12,), 0.01)
    for attack in (FGSM(), PGD(steps=5)):
        whole = attack.against(convnet(), goal, images, epsilons, streams(12))
        parts = attack.against(Slow(convnet(), at_a_time), goal, images, epsilons, streams(12))
        assert torch.allclose(parts, whole, atol=1e-6)


def test_an_image_that_reached_the_goal_before_is_left_as_it_is() -> None:
    model, images = Linear(bias=0.0), near_grey(40)
    there = model.margin(images) < 0
    assert 0 < there.sum() < 40
    found = attacked(PGD(), model, images, 0.1)
    assert torch.equal(found[there], images[there])
    assert (model.margin(found) < 0).all()
    # The others are tried at the edge, where all of them fall.
    assert [len(batch) for batch in model.seen] == [40, 40 - int(there.sum())]


@norms
def test_an_image_whose_random_start_reached_the_goal_stays_there(norm: Norm) -> None:
    """The start is the first point of the ball where it succeeded; a step may lead out of a narrow success again."""
    model, images = Linear(bias=0.01), near_grey(40)
    found = attacked(PGD(random_start=True, norm=norm), model, images, 0.1)
    there = Miss(accepted([0] * 40, 2)).reached(Linear(bias=0.01)(model.seen[0]))
    assert 0 < there.sum() < 40
    assert torch.equal(found[there], model.seen[0][there])


def first_seen(images: torch.Tensor, drawn: Streams, *, norm: Norm = "linf", epsilon: float = 0.1) -> torch.Tensor:
    """Where a random start begins."""
    model = Linear()
    goal = Miss(accepted([0] * len(images), 2))
    PGD(steps=1, norm=norm, random_start=True).against(model, goal, images, torch.full((len(images),), epsilon), drawn)
    return model.seen[0]


def test_a_random_start_in_linf_is_uniform_in_the_ball() -> None:
    away = first_seen(torch.full((40, 3, 6, 6), 0.5), streams(40)) - 0.5
    assert away.min().item() == pytest.approx(-0.1, abs=0.001)
    assert away.max().item() == pytest.approx(0.1, abs=0.001)
    assert away.mean().item() == pytest.approx(0, abs=0.005)
    assert away.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.03)


def test_a_random_start_in_l2_is_inside_the_ball_in_any_direction() -> None:
    away = first_seen(torch.full((40, 3, 6, 6), 0.5), streams(40), norm="l2", epsilon=0.4) - 0.5
    assert (length(away, "l2") <= 0.4 + 1e-6).all()
    directions = F.normalize(away.flatten(1))
    assert (directions @ directions.T - torch.eye(40)).abs().max().item() < 0.5


@norms
def test_a_random_start_belongs_to_the_image_and_the_seed(norm: Norm) -> None:
    images, drawn = near_grey(), streams(6)
    together = first_seen(images, drawn, norm=norm)
    assert torch.equal(first_seen(images, drawn, norm=norm), together)
    for rows in ([0], [5], [4, 2, 0, 1, 5, 3]):
        assert torch.equal(first_seen(images[rows], drawn.select(rows), norm=norm), together[rows])
    assert not torch.equal(first_seen(images, streams(6, seed=1), norm=norm), together)


def test_without_a_random_start_the_first_iterate_is_the_image() -> None:
    model, images = Linear(), near_grey()
    attacked(PGD(), model, images, 0.1)
    assert torch.equal(model.seen[0], images)


attacks = pytest.mark.parametrize(
    "attack",
    [FGSM(), FGSM(norm="l2"), PGD(steps=5), PGD(steps=5, random_start=True), PGD(5, norm="l2", random_start=True)],
    ids=repr,
)


@attacks
def test_strength_0_is_the_identity(attack: Attack) -> None:
    images = noise_images(6)
    assert torch.equal(attacked(attack, convnet(), images, 0.0, classes=3), images)


@attacks
def test_an_image_fares_the_same_alone_in_company_and_in_another_order(attack: Attack) -> None:
    model, images, goal, drawn = convnet(), noise_images(8), Miss(accepted([0, 1, 2, 0] * 2, 3)), streams(8)
    epsilons = torch.linspace(0.01, 0.2, 8)
    together = attack.against(model, goal, images, epsilons, drawn)
    for rows in ([0], [3], [7], [6, 1], [7, 6, 5, 4, 3, 2, 1, 0]):
        some = attack.against(model, Miss(goal.accepted[rows]), images[rows], epsilons[rows], drawn.select(rows))
        assert torch.allclose(some, together[rows], rtol=0, atol=1e-5)


@attacks
def test_an_attack_leaves_images_and_parameters_as_they_were(attack: Attack) -> None:
    model, images = convnet().requires_grad_(), noise_images(6)
    with torch.no_grad():
        found = attacked(attack, model, images, 0.1, classes=3)
    assert torch.equal(images, noise_images(6))
    assert not images.requires_grad
    assert not found.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


def test_epsilon_ends_at_1_in_linf_and_nowhere_in_l2() -> None:
    for attack in (FGSM, PGD):
        assert attack.unit == "epsilon"
        assert attack().limit == 1.0
        assert attack(norm="l2").limit == math.inf
        assert isinstance(attack(), Attack)


@pytest.mark.parametrize(
    ("attack", "text"),
    [
        (FGSM(), "FGSM()"),
        (FGSM(norm="linf"), "FGSM()"),
        (FGSM("l2"), "FGSM(norm='l2')"),
        (PGD(), "PGD()"),
        (PGD(steps=20), "PGD()"),
        (PGD(7, 0.5, "l2", True), "PGD(steps=7, step_size=0.5, norm='l2', random_start=True)"),
        (PGD(random_start=True), "PGD(random_start=True)"),
    ],
)
def test_the_repr_is_the_shortest_constructor_call(attack: Attack, text: str) -> None:
    assert repr(attack) == text
    assert eval(text) == attack
    assert hash(eval(text)) == hash(attack)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FGSM(norm="l1"), "FGSM(norm='l1'): expected norm 'linf' or 'l2', got 'l1'"),
        (lambda: PGD(norm="Linf"), "PGD(norm='Linf'): expected norm 'linf' or 'l2', got 'Linf'"),
        (lambda: PGD(steps=0), "PGD(steps=0): expected steps to be a whole number >= 1, got 0"),
        (lambda: PGD(steps=-3), "PGD(steps=-3): expected steps to be a whole number >= 1, got -3"),
        (lambda: PGD(steps=True), "PGD(steps=True): expected steps to be a whole number >= 1, got True"),
        (lambda: PGD(steps=2.5), "PGD(steps=2.5): expected steps to be a whole number >= 1, got 2.5"),
        (
            lambda: PGD(step_size=0.0),
            "PGD(step_size=0.0): expected a step_size > 0 (a fraction of epsilon), got 0.0; leave it out for 2.5 / steps",
        ),
        (
            lambda: PGD(step_size=-0.1),
            "PGD(step_size=-0.1): expected a step_size > 0 (a fraction of epsilon), got -0.1; leave it out for 2.5 / steps",
        ),
        (
            lambda: PGD(step_size=math.nan),
            "PGD(step_size=nan): expected a step_size > 0 (a fraction of epsilon), got nan; leave it out for 2.5 / steps",
        ),
        (
            lambda: PGD(step_size=math.inf),
            "PGD(step_size=inf): expected a step_size > 0 (a fraction of epsilon), got inf; leave it out for 2.5 / steps",
        ),
    ],
)
def test_settings_that_mean_nothing_are_refused(make: Callable[[], Attack], message: str) -> None:
    with pytest.raises(InputError) as error:
        make()
    assert str(error.value) == message


@pytest.mark.parametrize("attack", [FGSM(), PGD()], ids=repr)
@pytest.mark.parametrize(
    "model",
    [
        lambda images: Linear()(images.detach()),
        lambda images: torch.from_numpy(Linear()(images).detach().numpy().copy()),
        torch.no_grad()(lambda images: Linear()(images)),
    ],
    ids=["detach", "numpy", "no_grad"],
)
def test_a_model_without_a_gradient_is_refused_not_called_robust(attack: Attack, model: Model) -> None:
    with pytest.raises(InputError) as error:
        attacked(attack, model, near_grey(), 0.1)
    assert str(error.value) == (
        "expected logits that depend on the images by differentiable operations, got logits without a gradient; "
        "remove no_grad, detach() or a round trip through numpy from the model's forward"
    )


def test_a_random_start_in_l2_is_uniform_in_the_ball() -> None:
    """In 27 dimensions half of the ball lies beyond 0.5 ** (1 / 27) = 0.975 of its radius."""
    images = torch.full((400, 3, 3, 3), 0.5)
    seen = []

    def model(batch: torch.Tensor) -> torch.Tensor:
        seen.append(batch.detach())
        return torch.stack([batch.sum((1, 2, 3)), -batch.sum((1, 2, 3))], 1)

    PGD(steps=1, norm="l2", random_start=True).against(
        model, Miss(accepted([0] * 400, 2)), images, torch.full((400,), 0.1), streams(400)
    )
    lengths = (seen[0] - images).flatten(1).norm(dim=1) / 0.1
    assert lengths.max() <= 1 + 1e-5
    assert 0.42 < (lengths > 0.5 ** (1 / 27)).float().mean() < 0.58
