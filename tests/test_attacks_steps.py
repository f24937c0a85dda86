"""What an attack shows to the model, step by step: as far as closed forms go, and no other than without the notes."""

import pytest
import torch

from pytest_robustness.attacks import APGD, BIM, FGSM, MIFGSM, PGD, Miss, Square, WorstCase
from pytest_robustness.attacks.steps import Followed, Track
from pytest_robustness.types import Attack, Attacked, Norm

from .attack_models import Linear, accepted, near_grey, streams

EPSILON = 1 / 255


def everything(step: int) -> bool:
    return True


def follow(
    attack: Attack, model: Linear, images: torch.Tensor, epsilon: float = EPSILON, **settings: int
) -> tuple[tuple[int, ...], torch.Tensor, Attacked]:
    """The steps of the attack on one image, the image at each, and what was found."""
    track = Track(everything, **settings)
    goal = Miss(accepted([0], 2))
    found = Followed(attack, track).attacked(model, goal, images, torch.tensor([epsilon]), streams(1))
    return *track.ended(found.images), found


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_on_a_linear_model_the_margin_falls_by_the_same_at_every_step(norm: Norm) -> None:
    """By step_size * epsilon * ||w||, of the dual norm, until the edge of the ball."""
    model, images = Linear(), near_grey(1)
    steps, seen, _ = follow(PGD(steps=10, step_size=0.2, norm=norm), model, images)
    fall = EPSILON * model.weight.norm(p=1 if norm == "linf" else 2)
    expected = model.margin(images) - fall * torch.tensor([min(1, 0.2 * step) for step in range(11)])
    assert steps == tuple(range(11))
    assert torch.allclose(model.margin(seen), expected, atol=1e-5)
    assert (model.margin(seen)[:-1] - model.margin(seen)[1:] >= -1e-6).all()


def test_bim_comes_to_the_edge_with_its_last_step() -> None:
    model, images = Linear(), near_grey(1)
    steps, seen, _ = follow(BIM(steps=4), model, images)
    distances = (seen - images).abs().amax((1, 2, 3))
    assert steps == (0, 1, 2, 3, 4)
    assert torch.allclose(distances, EPSILON * torch.arange(5) / 4, atol=1e-7)


@pytest.mark.parametrize(
    "attack", [PGD(), BIM(), MIFGSM(), APGD(steps=12), PGD(norm="l2", random_start=True)], ids=repr
)
def test_the_first_image_is_the_clean_one_and_the_last_what_was_found(attack: Attack) -> None:
    model, images = Linear(), near_grey(1)
    steps, seen, found = follow(attack, model, images)
    plain = attack.against(model, Miss(accepted([0], 2)), images, torch.tensor([EPSILON]), streams(1))
    assert steps[0] == 0
    assert torch.equal(seen[:1], images)
    assert torch.equal(seen[-1:], found.images)
    assert torch.equal(found.images, plain)


def test_every_image_in_between_was_shown_to_the_model() -> None:
    model, images = Linear(), near_grey(1)
    _, seen, _ = follow(PGD(steps=5), model, images)
    for image in seen[:-1]:
        assert any(torch.equal(image, shown[0]) for shown in model.seen)


def test_a_success_is_the_last_step_wherever_it_is_met() -> None:
    """Of BIM with steps of a tenth: the edge in the direction of the first gradient at once, as the attack tries it."""
    model, images = Linear(bias=0.0), near_grey(1)
    needed = model.distance(images, "linf").abs().item()
    steps, seen, _ = follow(BIM(), model, images, 3 * needed)
    assert steps in ((0,), (0, 1))
    assert (model.margin(seen[-1:]) < 0).all()


def test_a_random_start_is_step_1() -> None:
    model, images = Linear(), near_grey(1)
    steps, seen, _ = follow(PGD(steps=3, random_start=True), model, images)
    assert steps == (0, 1, 2, 3, 4)
    assert torch.equal(seen[:1], images)
    assert 0 < (seen[1] - images[0]).abs().max() < EPSILON


def test_of_gradients_whose_mean_is_taken_one_is_a_step() -> None:
    model, images = Linear(), near_grey(1)
    once = follow(PGD(steps=3), model, images)
    thrice = follow(PGD(steps=3, expectation=3), model, images, expectation=3)
    assert thrice[0] == once[0]
    assert torch.equal(thrice[1], once[1])


def test_an_attack_without_gradients_is_followed_by_what_it_asks() -> None:
    model, images = Linear(), near_grey(1)
    steps, seen, found = follow(Square(queries=6), model, images)
    assert steps[-1] <= int(found.queries) + 1
    assert len(steps) > 3
    assert torch.equal(seen[-1:], found.images)


def test_attacks_one_after_the_other_are_one_track() -> None:
    model, images = Linear(), near_grey(1)
    steps, seen, found = follow(WorstCase(PGD(steps=2), BIM(steps=3)), model, images)
    assert int(found.gradients) == 5
    assert torch.equal(seen[0], images[0])
    # PGD at the image and after a step, then BIM from the image again.
    assert torch.equal(seen[2], images[0])
    assert steps[-1] in (4, 5)


def test_only_what_is_wanted_is_kept() -> None:
    model, images = Linear(), near_grey(1)
    track = Track((2).__eq__)
    attack = Followed(PGD(steps=4), track)
    found = attack.against(model, Miss(accepted([0], 2)), images, torch.tensor([EPSILON]), streams(1))
    assert track.ended(found)[0] == (0, 2, 4)


def test_an_image_that_was_not_attacked_has_no_step_but_0() -> None:
    images = near_grey(1)
    steps, seen = Track(everything).ended(images)
    assert steps == (0,)
    assert torch.equal(seen, images)


def test_to_the_engine_it_is_the_same_stress() -> None:
    attack = FGSM(norm="l2")
    one, other = Followed(attack, Track(everything)), Followed(attack, Track(everything))
    assert repr(one) == repr(attack)
    assert (one.unit, one.limit, one.norm) == (attack.unit, attack.limit, attack.norm)
    assert one == other
    assert hash(one) == hash(other)
