"""Attacks held against those of foolbox, torchattacks, ART and AutoAttack, where they are installed.

On images that are right when clean. The peers climb the cross-entropy, of which only the direction is ours; they leave no image
at its first success, so they are followed step by step, or asked how many images they break.
"""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pytest_robustness.attacks import APGD, BIM, FGSM, FMN, MIFGSM, PGD, Miss, Square, smallest_epsilons
from pytest_robustness.types import Attack, Norm
from tests.attack_models import Endless, convnet, noise_images, streams

pytestmark = pytest.mark.filterwarnings("ignore")

norms = pytest.mark.parametrize("norm", ["linf", "l2"])
MODEL = convnet(5).eval()
IMAGES = noise_images(24)
LABELS = MODEL(IMAGES).argmax(1)
GOAL = Miss(F.one_hot(LABELS, 5).bool())


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Peers draw from the global generators, and some seed them."""
    state = torch.get_rng_state()
    with np.errstate(all="ignore"):
        yield
    torch.set_rng_state(state)


@pytest.fixture
def foolbox() -> ModuleType:
    module: ModuleType = pytest.importorskip("foolbox")
    return module


@pytest.fixture
def torchattacks() -> ModuleType:
    module: ModuleType = pytest.importorskip("torchattacks")
    return module


@pytest.fixture
def art() -> Any:
    """ART's view of the model."""
    classification = pytest.importorskip("art.estimators.classification")
    return classification.PyTorchClassifier(
        MODEL,
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=(3, 6, 6),
        nb_classes=5,
        clip_values=(0, 1),
        device_type="cpu",
    )


def by_foolbox(foolbox: ModuleType, attack: Any, epsilon: float) -> torch.Tensor:
    wrapped = foolbox.PyTorchModel(MODEL, bounds=(0, 1), device="cpu")
    found: torch.Tensor = attack(wrapped, IMAGES, LABELS, epsilons=epsilon)[1]
    return found


def by_us(attack: Attack, epsilon: float, *, to_the_end: bool = False) -> torch.Tensor:
    goal = Endless(GOAL) if to_the_end else GOAL
    return attack.against(MODEL, goal, IMAGES, torch.full((24,), epsilon), streams(24))


@pytest.mark.parametrize("epsilon", [1 / 255, 8 / 255, 0.3])
def test_fgsm_is_foolboxs_to_the_bit(foolbox: ModuleType, epsilon: float) -> None:
    assert torch.equal(by_us(FGSM(), epsilon), by_foolbox(foolbox, foolbox.attacks.LinfFastGradientAttack(), epsilon))


@pytest.mark.parametrize("epsilon", [1 / 255, 8 / 255, 0.3])
def test_fgsm_is_torchattacks_to_the_bit(torchattacks: ModuleType, epsilon: float) -> None:
    assert torch.equal(by_us(FGSM(), epsilon), torchattacks.FGSM(MODEL, eps=epsilon)(IMAGES, LABELS))


@pytest.mark.parametrize("epsilon", [1 / 255, 8 / 255, 0.3])
def test_fgsm_is_arts_to_the_bit(art: Any, epsilon: float) -> None:
    from art.attacks.evasion import FastGradientMethod

    found = FastGradientMethod(art, norm=np.inf, eps=epsilon).generate(IMAGES.numpy(), y=LABELS.numpy())
    assert torch.equal(by_us(FGSM(), epsilon), torch.from_numpy(found))


def test_fgsm_in_l2_is_that_of_foolbox_and_art(foolbox: ModuleType, art: Any) -> None:
    from art.attacks.evasion import FastGradientMethod

    ours = by_us(FGSM("l2"), 0.5)
    theirs = FastGradientMethod(art, norm=2, eps=0.5).generate(IMAGES.numpy(), y=LABELS.numpy())
    for found in (by_foolbox(foolbox, foolbox.attacks.L2FastGradientAttack(), 0.5), torch.from_numpy(theirs)):
        assert torch.allclose(ours, found, rtol=0, atol=1e-6)


@norms
@pytest.mark.parametrize(("steps", "step_size"), [(1, 0.7), (7, 0.25), (20, 0.125)])
def test_pgd_to_the_end_is_foolboxs(foolbox: ModuleType, norm: Norm, steps: int, step_size: float) -> None:
    kind = foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD
    for epsilon in (0.02, 0.1) if norm == "linf" else (0.3, 1.0):
        theirs = kind(steps=steps, rel_stepsize=step_size, random_start=False)
        ours = by_us(PGD(steps, step_size, norm), epsilon, to_the_end=True)
        assert torch.allclose(ours, by_foolbox(foolbox, theirs, epsilon), rtol=0, atol=1e-6)


def by_torchattacks(torchattacks: ModuleType, norm: Norm, epsilon: float, steps: int, step_size: float) -> torch.Tensor:
    kind = torchattacks.PGD if norm == "linf" else torchattacks.PGDL2
    attack = kind(MODEL, eps=epsilon, alpha=step_size * epsilon, steps=steps, random_start=False)
    found: torch.Tensor = attack(IMAGES, LABELS)
    return found


@norms
@pytest.mark.parametrize(("steps", "step_size"), [(1, 0.7), (7, 0.25), (20, 0.125)])
def test_pgd_to_the_end_is_torchattacks(torchattacks: ModuleType, norm: Norm, steps: int, step_size: float) -> None:
    for epsilon in (0.02, 0.1) if norm == "linf" else (0.3, 1.0):
        ours = by_us(PGD(steps, step_size, norm), epsilon, to_the_end=True)
        theirs = by_torchattacks(torchattacks, norm, epsilon, steps, step_size)
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-6)


@norms
def test_pgd_leaves_an_image_where_torchattacks_first_succeeds_or_at_the_edge(
    torchattacks: ModuleType, norm: Norm
) -> None:
    epsilon, steps, step_size = (0.12 if norm == "linf" else 0.84), 8, 0.25
    ours = by_us(PGD(steps, step_size, norm), epsilon)
    edge = by_us(FGSM(norm), epsilon)
    iterates = [by_torchattacks(torchattacks, norm, epsilon, k, step_size) for k in range(1, steps + 1)]
    reached = [GOAL.reached(MODEL(iterate)) for iterate in iterates]
    at_the_edge = GOAL.reached(MODEL(edge))
    first_successes = 0
    for row in range(24):
        if at_the_edge[row]:
            expected = edge[row]
        else:
            first = next((k for k in range(steps) if reached[k][row]), steps - 1)
            first_successes += bool(reached[first][row])
            expected = iterates[first][row]
        assert torch.allclose(ours[row], expected, rtol=0, atol=1e-6)
    assert 0 < at_the_edge.sum() < 24
    assert first_successes


def test_bim_and_mifgsm_to_the_end_are_torchattacks(torchattacks: ModuleType) -> None:
    for epsilon in (0.02, 0.1):
        step = epsilon / 10
        bim = torchattacks.BIM(MODEL, eps=epsilon, alpha=step, steps=10)(IMAGES, LABELS)
        assert torch.allclose(by_us(BIM(), epsilon, to_the_end=True), bim, rtol=0, atol=1e-6)
        for decay in (0.5, 1.0):
            mifgsm = torchattacks.MIFGSM(MODEL, eps=epsilon, alpha=step, steps=10, decay=decay)(IMAGES, LABELS)
            ours = by_us(MIFGSM(decay=decay), epsilon, to_the_end=True)
            assert torch.allclose(ours, mifgsm, rtol=0, atol=1e-6)


def held(found: torch.Tensor, model: Callable[[torch.Tensor], torch.Tensor], labels: torch.Tensor) -> int:
    return int((model(found).argmax(1) == labels).sum().item())


@norms
def test_apgd_breaks_as_many_images_as_autoattacks(norm: Norm) -> None:
    """The cross-entropy's from random starts in both, and the targeted one; of 200 images at three epsilons."""
    autopgd = pytest.importorskip("pyautoattack.autopgd_base")
    model, images = convnet(6).eval(), noise_images(200)
    labels = model(images).argmax(1)
    goal = Miss(F.one_hot(labels, 6).bool())
    named = {"linf": "Linf", "l2": "L2"}[norm]
    for epsilon in (0.02, 0.04, 0.08) if norm == "linf" else (0.12, 0.25, 0.5):
        theirs = autopgd.APGDAttack(model, n_iter=30, norm=named, eps=epsilon, loss="ce", device="cpu")
        targeted = autopgd.APGDAttack_targeted(
            model, n_iter=30, norm=named, eps=epsilon, n_target_classes=5, device="cpu"
        )
        for attack, peer in ((APGD(30, norm), theirs), (APGD(30, norm, "dlr", targets=5), targeted)):
            ours = attack.against(model, goal, images, torch.full((200,), epsilon), streams(200))
            left = held(ours, model, labels)
            assert 0 < left < 200
            assert abs(left - held(peer.perturb(images, labels), model, labels)) <= 1


@norms
def test_square_breaks_no_fewer_images_than_autoattacks_with_as_many_queries(norm: Norm) -> None:
    """Two random searches, each with two seeds: up to a twentieth of the images is chance."""
    square = pytest.importorskip("pyautoattack.square")
    model, images = convnet(6).eval(), noise_images(200)
    labels = model(images).argmax(1)
    goal, epsilon = Miss(F.one_hot(labels, 6).bool()), 0.06 if norm == "linf" else 0.7
    ours, theirs = [], []
    for seed in (0, 1):
        found = Square(60, norm).against(model, goal, images, torch.full((200,), epsilon), streams(200, seed))
        ours.append(held(found, model, labels))
        peer = square.SquareAttack(
            model,
            norm={"linf": "Linf", "l2": "L2"}[norm],
            n_queries=60,
            eps=epsilon,
            p_init=0.8,
            seed=seed,
            resc_schedule=False,
            device="cpu",
        )
        theirs.append(held(peer.perturb(images, labels), model, labels))
    assert 20 < sum(ours) / 2 < 180
    assert sum(ours) / 2 <= sum(theirs) / 2 + 10


@pytest.mark.parametrize(("norm", "peer"), [("linf", "LInfFMNAttack"), ("l2", "DDNAttack")])
def test_fmn_finds_epsilons_as_small_as_foolboxs_fmn_and_ddn(foolbox: ModuleType, norm: Norm, peer: str) -> None:
    """foolbox's own FMN in L2 returns what it started from."""
    ours = by_us(FMN(norm=norm), 1.0 if norm == "linf" else 9.0)
    smallest = smallest_epsilons(IMAGES, ours, GOAL.reached(MODEL(ours)), norm)
    wrapped = foolbox.PyTorchModel(MODEL, bounds=(0, 1), device="cpu")
    _, found, reached = getattr(foolbox.attacks, peer)(steps=100)(wrapped, IMAGES, LABELS, epsilons=None)
    theirs = smallest_epsilons(IMAGES, found, reached, norm)
    assert smallest.median() <= 1.01 * theirs.median()
    assert (smallest <= 1.02 * theirs).float().mean() >= 0.9
