"""The worst of several attacks: each image fares as under each of them alone, and is told which one broke it."""

import importlib.util
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F

from pytest_robustness.attacks import APGD, FGSM, PGD, Mimic, Miss, Square, WorstCase, autoattack_like, foreign
from pytest_robustness.attacks.accounting import Counted
from pytest_robustness.errors import InputError
from pytest_robustness.seeding import Streams
from pytest_robustness.types import (
    Attack,
    Borrowed,
    Classifier,
    Goal,
    Images,
    LooksFirst,
    Norm,
    Strengths,
    Telling,
    constructor_call,
)
from tests.attack_models import Linear, accepted, convnet, near_grey, noise_images, streams


@dataclass(frozen=True, repr=False)
class Along:
    """So many lengths of the way to the other class of a `Linear` model, for the images in these places alone."""

    share: float
    places: tuple[int, ...]

    unit: ClassVar[str] = "epsilon"
    norm: ClassVar[Norm] = "linf"
    limit: ClassVar[float] = 1.0
    __repr__ = constructor_call

    def against(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Images:
        chosen = torch.tensor([int(name.removesuffix(".png")) in self.places for name in streams.ids])
        classifier(images)
        steps = self.share * strengths * chosen
        return images - steps.reshape(-1, 1, 1, 1) * Linear().weight.sign()


def said(*attacks: object) -> str:
    with pytest.raises(InputError) as error:
        WorstCase(*attacks)  # type: ignore[arg-type]
    return str(error.value)


def test_each_attack_meets_the_images_that_held_until_then_and_the_one_that_broke_them_is_named() -> None:
    model, images = Linear(), near_grey()
    cascade = WorstCase(Along(1.0, (0, 3)), Along(0.999, (0, 1, 3)), Along(0.998, (2, 3)))
    found = cascade.attacked(
        model, Miss(accepted([0] * 6, 2)), images, 1.01 * model.distance(images, "linf"), streams(6)
    )
    first, second, third = (repr(attack) for attack in cascade.attacks)
    assert found.found_by == (first, second, third, first, "", "")
    # The attack's own look, and the one at what it found.
    assert found.queries.tolist() == [2, 4, 6, 2, 6, 6]
    assert found.gradients.tolist() == [0] * 6
    assert not found.silent.any()
    assert torch.equal(model.margin(found.images) < 0, torch.tensor([True, True, True, True, False, False]))
    assert [len(seen) for seen in model.seen] == [6, 6, 4, 4, 3, 3]


def test_of_an_image_that_holds_what_came_closest_is_returned() -> None:
    model, images = Linear(), near_grey()
    epsilons = 0.5 * model.distance(images, "linf")
    cascade = WorstCase(Along(0.3, tuple(range(6))), Along(0.9, tuple(range(6))), Along(0.6, tuple(range(6))))
    found = cascade.against(model, Miss(accepted([0] * 6, 2)), images, epsilons, streams(6))
    assert torch.allclose(found, images - 0.9 * epsilons.reshape(-1, 1, 1, 1) * model.weight.sign(), atol=1e-6)


def test_an_image_fares_as_under_each_attack_alone() -> None:
    """Random starts included: it holds where it holds under all, and the first that breaks it alone is the one that is named."""
    model, images = convnet(), noise_images(24)
    goal = Miss(F.one_hot(model(images).argmax(1), 3).bool())
    epsilons = torch.full((24,), 0.03)
    attacks = (Square(20, share=0.1), PGD(3, random_start=True), FGSM())
    cascade = WorstCase(*attacks)
    found = cascade.attacked(model, goal, images, epsilons, streams(24))
    alone = [
        goal.reached(model(attack.against(model, goal, images, epsilons, streams(24).of(repr(attack)))))
        for attack in attacks
    ]
    broken = torch.stack(alone)
    assert torch.equal(goal.reached(model(found.images)), broken.any(0))
    first = [repr(attacks[int(column.float().argmax())]) if column.any() else "" for column in broken.T]
    assert list(found.found_by) == first
    assert len(set(first)) >= 3
    rows = torch.tensor([5, 0, 17])
    some = cascade.against(model, goal.select(rows), images[rows], epsilons[rows], streams(24).select([5, 0, 17]))
    assert torch.allclose(some, found.images[rows], atol=1e-6)


def test_it_goes_for_targets_too() -> None:
    model, images = convnet(), noise_images(8)
    targets = (model(images).argmax(1) + 1) % 3
    found = WorstCase(FGSM(), APGD(10)).against(model, Mimic(targets), images, torch.full((8,), 0.2), streams(8))
    assert (model(found).argmax(1) == targets).sum() >= 6


def test_of_a_library_s_attack_the_account_and_what_it_kept_silent_about_are_its_own() -> None:
    model, images = Linear(), near_grey()
    epsilon = 1.2 * model.distance(images, "linf").max()

    def secretive(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            model(images - epsilon * Linear().weight.sign())
        return images

    found = WorstCase(Along(0.0, ()), foreign(secretive, "linf")).attacked(
        model, Miss(accepted([0] * 6, 2)), images, epsilon.expand(6), streams(6)
    )
    assert found.silent.all()
    assert found.queries.tolist() == [2 + 3] * 6
    assert set(found.found_by) == {repr(foreign(secretive, "linf"))}


def test_it_is_an_attack_that_looks_first_as_its_first_attack_does() -> None:
    assert isinstance(WorstCase(PGD()), Attack)
    assert isinstance(WorstCase(PGD()), Telling)
    assert isinstance(WorstCase(PGD()), LooksFirst)
    assert WorstCase(PGD(), PGD(random_start=True)).looks_first
    assert not WorstCase(PGD(random_start=True), PGD()).looks_first
    assert not WorstCase(Along(1.0, ())).looks_first
    assert (WorstCase(PGD(norm="l2")).norm, WorstCase(PGD(norm="l2")).limit) == ("l2", torch.inf)
    assert (WorstCase(PGD()).unit, WorstCase(PGD()).limit) == ("epsilon", 1.0)


def test_its_repr_is_its_constructor_call_and_equal_ones_are_equal() -> None:
    cascade = WorstCase(APGD(), Square(share=0.1))
    assert repr(cascade) == "WorstCase(APGD(), Square(share=0.1))"
    assert eval(repr(cascade)) == cascade
    assert hash(WorstCase(APGD(), Square(share=0.1))) == hash(cascade)


def test_no_attack_the_same_twice_several_norms_and_what_is_none_are_refused() -> None:
    assert said() == "WorstCase(): expected at least one attack, got none; name some, as in WorstCase(APGD(), Square())"
    assert said(APGD(), PGD(), APGD()) == (
        "WorstCase(APGD(), PGD(), APGD()): expected different attacks, got APGD() twice; leave one out"
    )
    assert said(APGD(), PGD(norm="l2")) == (
        "WorstCase(APGD(), PGD(norm='l2')): expected attacks of one norm, as there is one ball, got APGD() linf, PGD(norm='l2') l2"
    )
    assert said(APGD) == (
        "WorstCase: expected attacks such as APGD(), got <class 'pytest_robustness.attacks.apgd.APGD'>; "
        "a library's attack goes into foreign(...) first"
    )


def test_the_preset_has_the_attacks_and_settings_of_autoattack() -> None:
    assert repr(autoattack_like()) == (
        "WorstCase(APGD(random_start=True), APGD(loss='dlr', targets=9, random_start=True), Square(queries=5000))"
    )
    assert repr(autoattack_like("l2", queries=100, classes=4)) == (
        "WorstCase(APGD(norm='l2', random_start=True), APGD(norm='l2', loss='dlr', targets=3, random_start=True), "
        "Square(queries=100, norm='l2'))"
    )
    with pytest.raises(InputError) as error:
        autoattack_like(classes=1)
    assert str(error.value) == "autoattack_like: expected classes to be a whole number >= 2, got 1"


def test_with_fab_it_names_the_library_and_without_the_library_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("torchattacks") is None:
        pytest.skip("torchattacks is not installed")
    assert isinstance(WorstCase(APGD()), Borrowed)
    assert WorstCase(APGD()).library == ""
    from importlib.metadata import version

    with_fab = autoattack_like(fab=True)
    assert repr(with_fab.attacks[2]) == (
        "foreign(partial(torchattacks.FAB, norm='Linf', steps=100, multi_targeted=True, n_classes=10), 'linf')"
    )
    assert with_fab.library == f"torchattacks {version('torchattacks')}"
    monkeypatch.setitem(__import__("sys").modules, "torchattacks", None)
    with pytest.raises(InputError) as error:
        autoattack_like(fab=True)
    assert str(error.value) == (
        "autoattack_like(fab=True): expected torchattacks, whose FAB this is, to be installed, found it missing; "
        "pip install torchattacks, or leave fab out"
    )


@pytest.mark.filterwarnings("ignore:.*parse_version.*:DeprecationWarning")
def test_fab_t_runs_where_there_are_fewer_than_ten_classes() -> None:
    pytest.importorskip("torchattacks")
    model, images = convnet(), noise_images(4)
    goal = Miss(F.one_hot(model(images).argmax(1), 3).bool())
    fab = autoattack_like(fab=True, classes=3).attacks[2]
    found = fab.against(model, goal, images, torch.full((4,), 0.1), streams(4))
    assert goal.reached(model(found)).all()


def test_dlr_of_two_classes_falls_back_to_the_margin_and_says_so_once() -> None:
    model, images = Linear(), near_grey()
    goal, epsilons = Miss(accepted([0] * 6, 2)), 1.01 * model.distance(images, "linf")
    told = "loss='dlr': expected a model of at least 4 classes for the targeted DLR, got 2; the margin takes its place"
    with pytest.warns(UserWarning, match="DLR") as warned:
        found = APGD(5, loss="dlr", targets=1).against(model, goal, images, epsilons, streams(6))
    assert {str(warning.message) for warning in warned} == {told}
    assert goal.reached(model(found)).all()


def test_what_is_counted_are_rows_and_the_gradients_that_are_taken() -> None:
    images = noise_images(4)
    counted = Counted.of(convnet(), images)
    counted(images)
    some = counted.select(torch.tensor([1, 3]))
    shown = images[[1, 3]].requires_grad_()
    logits = some(shown)
    assert counted.gradients.tolist() == [0, 0, 0, 0]
    torch.autograd.grad(logits.sum(), shown)
    some.select(torch.tensor([1]))(images[3:].expand(5, -1, -1, -1))
    counted(images.repeat(2, 1, 1, 1)[:7])
    assert counted.queries.tolist() == [3, 4, 3, 9]
    assert counted.gradients.tolist() == [0, 1, 0, 1]
    assert counted.at_a_time == 4
