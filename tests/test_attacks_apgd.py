"""APGD by the paper's algorithm, written out for one image, by its checkpoints, and by functions that stall it."""

import json
from pathlib import Path

import pytest
import torch

from pytest_robustness.attacks import APGD, FGSM, PGD, Miss
from pytest_robustness.attacks.apgd import checkpoints
from pytest_robustness.norms import length
from pytest_robustness.types import Loss, Norm
from tests.attack_models import Endless, Linear, accepted, attacked, convnet, near_grey, noise_images, streams

norms = pytest.mark.parametrize("norm", ["linf", "l2"])
REFERENCE = Path(__file__).parents[2] / "shared" / "reference.json"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (100, [22, 41, 57, 70, 80, 87, 93, 99]),
        (50, [11, 21, 30, 38, 45]),
        (20, [4, 7, *range(9, 21)]),
        (10, [*range(2, 11)]),
        (3, [1, 2, 3]),
        (1, [1]),
    ],
)
def test_step_sizes_are_looked_at_after_22_percent_of_the_steps_and_ever_sooner(
    steps: int, expected: list[int]
) -> None:
    assert checkpoints(steps) == expected


@pytest.mark.skipif(not REFERENCE.is_file(), reason="../shared/reference.json is not there")
def test_the_checkpoints_are_those_of_the_reference() -> None:
    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))["apgd_checkpoints_1based"]
    assert {steps: checkpoints(int(steps)) for steps in reference} == reference


def by_the_paper(
    image: torch.Tensor, epsilon: float, *, norm: Norm, steps: int, loss: Loss
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Algorithm 1 for one image of class 0 of five, in float64: its best point, and every point that it visits."""
    model = convnet(5).double()

    def looked(x: torch.Tensor) -> tuple[float, torch.Tensor]:
        leaf = x[None].clone().requires_grad_()
        objective = Miss(accepted([0], 5)).objective(model(leaf), loss)
        return objective.item(), torch.autograd.grad(objective.sum(), leaf)[0][0]

    def inside(x: torch.Tensor) -> torch.Tensor:
        away = x - image
        if norm == "linf":
            return (image + away.clamp(-epsilon, epsilon)).clamp(0, 1)
        return (image + away * min(1.0, epsilon / max(away.norm().item(), 1e-12))).clamp(0, 1)

    def ahead(x: torch.Tensor, slope: torch.Tensor, size: float) -> torch.Tensor:
        return inside(x + size * (slope.sign() if norm == "linf" else slope / slope.norm()))

    size, last_mark, rises, halved = 2 * epsilon, 0, 0, False
    value, slope = looked(image)
    best, best_value, best_slope, value_then = image, value, slope, value
    before, x = image, ahead(image, slope, size)
    visited = [before, x]
    for step in range(1, steps):
        value_before = value
        value, slope = looked(x)
        rises += value > value_before
        if value > best_value:
            best, best_value, best_slope = x, value, slope
        if step in checkpoints(steps):
            halved = rises < 0.75 * (step - last_mark) or (not halved and best_value == value_then)
            if halved:
                size, x, value, slope = size / 2, best, best_value, best_slope
            rises, last_mark, value_then = 0, step, best_value
        target = ahead(x, slope, size)
        before, x = x, inside(x + 0.75 * (target - x) + 0.25 * (x - before))
        visited.append(x)
    return best, visited


class Watched:
    """A model whose every call is remembered."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.seen: list[torch.Tensor] = []

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images.detach().clone())
        logits: torch.Tensor = self.model(images)
        return logits


@norms
@pytest.mark.parametrize("loss", ["log-odds", "margin", "dlr"])
def test_a_batch_climbs_as_the_papers_algorithm_does_image_by_image(norm: Norm, loss: Loss) -> None:
    images, steps, model = noise_images(5).double(), 40, Watched(convnet(5).double())
    epsilon = 0.08 if norm == "linf" else 0.6
    goal, epsilons = Endless(Miss(accepted([0] * 5, 5))), torch.full((5,), epsilon, dtype=torch.float64)
    found = APGD(steps, norm, loss).against(model, goal, images, epsilons, streams(5))
    assert len(model.seen) == steps + 1
    for row in range(5):
        best, visited = by_the_paper(images[row], epsilon, norm=norm, steps=steps, loss=loss)
        for mine, theirs in zip(model.seen, visited, strict=True):
            assert torch.allclose(mine[row], theirs, rtol=0, atol=1e-9)
        assert torch.allclose(found[row], best, rtol=0, atol=1e-9)


def test_the_first_step_from_the_image_is_fgsm() -> None:
    model, images = Watched(convnet()), noise_images(8)
    goal, epsilons = Endless(Miss(accepted([0] * 8, 3))), torch.full((8,), 0.1)
    APGD(3).against(model, goal, images, epsilons, streams(8))
    assert torch.equal(model.seen[0], images)
    fgsm = FGSM().against(convnet(), goal, images, epsilons, streams(8))
    assert torch.allclose(model.seen[1], fgsm, rtol=0, atol=1e-7)


def test_an_image_that_never_falls_ends_at_its_best_point() -> None:
    """Where the climb ends in a valley behind the top, the top is handed out."""
    model, images = Watched(convnet()), noise_images(8)
    goal = Miss(accepted([0] * 8, 3))
    found = APGD(12).against(model, Endless(goal), images, torch.full((8,), 0.3), streams(8))
    values = torch.stack([goal.objective(convnet()(batch)) for batch in model.seen[:-1]])
    assert torch.allclose(goal.objective(convnet()(found)), values.amax(0), atol=1e-5)


class Ridge:
    """Class 0 leads by 1 + |mean - 0.53|: the way up the objective changes its sign at 0.53, and no step of one size stays there."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images.detach().clone())
        margin = 1 + (images.mean((1, 2, 3)) - 0.53).abs()
        return torch.stack([margin, torch.zeros_like(margin)], 1)


def test_steps_get_shorter_until_a_ridge_is_found_that_steps_of_one_size_only_straddle() -> None:
    images = torch.full((2, 3, 4, 4), 0.5)
    ridge, straddling = Ridge(), Ridge()
    found = attacked(APGD(100), ridge, images, 0.1)
    assert (found.mean((1, 2, 3)) - 0.53).abs().max() < 1e-3
    attacked(PGD(100, step_size=0.5), straddling, images, 0.1)
    nearest = min((batch.mean((1, 2, 3)) - 0.53).abs().max().item() for batch in straddling.seen)
    assert nearest > 0.019


def test_images_halve_their_steps_each_for_itself() -> None:
    """One on the ridge and one on a long slope: the second goes on at full length, as it does alone."""
    images = torch.stack([torch.full((3, 4, 4), 0.5), torch.full((3, 4, 4), 0.1)])
    epsilons = torch.tensor([0.1, 0.1])
    goal = Miss(accepted([0, 0], 2))
    together = APGD(50).against(Ridge(), goal, images, epsilons, streams(2))
    assert together[1].mean().item() == pytest.approx(0.2)
    for row in (0, 1):
        alone = APGD(50).against(
            Ridge(), goal.select(torch.tensor([row])), images[[row]], epsilons[[row]], streams(2).select([row])
        )
        assert torch.equal(alone[0], together[row])


def test_an_image_leaves_at_its_first_success() -> None:
    model, images = Linear(), near_grey()
    far = torch.tensor([3.0, 0.5, 3.0, 0.5, 3.0, 0.5]) * model.distance(images, "linf")
    found = attacked(APGD(10), model, images, far)
    assert (model.margin(found) < 0).tolist() == [True, False] * 3
    assert [len(batch) for batch in model.seen] == [6, 6] + [3] * 9
    assert torch.equal(found[::2], model.seen[1][::2])


class Corner:
    """Class 0 of four leads; class 1 is likelier, but out of reach for a grey of 0.5; class 2 rises from a corner of the ball."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(images))
        up = images.mean((1, 2, 3)) - 0.5
        left = images[..., :2].mean((1, 2, 3)) - 0.5
        zero = torch.zeros_like(up)
        return torch.stack([3 + zero, 2.85 + up, 40 * (up - 2 * left) - 1, zero - 5], 1)


def test_with_targets_the_likeliest_other_classes_are_gone_for_one_after_the_other_by_what_still_holds() -> None:
    model, images = Corner(), torch.tensor([0.5, 0.6, 0.5]).reshape(3, 1, 1, 1).expand(3, 3, 4, 4)
    goal, epsilons = Miss(accepted([0] * 3, 4)), torch.full((3,), 0.1)

    def fallen(attack: APGD) -> list[bool]:
        model.sizes.clear()
        answers: list[bool] = goal.reached(model(attack.against(model, goal, images, epsilons, streams(3)))).tolist()
        return answers

    assert fallen(APGD(10, loss="margin")) == [False, True, False]
    assert fallen(APGD(10, loss="margin", targets=1)) == [False, True, False]
    assert fallen(APGD(10, loss="margin", targets=2)) == [True, True, True]
    # A look; the first class, where one falls at the edge; a look at what is left; the second class, where the rest does.
    assert model.sizes[:-1] == [3, 3, 3, *[2] * 9, 2, 2, 2]


@norms
def test_apgd_climbs_as_high_as_pgd_of_as_many_steps(norm: Norm) -> None:
    model, images = convnet(), noise_images(32)
    goal = Miss(accepted([0, 1, 2, 0] * 8, 3))
    epsilons = torch.full((32,), 0.1 if norm == "linf" else 0.8)
    pgd, apgd = (
        goal.objective(model(attack.against(model, Endless(goal), images, epsilons, streams(32))))
        for attack in (PGD(50, norm=norm), APGD(50, norm=norm))
    )
    assert (apgd >= pgd - 5e-3).float().mean().item() >= 0.9


@norms
def test_a_random_start_belongs_to_the_image_and_the_restart(norm: Norm) -> None:
    model, images, drawn = Watched(convnet()), near_grey(), streams(6)
    goal, epsilons = Endless(Miss(accepted([0] * 6, 3))), torch.full((6,), 0.1)
    attack = APGD(3, norm, random_start=True, restarts=1)
    attack.against(model, goal, images, epsilons, drawn)
    first, again = model.seen[0], model.seen[5]
    assert not torch.equal(first, again)
    for start in (first, again):
        assert (length(start - images, norm) <= 0.1 * (1 + 1e-5)).all()
    reversed_rows = [5, 4, 3, 2, 1, 0]
    model.seen.clear()
    attack.against(model, goal, images[reversed_rows], epsilons, drawn.select(reversed_rows))
    assert torch.equal(model.seen[0], first[reversed_rows])
    assert torch.equal(model.seen[5], again[reversed_rows])
