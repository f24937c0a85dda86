"""Attacks on a real CIFAR-10 classifier, where it lies beside the checkout: their order of strength, and AutoAttack's figures."""

import copy
import sys

import pytest
import torch

from pytest_robustness import Engine, ImageSet, Robustness, image_folder
from pytest_robustness.attacks import APGD, BIM, FGSM, FMN, MIFGSM, PGD, Miss, Square, WorstCase, smallest_epsilons
from pytest_robustness.images import data_uri
from pytest_robustness.trust import Trust
from pytest_robustness.types import Attack, Batch
from tests.attack_models import streams
from tests.test_real_model import DATA, published

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(not DATA.is_dir(), reason="no real model: ../shared/data is not there"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return image_folder(DATA / "cifar10" / "images")


@pytest.fixture(scope="module")
def engine(images: ImageSet) -> Engine:
    return Engine(published("cifar_resnet20"), images, device="cpu")


@pytest.fixture(scope="module")
def checks(engine: Engine) -> Trust:
    return Trust(engine)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return published("cifar_resnet20").requires_grad_(False)


@pytest.fixture(scope="module")
def right(images: ImageSet, model: torch.nn.Module) -> Batch:
    """Those of 100 images that are right when clean."""
    batch = images.batch([image.id for image in images.images[::10]])
    return batch.select((~Miss(batch.accepted).reached(model(batch.images))).nonzero().flatten().tolist())


@pytest.mark.parametrize("epsilon", [0.5, 1])
def test_apgd_breaks_no_fewer_of_200_images_than_pgd_of_as_many_steps(engine: Engine, epsilon: float) -> None:
    some = [image.id for image in engine.images.images[::5]]

    def left(attack: Attack) -> int:
        return engine.evaluate(some, attack, epsilon / 255).correct

    fgsm, pgd, apgd = left(FGSM()), left(PGD()), left(APGD(20))
    assert 0 < apgd <= pgd < fgsm < 160


def test_apgd_breaks_as_many_images_as_autoattacks(model: torch.nn.Module, right: Batch) -> None:
    autopgd = pytest.importorskip("pyautoattack.autopgd_base")
    n, epsilon, labels = len(right.ids), 0.5 / 255, right.accepted.long().argmax(1)
    theirs = autopgd.APGDAttack(model, n_iter=20, norm="Linf", eps=epsilon, loss="ce", device="cpu")
    by_peer = theirs.perturb(right.images, labels)
    goal = Miss(right.accepted)
    by_us = APGD(20).against(model, goal, right.images, torch.full((n,), epsilon), streams(n))
    left, peers = ((~goal.reached(model(found))).sum().item() for found in (by_us, by_peer))
    assert 0 < left < n
    assert abs(left - peers) <= 1


def test_the_worst_case_agrees_with_autoattack_image_by_image(
    engine: Engine, model: torch.nn.Module, right: Batch
) -> None:
    """Short of FAB, and with a fifth of the steps and fewer targets and queries; of all images but one at most."""
    autoattack = pytest.importorskip("pyautoattack")
    some, epsilon = right.select(range(0, len(right.ids), 3)), 0.5 / 255
    labels = some.accepted.long().argmax(1)
    attacks = WorstCase(APGD(20, random_start=True), APGD(20, loss="dlr", targets=3, random_start=True), Square(100))
    by_us = engine.evaluate(some.ids, attacks, epsilon).outcomes
    peer = autoattack.AutoAttack(
        model, attacks=["apgd-ce", "apgd-t", "square"], version="custom", norm="Linf", eps=epsilon, seed=0, device="cpu"
    )
    peer.verbose = False
    peer.apgd.n_restarts, peer.apgd_targeted.n_target_classes, peer.square.n_queries = 1, 3, 100
    for apgd in (peer.apgd, peer.apgd_targeted):
        # What follows from n_iter, which AutoAttack doesn't let its callers choose.
        apgd.n_iter, apgd.n_iter_2, apgd.n_iter_min, apgd.size_decr = 20, 4, 1, 1
    tracer = sys.gettrace()
    _, answers = peer.run_standard_evaluation(some.images, labels)
    # It ends whatever traces, coverage and debuggers too.
    sys.settrace(tracer)
    held = (answers == labels).tolist()
    assert 0.1 * len(held) < sum(held) < 0.9 * len(held)
    assert sum(outcome.correct != stands for outcome, stands in zip(by_us, held, strict=True)) <= 1


def test_fgsm_has_the_signs_of_float64_which_the_cross_entropy_of_float32_has_not(
    model: torch.nn.Module, right: Batch
) -> None:
    """Of answers that are certain: two pixels in a hundred, on a third of the images."""
    foolbox = pytest.importorskip("foolbox")
    n, labels = len(right.ids), right.accepted.long().argmax(1)
    ours = FGSM().against(model, Miss(right.accepted), right.images, torch.full((n,), 1 / 255), streams(n))

    def theirs(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        found: torch.Tensor = foolbox.attacks.LinfFastGradientAttack()(wrapped, images, labels, epsilons=1 / 255)[1]
        return found

    exact = theirs(copy.deepcopy(model).double(), right.images.double())
    assert (ours - exact).abs().max() < 1e-7
    lost = (theirs(model, right.images) - exact).abs() > 1e-6
    assert 0.005 < lost.float().mean() < 0.05
    assert 0.2 * n < lost.flatten(1).any(1).sum() < 0.6 * n


def test_square_breaks_images_without_a_gradient_and_fewer_than_apgd(model: torch.nn.Module, right: Batch) -> None:
    some = right.select(range(0, len(right.ids), 2))
    n, goal = len(some.ids), Miss(some.accepted)
    square, apgd = (
        goal.reached(model(attack.against(model, goal, some.images, torch.full((n,), 2 / 255), streams(n)))).sum()
        for attack in (Square(100, share=0.1), APGD(10))
    )
    assert 0.1 * n < square < apgd


def test_what_fmn_finds_in_one_go_is_where_apgd_begins_to_succeed(model: torch.nn.Module, right: Batch) -> None:
    some = right.select(range(0, len(right.ids), 4))
    n, goal = len(some.ids), Miss(some.accepted)
    found = FMN(40).against(model, goal, some.images, torch.ones(n), streams(n))
    smallest = smallest_epsilons(some.images, found, goal.reached(model(found)), "linf")
    assert smallest.max() < 3 / 255
    for share, least, most in ((0.7, 0, 0.15), (1.1, 0.85, 1)):
        apgd = APGD(20, loss="margin").against(model, goal, some.images, share * smallest, streams(n))
        assert least * n <= goal.reached(model(apgd)).sum() <= most * n


def test_smallest_epsilons_found_at_once_are_as_small_as_those_of_a_climb(engine: Engine) -> None:
    """Of nearly all images; a search in either way may miss what the other finds."""
    robustness = Robustness(engine)
    some = [image.id for image in engine.images.images[::50]]
    direct = robustness.smallest_epsilons(FMN(), images=some)
    top = 2 / 255
    climbed = robustness.smallest_epsilons(
        APGD(20, loss="margin"), images=some, up_to=top, levels=4, tolerance=top / 100
    )
    assert direct.wrong_when_clean == climbed.wrong_when_clean
    assert not direct.unbroken
    pairs = [(d, c) for d, c in zip(direct, climbed, strict=True) if 0 < c < 1]
    assert len(pairs) > 12
    assert sum(d <= 1.02 * c for d, c in pairs) >= 0.9 * len(pairs)
    assert sum(c <= 1.1 * d + top / 100 for d, c in pairs) >= 0.9 * len(pairs)


@pytest.mark.parametrize("attack", [FGSM(), PGD(), BIM(), MIFGSM(), APGD(), Square(100)])
@pytest.mark.parametrize("epsilon", [0.5, 1])
def test_no_attack_on_the_classifier_is_doubted(checks: Trust, attack: Attack, epsilon: float) -> None:
    made, doubts = checks.doubts(attack, epsilon / 255)
    assert "unbounded" in made
    assert doubts == ()


def test_a_trace_ends_with_the_image_that_the_engine_verifies_in_a_batch(engine: Engine, right: Batch) -> None:
    """Of cats, deer and horses on their way to a dog, of which some hold, for some steps."""
    robustness, attack, epsilon = Robustness(engine), BIM(), 0.7 / 255
    some = [image_id for image_id in right.ids if image_id.startswith(("cat/", "deer/", "horse/"))]
    dog = engine.images.classes.index("dog")
    outcomes = engine.targeted([(image_id, dog) for image_id in some], attack, epsilon)
    batches = list(engine.shown([(image_id, epsilon, dog) for image_id in some], attack))
    shown = torch.cat([attacked.images for _, attacked in batches])
    for image_id, outcome, attacked in zip(some, outcomes, shown, strict=True):
        found = robustness.trace(image_id, attack, epsilon, "dog")
        assert found.answer == outcome.answer
        assert found.last.png == data_uri(attacked)
        assert outcome.gradients - found.last.step in (0, 1)
        assert found.last.target >= found.frames[0].target
    assert len({outcome.gradients for outcome in outcomes}) > 1


def test_what_a_loop_over_targets_reaches_is_reached_in_batches_of_pairs_too(
    engine: Engine, images: ImageSet, model: torch.nn.Module
) -> None:
    torchattacks = pytest.importorskip("torchattacks")
    steps, epsilon, labels = 10, 1 / 255, range(len(images.classes))
    some = [image for image in images.images[::50] if engine.evaluate([image.id]).correct]
    pairs = [(image.id, target) for image in some for target in labels if target not in image.labels]
    outcomes = engine.targeted(pairs, PGD(steps=steps), epsilon)
    ours = {pair for pair, own in zip(pairs, outcomes, strict=True) if own.predicted == images.classes[pair[1]]}
    attack = torchattacks.PGD(model, eps=epsilon, alpha=2.5 / steps * epsilon, steps=steps, random_start=False)
    attack.set_mode_targeted_by_label(quiet=True)
    theirs = set()
    for target in labels:
        batch = images.batch([image.id for image in some if target not in image.labels])
        targets = torch.full((len(batch.ids),), target)
        reached = model(attack(batch.images, targets)).argmax(1) == targets
        theirs |= {(image_id, target) for image_id, own in zip(batch.ids, reached.tolist(), strict=True) if own}
    assert 0 < len(theirs) < len(pairs)
    # Folding rounds otherwise: a pair at the very edge may go either way.
    assert len(theirs - ours) <= 1
    assert sum(outcome.gradients for outcome in outcomes) < len(pairs) * steps
