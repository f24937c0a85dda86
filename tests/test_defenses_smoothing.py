"""Randomized smoothing against what is known in closed form: a linear classifier under Gaussian noise."""

import statistics

import pytest
import torch
from torch import nn

from pytest_robustness.attacks import Mimic, Miss
from pytest_robustness.defenses import RandomizedSmoothing
from pytest_robustness.errors import InputError
from pytest_robustness.perturbations import GaussianBlur
from pytest_robustness.types import ABSTAIN, Decision, Defense
from tests.attack_models import Linear, Model, Shown, accepted, noise_images, streams

NORMAL = statistics.NormalDist()
RUNS = 2000


def decided(
    smoothing: RandomizedSmoothing, model: Model, images: torch.Tensor, *, at_a_time: int = 4096, certify: bool = False
) -> Decision:
    defense: Defense = smoothing.certifying if certify else smoothing
    return defense.decide(Shown(model, at_a_time), images, streams(len(images)))


def at_distances(model: Linear, distances: torch.Tensor) -> torch.Tensor:
    """Images of one pixel so far, in L2, on class 0's side of the model's boundary."""
    direction = model.weight / model.weight.norm()
    offset = (distances - model.bias / model.weight.norm()).reshape(-1, 1, 1, 1)
    images = 0.5 + offset * direction
    assert torch.allclose(model.distance(images, "l2"), distances, atol=1e-5)
    return images


# Copied from a table of published values: k of n draws, alpha, and the radius in units of sigma.
@pytest.mark.parametrize(
    ("k", "n", "alpha", "radius"),
    [
        (100000, 100000, 0.001, 3.8114565633899145),
        (99999, 100000, 0.001, 3.739126668543357),
        (99998, 100000, 0.001, 3.6896451373254053),
        (100000, 100000, 0.01, 3.910510429688605),
        (99999, 100000, 0.01, 3.8212753882595014),
        (99998, 100000, 0.01, 3.7626631703626208),
        (99000, 100000, 0.001, 2.289999955213766),
        (10000, 10000, 0.001, 3.1985775147383384),
        (1000, 1000, 0.001, 2.4632626147808114),
        (100, 100, 0.001, 1.5004750241206364),
        (50000, 100000, 0.001, 0.0),
    ],
)
def test_the_radius_is_that_of_the_paper(k: int, n: int, alpha: float, radius: float) -> None:
    assert RandomizedSmoothing(sigma=1.0, n=n, alpha=alpha).radius(k) == pytest.approx(radius, abs=1e-9)
    assert RandomizedSmoothing(sigma=0.25, n=n, alpha=alpha).radius(k) == pytest.approx(radius / 4, abs=1e-9)


def test_the_largest_radius_is_that_of_draws_that_all_agree() -> None:
    assert RandomizedSmoothing(sigma=0.5, n=1000).largest_radius == pytest.approx(0.5 * 2.4632626147808114)


@pytest.mark.parametrize(
    ("first", "second", "answers"),
    [
        (10, 0, False),
        (11, 0, True),
        (60, 40, False),
        (67, 33, True),
        (510, 490, False),
        (552, 448, False),
        (553, 447, True),
    ],
)
def test_it_predicts_where_the_two_sided_binomial_test_is_below_alpha(first: int, second: int, answers: bool) -> None:
    """The p-values are .00195, .00098, .0569, .00087, .548, .00112 and .00089."""

    class Counted:
        """Says class 2 for the first draws, then class 0, whatever it is shown."""

        said = 0

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            places = torch.arange(self.said, self.said + len(images))
            self.said += len(images)
            return torch.nn.functional.one_hot(torch.where(places < first, 2, 0), 3).float()

    decision = decided(RandomizedSmoothing(sigma=0.1, n=first + second), Counted(), noise_images(1))
    assert decision.counts.tolist() == [[second, 0, first]]
    assert decision.answers.tolist() == [2 if answers else ABSTAIN]


def test_the_share_of_a_class_is_what_the_normal_distribution_says() -> None:
    model = Linear(size=1)
    distances = torch.tensor([-0.5, -0.1, 0.0, 0.2, 0.6])
    counts = decided(RandomizedSmoothing(sigma=0.4, n=20000), model, at_distances(model, distances)).counts
    for distance, k in zip(distances.tolist(), counts[:, 0].tolist(), strict=True):
        assert k / 20000 == pytest.approx(NORMAL.cdf(distance / 0.4), abs=0.015)


@pytest.mark.parametrize(("alpha", "seeds"), [(0.001, 5), (0.01, 1), (0.05, 1)])
def test_of_2000_certificates_no_more_than_alpha_are_wrong(alpha: float, seeds: int) -> None:
    """The smoothed linear classifier changes its answer exactly at the distance of the image to the boundary.

    At the smallest alpha of 10,000, where ten may be wrong: two of 2000 say little.
    """
    model = Linear(size=1)
    distances = torch.linspace(0.005, 0.8, RUNS)
    smoothing = RandomizedSmoothing(sigma=0.4, n=300, n0=20, alpha=alpha)
    images, wrong = at_distances(model, distances), 0
    for seed in range(seeds):
        decision = smoothing.certifying.decide(Shown(model, 4096), images, streams(RUNS, seed))
        assert decision.radii is not None
        wrong += int(((decision.answers == 1) | ((decision.answers == 0) & (decision.radii > distances))).sum())
    assert wrong <= alpha * RUNS * seeds
    if alpha == 0.05:
        # A bound that is never wrong would be wider than it has to be.
        assert wrong >= 0.01 * RUNS


def test_of_2000_predictions_no_more_than_alpha_are_wrong() -> None:
    """At images that are nearly a coin toss."""
    model, alpha = Linear(size=1), 0.05
    images = at_distances(model, torch.full((RUNS,), 0.005))
    answers = decided(RandomizedSmoothing(sigma=0.4, n=200, alpha=alpha), model, images).answers
    assert (answers == 1).sum() <= alpha * RUNS
    assert (answers == ABSTAIN).sum() > 0.8 * RUNS


def test_certificates_are_tight() -> None:
    """With 20,000 draws, the radius is within a few percent of the true one as long as noise crosses the boundary."""
    model = Linear(size=1)
    distances = torch.linspace(0.1, 0.8, 50)
    radii = decided(RandomizedSmoothing(sigma=0.4, n=20000), model, at_distances(model, distances), certify=True).radii
    assert radii is not None
    assert (radii <= distances).all()
    assert (radii / distances).min() > 0.85
    assert (radii / distances).mean() > 0.94


def test_an_image_that_has_no_majority_is_given_up_after_the_draws_that_choose() -> None:
    class Even:
        """Ten classes in turn."""

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot(torch.arange(len(images)) % 10, 10).float()

    decision = decided(RandomizedSmoothing(sigma=0.1, n=5000, n0=100), Even(), noise_images(2), certify=True)
    assert decision.answers.tolist() == [ABSTAIN, ABSTAIN]
    assert decision.asked.tolist() == [100, 100]
    assert decision.radii is not None
    assert decision.radii.tolist() == [0, 0]


def test_the_draws_that_choose_the_class_do_not_count_for_its_certificate() -> None:
    model = Linear(size=1)
    decision = decided(
        RandomizedSmoothing(sigma=0.4, n=200, n0=50), model, at_distances(model, torch.tensor([2.0])), certify=True
    )
    assert decision.counts.tolist() == [[200, 0]]
    assert decision.asked.tolist() == [250]


@pytest.mark.parametrize("certify", [False, True])
def test_an_image_fares_the_same_alone_in_company_in_any_order_and_in_any_batches(certify: bool) -> None:
    model, n = Linear(), 5
    images, names = noise_images(n), streams(n)
    smoothing = RandomizedSmoothing(sigma=0.3, n=50, n0=20)
    defense: Defense = smoothing.certifying if certify else smoothing
    together = defense.decide(Shown(model), images, names)
    for at_a_time in (1, 7, 16, 33, 1000):
        again = defense.decide(Shown(model, at_a_time), images, names)
        assert torch.equal(again.counts, together.counts)
    for order in ([3], [4, 2], [1, 0, 3, 2, 4]):
        part = defense.decide(Shown(model), images[order], names.select(order))
        assert torch.equal(part.counts, together.counts[order])
        assert torch.equal(part.answers, together.answers[order])


def test_no_batch_is_larger_than_the_model_takes_however_many_draws_there_are() -> None:
    seen: list[int] = []

    def model(images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return images.flatten(1)[:, :2]

    decided(RandomizedSmoothing(sigma=0.3, n=500), model, noise_images(3), at_a_time=64)
    assert max(seen) <= 64
    assert sum(seen) == 1500


def test_noise_is_not_clamped_and_has_the_deviation_sigma() -> None:
    seen: list[torch.Tensor] = []

    def model(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return images.flatten(1)[:, :2]

    images = noise_images(2)
    decided(RandomizedSmoothing(sigma=0.5, n=160), model, images, at_a_time=320)
    noise = torch.cat(seen).reshape(2, 160, *images.shape[1:]) - images.unsqueeze(1)
    assert noise.std().item() == pytest.approx(0.5, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert torch.cat(seen).min() < -0.5
    # Every draw is another one, and so is every image's.
    assert len({row.sum().item() for row in noise.flatten(0, 1)}) == 320


def test_a_denoiser_stands_between_noise_and_model() -> None:
    class Grey(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.full_like(images, 0.5)

    seen: list[torch.Tensor] = []

    def model(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return images.flatten(1)[:, :2]

    smoothing = RandomizedSmoothing(sigma=0.5, n=20, denoiser=Grey())
    assert repr(smoothing) == "RandomizedSmoothing(sigma=0.5, n=20, denoiser=Grey)"
    decided(smoothing, model, noise_images(2))
    assert all((shown == 0.5).all() for shown in seen)
    assert (smoothing.views(noise_images(2), streams(2)) == 0.5).all()


def test_an_attacker_sees_sixteen_noisy_copies_the_same_ones_every_time() -> None:
    images, smoothing = noise_images(3), RandomizedSmoothing(sigma=0.2)
    views = smoothing.views(images, streams(3))
    assert views.shape == (16, 3, 3, 6, 6)
    assert smoothing.view_count == smoothing.certifying.view_count == 16
    assert torch.equal(views, smoothing.certifying.views(images, streams(3)))
    assert torch.equal(views[:, [1]], smoothing.views(images[[1]], streams(3).select([1])))
    leaf = images.requires_grad_()
    (slope,) = torch.autograd.grad(smoothing.views(leaf, streams(3)).sum(), leaf)
    assert (slope == 16).all()


def test_a_goal_is_taken_to_be_reached_where_every_copy_reaches_it() -> None:
    votes = torch.tensor([[1, 1, 0], [1, 0, 0], [2, 1, 0]])
    smoothing = RandomizedSmoothing(sigma=0.2)
    assert smoothing.reached(Miss(accepted([0, 0, 0], 3)), votes).tolist() == [True, False, False]
    assert smoothing.certifying.reached(Mimic(torch.tensor([1, 1, 0])), votes).tolist() == [False, False, True]


def test_a_model_of_one_class_has_an_answer() -> None:
    decision = decided(RandomizedSmoothing(sigma=0.2, n=20), lambda images: images.flatten(1)[:, :1], noise_images(2))
    assert decision.answers.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("smoothing", "text"),
    [
        (RandomizedSmoothing(sigma=0.25), "RandomizedSmoothing(sigma=0.25)"),
        (RandomizedSmoothing(0.25, 10, 20, 0.01), "RandomizedSmoothing(sigma=0.25, n=10, n0=20, alpha=0.01)"),
    ],
)
def test_the_repr_is_the_shortest_constructor_call(smoothing: RandomizedSmoothing, text: str) -> None:
    assert repr(smoothing) == text
    assert eval(text) == smoothing
    assert repr(smoothing.certifying) == f"{text}.certifying"
    assert isinstance(smoothing, Defense)
    assert isinstance(smoothing.certifying, Defense)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sigma": 0.0}, "RandomizedSmoothing(sigma=0.0): expected sigma > 0 on the [0, 1] pixel scale, got 0.0"),
        ({"sigma": True}, "RandomizedSmoothing(sigma=True): expected sigma > 0 on the [0, 1] pixel scale, got True"),
        (
            {"sigma": 0.1, "n": 0},
            "RandomizedSmoothing(sigma=0.1, n=0): expected n to be a whole number of draws >= 1, got 0",
        ),
        (
            {"sigma": 0.1, "n0": 1.5},
            "RandomizedSmoothing(sigma=0.1, n0=1.5): expected n0 to be a whole number of draws >= 1, got 1.5",
        ),
        (
            {"sigma": 0.1, "alpha": 0.5},
            "RandomizedSmoothing(sigma=0.1, alpha=0.5): expected alpha, the chance of a wrong certificate, in (0, 0.5), got 0.5",
        ),
        (
            {"sigma": 0.1, "denoiser": GaussianBlur()},
            "RandomizedSmoothing: expected filters that map images to images of the same shape, or None for none, got "
            "GaussianBlur(); fix its strength, as in fixed(GaussianBlur(), 1.0)",
        ),
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        RandomizedSmoothing(**settings)  # type: ignore[arg-type]
    assert str(error.value) == message
