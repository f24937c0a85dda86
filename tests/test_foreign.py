"""Attacks of foolbox, torchattacks and ART, and functions, by closed forms; what they may not do, and what is said of it."""

import copy
import functools
import importlib
import random
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from pytest_robustness.attacks.foreign import Foreign, foreign
from pytest_robustness.attacks.goals import Mimic, Miss
from pytest_robustness.attacks.recording import Recorder, isolated, seed_of
from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.fingerprint import Unknown, digest
from pytest_robustness.loading import ImageSet, image_folder
from pytest_robustness.norms import length
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Attack, Attacked, LooksFirst

LIBRARIES = {
    "foolbox": "foolbox",
    "torchattacks": "torchattacks",
    "adversarial-robustness-toolbox": "art.attacks.evasion",
}


@functools.cache
def imported(module: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(module)


def foolbox() -> Any:
    return imported("foolbox")


def torchattacks() -> Any:
    return imported("torchattacks")


def art() -> Any:
    return imported("art.attacks.evasion")


def streams(n: int, seed: int = 0) -> Streams:
    return Streams(seed, "test", tuple(f"{row}.png" for row in range(n)))


def near_grey(n: int = 6) -> torch.Tensor:
    """Images so near to 1/2 that no step towards the other class meets 0 or 1."""
    return 0.5 + 0.02 * (torch.rand(n, 3, 6, 6, generator=torch.Generator().manual_seed(0)) - 0.5)


class Linear:
    """Two classes; class 0 leads by the margin w . (x - 1/2) + 1/2."""

    def __init__(self) -> None:
        self.weight = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(1))

    def margin(self, images: torch.Tensor) -> torch.Tensor:
        return (self.weight * (images - 0.5)).sum((1, 2, 3)) + 0.5

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        margin = self.margin(images)
        return torch.stack([margin, torch.zeros_like(margin)], 1)

    def distance(self, images: torch.Tensor, norm: str) -> torch.Tensor:
        """How far each image is from the other class."""
        return self.margin(images) / self.weight.norm(p=1 if norm == "linf" else 2)

    def across(self, images: torch.Tensor, epsilon: float) -> torch.Tensor:
        """The images, this far along the shortest way to the other class in Linf."""
        return images - epsilon * self.weight.sign()


def convnet() -> nn.Module:
    """A small convolutional network of three classes with fixed random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        layers = [nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Conv2d(8, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3)]
        model = nn.Sequential(*layers).requires_grad_(False)
    with torch.no_grad():
        model[-1].weight *= 6
    return model


def miss(n: int, classes: int = 2) -> Miss:
    return Miss(F.one_hot(torch.zeros(n, dtype=torch.long), classes).bool())


def attacked(
    stress: Foreign,
    epsilon: float | torch.Tensor,
    images: torch.Tensor | None = None,
    model: Any = None,
    goal: Any = None,
) -> Attacked:
    """The images under the attack; class 0 is the accepted one."""
    images = near_grey() if images is None else images
    n = len(images)
    strengths = torch.as_tensor(epsilon).expand(n)
    return stress.attacked(model or Linear(), goal or miss(n), images, strengths, streams(n))


def said(stress: Callable[[], object]) -> str:
    with pytest.raises(InputError) as error:
        stress()
    return str(error.value)


def steps(kind: str, **settings: Any) -> Callable[[], Foreign]:
    return lambda: foreign(getattr(foolbox().attacks, kind)(**settings))


DETERMINISTIC = {
    "foolbox-fgsm": steps("LinfFastGradientAttack"),
    "foolbox-pgd": steps("LinfPGD", random_start=False),
    "foolbox-pgd-l2": steps("L2PGD", random_start=False),
    "foolbox-deepfool": steps("L2DeepFoolAttack"),
    "foolbox-fmn": steps("LInfFMNAttack", steps=100),
    "torchattacks-fgsm": lambda: foreign(torchattacks().FGSM, "linf"),
    "torchattacks-pgd": lambda: foreign(
        lambda model, eps: torchattacks().PGD(model, eps=eps, alpha=eps / 4, random_start=False),
        "linf",
        family="torchattacks",
    ),
    "torchattacks-pgd-partial": lambda: foreign(functools.partial(torchattacks().PGD, random_start=False), "linf"),
    "art-fgsm": lambda: foreign(art().FastGradientMethod, "linf"),
    "art-fgsm-l2": lambda: foreign(functools.partial(art().FastGradientMethod, norm=2, batch_size=2), "l2"),
    "art-pgd": lambda: foreign(
        lambda classifier, eps: art().ProjectedGradientDescent(classifier, eps=eps, eps_step=eps / 4, max_iter=8),
        "linf",
        family="art",
    ),
}
RANDOM = {
    "foolbox-pgd": steps("LinfPGD"),
    "torchattacks-pgd": lambda: foreign(torchattacks().PGD, "linf"),
    "art-pgd": lambda: foreign(
        lambda classifier, eps: art().ProjectedGradientDescent(
            classifier, eps=eps, eps_step=eps / 4, max_iter=8, num_random_init=1
        ),
        "linf",
        family="art",
    ),
}
deterministic = pytest.mark.parametrize("make", DETERMINISTIC.values(), ids=DETERMINISTIC)


@deterministic
def test_a_linear_model_flips_exactly_where_epsilon_exceeds_its_distance(make: Callable[[], Foreign]) -> None:
    """Each image at a strength of its own, so that each is a batch of its own."""
    stress, model, images = make(), Linear(), near_grey()
    distance = model.distance(images, stress.norm)
    for share in (0.98, 1.02):
        found = attacked(stress, share * distance)
        assert (length(found.images - images, stress.norm) <= share * distance * (1 + 1e-5)).all()
        assert ((model.margin(found.images) < 0) == torch.tensor(share > 1)).all()
        assert not found.silent.any()


def test_a_random_search_finds_what_is_far_inside_the_ball_and_nothing_below_the_distance() -> None:
    stress = foreign(functools.partial(torchattacks().Square, n_queries=100), "linf")
    model, images = Linear(), near_grey()
    distance = model.distance(images, "linf")
    assert (model.margin(attacked(stress, 8 * distance.max().item()).images) < 0).all()
    found = attacked(stress, 0.9 * distance.min().item())
    assert (model.margin(found.images) > 0).all()
    assert found.queries.unique().numel() == 1
    assert 100 <= found.queries[0] <= 110
    assert not found.gradients.any()


def test_what_the_library_finds_is_handed_on_to_the_bit() -> None:
    images, model = torch.rand(8, 3, 6, 6, generator=torch.Generator().manual_seed(0)), convnet()
    labels = model(images).argmax(1)
    goal = Miss(F.one_hot(labels, 3).bool())
    own = torchattacks().FGSM(model, eps=0.02)(images, labels)
    # Where it fails, the image itself may be nearer to the goal.
    fell = goal.reached(model(own))
    assert 0 < fell.sum() < 8
    found = attacked(foreign(torchattacks().FGSM, "linf"), 0.02, images, model, goal)
    assert torch.equal(found.images[fell], own[fell])
    assert torch.equal(goal.reached(model(found.images)), fell)


@deterministic
def test_an_image_fares_the_same_alone_in_company_and_in_another_order(make: Callable[[], Foreign]) -> None:
    stress, model = make(), convnet()
    images = torch.rand(6, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    goal, epsilons = Miss(F.one_hot(model(images).argmax(1), 3).bool()), torch.tensor([0.1, 0.2, 0.1, 0.2, 0.3, 0.1])
    together = stress.against(model, goal, images, epsilons, streams(6))
    for rows in ([0], [3, 1], [5, 4, 3, 2, 1, 0]):
        some = stress.against(
            model, goal.select(torch.tensor(rows)), images[rows], epsilons[rows], streams(6).select(rows)
        )
        assert torch.allclose(some, together[rows], atol=1e-4)


@pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)
def test_a_random_attack_is_the_same_in_every_run_and_another_with_another_seed(make: Callable[[], Foreign]) -> None:
    # Below the distance, so that what comes nearest shows the start.
    stress, model, images, epsilons = make(), convnet(), near_grey(), torch.full((6,), 1e-3)
    goal = Miss(F.one_hot(model(images).argmax(1), 3).bool())
    shown = []

    def watching(batch: torch.Tensor) -> torch.Tensor:
        shown.append(batch.detach().clone())
        return model(batch)

    runs = []
    for seed in (0, 0, 1):
        shown.clear()
        stress.against(watching, goal, images, epsilons, streams(6, seed))
        runs.append(torch.cat(shown))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_an_image_at_the_goal_or_at_strength_0_is_left_as_it_is_and_not_asked_about_by_the_attack() -> None:
    images, asked = near_grey(), []

    def noting(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        asked.append((images, labels))
        return images + 0.01

    goal = miss(6)
    goal.accepted[2] = torch.tensor([False, True])
    strengths = torch.tensor([0.1, 0.0, 0.1, 0.1, 0.0, 0.1])
    shown = []

    def model(batch: torch.Tensor) -> torch.Tensor:
        shown.append(len(batch))
        return Linear()(batch)

    found = foreign(noting, "linf").attacked(model, goal, images, strengths, streams(6))
    assert torch.equal(found.images[[1, 2, 4]], images[[1, 2, 4]])
    assert [len(batch) for batch, _ in asked] == [3]
    assert torch.equal(asked[0][0], images[[0, 3, 5]])
    assert asked[0][1].tolist() == [0, 0, 0]
    assert shown[0] == 4
    shown.clear()
    assert torch.equal(attacked(foreign(noting, "linf"), 0.0, model=model).images, images)
    assert not shown


def test_of_several_accepted_classes_the_models_own_answer_is_the_label() -> None:
    model, labels = convnet(), []
    images = torch.rand(6, 3, 6, 6, generator=torch.Generator().manual_seed(0))

    def noting(model: nn.Module, images: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        labels.extend(given.tolist())
        return images

    answers = model(images).argmax(1)
    accepted = F.one_hot(answers, 3).bool() | F.one_hot((answers + 1) % 3, 3).bool()
    attacked(foreign(noting, "linf"), 0.1, images, model, Miss(accepted))
    assert labels == answers.tolist()


def test_images_outside_of_the_ball_are_brought_back_into_it_and_into_0_to_1() -> None:
    images = near_grey()
    for norm in ("linf", "l2"):
        found = attacked(foreign(lambda model, images, labels: images + 3, norm), 0.1, images)
        assert (length(found.images - images, norm) <= 0.1 + 1e-6).all()
    high = attacked(foreign(lambda model, images, labels: images + 3, "linf"), 0.9, images).images
    assert torch.equal(high, torch.ones_like(images))


def test_a_success_that_was_shown_to_the_model_counts_though_the_attack_returned_none() -> None:
    linear, images = Linear(), near_grey()
    epsilon = 1.1 * linear.distance(images, "linf").max().item()

    def hiding(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        # The last two are never found.
        moved = linear.across(images, epsilon)
        model(torch.cat([moved[:4], images[4:]]))
        return images

    found = attacked(foreign(hiding, "linf"), epsilon)
    assert found.silent.tolist() == [True] * 4 + [False] * 2
    assert torch.allclose(found.images[:4], linear.across(images, epsilon)[:4], atol=1e-6)
    assert torch.equal(found.images[4:], images[4:])
    assert (linear.margin(found.images) < 0).tolist() == [True] * 4 + [False] * 2


def test_a_success_that_is_returned_is_preferred_to_one_that_was_shown_and_is_not_silent() -> None:
    linear, images = Linear(), near_grey()

    def telling(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        model(linear.across(images, 0.09))
        return linear.across(images, 0.1)

    found = attacked(foreign(telling, "linf"), 0.1)
    assert not found.silent.any()
    assert torch.allclose(found.images, linear.across(images, 0.1), atol=1e-6)


def test_the_first_success_is_kept_else_what_came_closest() -> None:
    linear, images = Linear(), near_grey()
    distance = linear.distance(images, "linf").max().item()

    def wandering(shares: list[float]) -> Foreign:
        def function(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            for share in shares:
                model(linear.across(images, share * distance))
            return images

        return foreign(function, "linf")

    found = attacked(wandering([0.2, 1.5, 1.8, 0.3]), 2 * distance)
    assert torch.allclose(found.images, linear.across(images, 1.5 * distance), atol=1e-6)
    nearest = linear.distance(images, "linf").min().item() / distance
    found = attacked(wandering([0.2, 0.9 * nearest, 0.5]), 2 * distance)
    assert torch.allclose(found.images, linear.across(images, 0.9 * nearest * distance), atol=1e-6)
    assert not found.silent.any()


def test_a_success_out_of_budget_is_nobodys() -> None:
    linear, images = Linear(), near_grey()
    distance = linear.distance(images, "linf").max().item()

    def overdoing(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        assert (model(linear.across(images, 2 * distance)).argmax(1) == 1).all()
        # In the ball, but no image.
        model(images - 2)
        return images

    found = attacked(foreign(overdoing, "linf"), 0.5 * distance)
    assert torch.equal(found.images, images)
    assert found.queries.tolist() == [2] * 6
    dark = 0.001 + 0 * images
    found = attacked(foreign(lambda model, images, labels: (model(images - 0.5), images)[1], "linf"), 0.5, dark)
    assert found.queries.tolist() == [1] * 6
    assert torch.equal(found.images, dark)


def test_rows_are_counted_for_the_image_in_whose_ball_they_lie() -> None:
    """Sub-batches, permutations and repetitions; what lies in no ball counts for the image of its row."""
    images = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))

    def asking(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        model(images)
        model(images[[3, 1]] + 0.01)
        model(images[[2, 2, 2, 0]] - 0.01)
        model(images[1:2].expand(7, -1, -1, -1))
        shown = images[[0, 3]].requires_grad_()
        logits = model(shown)
        torch.autograd.grad(logits[:, 0].sum(), shown, retain_graph=True)
        torch.autograd.grad(logits[:, 1].sum(), shown)
        model(images.flip(0) + 0.4)
        return images

    model = convnet()
    goal = Miss(F.one_hot(model(images).argmax(1), 3).bool())
    found = attacked(foreign(asking, "linf"), 0.02, images, model, goal)
    assert found.queries.tolist() == [4, 10, 5, 4]
    assert found.gradients.tolist() == [2, 0, 0, 2]


def test_of_many_rows_of_one_image_the_best_is_kept() -> None:
    linear, images = Linear(), near_grey(2)
    distance = linear.distance(images, "linf")

    def together(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        model(torch.cat([linear.across(images[:1], share * float(distance[0])) for share in (0.5, 1.1, 1.9, 0.8)]))
        model(torch.cat([linear.across(images[1:], share * float(distance[1])) for share in (0.5, 0.9, 0.8)]))
        return images

    found = attacked(foreign(together, "linf"), 2 * distance.max().item(), images)
    assert found.queries.tolist() == [4, 3]
    assert found.silent.tolist() == [True, False]
    assert linear.margin(found.images)[1].item() == pytest.approx(0.1 * linear.margin(images)[1].item(), abs=1e-5)
    assert linear.margin(found.images)[0] < 0


@dataclass(frozen=True)
class Slow:
    """A classifier that takes few images at a time and is told which of the batch they are."""

    batch: torch.Tensor
    at_a_time: int
    told: list[list[int]]
    rows: tuple[int, ...] | None = None

    def select(self, rows: torch.Tensor) -> "Slow":
        before = range(len(self.batch)) if self.rows is None else self.rows
        return Slow(self.batch, self.at_a_time, self.told, tuple(before[row] for row in rows.tolist()))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        assert self.rows is not None
        assert len(images) <= self.at_a_time
        self.told.append(list(self.rows))
        if self.rows:
            assert (images - self.batch[list(self.rows)]).abs().max() <= 0.02
        return convnet()(images)


@pytest.mark.parametrize("at_a_time", [1, 2, 3, 7, 100])
def test_a_classifier_is_shown_no_more_images_at_a_time_than_it_takes_and_told_whose_they_are(at_a_time: int) -> None:
    images = torch.rand(7, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    sizes = []

    def asking(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        model(images.flip(0))
        model(images[:1].expand(9, -1, -1, -1))
        return images + 0.01

    model = Slow(images, at_a_time, [])
    goal = Miss(F.one_hot(convnet()(images).argmax(1), 3).bool())
    found = foreign(asking, "linf").attacked(model, goal, images, torch.full((7,), 0.01), streams(7))
    assert sum(sizes) == 7
    assert max(sizes) <= at_a_time
    assert found.queries.sum().item() == 7 + 9 * len(sizes)
    assert (found.images - images).abs().max() <= 0.01 + 1e-6
    # Copies of one image are no rows of the batch; one at a time they are.
    assert ([] in model.told) == (at_a_time > 1)


def test_the_model_can_be_neither_trained_nor_moved_nor_changed() -> None:
    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.head = nn.Dropout(0.5), nn.Linear(108, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.drop(images.flatten(1)))

    inner = Watching().eval().requires_grad_(False)
    with torch.no_grad():
        inner.head.weight.copy_(torch.cat([Linear().weight.reshape(1, -1), torch.zeros(1, 108)]))
        inner.head.bias.copy_(torch.tensor([0.5 - Linear().weight.sum().item() / 2, 0.0]))
    before = {name: value.clone() for name, value in inner.state_dict().items()}

    def meddling(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        once = model(images)
        assert model.train() is model.train(True) is model.eval() is model
        assert not model.training
        model.requires_grad_(True).double().float().zero_grad()
        assert next(model.parameters()).device == images.device
        assert not model.training
        for parameter in model.parameters():
            parameter.data.fill_(7)
        assert torch.equal(model(images), once)
        assert torch.equal(copy.deepcopy(model)(images.double()), once)
        images.zero_()
        labels.fill_(5)
        return images

    found = attacked(foreign(meddling, "linf"), 0.01, model=inner)
    assert found.queries.tolist() == [3] * 6
    assert all(torch.equal(value, before[name]) for name, value in inner.state_dict().items())
    assert not any(parameter.requires_grad for parameter in inner.parameters())
    assert (found.images - near_grey()).abs().max() <= 0.01 + 1e-6


def test_what_a_process_shares_is_put_back_and_the_attack_starts_it_at_the_seed() -> None:
    def state() -> tuple[Any, ...]:
        return (
            random.getstate(),
            np.random.get_state()[1].tolist(),
            torch.get_rng_state().tolist(),
            np.geterr(),
            list(warnings.filters),
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            sys.stdout,
            sys.stderr,
        )

    drawn: list[tuple[float, ...]] = []

    def reseeding(fails: bool, model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        drawn.append((random.random(), float(np.random.rand()), torch.rand(1).item()))
        assert torch.is_grad_enabled()
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        np.seterr(all="raise")
        warnings.simplefilter("ignore")
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        if fails:
            raise RuntimeError("no luck")
        return images

    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    before = state()
    with torch.no_grad():
        attacked(foreign(functools.partial(reseeding, False), "linf"), 0.1)
        assert not torch.is_grad_enabled()
    assert state() == before
    said(lambda: attacked(foreign(functools.partial(reseeding, True), "linf"), 0.1))
    assert state() == before
    random.seed(6)
    attacked(foreign(functools.partial(reseeding, False), "linf"), 0.1)
    assert drawn[0] == drawn[1] == drawn[2]
    assert seed_of(streams(2)) != seed_of(streams(2, seed=1)) != seed_of(streams(3, seed=1))
    with isolated(3):
        random.seed(9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_generators_of_a_gpu_are_put_back_too() -> None:
    torch.cuda.manual_seed_all(4)
    before = torch.cuda.get_rng_state()
    with isolated(3):
        first = torch.rand(2, device="cuda")
    assert torch.equal(torch.cuda.get_rng_state(), before)
    with isolated(3):
        assert torch.equal(torch.rand(2, device="cuda"), first)


def test_libraries_print_nothing_and_a_function_may(capfd: pytest.CaptureFixture[str]) -> None:
    def loud_torchattacks(model: nn.Module, eps: float) -> Any:
        attack = torchattacks().FGSM(model, eps=eps)
        attack.set_mode_default()
        return attack

    def loud_art(classifier: Any, eps: float) -> Any:
        return art().ProjectedGradientDescent(classifier, eps=eps, eps_step=eps / 2, max_iter=2, verbose=True)

    capfd.readouterr()
    attacked(foreign(loud_torchattacks, "linf", family="torchattacks"), 0.1)
    attacked(foreign(loud_art, "linf", family="art"), 0.1)
    assert capfd.readouterr() == ("", "")
    attacked(foreign(lambda model, images, labels: (print("said"), images)[1], "linf"), 0.1)
    assert capfd.readouterr() == ("said\n", "")


# Goals.


def targeted_torchattacks(model: nn.Module, eps: float) -> Any:
    attack = torchattacks().FGSM(model, eps=eps)
    attack.set_mode_targeted_by_label(quiet=True)
    return attack


@pytest.mark.parametrize("name", ["foolbox-pgd", "torchattacks-fgsm", "torchattacks-pgd", "art-fgsm", "art-pgd"])
def test_an_attack_that_can_be_aimed_mimics_the_target(name: str) -> None:
    model, images = convnet(), near_grey()
    answers = model(images).argmax(1)
    goal = Mimic((answers + torch.tensor([1, 2, 1, 2, 1, 2])) % 3)
    found = attacked(DETERMINISTIC[name](), 0.3, images, model, goal)
    assert goal.reached(model(found.images)).sum() >= 4
    assert (length(found.images - images, "linf") <= 0.3 + 1e-6).all()


def test_goals_that_an_attack_can_not_be_given_are_refused() -> None:
    goal = Mimic(torch.ones(6, dtype=torch.long))

    def function(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return images

    text = (
        "foreign(tests.test_foreign.test_goals_that_an_attack_can_not_be_given_are_refused.<locals>.function, 'linf')"
    )
    assert said(lambda: attacked(foreign(function, "linf"), 0.1, goal=goal)) == (
        f"{text}: expected the goal Miss, got Mimic, and a function of (model, images, labels) is told no targets; use an "
        "attack of foolbox, torchattacks or ART, or one of this package"
    )
    aim = miss(6).aims(Linear()(near_grey()), 1)[0]
    assert said(lambda: attacked(foreign(function, "linf"), 0.1, goal=aim)) == (
        f"{text}: expected the goal Miss or Mimic, which other libraries know too, got _Aimed; behind a defense use an attack of this "
        "package, or Oblivious(...) of this one"
    )


def test_a_targeted_attack_is_refused_for_a_miss() -> None:
    wanted = (
        "expected an untargeted attack for the goal Miss, got one that goes to the label it is given, which is the right one; "
        "leave its targeted mode off"
    )
    stress = foreign(targeted_torchattacks, "linf", family="torchattacks")
    assert said(lambda: attacked(stress, 0.1)) == (
        f"foreign(tests.test_foreign.targeted_torchattacks, 'linf', family='torchattacks'): {wanted}"
    )
    stress = foreign(functools.partial(art().FastGradientMethod, targeted=True), "linf")
    assert said(lambda: attacked(stress, 0.1)) == (
        f"foreign(partial(art.attacks.evasion.FastGradientMethod, targeted=True), 'linf'): {wanted}"
    )


def test_a_library_that_can_not_aim_says_so() -> None:
    stress = foreign(foolbox().attacks.NewtonFoolAttack())
    assert said(lambda: attacked(stress, 0.1, goal=Mimic(torch.ones(6, dtype=torch.long)))) == (
        "foreign(foolbox.attacks.NewtonFoolAttack()): the foolbox attack raised ValueError on images of shape (6, 3, 6, 6) at "
        "epsilon 0.1: unsupported criterion; check its settings, and that the model has a gradient where it needs one"
    )


# What is said of attacks that fail.

FUNCTION = "foreign(lambda model, images, labels: {}, 'linf')"


def raising(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, epsilon: float) -> torch.Tensor:
    raise LookupError("the drawer is empty\nsecond line")


def test_what_an_attack_raises_is_told_in_one_sentence() -> None:
    assert said(lambda: attacked(foreign(raising, "linf"), 0.25)) == (
        "foreign(tests.test_foreign.raising, 'linf'): the function raised LookupError on images of shape (6, 3, 6, 6) "
        "at epsilon 0.25: the drawer is empty; check its settings, and that the model has a gradient where it needs one"
    )
    stress = foreign(
        lambda classifier, eps: art().ProjectedGradientDescent(classifier, eps=eps, eps_step=-1.0), "linf", family="art"
    )
    assert said(lambda: attacked(stress, 0.1)) == (
        "foreign(lambda classifier, eps: art().ProjectedGradientDescent(classifier, eps=eps, eps_step=-1.0), 'linf', family='art'): "
        "the ART attack raised ValueError on images of shape (6, 3, 6, 6) at epsilon 0.1: The perturbation step-size `eps_step` has "
        "to be positive; check its settings, and that the model has a gradient where it needs one"
    )


def test_a_model_without_a_gradient_is_refused_not_called_robust() -> None:
    stress = foreign(torchattacks().FGSM, "linf")
    assert said(lambda: attacked(stress, 0.1, model=lambda images: Linear()(images.detach()))) == (
        "foreign(torchattacks.FGSM, 'linf'): the torchattacks attack raised RuntimeError on images of shape (6, 3, 6, 6) at "
        "epsilon 0.1: element 0 of tensors does not require grad and does not have a grad_fn; check its settings, and that the model has a "
        "gradient where it needs one"
    )


def test_what_the_model_refuses_and_out_of_memory_pass_through() -> None:
    def model(images: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            raise InputError("the model: no")
        return Linear()(images)

    assert said(lambda: attacked(foreign(torchattacks().FGSM, "linf"), 0.1, model=model)) == "the model: no"

    def full(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        attacked(foreign(full, "linf"), 0.1)


@pytest.mark.parametrize(
    ("function", "source", "got"),
    [
        (lambda model, images, labels: images[:3], "images[:3]", "float32 of shape (3, 3, 6, 6)"),
        (lambda model, images, labels: images.long(), "images.long()", "int64 of shape (6, 3, 6, 6)"),
        (lambda model, images, labels: None, "None", "NoneType"),
        (lambda model, images, labels: (images, labels), "(images, labels)", "tuple"),
    ],
)
def test_what_are_no_such_images_are_refused(function: Any, source: str, got: str) -> None:
    assert said(lambda: attacked(foreign(function, "linf"), 0.1)) == (
        f"{FUNCTION.format(source)}: expected the function to return a float tensor of shape (6, 3, 6, 6), got {got}; "
        "return the attacked images, one for each that is given"
    )


def test_pixels_that_are_not_finite_are_refused() -> None:
    # Within an assert statement an older pytest hides where the function stands.
    attack = foreign(lambda model, images, labels: images / 0, "linf")
    assert said(lambda: attacked(attack, 0.1)) == (
        f"{FUNCTION.format('images / 0')}: expected finite pixels from the function, got NaN or infinity; check its settings"
    )


def test_a_norm_that_is_missing_or_not_the_attacks_own_is_refused() -> None:
    assert said(lambda: foreign(torchattacks().PGD)) == (
        "foreign(torchattacks.PGD): expected a norm, 'linf' or 'l2', got none; name that of the ball which the attack keeps to"
    )
    assert said(lambda: foreign(raising, "l3")) == (
        "foreign(tests.test_foreign.raising, 'l3'): expected norm 'linf' or 'l2', got 'l3'"
    )
    assert said(lambda: foreign(foolbox().attacks.L1PGD())) == (
        "foreign(foolbox.attacks.L1ProjectedGradientDescentAttack()): expected norm 'linf' or 'l2', got 'l1'"
    )
    weak = "which is weak in any other ball than its own; give it and the stress the same"
    assert said(lambda: foreign(foolbox().attacks.L2PGD(steps=3), "linf")) == (
        "foreign(foolbox.attacks.L2ProjectedGradientDescentAttack(steps=3), 'linf'): expected an attack in the norm 'linf', got "
        f"one in 'l2', {weak}"
    )
    for make, kind in (
        (lambda: art().FastGradientMethod, "art.attacks.evasion.FastGradientMethod"),
        (lambda: torchattacks().APGD, "torchattacks.APGD"),
    ):
        assert said(lambda make=make: attacked(foreign(make(), "l2"), 0.1)) == (
            f"foreign({kind}, 'l2'): expected an attack in the norm 'l2', got one in 'linf', {weak}"
        )


def test_what_is_no_attack_is_refused() -> None:
    assert said(lambda: foreign(7, "linf")) == (
        "foreign(7, 'linf'): expected an attack of foolbox, what makes one of torchattacks or ART, or a function of (model, images, "
        "labels), got int"
    )
    refused = said(lambda: foreign(lambda model, eps: None, "linf"))
    assert refused == (
        "foreign(lambda model, eps: None, 'linf'): expected a function of (model, images, labels), got one of (model, eps); with "
        "one that makes an attack give family='torchattacks' or family='art'"
    )
    assert said(lambda: foreign(raising, "linf", family="fool")) == (
        "foreign(tests.test_foreign.raising, 'linf', family='fool'): expected family 'foolbox', 'torchattacks', 'art' or "
        "'function', got 'fool'"
    )


def test_attacks_that_are_made_too_early_or_too_late_are_refused() -> None:
    name = "foolbox.attacks.LinfProjectedGradientDescentAttack"
    assert said(lambda: foreign(foolbox().attacks.LinfPGD)) == (
        f"foreign({name}): expected an attack of foolbox with its settings, as in foolbox.attacks.LinfPGD(), got {name}; "
        "make an instance"
    )
    made = torchattacks().FGSM(nn.Linear(2, 2))
    assert said(lambda: foreign(made, "linf")).endswith(
        ", 'linf'): expected what makes torchattacks attacks of a model and an epsilon, got torchattacks.FGSM; give its class, "
        "or a function of (model, eps)"
    )
    stress = foreign(lambda model, eps: eps, "linf", family="art")
    assert said(lambda: attacked(stress, 0.1)) == (
        "foreign(lambda model, eps: eps, 'linf', family='art'): expected a function that makes ART attacks, got one that makes "
        "float; return the attack itself, not what it does"
    )


# What it is called, and when two are the same.


def factories(kind: Any) -> Callable[[Any, float], Any]:
    return lambda model, eps: kind(model, eps=eps)


def test_the_repr_names_the_attack_with_its_settings_and_what_can_not_be_told_from_it() -> None:
    attacks = foolbox().attacks
    changed = attacks.LinfPGD(steps=7)
    changed.extra = 3
    expected = {
        foreign(attacks.LinfPGD()): "foreign(foolbox.attacks.LinfProjectedGradientDescentAttack())",
        foreign(
            attacks.LinfFastGradientAttack(random_start=True)
        ): "foreign(foolbox.attacks.LinfFastGradientAttack(random_start=True))",
        foreign(attacks.L2DeepFoolAttack(steps=5)): "foreign(foolbox.attacks.L2DeepFoolAttack(steps=5))",
        foreign(changed): "foreign(foolbox.attacks.LinfProjectedGradientDescentAttack(steps=7, extra=3))",
        foreign(attacks.LinfPGD().repeat(3)): (
            "foreign(foolbox.attacks.base.Repeated(attack=foolbox.attacks.LinfProjectedGradientDescentAttack(), times=3))"
        ),
        foreign(attacks.SpatialAttack(), "l2"): "foreign(foolbox.attacks.SpatialAttack(), 'l2')",
        foreign(
            functools.partial(torchattacks().PGD, steps=5), "linf"
        ): "foreign(partial(torchattacks.PGD, steps=5), 'linf')",
        foreign(factories(torchattacks().FGSM), "linf", family="torchattacks"): (
            "foreign(lambda model, eps: kind(model, eps=eps) with kind=torchattacks.FGSM, 'linf', family='torchattacks')"
        ),
        foreign(raising, "l2"): "foreign(tests.test_foreign.raising, 'l2')",
        foreign(Searching(3).look, "l2"): "foreign(tests.test_foreign.Searching(...).look, 'l2')",
    }
    assert [repr(stress) for stress in expected] == list(expected.values())


class Searching:
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def look(self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return images


def test_two_are_the_same_where_settings_or_code_are() -> None:
    attacks, searching = foolbox().attacks, Searching(3)
    groups: list[Callable[[], Foreign]] = [
        lambda: foreign(attacks.LinfPGD()),
        lambda: foreign(attacks.LinfPGD(steps=7)),
        lambda: foreign(attacks.LinfPGD(steps=7).repeat(2)),
        lambda: foreign(torchattacks().FGSM, "linf"),
        lambda: foreign(functools.partial(torchattacks().PGD, steps=5), "linf"),
        lambda: foreign(functools.partial(torchattacks().PGD, steps=5.0), "linf"),
        lambda: foreign(factories(torchattacks().FGSM), "linf", family="torchattacks"),
        lambda: foreign(factories(torchattacks().PGD), "linf", family="torchattacks"),
        lambda: foreign(lambda model, images, labels: images, "linf"),
        lambda: foreign(lambda model, images, labels: images + 1, "linf"),
        lambda: foreign(lambda model, images, labels: images, "l2"),
        lambda: foreign(searching.look, "l2"),
    ]
    made = [(make(), make()) for make in groups]
    for number, (one, again) in enumerate(made):
        assert one == again
        assert hash(one) == hash(again)
        assert all(one != other for other, _ in made[:number])
    # What may change is nobody else's.
    assert foreign(Searching(3).look, "l2") != foreign(Searching(3).look, "l2")
    for held in ([], torch.zeros(2), ([],), {}):
        made = [foreign(functools.partial(noting, copy.deepcopy(held)), "l2") for _ in range(2)]
        assert made[0] != made[1]
        assert made[0] == foreign(made[0].attack, "l2")
        assert hash(made[0]) == hash(foreign(made[0].attack, "l2"))


def test_settings_that_are_changed_later_are_not_those_of_the_stress() -> None:
    attack = foolbox().attacks.LinfPGD(steps=7)
    stress = foreign(attack)
    attack.steps = 9
    assert stress == foreign(foolbox().attacks.LinfPGD(steps=7))
    assert stress.attack.steps == 7


def test_answers_are_kept_on_disk_where_there_is_a_digest_and_only_there() -> None:
    one, two = (foreign(foolbox().attacks.LinfPGD(steps=steps)) for steps in (3, 4))
    assert digest(one) == digest(foreign(foolbox().attacks.LinfPGD(steps=3))) != digest(two)
    assert digest(foreign(torchattacks().FGSM, "linf")) != digest(foreign(torchattacks().FGSM, "l2"))
    made = [
        foreign(factories(kind), "linf", family="torchattacks") for kind in (torchattacks().FGSM, torchattacks().PGD)
    ]
    assert digest(made[0]) == digest(foreign(made[0].attack, "linf", family="torchattacks")) != digest(made[1])
    with pytest.raises(Unknown):
        digest(foreign(functools.partial(locked, threading.Lock()), "linf"))


def noting(shown: Any, model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return images


def locked(lock: Any, model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return images


def test_it_is_an_attack_that_looks_first_and_knows_its_library() -> None:
    stress = foreign(foolbox().attacks.LinfPGD())
    assert isinstance(stress, Attack)
    assert isinstance(stress, LooksFirst)
    assert (stress.unit, stress.limit, stress.norm, stress.family) == ("epsilon", 1.0, "linf", "foolbox")
    assert stress.library == f"foolbox {importlib.metadata.version('foolbox')}"
    assert foreign(torchattacks().FGSM, "linf").library == f"torchattacks {importlib.metadata.version('torchattacks')}"
    assert foreign(art().FastGradientMethod, "l2").family == "art"
    toolbox = "adversarial-robustness-toolbox"
    assert foreign(art().FastGradientMethod, "l2").library == f"{toolbox} {importlib.metadata.version(toolbox)}"
    function = foreign(raising, "l2")
    assert (function.limit, function.family, function.library) == (float("inf"), "function", "")


def test_no_library_is_imported_before_an_attack_of_it_is_run() -> None:
    code = (
        "import sys\n"
        "from pytest_robustness.attacks.foreign import foreign\n"
        "foreign(lambda model, images, labels: images, 'linf')\n"
        "print(sorted({'foolbox', 'torchattacks', 'art'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Through the engine.


class Pixels(nn.Module):
    """Three classes, linear in the pixels, with a batch norm and dropout that eval mode switches off."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(0.5)
        self.weight = nn.Parameter(torch.randn(3, 192, generator=torch.Generator().manual_seed(1)) / 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.drop(self.norm(images).flatten(1)) @ self.weight.T


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """Nine 8 x 8 pictures of noise, all of the class that the model takes them for."""
    model = Pixels().eval()
    for number in range(9):
        values = torch.randint(40, 215, (8, 8, 3), generator=torch.Generator().manual_seed(number), dtype=torch.uint8)
        answer = model(values.permute(2, 0, 1).unsqueeze(0) / 255).argmax().item()
        path = tmp_path / "abc"[int(answer)] / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(values.numpy()).save(path)
    return image_folder(tmp_path, classes=["a", "b", "c"])


def ids(images: ImageSet) -> list[str]:
    return [image.id for image in images.images]


@pytest.mark.parametrize("name", ["foolbox-pgd", "torchattacks-fgsm", "art-fgsm"])
def test_the_engine_runs_it_and_leaves_the_model_as_it_was(name: str, images: ImageSet) -> None:
    stress, model = DETERMINISTIC[name](), Pixels().train()
    before = copy.deepcopy(model.state_dict())
    engine = Engine(model, images, device="cpu", batch_size=2)
    strong, weak = (engine.evaluate(ids(images), stress, epsilon).outcomes for epsilon in (0.2, 1e-5))
    assert not any(outcome.correct for outcome in strong)
    assert all(outcome.correct for outcome in weak)
    assert engine.case(stress, 2 / 255).title == f"{stress!r} at epsilon 2/255"
    together = Engine(model, images, device="cpu").evaluate(ids(images), stress, 0.2).outcomes
    assert [outcome.predicted for outcome in together] == [outcome.predicted for outcome in strong]
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_the_engine_counts_what_an_attack_found_and_hid(images: ImageSet) -> None:
    """Its own answer is the clean image, and it trains the model and leaves dropout on, as far as it can."""

    def hiding(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float) -> torch.Tensor:
        model.train()
        shown = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(shown), labels, reduction="sum"), shown)
        model((images + epsilon * gradient.sign()).clamp(0, 1))
        return images

    engine = Engine(Pixels(), images, device="cpu")
    assert not any(outcome.correct for outcome in engine.evaluate(ids(images), foreign(hiding, "linf"), 0.2).outcomes)


def test_the_engine_tells_of_an_attack_that_fails(images: ImageSet) -> None:
    engine = Engine(Pixels(), images, device="cpu")
    assert said(lambda: engine.evaluate(ids(images), foreign(raising, "linf"), 0.1)) == (
        "foreign(tests.test_foreign.raising, 'linf'): the function raised LookupError on images of shape (9, 3, 8, 8) at "
        "epsilon 0.1: the drawer is empty; check its settings, and that the model has a gradient where it needs one"
    )


def test_a_recorder_answers_what_it_has_no_image_for() -> None:
    from pytest_robustness.attacks.problem import Problem

    images = near_grey()
    model = Recorder(
        Problem(lambda batch: batch.flatten(1)[:, :2], miss(6), images, torch.full((6,), 0.1), streams(6), "linf")
    )
    assert model(torch.rand(2, 3, 9, 9)).shape == (2, 2)
    assert model(images[:0]).shape == (0, 2)
    assert not model.queries.any()
    assert not model.reached.any()
