"""FMN by the closed form of a linear model, and by where PGD begins to succeed."""

import pytest
import torch
import torch.nn.functional as F

from pytest_robustness.attacks import FMN, PGD, Mimic, Miss, smallest_epsilons
from pytest_robustness.norms import length
from pytest_robustness.types import Norm
from tests.attack_models import Linear, accepted, attacked, convnet, near_grey, noise_images, streams

norms = pytest.mark.parametrize("norm", ["linf", "l2"])


@norms
@pytest.mark.parametrize(("steps", "excess"), [(10, 3e-3), (50, 1.5e-3), (100, 1e-4)])
@pytest.mark.parametrize("scale", [1.0, 1e6, 1e-20])
def test_on_a_linear_model_the_smallest_epsilon_is_its_distance(
    norm: Norm, steps: int, excess: float, scale: float
) -> None:
    model, images = Linear(scale=scale), near_grey()
    found = attacked(FMN(steps, norm), model, images, 1.0 if norm == "linf" else 50.0)
    smallest = smallest_epsilons(images, found, model.margin(found) < 0, norm)
    ratio = smallest / model.distance(images, norm)
    assert (ratio >= 1 - 1e-5).all()
    assert (ratio <= 1 + excess).all()


@norms
def test_a_gradient_that_is_longer_than_the_model_is_steep_delays_it_only(norm: Norm) -> None:
    """As in a search in float16, which scales gradients."""
    linear, images = Linear(), near_grey()

    def model(batch: torch.Tensor) -> torch.Tensor:
        logits = linear(batch)
        return logits + 1023 * (logits - logits.detach())

    found = attacked(FMN(100, norm), model, images, 1.0 if norm == "linf" else 50.0)
    ratio = smallest_epsilons(images, found, linear.margin(found) < 0, norm) / linear.distance(images, norm)
    assert (ratio >= 1 - 1e-5).all()
    assert (ratio <= 1.02).all()


def test_an_image_that_holds_has_no_smallest_epsilon_and_one_that_is_there_already_has_0() -> None:
    images = torch.full((3, 3, 2, 2), 0.5)
    found = images + torch.tensor([0.0, 0.1, 0.2]).reshape(-1, 1, 1, 1)
    smallest = smallest_epsilons(images, found, torch.tensor([True, True, False]), "linf")
    assert smallest.tolist() == pytest.approx([0.0, 0.1, torch.inf])


@norms
def test_no_more_than_epsilon_is_allowed_and_what_it_allows_is_found(norm: Norm) -> None:
    model, images = Linear(), near_grey()
    distance = model.distance(images, norm)
    factors = torch.tensor([0.5, 0.9, 0.99, 1.01, 1.5, 100.0])
    found = attacked(FMN(norm=norm), model, images, factors * distance)
    assert (length(found - images, norm) <= factors * distance * (1 + 1e-5) + 1e-7).all()
    assert (model.margin(found) < 0).tolist() == [False] * 3 + [True] * 3
    assert torch.allclose(length(found - images, norm)[3:], distance[3:], rtol=1e-3)


@norms
def test_pgd_succeeds_from_the_smallest_epsilon_on(norm: Norm) -> None:
    """Image by image: just below the smallest epsilon PGD fails nearly everywhere, just above it hardly anywhere."""
    model, images = convnet(5), noise_images(40)
    goal = Miss(F.one_hot(model(images).argmax(1), 5).bool())
    found = FMN(norm=norm).against(model, goal, images, torch.full((40,), 1.0 if norm == "linf" else 9.0), streams(40))
    smallest = smallest_epsilons(images, found, goal.reached(model(found)), norm)
    assert smallest.isfinite().all()
    for share, least, most in ((0.5, 0, 0), (0.99, 0, 2), (1.02, 38, 40), (2.0, 40, 40)):
        pgd = PGD(50, norm=norm, loss="margin").against(model, goal, images, share * smallest, streams(40))
        assert least <= goal.reached(model(pgd)).sum() <= most


def test_steps_go_on_after_a_success_and_every_image_takes_all_of_them() -> None:
    model, images = Linear(), near_grey()
    attacked(FMN(20), model, images, 1.0)
    assert [len(batch) for batch in model.seen] == [6] * 21


def test_more_steps_find_nearer_successes() -> None:
    model, images = convnet(5), noise_images(30)
    goal = Miss(F.one_hot(model(images).argmax(1), 5).bool())
    means = []
    for steps in (5, 20, 100):
        found = FMN(steps).against(model, goal, images, torch.full((30,), 1.0), streams(30))
        means.append(smallest_epsilons(images, found, goal.reached(model(found)), "linf").mean().item())
    assert means == sorted(means, reverse=True)
    assert means[-1] < 0.97 * means[0]


@norms
def test_the_way_to_a_target_is_at_least_as_long_as_that_to_any_other_class(norm: Norm) -> None:
    model, images = convnet(5), noise_images(20)
    labels = model(images).argmax(1)
    miss, mimic = Miss(F.one_hot(labels, 5).bool()), Mimic((labels + 1) % 5)
    epsilons = torch.full((20,), 1.0 if norm == "linf" else 20.0)
    any_class, target = (
        smallest_epsilons(images, found, goal.reached(model(found)), norm)
        for goal in (miss, mimic)
        for found in [FMN(norm=norm).against(model, goal, images, epsilons, streams(20))]
    )
    assert (target >= 0.97 * any_class).all()
    assert (target > 1.2 * any_class).any()


def test_a_flat_model_is_walked_on_without_harm() -> None:
    images = near_grey()

    def flat(batch: torch.Tensor) -> torch.Tensor:
        margin = 1 + 0 * batch.mean((1, 2, 3))
        return torch.stack([margin, torch.zeros_like(margin)], 1)

    assert torch.equal(attacked(FMN(), flat, images, 0.1), images)
    tied = Miss(accepted([0] * 6, 2))
    found = FMN().against(lambda batch: 0 * flat(batch), tied, images, torch.full((6,), 0.1), streams(6))
    assert found.isfinite().all()
