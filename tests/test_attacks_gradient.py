"""The gradient loop by closed forms: the sign of a gradient, steps that add up, and what is left after a success."""

import pytest
import torch
import torch.nn.functional as F

from pytest_robustness.attacks import BIM, FGSM, MIFGSM, PGD, Mimic, Miss
from pytest_robustness.norms import length
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Attack, Loss, Norm
from tests.attack_models import Endless, Linear, accepted, attacked, convnet, near_grey, noise_images, streams

norms = pytest.mark.parametrize("norm", ["linf", "l2"])


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


def test_from_a_random_start_in_l2_a_linear_model_flips_where_epsilon_clearly_exceeds_its_distance() -> None:
    """Twenty steps turn a random direction to within 3 % of the best one, and never past it."""
    model, images, attack = Linear(), near_grey(), PGD(norm="l2", random_start=True)
    distance = model.distance(images, "l2")
    assert (model.margin(attacked(attack, model, images, 0.999 * distance)) > 0).all()
    assert (model.margin(attacked(attack, model, images, 1.04 * distance)) < 0).all()


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


def stepped(images: torch.Tensor, current: torch.Tensor, direction: torch.Tensor, epsilon: float) -> torch.Tensor:
    """A step in Linf, back in the ball and in [0, 1]."""
    return (images + (current + direction - images).clamp(-epsilon, epsilon)).clamp(0, 1)


def gradient(images: torch.Tensor, loss: Loss = "log-odds") -> torch.Tensor:
    """That of the objective of missing class 0, for the small network."""
    leaf = images.clone().requires_grad_()
    objective = Miss(accepted([0] * len(images), 3)).objective(convnet()(leaf), loss)
    return torch.autograd.grad(objective.sum(), leaf)[0]


def climbed(attack: Attack, images: torch.Tensor, epsilon: float) -> torch.Tensor:
    """To the end, whatever is met on the way."""
    goal, strengths = Endless(Miss(accepted([0] * len(images), 3))), torch.full((len(images),), epsilon)
    return attack.against(convnet(), goal, images, strengths, streams(len(images)))


def test_bim_is_pgd_whose_steps_add_up_to_epsilon() -> None:
    images = noise_images(8)
    for norm in ("linf", "l2"):
        assert torch.equal(climbed(BIM(7, norm), images, 0.05), climbed(PGD(7, 1 / 7, norm), images, 0.05))


@pytest.mark.parametrize("decay", [0.3, 1.0])
def test_mifgsm_steps_along_the_sum_of_the_gradients_so_far_each_of_length_1_in_l1(decay: float) -> None:
    images, epsilon, steps = noise_images(8), 0.1, 4
    current, summed = images, torch.zeros_like(images)
    for _ in range(steps):
        slope = gradient(current)
        summed = decay * summed + slope / slope.abs().sum((1, 2, 3), keepdim=True)
        current = stepped(images, current, epsilon / steps * summed.sign(), epsilon)
    found = climbed(MIFGSM(steps, decay), images, epsilon)
    assert torch.allclose(found, current, rtol=0, atol=1e-6)
    assert not torch.allclose(found, climbed(BIM(steps), images, epsilon), rtol=0, atol=1e-3)


def test_mifgsm_in_l2_steps_along_the_normalised_sum() -> None:
    images, epsilon = noise_images(8), 0.6
    first = gradient(images)
    first = first / first.abs().sum((1, 2, 3), keepdim=True)
    halfway = (images + 0.3 * F.normalize(first.flatten(1)).reshape(first.shape)).clamp(0, 1)
    second = gradient(halfway)
    summed = first + second / second.abs().sum((1, 2, 3), keepdim=True)
    away = halfway + 0.3 * F.normalize(summed.flatten(1)).reshape(first.shape) - images
    away = away * (epsilon / length(away, "l2")).clamp(max=1).reshape(-1, 1, 1, 1)
    assert torch.allclose(climbed(MIFGSM(2, norm="l2"), images, epsilon), (images + away).clamp(0, 1), atol=1e-6)


def test_mifgsm_that_forgets_at_once_is_bim() -> None:
    images = noise_images(8)
    assert torch.equal(climbed(MIFGSM(5, decay=0.0), images, 0.05), climbed(BIM(5), images, 0.05))


@pytest.mark.parametrize("loss", ["log-odds", "margin", "dlr"])
def test_the_loss_says_what_is_climbed(loss: Loss) -> None:
    images = noise_images(8)
    expected = (images + 0.1 * gradient(images, loss).sign()).clamp(0, 1)
    for attack in (FGSM(loss=loss), PGD(1, 1.0, loss=loss), BIM(1, loss=loss), MIFGSM(1, loss=loss)):
        assert torch.allclose(climbed(attack, images, 0.1), expected, rtol=0, atol=1e-6)


def test_the_losses_differ_in_where_they_lead() -> None:
    found = [climbed(PGD(loss=loss), noise_images(8), 0.1) for loss in ("log-odds", "margin", "dlr")]
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])


def test_a_target_is_reached_where_the_ball_is_large_and_left_at_first_sight() -> None:
    model, images = convnet(), noise_images(12)
    with torch.no_grad():
        targets = model(images).argmin(1)
    for attack in (PGD(), PGD(loss="margin"), MIFGSM(), PGD(norm="l2", step_size=0.3)):
        epsilons = torch.full((12,), 0.3 if attack.norm == "linf" else 2.0)
        found = attack.against(model, Mimic(targets), images, epsilons, streams(12))
        assert (model(found).argmax(1) == targets).all()
        near = attack.against(model, Mimic(targets), images, epsilons / 1e4, streams(12))
        assert (model(near).argmax(1) != targets).all()


class Pocket:
    """Class 0 everywhere but where the mean is 0.52 to 0.53; the slope leads past it, and every call is remembered."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images.detach().clone())
        mean = images.mean((1, 2, 3))
        inside = (mean > 0.52) & (mean < 0.53)
        return torch.stack([1 - mean, torch.where(inside, 9.0, -1.0)], 1)


def test_only_what_still_holds_is_started_again_each_time_elsewhere() -> None:
    model, images = Pocket(), torch.full((64, 3, 2, 2), 0.5)
    found = attacked(PGD(steps=1, step_size=1e-6, restarts=3), model, images, 0.1)
    fallen = (found.mean((1, 2, 3)) - 0.525).abs() < 0.005
    # From the images: themselves, their edges and where the step led; and again from each start, for what holds.
    sizes = [len(batch) for batch in model.seen]
    assert sizes[:4] == [64] * 4
    assert sizes[4] < 64
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 3 * 3 + 2
    assert (64 - fallen.sum().item()) <= sizes[-1]
    assert 0 < fallen.sum() < 64


def test_a_restart_is_a_random_start_for_another_purpose() -> None:
    images, drawn = near_grey(), streams(6)
    model = Linear(bias=9.0)
    goal, epsilons = Miss(accepted([0] * 6, 2)), torch.full((6,), 0.01)
    PGD(steps=1, restarts=2).against(model, goal, images, epsilons, drawn)
    # The images, their edges, a look at what is found; a start, its edges, a look; a start, its edges.
    assert [len(batch) for batch in model.seen] == [6] * 8
    first, second = model.seen[3], model.seen[6]
    for start, purpose in ((first, "restart 1"), (second, "restart 2")):
        away = 2 * drawn.child(purpose).uniform(images) - 1
        assert torch.allclose(start, images + 0.01 * away, rtol=0, atol=1e-7)


@norms
def test_restarts_find_at_least_what_is_found_without_them(norm: Norm) -> None:
    model, images = convnet(), noise_images(40)
    goal = Miss(F.one_hot(model(images).argmax(1), 3).bool())
    epsilons = torch.full((40,), 0.02 if norm == "linf" else 0.12)
    once, often = (
        goal.reached(model(PGD(3, norm=norm, restarts=restarts).against(model, goal, images, epsilons, streams(40))))
        for restarts in (0, 5)
    )
    assert 0 < once.sum() < 40
    assert (often | ~once).all()


class Noisy:
    """Class 0 leads by 3 plus the mean of the image times -1, 3, -1, 3 ... in turn: every second answer points the wrong way."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        margin = 3 + (3.0 if self.calls % 2 == 0 else -1.0) * images.mean((1, 2, 3))
        return torch.stack([margin, torch.zeros_like(margin)], 1)


@pytest.mark.parametrize(("expectation", "sign"), [(1, 1), (2, -1), (4, -1), (3, -1)])
def test_of_a_model_that_draws_numbers_the_mean_gradient_is_followed(expectation: int, sign: int) -> None:
    """One answer says up, two and four say down on the mean (3 - 1), and so do three: -1 + 3 - 1."""
    images = near_grey()
    for attack in (
        FGSM(expectation=expectation),
        BIM(1, expectation=expectation),
        PGD(1, 1.0, expectation=expectation),
    ):
        model = Noisy()
        found = attacked(attack, model, images, 0.1)
        assert torch.allclose(found, images + sign * 0.1, atol=1e-6)
        assert model.calls == (1 if isinstance(attack, FGSM) else 2) * expectation


def test_with_an_expectation_the_goal_is_reached_where_the_mean_answer_reaches_it() -> None:
    """Each answer in two is a miss; their mean is none, and the image is not left there."""
    calls = 0

    def model(images: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        margin = (5.0 if calls % 2 == 0 else -1.0) + 0 * images.mean((1, 2, 3))
        return torch.stack([margin, torch.zeros_like(margin)], 1)

    images = near_grey()
    attacked(PGD(steps=3, expectation=2), model, images, 0.1)
    assert calls == 2 * (3 + 1)
